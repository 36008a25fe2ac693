"""The program's own streams while a command runs: nothing may write between the lines that are shown, or beside the records.

What Python code of this process prints (the program itself, its threads and coroutines) becomes output of the node that prints
it. With records on standard output, descriptor 1 is standard error for everybody else, also for children that inherit it.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from asyncproc._observe.outlet import Outlet
from asyncproc._spec.current import current
from asyncproc.errors import StateError

Show = Callable[[str, str, bytes], None]
"""Takes the path of a node (empty: none), ``stdout`` or ``stderr``, and data."""


@contextmanager
def outlets(*, records: bool) -> Iterator[tuple[Outlet, Outlet]]:
    """Copies of standard output and standard error, for us alone; with *records*, nobody else has standard output."""
    _flush()
    out, err = Outlet(1), Outlet(2)
    kept = None
    try:
        if records:
            with suppress(OSError):  # descriptor 1 or 2 is closed
                kept = os.dup(1)
                os.dup2(2, 1)
        yield out, err
    finally:
        if kept is not None:
            _flush()
            os.dup2(kept, 1)
            os.close(kept)
        out.close()
        err.close()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()


@contextmanager
def printing(show: Show) -> Iterator[None]:
    """What is printed inside the block goes to *show*."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = Printed("stdout", before[0], show), Printed("stderr", before[1], show)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


class Printed(io.TextIOBase):
    """Stands in for a standard stream; never waits."""

    def __init__(self, name: str, original: TextIO | None, show: Show) -> None:
        self._name = name
        self._original = original
        self._show = show
        self._buffer = PrintedBytes(self._take)

    def write(self, text: str) -> int:
        self._take(text.encode("utf-8", "backslashreplace"))
        return len(text)

    def _take(self, data: bytes) -> None:
        if data:
            self._show(_path(), self._name, data)

    @property
    def name(self) -> str:
        return f"<{self._name}>"

    @property
    def encoding(self) -> str:  # type: ignore[override]  # read-only here
        return "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]  # read-only here
        return "backslashreplace"

    @property
    def buffer(self) -> PrintedBytes:
        return self._buffer

    def reconfigure(self, **options: object) -> None:
        """Programs set encodings and buffering of their standard streams; here both are settled."""

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self._original is not None and self._original.isatty()

    def fileno(self) -> int:
        if self._original is None:
            raise io.UnsupportedOperation("fileno")
        return self._original.fileno()


class PrintedBytes(io.RawIOBase):
    """``sys.stdout.buffer``."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        taken = bytes(data)  # type: ignore[call-overload]  # whatever gives bytes
        self._take(taken)
        return len(taken)


def _path() -> str:
    try:
        return current().path
    except StateError:
        return ""
