"""Looks at the memory of children that have a limit, and condemns those that are over it.

One for all of them, at work only while one of them lives. It looks seldom while they are far from their limits, often where one
comes near or grows fast, and never spends more than a twentieth of the loop's time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncproc._core.exit import Reason
from asyncproc._core.size import in_mib, size_in_bytes
from asyncproc._core.supervision.event import Condemned

if TYPE_CHECKING:
    from asyncproc._supervision.place import Place
    from asyncproc._supervision.supervisor import Supervisor
    from asyncproc.abc import Alarm

OFTEN, SELDOM = 0.02, 1.0
"""Seconds between two looks."""
SHARE_OF_TIME = 20
"""So many times as long as a look takes is waited until the next."""


class Watched:
    """A child with a limit.

    Attributes:
        used: bytes at the last look. begun: when it was there first.
    """

    __slots__ = ("begun", "incarnation", "limit", "used", "_at")

    def __init__(self, incarnation: int, limit: int, now: float) -> None:
        self.incarnation = incarnation
        self.limit = limit
        self.used = 0
        self.begun = self._at = now

    def see(self, used: int, now: float) -> float:
        """Take a reading; seconds until the next: a young child's pace is not known yet, an old one's is that of the last."""
        growth = (used - self.used) / max(now - self._at, OFTEN)
        self.used, self._at = used, now
        left = self.limit - used
        by_pace = left / growth / 2 if growth > 0 else SELDOM
        return max(OFTEN, min(by_pace, (now - self.begun) / 2, SELDOM * left / self.limit))


class MemoryWatch:
    """Who is looked at, and when."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._watched: dict[Place, Watched] = {}
        self._alarm: Alarm | None = None

    def add(self, place: Place, incarnation: int, limit: object) -> None:
        """Look at a child from now on."""
        size = size_in_bytes(limit)
        if size is not None and hasattr(self._supervisor.engine, "memory_of"):
            self._watched[place] = Watched(incarnation, size, self._supervisor.clock.now())
            self._look_in(OFTEN)

    def remove(self, place: Place) -> None:
        """It has ended."""
        if self._watched.pop(place, None) is not None and not self._watched and self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _look_in(self, seconds: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        clock = self._supervisor.clock
        self._alarm = clock.call_at(clock.now() + seconds, self._look)

    def _look(self) -> None:
        self._alarm = None
        clock = self._supervisor.clock
        limits = {place.child: watched.limit for place, watched in self._watched.items() if place.child is not None}
        begun = clock.now()
        used = self._supervisor.engine.memory_of(limits)  # type: ignore[attr-defined]  # asked for in add
        now = clock.now()
        wait = SELDOM
        for place, watched in list(self._watched.items()):
            if place.child in used:
                wait = min(wait, watched.see(used[place.child], now))
                if watched.used > watched.limit:
                    self._condemn(place, watched)
            else:
                wait = OFTEN  # it is not there yet
        if self._watched:
            self._look_in(max(wait, SHARE_OF_TIME * (now - begun)))

    def _condemn(self, place: Place, watched: Watched) -> None:
        self.remove(place)
        why = f"uses {in_mib(watched.used)}, more than {in_mib(watched.limit)}"
        self._supervisor.post(Condemned(place.id, watched.incarnation, Reason.OUT_OF_MEMORY, why))
