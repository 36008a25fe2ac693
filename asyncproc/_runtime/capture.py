"""A child's captured output: always drained, whoever reads it, so that the child never waits for us.

The loop reads one piece in a turn, so that a child that floods its output holds up nobody. What is read goes to what is
:mod:`kept <asyncproc._core.ring>`, which is bounded, and to those who asked to be told of it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress

from asyncproc._core.ring import Output

log = logging.getLogger("asyncproc")

READ_SIZE = 1 << 16
DRAIN_SIZE = 1 << 20
"""Bytes that are taken at once at the end: as much as a pipe can hold. A grandchild may go on writing."""


class Capture:
    """One stream of one child, from the pipe to who is interested.

    Args:
        loop: the manager's loop.
        output: where it is kept. stream: under which name.
    """

    __slots__ = ("_fd", "_loop", "_output", "_stream", "told")

    def __init__(self, loop: asyncio.AbstractEventLoop, output: Output, stream: str) -> None:
        self._loop = loop
        self._output = output
        self._stream = stream
        self._fd: int | None = None
        self.told: tuple[Callable[[bytes], object], ...] = ()
        """Called with each piece, as it comes, and with none at the end."""

    def open(self) -> int:
        """Make the pipe; returns the end that is the child's, to be closed by the caller."""
        self._fd, theirs = os.pipe()
        os.set_blocking(self._fd, False)
        self._loop.add_reader(self._fd, self._read)
        return theirs

    def _read(self) -> int:
        """Take one piece; returns its size."""
        if self._fd is None:
            return 0
        try:
            data = os.read(self._fd, READ_SIZE)
        except BlockingIOError:
            return 0
        except OSError:
            data = b""
        if not data:
            self.close()  # at once: a reader that is left at the end of its file is called for ever
            return 0
        self._output.add(self._stream, data, time.time())
        self._tell(data)
        return len(data)

    def _tell(self, data: bytes) -> None:
        for call in self.told:
            try:
                call(data)
            except Exception:  # of somebody who looks on: the child must go on being read
                log.exception("what was told of a child's %s failed, and is not told any more", self._stream)
                self.forget(call)

    def forget(self, call: Callable[[bytes], object]) -> None:
        self.told = tuple(other for other in self.told if other is not call)

    def drain(self) -> None:
        """Take what is there now."""
        left = DRAIN_SIZE
        while left > 0 and (size := self._read()):
            left -= size

    @property
    def ended(self) -> bool:
        return self._fd is None

    def close(self) -> None:
        """Stop reading; what was kept stays."""
        if self._fd is None:
            return
        with suppress(RuntimeError):  # the loop is closed
            self._loop.remove_reader(self._fd)
        os.close(self._fd)
        self._fd = None
        self._output.end(self._stream)
        self._tell(b"")
        self.told = ()
