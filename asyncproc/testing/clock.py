"""A clock that goes when the test says so."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from typing import Any


class FakeClock:
    """Stands where a manager's clock stands; ``advance`` fires what is due, in order, each at its own time.

    Args:
        loop: the loop that the handles it gives out belong to; nothing is ever scheduled on it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, start: float = 1000.0) -> None:
        self._loop = loop
        self._time = start
        self._order = 0
        self._due: list[tuple[float, int, asyncio.TimerHandle]] = []

    def now(self) -> float:
        """Monotonic seconds."""
        return self._time

    def call_at(self, when: float, call: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        """Call *call* when the clock has come to *when*."""
        handle = asyncio.TimerHandle(when, call, args, self._loop)
        self._order += 1
        heapq.heappush(self._due, (when, self._order, handle))
        return handle

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        end = self._time + seconds
        while self._due and self._due[0][0] <= end:
            when, _, handle = heapq.heappop(self._due)
            self._time = max(self._time, when)
            if not handle.cancelled():
                handle._run()
        self._time = end

    @property
    def next_due(self) -> float | None:
        """When the next timer fires; None when none is set."""
        live = [when for when, _, handle in self._due if not handle.cancelled()]
        return min(live, default=None)
