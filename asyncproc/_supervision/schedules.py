"""Waits for the times at which nodes with a schedule are due, and tells the machine.

Here are the clocks: what a due time means is decided in :mod:`asyncproc._core.supervision.rhythm`. An interval goes by the
manager's clock, which nobody sets. A cron entry goes by the wall clock, which somebody may set, and which goes on while the
machine is suspended: no timer of one runs for longer than a minute, so that this is noticed.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from asyncproc._core.supervision.event import Due
from asyncproc._core.supervision.state import State
from asyncproc._spec.schedule import schedule_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncproc._spec.cron import Cron
    from asyncproc._spec.schedule import Schedule
    from asyncproc._supervision.place import Place
    from asyncproc._supervision.supervisor import Supervisor
    from asyncproc.abc import Alarm, Clock

log = logging.getLogger("asyncproc")

LOOK = 60.0
"""Seconds between two looks at a clock that somebody may set."""
LATE = 60.0
"""Seconds by which a due time may be noticed too late, and not have been missed."""


class Schedules:
    """Of all nodes of one tree that have one and run; made with the first."""

    def __init__(self, supervisor: Supervisor, drawn: Callable[[float, float], float]) -> None:
        self._supervisor = supervisor
        self._drawn = drawn
        self._entries: dict[Place, Entry] = {}

    def await_due(self, place: Place, ticket: int) -> None:
        """Tell when *place* is due next."""
        entry = self._entries.get(place)
        if entry is None:
            schedule = schedule_of(place.spec._asyncproc.options)
            assert schedule is not None
            entry = self._entries[place] = Entry(self._supervisor, place, schedule, self._drawn)
        entry.await_next(ticket)

    def moved(self, place: Place) -> float | None:
        """It has moved; when it will be started by its schedule, the manager's clock, None while it does not wait for that."""
        entry = self._entries.get(place)
        if entry is None:
            return None
        if place.view.state is State.ENDED:  # for good: one that rests is WAITING by now
            self._entries.pop(place).close()
        return entry.starts_at if place.view.asleep else None


class Times(Protocol):
    """The due times of one entry on its own clock, from which jitter is still to come."""

    def now(self) -> float: ...
    def next(self) -> float:
        """The next one that is still to come."""

    def latest(self, now: float) -> float:
        """The last one up to *now*."""

    def was_set_back(self) -> bool:
        """Whether the clock was set back since the last call of next, by so much that its times come again."""


class Interval:
    """Every so many seconds from the first start on."""

    def __init__(self, clock: Clock, schedule: Schedule) -> None:
        assert schedule.every is not None
        self.now = clock.now
        self._every = schedule.every
        self._begin = clock.now()
        self._count = 0 if schedule.at_once else -1

    def next(self) -> float:
        # One more in any case: by its float a time may lie before itself.
        passed = int((self.now() - self._begin) / self._every)
        self._count = max(passed, self._count) + 1 if self._count >= 0 else 0
        return self._begin + self._count * self._every

    def latest(self, now: float) -> float:
        return self._begin + int((now - self._begin) / self._every) * self._every

    def was_set_back(self) -> bool:
        return False


class WallTimes:
    """The times that a cron text means."""

    def __init__(self, clock: Clock, cron: Cron) -> None:
        self._clock = clock
        self._cron = cron
        self._ahead = 0.0
        self.now = clock.wall

    def next(self) -> float:
        now = self.now()
        self._ahead = now - self._clock.now()
        return self._cron.after(now)

    def latest(self, now: float) -> float:
        return self._cron.latest(now)

    def was_set_back(self) -> bool:
        # By less, as time servers do: what it shows again was told already, or is waited for a little longer.
        return self.now() - self._clock.now() < self._ahead - LATE


class Entry:
    """Waits for one node.

    Attributes:
        starts_at: when it is due, the manager's clock.
    """

    def __init__(
        self, supervisor: Supervisor, place: Place, schedule: Schedule, drawn: Callable[[float, float], float]
    ) -> None:
        self._supervisor = supervisor
        self._clock = supervisor.clock
        self._place = place
        self._schedule = schedule
        self._drawn = drawn
        self._alarm: Alarm | None = None
        self._ticket = 0
        self._due = 0.0
        self.starts_at = 0.0
        self._times = self._make_times()

    def _make_times(self) -> Times:
        if self._schedule.cron is None:
            return Interval(self._clock, self._schedule)
        from asyncproc._spec.cron import Cron

        return WallTimes(self._clock, Cron(self._schedule.cron))

    def await_next(self, ticket: int) -> None:
        """Tell of the next due time with this ticket."""
        self._ticket = ticket
        self._aim()

    def close(self) -> None:
        """Wait no longer."""
        if self._alarm is not None:
            self._alarm.cancel()

    def _aim(self) -> None:
        self._due = self._times.next()
        if self._schedule.jitter:
            self._due += self._drawn(0.0, self._schedule.jitter)
        self._wait()

    def _wait(self) -> None:
        self.close()
        now = self._clock.now()
        left = max(0.0, self._due - self._times.now())
        self.starts_at = now + left
        if self._place.view.asleep:
            self._place.restart_at = self.starts_at
        self._alarm = self._clock.call_at(now + (left if self._schedule.cron is None else min(left, LOOK)), self._look)

    def _look(self) -> None:
        now = self._times.now()
        if self._times.was_set_back():
            self._aim()
        elif now < self._due:
            self._wait()
        elif self._schedule.misfire == "skip" and (late := now - max(self._due, self._times.latest(now))) > LATE:
            log.warning("%s: was due %.0f s ago, which is too late; it waits for its next time", self._place.path, late)
            self._aim()
        else:
            self._supervisor.post(Due(self._place.id, self._ticket))
