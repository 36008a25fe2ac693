"""The result of an external command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T", str, bytes, Any)


@dataclass(frozen=True, slots=True)
class Completed(Generic[T]):
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
