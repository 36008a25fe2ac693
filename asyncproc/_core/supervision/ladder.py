"""How one leaf is brought to its end: which rung is next, and when.

The ladder has five steps: FINISH, ASK, TERM, KILL, and giving up. Which of them a leaf gets depends on what it is
(:class:`~asyncproc._core.supervision.plan.Ladder`) and on its deadline. A second wish can only bring the deadline
nearer: whoever asked first was promised an end by then. Time counts from the wish, not from the first rung taken,
because a leaf that is still being made cannot take any: it is given up when it does not come to exist for long.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from asyncproc._core.supervision.action import Rung
from asyncproc._core.supervision.event import OWN
from asyncproc._core.supervision.plan import Ladder

if TYPE_CHECKING:
    from asyncproc._core.supervision.plan import Plan

ACK_SECONDS = 0.5
"""A Python child that has not acknowledged by then is asked again, by TERM."""

TERM_SECONDS = 1.0
"""So long before the end one that has acknowledged gets TERM."""

REAP_SECONDS = 1.0
"""So long after KILL the end may take to be reported."""


MAKE_SECONDS = 4.0
"""So long after its deadline one may take that is still being made: a helper that is stuck has been found out by then."""


class Descent:
    """One leaf on its way down the ladder.

    Attributes:
        rung: the last rung taken; None before the first.
        given_up: whether the leaf was abandoned: nothing follows.
        due: when the next step is due; ``inf`` when none is, or none is known.
        serial: of the timer for *due*, 0 without one; all others are stale.
    """

    __slots__ = (
        "_acknowledged",
        "_asked_at",
        "_deadline",
        "_kill_now",
        "_ladder",
        "_reap_at",
        "due",
        "given_up",
        "rung",
        "serial",
    )

    def __init__(self, ladder: Ladder) -> None:
        self.rung: Rung | None = None
        self.given_up = False
        self.due = inf
        self.serial = 0
        self._ladder = ladder
        self._asked_at: float | None = None
        self._deadline = inf
        self._kill_now = False
        self._acknowledged = False
        self._reap_at = inf

    @property
    def deadline(self) -> float:
        """When it is killed, or given up; ``inf`` without end."""
        return self._deadline

    def press(self, grace: float | None, plan: Plan, now: float) -> None:
        """Take in one more wish that the leaf ends within *grace* (see StopAsked); it never loosens an earlier one."""
        if grace is None:
            return
        seconds = plan.grace if grace == OWN else grace
        if self._asked_at is None:
            self._asked_at = now
        if seconds is not None:
            self._deadline = min(self._deadline, now + seconds)
            self._kill_now = self._kill_now or seconds == 0

    def acknowledge(self) -> None:
        """The leaf has heard the message."""
        self._acknowledged = True

    def climb(self, now: float, made: bool) -> list[Rung | None]:
        """Take every step that is due, None for giving up, and set *due* to the time of the next.

        Args:
            made: whether the leaf is there yet, to take any step but the last.
        """
        taken: list[Rung | None] = []
        while True:
            self.due, step = self._next(now) if made else (inf if self.given_up else self._deadline + MAKE_SECONDS, None)
            if self.due > now:
                return taken
            taken.append(step)
            self._take(step, now)

    def _next(self, now: float) -> tuple[float, Rung | None]:
        if self.given_up:
            return inf, None
        if self.rung is Rung.KILL:
            return self._reap_at, None
        # A deadline that has passed leaves no time for the rungs below it.
        if self._kill_now or (self._deadline <= now and self._ladder is not Ladder.TASK):
            return now, Rung.KILL
        if self._asked_at is None:
            return (now, Rung.FINISH) if self.rung is None else (inf, None)
        if self.rung in (None, Rung.FINISH):
            return now, Rung.ASK
        if self.rung is Rung.ASK and self._ladder is not Ladder.COMMAND and self._deadline > now:
            return self._term_at(self._asked_at), Rung.TERM
        return self._deadline, None if self._ladder is Ladder.TASK else Rung.KILL

    def _term_at(self, asked_at: float) -> float:
        if self._deadline == inf:
            return inf
        half = (self._deadline - asked_at) / 2
        if self._acknowledged:
            return max(self._deadline - TERM_SECONDS, asked_at + half)
        return asked_at + min(ACK_SECONDS, half)

    def _take(self, step: Rung | None, now: float) -> None:
        if step is None:
            self.given_up = True
        else:
            self.rung = step
        if step is Rung.KILL:
            self._reap_at = now + REAP_SECONDS
