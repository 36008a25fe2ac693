"""How long a child's loops took."""

from __future__ import annotations

from _collections import deque  # type: ignore[import-not-found]  # the C half: what a child has loaded anyway

RECENT = 1000
"""Loops that the median is taken of: the last so many."""


class LoopReport:
    """How long loops took, in seconds; 0.0 where there was none.

    Attributes:
        name: the title of the report.
        count: loops that were completed. total, mean, fastest, slowest, last: of all of them.
        median: of the last 1000.
    """

    __slots__ = ("count", "fastest", "last", "mean", "median", "name", "slowest", "total")

    def __init__(self, name: str, count: int, total: float, median: float, fastest: float, slowest: float, last: float) -> None:
        for field, value in (("name", name), ("count", count), ("total", total), ("median", median)):
            object.__setattr__(self, field, value)
        for field, value in (("fastest", fastest), ("slowest", slowest), ("last", last)):
            object.__setattr__(self, field, value)
        object.__setattr__(self, "mean", total / count if count else 0.0)

    def __setattr__(self, field: str, value: object) -> None:
        raise AttributeError(f"LoopReport is read-only: {field!r} cannot be set")

    def _key(self) -> tuple[str, int, float, float, float, float, float]:
        return self.name, self.count, self.total, self.median, self.fastest, self.slowest, self.last

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LoopReport) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __reduce__(self) -> tuple[object, ...]:
        return LoopReport, self._key()

    def __repr__(self) -> str:
        shown = ", ".join(f"{field}={getattr(self, field):.6g}" for field in self.__slots__ if field not in ("name", "count"))
        return f"LoopReport({self.name!r}, count={self.count}, {shown})"

    def __str__(self) -> str:
        if not self.count:
            return f"{self.name}: no loops"
        parts = ", ".join(
            f"{field} {_shown(getattr(self, field))}" for field in ("mean", "median", "fastest", "slowest", "last")
        )
        return f"{self.name}: {self.count} loops in {_shown(self.total)}; {parts}"

    name: str
    count: int
    total: float
    mean: float
    median: float
    fastest: float
    slowest: float
    last: float


def _shown(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1e3:.2f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.1f} us"


class LoopTimes:
    """What a report is made of; bounded, however many loops there are."""

    __slots__ = ("_recent", "count", "fastest", "last", "slowest", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.fastest = 0.0
        self.slowest = 0.0
        self.last: float | None = None
        self._recent: deque[float] | None = None

    def add(self, seconds: float) -> None:
        """Count a loop."""
        if self._recent is None:
            self._recent = deque(maxlen=RECENT)
            self.fastest = seconds
        elif seconds < self.fastest:
            self.fastest = seconds
        if seconds > self.slowest:
            self.slowest = seconds
        self.count += 1
        self.total += seconds
        self.last = seconds
        self._recent.append(seconds)

    def report(self, title: str) -> LoopReport:
        """What there is to tell so far."""
        return LoopReport(title, self.count, self.total, self._median(), self.fastest, self.slowest, self.last or 0.0)

    def _median(self) -> float:
        ordered: list[float] = sorted(self._recent or ())
        middle = len(ordered) // 2
        if len(ordered) % 2:
            return ordered[middle]
        return (ordered[middle - 1] + ordered[middle]) / 2 if ordered else 0.0
