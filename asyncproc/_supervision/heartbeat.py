"""Looks after the children that have a heartbeat, from one timer per tree, which runs only while there are any.

To look is to read two words of shared memory. Who is found unhealthy has its stacks taken first, as long as there is something
to be seen, and is condemned then: what follows is the machine's business, as with any other failure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncproc._core.exit import Exit, Reason
from asyncproc._core.supervision.event import Condemned, NodeId
from asyncproc._core.supervision.heartbeat import Finding, Heart, period_of
from asyncproc._core.supervision.state import State
from asyncproc._core.value import replaced

if TYPE_CHECKING:
    from asyncproc._supervision.place import Place
    from asyncproc._supervision.supervisor import Supervisor
    from asyncproc.abc import Alarm, Child, Vitals


class Watched:
    """One incarnation that is looked after."""

    __slots__ = ("child", "heart", "incarnation", "place", "stacks", "vitals")

    def __init__(self, place: Place, child: Child, vitals: Vitals) -> None:
        self.place = place
        self.incarnation = place.view.incarnation
        self.child = child
        self.vitals = vitals
        self.heart = Heart(place.spec._asyncproc.options["heartbeat"])
        self.stacks: str | None = None  # taken when it was found unhealthy

    @property
    def resting(self) -> bool:
        """Whether it is not to be judged: its parent holds it at a gate, it is being ended, or it was found already."""
        hold = self.place.hold
        return (hold is not None and hold.waits) or self.place.view.state is not State.RUNNING or self.stacks is not None


class Heartbeats:
    """Everybody in one tree who has a heartbeat."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._watched: dict[NodeId, Watched] = {}
        self._timer: Alarm | None = None
        self._period = 0.0
        self._looked = 0.0

    def begin(self, place: Place, child: Child, vitals: Vitals) -> None:
        """It is ready: from now on its beats count."""
        self._watched[place.id] = watched = Watched(place, child, vitals)
        if self._timer is None or period_of([watched.heart.limit]) < self._period:
            self._plan()

    def misses(self, place: Place) -> int:
        """How often its present incarnation was late."""
        watched = self._watched.get(place.id)
        return 0 if watched is None else watched.heart.misses

    def ended(self, place: Place, exit: Exit) -> Exit:
        """It has ended: its exit, with the stacks that were taken when it was found unhealthy."""
        watched = self._watched.get(place.id)
        if watched is None or watched.incarnation != exit.incarnation:
            return exit
        del self._watched[place.id]
        if not self._watched and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return replaced(exit, stacks=watched.stacks or "")

    def _plan(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        clock = self._supervisor.clock
        self._looked = clock.now()
        self._period = period_of([watched.heart.limit for watched in self._watched.values()])
        self._timer = clock.call_at(self._looked + self._period, self._look)

    def _look(self) -> None:
        # A late look counts for no more than one in time: meanwhile nobody was there to see.
        lived = min(self._supervisor.clock.now() - self._looked, self._period)
        for watched in self._watched.values():
            if watched.resting:
                watched.heart.rest()
                continue
            finding = watched.heart.look(*watched.vitals.beats(), lived)
            if finding is not None:
                self._examine(watched, finding)
        self._plan()

    def _examine(self, watched: Watched, finding: Finding) -> None:
        why = watched.heart.why(finding, watched.vitals.condition())
        if why is not None:
            watched.stacks = ""
            self._supervisor.chores.carry(self._condemn(watched, why))

    async def _condemn(self, watched: Watched, why: str) -> None:
        """Take its stacks, within their limit, then have it ended."""
        try:
            watched.stacks = await watched.child.stacks()
        finally:
            self._supervisor.post(Condemned(watched.place.id, watched.incarnation, Reason.UNHEALTHY, why))
