"""A clock that goes when the test says so."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any


class FakeAlarm:
    """A call that is to come."""

    def __init__(self, call: Callable[[], object]) -> None:
        self.call: Callable[[], object] | None = call

    def cancel(self) -> None:
        """Let it not come."""
        self.call = None


class FakeClock:
    """Stands where a manager's clock stands; ``advance`` makes the calls that are due, in order, each at its own time.

    Args:
        start: monotonic seconds. wall: seconds since the epoch.
    """

    def __init__(self, start: float = 1000.0, wall: float = 1_700_000_000.0) -> None:
        self._time = start
        self._ahead = wall - start
        self._order = 0
        self._due: list[tuple[float, int, FakeAlarm]] = []

    def now(self) -> float:
        """Monotonic seconds."""
        return self._time

    def wall(self) -> float:
        """Seconds since the epoch."""
        return self._time + self._ahead

    def set_wall(self, seconds: float) -> None:
        """Let the wall clock show this from now on, as when somebody sets it, or when the machine was suspended until then."""
        self._ahead = seconds - self._time

    def call_at(self, when: float, call: Callable[..., object], *args: Any) -> FakeAlarm:
        """Call *call* when the clock has come to *when*."""
        alarm = FakeAlarm(lambda: call(*args))
        self._order += 1
        heapq.heappush(self._due, (when, self._order, alarm))
        return alarm

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        end = self._time + seconds
        while self._due and self._due[0][0] <= end:
            when, _, alarm = heapq.heappop(self._due)
            self._time = max(self._time, when)
            if alarm.call is not None:
                alarm.call()
        self._time = end

    @property
    def next_due(self) -> float | None:
        """When the next call comes; None when none is to come."""
        return min((when for when, _, alarm in self._due if alarm.call is not None), default=None)
