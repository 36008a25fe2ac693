"""A child's output as lines: text that knows where it came from, cut from bytes whatever they are."""

from __future__ import annotations

from typing import Any

LINE_LIMIT = 1 << 16
"""Bytes of one line; what is longer comes in pieces that say so."""


class Line(str):
    """One line of a child's output, without its end of line; bytes that are no UTF-8 stand in it as ``\\xNN``.

    Attributes:
        stream: ``stdout`` or ``stderr``. time: when it came, seconds of the epoch.
        partial: whether it was cut, for it is longer than 64 KiB or what follows was lost, and goes on with the next one.
    """

    __slots__ = ("partial", "stream", "time")

    stream: str
    time: float
    partial: bool

    def __new__(cls, text: str, stream: str = "stdout", time: float = 0.0, partial: bool = False) -> Line:
        line = super().__new__(cls, text)
        line.stream = stream
        line.time = time
        line.partial = partial
        return line

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.stream, self.time, self.partial)


class Piece(bytes):
    """Bytes of a child's output as they came.

    Attributes:
        stream: ``stdout`` or ``stderr``. time: when they came, seconds of the epoch.
    """

    stream: str
    time: float

    def __new__(cls, data: bytes, stream: str = "stdout", time: float = 0.0) -> Piece:
        piece = super().__new__(cls, data)
        piece.stream = stream
        piece.time = time
        return piece

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (bytes(self), self.stream, self.time)


class LineSplitter:
    """Cuts one stream into lines: :meth:`feed` it, then :meth:`take` until there is none; :meth:`finish` gives the rest.

    Args:
        limit: bytes of one line, at least four; what is longer is cut between two characters, and marked as partial.
    """

    __slots__ = ("_at", "_data", "_limit", "_stream", "_time")

    def __init__(self, stream: str, limit: int = LINE_LIMIT) -> None:
        self._stream = stream
        self._limit = limit
        self._data = b""
        self._at = 0
        self._time = 0.0

    def feed(self, data: bytes, time: float) -> None:
        """Take what came."""
        self._data = self._data[self._at :] + data
        self._at = 0
        self._time = time

    def take(self) -> Line | None:
        """The next line that is complete now."""
        begin = self._at
        end = self._data.find(b"\n", begin, begin + self._limit + 1)
        if end >= 0:
            self._at = end + 1
            stop = end - 1 if end > begin and self._data[end - 1] == _RETURN else end
            return self._line(self._data[begin:stop], False)
        if len(self._data) - begin <= self._limit:
            return None
        self._at = _cut(self._data, begin, begin + self._limit)
        return self._line(self._data[begin : self._at], True)

    def finish(self, partial: bool = False) -> Line | None:
        """What is left without an end of line; *partial*: it went on, but that was lost."""
        rest = self._data[self._at :]
        self._data, self._at = b"", 0
        return self._line(rest, partial) if rest else None

    def _line(self, data: bytes, partial: bool) -> Line:
        return Line(data.decode("utf-8", "backslashreplace"), self._stream, self._time, partial)


_RETURN = 0x0D


def _cut(data: bytes, begin: int, at: int) -> int:
    """Where to cut near *at* and not in the middle of a character; there, if it is no character."""
    for back in range(1, 4):
        if data[at - back] & 0xC0 == 0xC0:  # where one of several bytes begins
            width = 2 if data[at - back] < 0xE0 else 3 if data[at - back] < 0xF0 else 4
            return at - back if width > back else at
        if data[at - back] & 0xC0 != 0x80:
            return at
    return at
