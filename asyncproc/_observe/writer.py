"""A thread that writes what others hand it. Handing over never waits: a terminal that stands still stops nobody but the thread.

What is waiting is bounded. Output beyond the bound is dropped and counted by node; the count is handed on with the next call.
All other facts are small and few, and have a bound of their own.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from asyncproc._observe.facts import Dropped, Output

if TYPE_CHECKING:
    from asyncproc._observe.facts import Fact

OUTPUT_BOUND = 32 << 20
"""Bytes of output that may wait: what a fast child writes in a second."""
FACTS_BOUND = 50_000
"""Facts that may wait."""


class Writer:
    """A daemon thread and the bounded queue before it; started with the first entry.

    Args:
        write: called on the thread with everything that waits, in order; an empty sequence is a tick. Its last call is marked
            by ``closing``. An OSError of it (nobody reads any more) ends the writing, not the program.
        tick: seconds between two calls while nothing comes; None for none. Calls are at least *pause* apart.
        pause: seconds between two calls.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Fact], bool], None],
        *,
        tick: float | None = None,
        pause: float = 0.0,
        name: str = "asyncproc-writer",
    ) -> None:
        self._write = write
        self._tick = tick
        self._pause = pause
        self._news = threading.Condition()
        self._entries: list[Fact] = []
        self._waiting_bytes = 0
        self._dropped: dict[str, int] = {}
        self._closing = False
        self._over = False
        self._done: list[Callable[[], None]] = []
        self._thread = threading.Thread(target=self._live, name=name, daemon=True)
        self._started = False

    def output(self, path: str, stream: str, data: bytes) -> None:
        """Hand over what a node wrote."""
        with self._news:
            if self._waiting_bytes + len(data) > OUTPUT_BOUND:
                self._dropped[path] = self._dropped.get(path, 0) + len(data)
                return
            self._waiting_bytes += len(data)
            self._put(Output(path, stream, data, time.time()))

    def fact(self, fact: Fact) -> None:
        """Hand over anything else."""
        with self._news:
            if len(self._entries) > FACTS_BOUND:
                self._dropped[""] = self._dropped.get("", 0) + 1
                return
            self._put(fact)

    def _put(self, entry: Fact) -> None:
        if self._over or self._closing:
            return
        self._entries.append(entry)
        if not self._started:
            self._started = True
            try:
                self._thread.start()
            except RuntimeError:  # no more threads to be had: nothing will be shown
                self._over = True
        self._news.notify()

    def _live(self) -> None:
        closing = False
        try:
            while not closing:
                entries, closing = self._next()
                self._write(entries, closing)
        except (OSError, ValueError):  # the terminal is gone, the reader is gone, the stream was closed
            pass
        finally:
            with self._news:
                self._over = True
                self._entries.clear()
                done, self._done = self._done, []
            for call in done:
                call()

    def _next(self) -> tuple[list[Fact], bool]:
        with self._news:
            if not self._closing and self._pause:
                self._news.wait_for(lambda: self._closing, self._pause)
            self._news.wait_for(lambda: self._entries or self._closing, self._tick)
            entries: list[Fact]
            entries, self._entries = self._entries, []
            entries += [Dropped(path, count) for path, count in self._dropped.items()]
            self._dropped = {}
            self._waiting_bytes = 0
            return entries, self._closing

    def _close(self, done: Callable[[], None]) -> bool:
        """Ask for the end; *done* is called on the thread. False: there is nobody to wait for."""
        with self._news:
            self._closing = True
            if not self._started or self._over:
                return False
            self._done.append(done)
            self._news.notify()
            return True

    async def aclose(self, limit: float) -> None:
        """Write what waits and end the thread. After *limit* seconds give it up: it is stuck in a write, and a daemon."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        if self._close(lambda: _tell(loop, ended)):
            try:
                await asyncio.wait_for(ended.wait(), limit)
            except TimeoutError:
                return
        self._join()

    def hang_up(self) -> None:
        """Ask for the end without waiting for it."""
        self._close(lambda: None)

    def close(self, limit: float | None) -> None:
        """The same without a loop; None waits for as long as the reader takes."""
        ended = threading.Event()
        if self._close(ended.set) and not ended.wait(limit):
            return
        self._join()

    def _join(self) -> None:
        if self._thread.ident is not None:
            self._thread.join()  # it has said its last word: this takes no time


def _tell(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    try:
        loop.call_soon_threadsafe(ended.set)
    except RuntimeError:  # that loop is closed: nobody waits
        pass
