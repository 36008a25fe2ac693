"""What is kept of a child's output: a bounded ring for each stream, and any number of readers with a place in it.

Nothing waits for a reader and nothing is copied for one. What does not fit pushes out what is oldest; a reader that had not
come to it finds the gap, and its size in bytes. So for each, whenever it began: what it saw and lost is what was written.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

TOGETHER = 0.01
"""Seconds within which small writes to one stream count as one arrival."""
SMALL = 4096
"""Bytes up to which arrivals are joined: a piece of its own takes about 200 bytes more than it holds."""


class _Piece:
    """Bytes that arrived together. start: where in the stream they begin. order: among the arrivals of all streams."""

    __slots__ = ("data", "order", "start", "time")

    def __init__(self, data: bytes, start: int, order: int, time: float) -> None:
        self.data = data
        self.start = start
        self.order = order
        self.time = time


_NOTHING: deque[_Piece] = deque()
"""What all rings hold that nothing was written to: a deque of its own takes 600 bytes, and most children write nothing."""


class Ring:
    """The last bytes of one stream.

    Attributes:
        written: bytes that have come. dropped: those of them that were pushed out. ended: nothing more will come.
    """

    __slots__ = ("_pieces", "_size", "dropped", "ended", "gone", "written")

    def __init__(self, size: int) -> None:
        self._pieces = _NOTHING
        self._size = size
        self.gone = 0
        self.written = 0
        self.dropped = 0
        self.ended = False

    def add(self, data: bytes, order: int, time: float, joins: bool) -> None:
        """Take what has arrived; *joins*: nothing has arrived on another stream since the last piece of this one."""
        if self._pieces is _NOTHING:
            self._pieces = deque()
        last = self._pieces[-1] if self._pieces else None
        if (
            last is not None
            and len(last.data) + len(data) <= SMALL
            and ((joins and time - last.time < TOGETHER) or self._crowded)
        ):
            last.data += data
        else:
            self._pieces.append(_Piece(data, self.written, order, time))
        self.written += len(data)
        self._push_out(self.written - self.dropped - self._size)

    @property
    def _crowded(self) -> bool:
        """Whether there are so many pieces that they weigh as much as what they hold."""
        return len(self._pieces) * 256 >= self._size

    def _push_out(self, excess: int) -> None:
        while excess > 0:
            first = self._pieces[0]
            lost = min(excess, len(first.data))
            if lost == len(first.data):
                self._pieces.popleft()
                self.gone += 1
            else:
                first.data = first.data[lost:]
                first.start += lost
            self.dropped += lost
            excess -= lost

    def piece(self, number: int) -> _Piece | None:
        """A piece by its number, counted from the first that ever was; None when it has not come yet."""
        index = number - self.gone
        return self._pieces[index] if index < len(self._pieces) else None

    @property
    def held(self) -> bytes:
        return b"".join(piece.data for piece in self._pieces)

    def last(self, size: int) -> bytes:
        """The last bytes, at most so many."""
        found: list[bytes] = []
        for piece in reversed(self._pieces):
            found.append(piece.data)
            size -= len(piece.data)
            if size <= 0:
                break
        data = b"".join(reversed(found))
        return data[-size:] if size < 0 else data

    def shortened(self, size: int) -> Ring:
        """The same with less of it held."""
        short = Ring(size)
        short.written = short.dropped = self.dropped
        for piece in self._pieces:
            short.add(piece.data, piece.order, piece.time, False)
        short.ended = self.ended
        return short


class Output:
    """All streams of one child that are kept.

    Attributes:
        rings: by stream. waiting: called once, when something comes or ends, and then forgotten.
        on_end: called when the last stream has ended.
    """

    __slots__ = ("_arrivals", "_last", "on_end", "rings", "waiting")

    def __init__(self, streams: Iterable[str], size: int) -> None:
        self.rings = {stream: Ring(size) for stream in streams}
        self.waiting: list[Callable[[], object]] = []
        self.on_end: list[Callable[[], object]] = []
        self._arrivals = 0
        self._last: str | None = None

    def add(self, stream: str, data: bytes, time: float) -> None:
        """Take what a stream has brought. time: seconds of the epoch."""
        self._arrivals += 1
        self.rings[stream].add(data, self._arrivals, time, stream == self._last)
        self._last = stream
        self._tell()

    def end(self, stream: str) -> None:
        """Nothing more will come on this stream."""
        self.rings[stream].ended = True
        self._tell()
        while self.ended and self.on_end:
            self.on_end.pop()()

    @property
    def ended(self) -> bool:
        return all(ring.ended for ring in self.rings.values())

    def _tell(self) -> None:
        if self.waiting:
            waiting, self.waiting = self.waiting, []
            for call in waiting:
                call()

    def shortened(self, size: int) -> Output:
        """The same with less of it held: what an ended child needs not keep any more."""
        if all(ring.written - ring.dropped <= size for ring in self.rings.values()):
            return self
        short = Output((), size)
        short.rings = {stream: ring.shortened(size) for stream, ring in self.rings.items()}
        return short


class Taken:
    """What a reader gets at once. lost: bytes of this stream before it that this reader has missed."""

    __slots__ = ("data", "lost", "stream", "time")

    def __init__(self, stream: str, data: bytes, time: float, lost: int) -> None:
        self.stream = stream
        self.data = data
        self.time = time
        self.lost = lost


class _Mark:
    """A reader's place in one ring: bytes of the stream that it has passed, and the number of the piece that it is in."""

    __slots__ = ("number", "offset")

    def __init__(self) -> None:
        self.number = 0
        self.offset = 0


class Cursor:
    """One reader's place in a child's output. It begins with what is still held.

    Attributes:
        dropped: bytes that it was too slow, or too late, for.
    """

    __slots__ = ("_marks", "dropped", "output")

    def __init__(self, output: Output) -> None:
        self.output = output
        self.dropped = 0
        self._marks = {stream: _Mark() for stream in output.rings}

    def take(self) -> Taken | None:
        """The next bytes in order of arrival; None when there are none now."""
        found: tuple[_Piece, str] | None = None
        for stream, mark in self._marks.items():
            piece = _next_piece(self.output.rings[stream], mark)
            if piece is not None and (found is None or piece.order < found[0].order):
                found = piece, stream
        if found is None:
            return None
        piece, stream = found
        mark = self._marks[stream]
        lost = max(piece.start - mark.offset, 0)
        data = piece.data[max(mark.offset - piece.start, 0) :]
        mark.offset = piece.start + len(piece.data)
        self.dropped += lost
        return Taken(stream, data, piece.time, lost)

    @property
    def over(self) -> bool:
        """Whether nothing more will come, and everything was taken."""
        return self.output.ended and self.unread == 0

    @property
    def unread(self) -> int:
        """Bytes that it has not come to."""
        return sum(ring.written - self._marks[stream].offset for stream, ring in self.output.rings.items())


def _next_piece(ring: Ring, mark: _Mark) -> _Piece | None:
    mark.number = max(mark.number, ring.gone)
    piece = ring.piece(mark.number)
    while piece is not None and mark.offset >= piece.start + len(piece.data):
        piece = ring.piece(mark.number + 1)
        if piece is not None:  # else it stays with this one, which may grow
            mark.number += 1
    return piece
