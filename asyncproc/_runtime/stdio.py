"""A child's standard streams: which descriptors it gets, and what the manager keeps of them.

*The end of a process and the end of its output are two events.* A grandchild may hold a pipe for as long as it likes. So at the
exit what is there is taken, and the exit told; what comes later is still read for a bounded time, and then the pipe is closed.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from asyncproc._core.log_file import LogFile
from asyncproc._core.ring import Output, Ring
from asyncproc._runtime.capture import Capture
from asyncproc._runtime.entrance import Entrance
from asyncproc._runtime.memory_file import memory_file

if TYPE_CHECKING:
    from asyncproc._runtime.feed import Feed

NULL, AS_STDOUT = -1, -2
RING = 1 << 20
DRAIN_LIMIT = 1.0
"""Seconds that output is still read after the end of the process."""
TAIL_LINES = 20
TAIL_BYTES = 4096
CRASH_BYTES = 1 << 14
"""Bytes from the end in which a fatal error of the interpreter is looked for."""
FATAL = b"Fatal Python error: "


class Streams:
    """The three streams of one child, from before its start to after its end.

    Args:
        loop: the manager's loop.
        wanted: ``stdin``, ``stdout`` and ``stderr`` as in the spec's options.
        entrance: how output gets to where it is shown or written.
        size: bytes that a captured stream keeps.
        late: where it stands while it is still read after its child's end, for who must end all of them.

    Attributes:
        fds: descriptors that the child is to be given. places: for each stream an index into them, NULL or AS_STDOUT.
        output: what is kept. stdin: what the child reads, when it is a pipe.

    Raises:
        OSError, ValueError: a file cannot be opened; nothing is left open.
    """

    __slots__ = ("_captures", "_deadline", "_entrance", "_late", "_loop", "_own", "fds", "output", "places", "stdin")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        wanted: Mapping[str, Any],
        entrance: Entrance,
        size: int = RING,
        late: set[Streams] | None = None,
    ) -> None:
        self._loop = loop
        self._entrance = entrance
        self._late = late
        self._deadline: asyncio.TimerHandle | None = None
        self._own: list[int] = []
        self._captures: dict[str, Capture] = {}
        self.fds: list[int] = []
        self.stdin: Feed | None = None
        self.output = Output([stream for stream in ("stdout", "stderr") if is_captured(wanted[stream])], size)
        try:
            first = self._input(wanted.get("stdin", "null"))
            second = self._output("stdout", 1, wanted["stdout"])
            third = self._output("stderr", 2, wanted["stderr"])
        except BaseException:
            self.handed_over()
            self.close()
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
        if wanted == "pipe":
            from asyncproc._runtime.feed import Feed

            self.stdin = Feed(self._loop, self._entrance.path)
            return self._give(self.stdin.open(), own=True)
        data = wanted.encode() if isinstance(wanted, str) else wanted
        return self._give(memory_file(data), own=True)  # nobody has to feed it, and it cannot fill up

    def _output(self, stream: str, fd: int, wanted: Any) -> int:
        if wanted == "null":
            return NULL
        if wanted == "stdout":
            return AS_STDOUT
        if wanted == "inherit":
            return self._give(fd, own=False) if _is_open(fd) else NULL
        if is_captured(wanted):
            return self._capture(stream, wanted)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        return self._give(os.open(os.path.expandvars(os.path.expanduser(wanted)), flags, 0o666), own=True)

    def _capture(self, stream: str, wanted: Any) -> int:
        capture = Capture(self._loop, self.output, stream)
        told = self._entrance.of(stream, wanted)
        if told is not None:
            capture.told = (told,)
        self._captures[stream] = capture
        try:
            return self._give(capture.open(), own=True)
        except OSError:
            if told is not None:
                told(b"")  # nothing will come
            raise

    def null(self) -> int:
        """The null device, for a child that cannot open it itself."""
        fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self._own.append(fd)
        return fd

    def also(self, fd: int) -> None:
        """Hand over one more descriptor, the child's fourth, and close it with the others."""
        self.places = (*self.places, self._give(fd, own=True))

    def handed_over(self) -> None:
        """The child has its ends: close ours of them."""
        for fd in self._own:
            os.close(fd)
        self._own.clear()
        self.fds = []

    # --- who is interested ----------------------------------------------------------------------------------------------

    def subscribe(self, stream: str, callback: Callable[[bytes], None]) -> Callable[[], None]:
        """Let *callback* be called with the raw pieces of one stream, as they come; at once with what is still held.

        Returns:
            What ends it; to be called any number of times.

        Raises:
            ValueError: this stream is not captured.
        """
        ring = self.output.rings.get(stream)
        if ring is None:
            raise ValueError(f"{stream} of {self._entrance.path} is not captured")
        capture = self._captures[stream]

        def told(data: bytes) -> None:
            if data:
                callback(data)

        told(ring.held)
        if not capture.ended:
            capture.told = (*capture.told, told)
        return lambda: capture.forget(told)

    # --- the end --------------------------------------------------------------------------------------------------------

    def wind_down(self) -> None:
        """The process has ended: take what it has written until now, and go on reading for a moment."""
        if self.stdin is not None:
            self.stdin.close()
        self._drain()
        if not self.output.ended:
            self._deadline = self._loop.call_later(DRAIN_LIMIT, self.close)
            self.output.on_end.append(self.close)  # with its last stream there is nothing left to be closed
            if self._late is not None:
                self._late.add(self)

    def _drain(self) -> None:
        for capture in self._captures.values():
            capture.drain()

    def close(self) -> None:
        """Stop reading, with what is there now; who still writes gets SIGPIPE."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if self._late is not None:
            self._late.discard(self)
        self._drain()
        for capture in self._captures.values():
            capture.close()
        if self.stdin is not None:
            self.stdin.close()

    # --- what was kept --------------------------------------------------------------------------------------------------

    def held(self, stream: str) -> bytes:
        """The last bytes of a stream; none of one that is not captured."""
        ring = self.output.rings.get(stream)
        return b"" if ring is None else ring.held

    @property
    def dropped(self) -> int:
        """Bytes that were pushed out of what is kept."""
        return sum(ring.dropped for ring in self.output.rings.values())

    def stderr_tail(self) -> str:
        """The last lines of standard error, as text."""
        ring = self.output.rings.get("stderr")
        return "" if ring is None else _tail(ring)


def is_captured(wanted: Any) -> bool:
    """Whether the manager reads a stream with this option."""
    return isinstance(wanted, LogFile) or wanted in ("capture", "tee", "log")


def _tail(ring: Ring) -> str:
    data = ring.last(CRASH_BYTES)
    fatal = data.rfind(FATAL)
    if fatal >= 0:  # the innermost calls stand first
        return data[fatal : fatal + TAIL_BYTES].decode("utf-8", "backslashreplace")
    text = data[-TAIL_BYTES:].decode("utf-8", "backslashreplace")
    return "".join(text.splitlines(keepends=True)[-TAIL_LINES:])


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
