"""A child's standard streams: which descriptors it gets, and what the manager keeps of them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import Any

from asyncproc._runtime.capture import RING, Capture
from asyncproc._runtime.memory_file import memory_file

NULL, AS_STDOUT = -1, -2


class Streams:
    """The three streams of one child, from before its start to after its end.

    Args:
        loop: the manager's loop.
        wanted: ``stdin``, ``stdout`` and ``stderr`` as in the spec's options.
        on_line: told of ``(stream, data)`` for streams that are shown; None shows nothing.
        size: bytes that a captured stream keeps.

    Attributes:
        fds: descriptors that the child is to be given. places: for each stream an index into them, NULL or AS_STDOUT.

    Raises:
        OSError, ValueError: a file cannot be opened; nothing is left open.
    """

    __slots__ = ("_loop", "_own", "fds", "places", "stderr", "stdout")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        wanted: Mapping[str, Any],
        on_line: Callable[[str, bytes], None] | None = None,
        size: int = RING,
    ) -> None:
        self._loop = loop
        self._own: list[int] = []
        self.fds: list[int] = []
        self.stdout: Capture | None = None
        self.stderr: Capture | None = None
        try:
            first = self._input(wanted.get("stdin", "null"))
            self.stdout, second = self._output("stdout", 1, wanted["stdout"], on_line, size)
            self.stderr, third = self._output("stderr", 2, wanted["stderr"], on_line, size)
        except BaseException:
            self.handed_over()
            self.finish()
            raise
        self.places: tuple[int, ...] = (first, second, third)

    def _give(self, fd: int, *, own: bool) -> int:
        if own:
            self._own.append(fd)
        self.fds.append(fd)
        return len(self.fds) - 1

    def _input(self, wanted: Any) -> int:
        if wanted == "null":
            return NULL
        data = wanted.encode() if isinstance(wanted, str) else wanted
        return self._give(memory_file(data), own=True)  # nobody has to feed it, and it cannot fill up

    def _output(
        self, name: str, fd: int, wanted: Any, on_line: Callable[[str, bytes], None] | None, size: int
    ) -> tuple[Capture | None, int]:
        if wanted == "null":
            return None, NULL
        if wanted == "stdout":
            return None, AS_STDOUT
        if wanted == "inherit":
            return None, self._give(fd, own=False) if _is_open(fd) else NULL
        if wanted in ("capture", "tee"):
            shown = on_line if wanted == "tee" else None
            capture = Capture(self._loop, size, None if shown is None else lambda data: shown(name, data))
            return capture, self._give(capture.open(), own=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        return None, self._give(os.open(os.path.expandvars(os.path.expanduser(wanted)), flags, 0o666), own=True)

    def null(self) -> int:
        """The null device, for a child that cannot open it itself."""
        fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self._own.append(fd)
        return fd

    def also(self, fd: int) -> None:
        """Hand over one more descriptor, the child's fourth, and close it with the others."""
        self.places = (*self.places, self._give(fd, own=True))

    def subscribe(self, stream: str, callback: Callable[[bytes], None]) -> Callable[[], None]:
        """Call *callback* with what is kept of a captured stream, and then with each piece; what is returned ends that."""
        capture = self.stdout if stream == "stdout" else self.stderr
        return _nothing if capture is None else capture.subscribe(callback)

    def handed_over(self) -> None:
        """The child has its ends: close ours of them."""
        for fd in self._own:
            os.close(fd)
        self._own.clear()
        self.fds = []

    def drain(self) -> None:
        """Take what the child has written until now."""
        for capture in (self.stdout, self.stderr):
            if capture is not None:
                capture.drain()

    def stderr_tail(self) -> str:
        capture = self.stderr
        return "" if capture is None else capture.tail()

    def finish(self) -> None:
        """Stop reading; a grandchild that still writes gets SIGPIPE."""
        for capture in (self.stdout, self.stderr):
            if capture is not None:
                capture.close()


def _nothing() -> None: ...


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
