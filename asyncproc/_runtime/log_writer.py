"""Writes what children say to files and to the log, on a thread of its own: a disk that is slow or full holds up no loop.

Handing over never waits. What waits is bounded; beyond that it is lost and counted, as is what a file does not take, and a
line in the log of asyncproc says so, at most one for each target in an interval. The thread starts with the first entry and
ends with the manager.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from asyncproc._core.line import LineSplitter
from asyncproc._runtime.rotating_file import Lost, RotatingFile

if TYPE_CHECKING:
    from asyncproc._core.line import Line
    from asyncproc._core.log_file import LogFile

log = logging.getLogger("asyncproc")
records = logging.getLogger("asyncproc.output")

BOUND = 4 << 20
"""Bytes that may wait to be written."""
REST_BOUND = 1 << 16
"""Bytes of a line that wait for its end."""
TELL_EVERY = 10.0
"""Seconds between two lines in the log about losses of one target."""
FLUSH = 1.0
"""Seconds that the last of it may take when the manager closes."""


class Target(Protocol):
    """Where something is written to, on the thread."""

    name: str

    def write(self, data: bytes) -> None:
        """Take all of it; Lost says how much could not be taken, and why."""

    def close(self) -> None: ...


class Losses:
    """What one target has lost, and when that was last told."""

    def __init__(self) -> None:
        self.bytes = 0
        self._untold = 0
        self._next = 0.0
        self._why: object = ""

    def add(self, count: int, why: object) -> None:
        self.bytes += count
        self._untold += count
        self._why = why

    def tell(self, name: str, now: float) -> None:
        """Say it in the log, unless the last time is not long ago."""
        if self._untold and now >= self._next:
            self._next = now + TELL_EVERY
            log.warning("%s: %d bytes of output lost, %d in all: %s", name, self._untold, self.bytes, self._why)
            self._untold = 0


class LogWriter:
    """The thread, and the bounded queue before it."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._entries: list[tuple[Target, bytes]] = []
        self._waiting = 0
        self._closing = False
        self._thread: threading.Thread | None = None
        self._done: list[Callable[[], None]] = []
        self._files: dict[str, tuple[RotatingFile, int]] = {}
        self.losses: dict[Target, Losses] = {}

    # --- on the loop ------------------------------------------------------------------------------------------------------

    def file(self, log_file: LogFile) -> Callable[[bytes], object]:
        """Who takes one stream that is to stand in a file; streams of one path share it, as the first of them wants it.

        Raises:
            OSError: it cannot be opened.
        """
        path = os.path.abspath(os.path.expandvars(os.path.expanduser(os.fspath(log_file.path))))
        file, users = self._files.get(path) or (RotatingFile(path, log_file), 0)
        self._files[path] = file, users + 1
        rest = b""

        def told(data: bytes) -> None:
            nonlocal rest
            rest, whole = _whole_lines(rest + data, not data)
            self._put(file, whole)
            if not data:
                self._release(path)

        return told

    def _release(self, path: str) -> None:
        file, users = self._files[path]
        if users > 1:
            self._files[path] = file, users - 1
        else:
            del self._files[path]
            self._put(file, b"", last=True)

    def records(self, path: str, stream: str) -> Callable[[bytes], object]:
        """Who takes one stream whose lines are to become log records."""
        target = Records(path, stream)
        return lambda data: self._put(target, data, last=not data)

    def _put(self, target: Target, data: bytes, *, last: bool = False) -> None:
        with self._news:
            if self._waiting + len(data) > BOUND:
                self._losses_of(target).add(len(data), "it comes faster than it can be written")
                data = b""
            if last and not data and self._thread is None:  # it has never said anything: no thread for that
                target.close()
            elif data or last:
                self._waiting += len(data)
                self._entries.append((target, data))
                self._begin()
                self._news.notify()

    def _losses_of(self, target: Target) -> Losses:
        return self.losses.setdefault(target, Losses())

    def _begin(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._live, name="asyncproc-log", daemon=True)
            self._thread.start()

    # --- on the thread ----------------------------------------------------------------------------------------------------

    def _live(self) -> None:
        closing = False
        while not closing:
            with self._news:
                self._news.wait_for(lambda: self._entries or self._closing)
                entries, self._entries = self._entries, []
                self._waiting = 0
                closing = self._closing
            for target, data in entries:
                self._take(target, data)
        for file, _ in self._files.values():  # of children that were given up
            self._take(file, b"")
        with self._news:
            done, self._done = self._done, []
        for call in done:
            call()

    def _take(self, target: Target, data: bytes) -> None:
        """Write it, or with nothing to write be through with this target."""
        try:
            if data:
                target.write(data)
            else:
                target.close()
        except Lost as lost:
            self._lose(target, lost.count, lost.why)
        except Exception as error:  # of a user's log handler
            self._lose(target, len(data), repr(error))
        if target in self.losses:
            self.losses[target].tell(target.name, time.monotonic() if data else math.inf)
            if not data:
                del self.losses[target]

    def _lose(self, target: Target, count: int, why: object) -> None:
        with self._news:
            self._losses_of(target).add(count, why)

    # --- the end ----------------------------------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Write what waits and end the thread. One that is stuck in a write is given up after a second: it is a daemon."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        thread = self._close(lambda: _tell(loop, ended))
        if thread is None:
            return
        try:
            await asyncio.wait_for(ended.wait(), FLUSH)
        except TimeoutError:
            log.warning("what children have written last could not be written: the disk did not answer for %s s", FLUSH)
        else:
            thread.join()  # it has said its last word: this takes no time

    def hang_up(self) -> None:
        """Ask for the end without waiting for it."""
        self._close(lambda: None)

    def _close(self, done: Callable[[], None]) -> threading.Thread | None:
        with self._news:
            if self._thread is None or not self._thread.is_alive():
                return None
            self._closing = True
            self._done.append(done)
            self._news.notify()
            return self._thread


class Records:
    """One stream of one node as records of ``asyncproc.output``, level INFO, with ``path``, ``stream`` and ``partial``."""

    def __init__(self, path: str, stream: str) -> None:
        self.name = f"{stream} of {path}"
        self._path = path
        self._splitter = LineSplitter(stream)

    def write(self, data: bytes) -> None:
        self._splitter.feed(data, time.time())
        while (line := self._splitter.take()) is not None:
            self._record(line)

    def close(self) -> None:
        line = self._splitter.finish()
        if line is not None:
            self._record(line)

    def _record(self, line: Line) -> None:
        extra = {"path": self._path, "stream": line.stream, "partial": line.partial}
        records.info("%s", line, extra=extra)


def _whole_lines(data: bytes, at_end: bool) -> tuple[bytes, bytes]:
    """What waits for the end of its line, and what need not: a line that is too long goes in pieces."""
    cut = len(data) if at_end else data.rfind(b"\n") + 1
    if len(data) - cut > REST_BOUND:
        cut = len(data)
    return data[cut:], data[:cut]


def _tell(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    try:
        loop.call_soon_threadsafe(ended.set)
    except RuntimeError:  # that loop is closed: nobody waits
        pass
