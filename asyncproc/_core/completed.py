"""The result of an external command."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from asyncproc._core.value import Value

T = TypeVar("T", str, bytes, Any)


class Completed(Value, Generic[T]):
    """What a command left behind.

    Attributes:
        argv: what ran. returncode: its exit code, negative for a signal.
        stdout: what it wrote, as far as it was captured. stderr: likewise.
        duration: seconds. cpu: user and system seconds. peak_memory: bytes. truncated: older output was dropped.
    """

    argv: tuple[str, ...]
    returncode: int
    stdout: T
    stderr: T
    duration: float
    cpu: float
    peak_memory: int
    truncated: bool
