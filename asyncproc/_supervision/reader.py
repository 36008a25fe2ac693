"""Who reads a node's output: over its incarnations, each reader at its own pace, none of them in anybody's way.

A reader has a place in what the manager keeps anyway, and holds nothing of its own. It waits only when it has come to the end.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Self

from asyncproc._core import options as kinds
from asyncproc._core.line import Line, LineSplitter, Piece
from asyncproc._core.log_file import LogFile
from asyncproc._core.ring import Cursor
from asyncproc.errors import StateError

if TYPE_CHECKING:
    from asyncproc._core.ring import Output, Taken
    from asyncproc._spec.base import Spec
    from asyncproc._supervision.place import Place

INCARNATIONS = 2
"""Incarnations whose output a slow reader may still have before it; what older ones wrote is dropped, and counted."""
IN_A_ROW = 500
"""Lines that a reader is given before others of the loop have their turn."""


class Reader:
    """Reads the output of one node.

    Attributes:
        dropped: bytes that this reader was too slow, or too late, for.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, place: Place) -> None:
        self._loop = loop
        self._place = place
        self._cursors: deque[Cursor] = deque()
        self._passed = 0
        self._waiting: asyncio.Future[None] | None = None
        self._open = True
        self._given = 0
        if place.readers is None:
            from weakref import WeakSet

            place.readers = WeakSet()
        place.readers.add(self)
        if place.output is not None:
            self.follow(place.output)

    def __aiter__(self) -> Self:
        return self

    @property
    def dropped(self) -> int:
        return self._passed + sum(cursor.dropped for cursor in self._cursors)

    # --- what is told ---------------------------------------------------------------------------------------------------

    def follow(self, output: Output) -> None:
        """Another incarnation writes."""
        if len(self._cursors) == INCARNATIONS:
            oldest = self._cursors.popleft()
            self._passed += oldest.dropped + oldest.unread
            self._end_incarnation()
        self._cursors.append(Cursor(output))
        self.wake()

    def wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    # --- taking ---------------------------------------------------------------------------------------------------------

    def _end_incarnation(self) -> None:
        """What comes next is another incarnation's."""

    async def _take(self) -> Taken | None:
        """The next of the bytes; None at the end, and between two incarnations."""
        while self._open:
            taken = self._take_nowait()
            if taken is not None:
                return taken
            if self._cursors and self._cursors[0].over:
                self._passed += self._cursors.popleft().dropped
                self._end_incarnation()
                return None
            if not self._cursors and self._place.view.finished:
                self._open = False
            else:
                await self._news()
        return None

    def _take_nowait(self) -> Taken | None:
        return self._cursors[0].take() if self._cursors else None

    async def _news(self) -> None:
        """Wait until something is written, or the node moves on."""
        if asyncio.get_running_loop() is not self._loop:
            raise StateError(f"node {self._place.path}: belongs to another event loop than this code runs on")
        self._waiting = self._loop.create_future()
        outputs = [cursor.output for cursor in self._cursors]
        for output in outputs:
            output.waiting.append(self.wake)
        try:
            await self._waiting
        finally:
            self._waiting = None
            for output in outputs:
                if self.wake in output.waiting:  # it was cancelled, or woken by another
                    output.waiting.remove(self.wake)

    async def _yield(self) -> None:
        """Let others of the loop have their turn, now and then."""
        self._given += 1
        if self._given >= IN_A_ROW:
            self._given = 0
            await asyncio.sleep(0)

    async def aclose(self) -> None:
        """End it; whoever waits for the next one hears that there is none."""
        self._open = False
        self.wake()


class Pieces(Reader):
    """Output as bytes, as they came."""

    async def __anext__(self) -> Piece:
        while (taken := await self._take()) is None:
            if not self._open:
                raise StopAsyncIteration
        self._given += len(taken.data) >> 8
        await self._yield()
        return Piece(taken.data, taken.stream, taken.time)


class Lines(Reader):
    """Output as lines."""

    def __init__(self, loop: asyncio.AbstractEventLoop, place: Place) -> None:
        super().__init__(loop, place)
        self._splitters = {stream: LineSplitter(stream) for stream in ("stdout", "stderr")}
        self._source: LineSplitter | None = None
        self._rests: deque[Line] = deque()

    async def __anext__(self) -> Line:
        while True:
            line = self._next_line()
            if line is not None:
                await self._yield()
                return line
            taken = await self._take()
            if taken is not None:
                self._feed(taken)
            elif not self._open and not self._rests:
                raise StopAsyncIteration

    def _next_line(self) -> Line | None:
        if self._rests:
            return self._rests.popleft()
        return None if self._source is None else self._source.take()

    def _feed(self, taken: Taken) -> None:
        self._source = source = self._splitters[taken.stream]
        if taken.lost:
            self._end_line(source, partial=True)
        source.feed(taken.data, taken.time)

    def _end_incarnation(self) -> None:
        for splitter in self._splitters.values():
            self._end_line(splitter)

    def _end_line(self, splitter: LineSplitter, partial: bool = False) -> None:
        line = splitter.finish(partial)
        if line is not None:
            self._rests.append(line)


def uncaptured(spec: Spec[Any]) -> str | None:
    """Why there is no output of it to be read; None when there may be."""
    described = spec._asyncproc
    if described.kind not in kinds.OS:
        return f"is a {described.kind}, which has no streams of its own"
    defaults = ("capture", "capture") if described.kind == kinds.COMMAND else ("inherit", "tee")
    for stream, default in zip(("stdout", "stderr"), defaults, strict=True):
        wanted = described.options.get(stream, default)
        if isinstance(wanted, LogFile) or wanted in ("capture", "tee", "log"):
            return None
    return "neither its stdout nor its stderr is captured: that needs 'capture', 'tee', 'log' or a LogFile"
