"""What is logged of failures that a supervisor takes care of: the first at once, then one line for all of an interval."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from asyncproc._core.exit import Reason
from asyncproc._core.supervision.plan import Kind
from asyncproc._core.supervision.state import State

if TYPE_CHECKING:
    from asyncproc._core.exit import Exit
    from asyncproc._core.supervision.action import Move
    from asyncproc._supervision.place import Place
    from asyncproc.abc import Alarm, Clock

log = logging.getLogger("asyncproc")

INTERVAL = 1.0
"""Seconds that one line stands for."""
LATER = "then, in "
"""How the notes begin that a child's error has of what went wrong in later phases."""


class CrashLog:
    """Failures of members of supervisors, and of whatever else is restarted.

    Args:
        name: of the tree.
    """

    def __init__(self, clock: Clock, name: str) -> None:
        self._clock = clock
        self._name = name
        self._alarm: Alarm | None = None
        self._count = 0
        self._paths: set[str] = set()
        self._last: Exit | None = None

    def note(self, place: Place, move: Move) -> None:
        """A node has moved to its end, or to the rest before its next start."""
        exit = move.exit
        rests = place.view.asleep
        if exit is None or not exit.failed or not (move.after is State.BACKOFF or rests or _is_supervised(place)):
            return
        if self._alarm is not None:
            self._count += 1
            self._paths.add(place.path)
            self._last = exit
            return
        again = "; it will be started again" if move.after is State.BACKOFF else "; it waits for its next time" if rests else ""
        log.warning("%s%s", exit.explain(), again)
        self._rest()

    def _rest(self) -> None:
        self._alarm = self._clock.call_at(self._clock.now() + INTERVAL, self._interval_over)

    def _interval_over(self) -> None:
        self._alarm = None
        if self._tell():
            self._rest()

    def _tell(self) -> bool:
        if self._last is None:
            return False
        said = (self._name, self._count, len(self._paths), self._last.explain())
        log.warning("%s: %d more failures, nodes: %d; the last: %s", *said)
        self._count, self._last = 0, None
        self._paths.clear()
        return True

    def close(self) -> None:
        """Tell what was not told yet."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._tell()


def _is_supervised(place: Place) -> bool:
    return place.member_of is not None and place.member_of.view.plan.kind is Kind.SUPERVISOR


def clean_up_failure(exit: Exit) -> str | None:
    """What went wrong in the user's code while a child was being stopped: that is no failure of the child, but to be told."""
    if exit.reason is not Reason.STOPPED or exit.error is None or exit.phase is None:
        return None
    own = [f"in {exit.phase.value}: {type(exit.error).__name__}: {exit.error}"] if isinstance(exit.error, Exception) else []
    return "; ".join([*own, *(note for note in getattr(exit.error, "__notes__", ()) if note.startswith(LATER))])
