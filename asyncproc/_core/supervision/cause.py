"""Why a node ends before its work is done, and what that makes of its exit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncproc._core.exit import Exit, Reason
from asyncproc._core.supervision.action import Rung
from asyncproc._core.supervision.event import OWN
from asyncproc._core.supervision.plan import Ladder
from asyncproc._core.value import Value, replaced

if TYPE_CHECKING:
    from asyncproc._core.supervision.ladder import Descent

_SIGKILL = 9


class Cause(Value):
    """Why one node ends. The first cause stays: what comes later only hurries.

    Attributes:
        reason: of its exit.
        by: who asked, for people; None when nobody did.
        asked: whether somebody asked for it, rather than a failure or a timer; such a node takes no part in later rounds.
        error: what it is told as, of a group that fails by more than a member's failure.
    """

    reason: Reason
    by: str | None = None
    asked: bool = False
    error: BaseException | None = None


class Ending(Value):
    """An end for a whole subtree.

    Attributes:
        cause: for what runs.
        because: for what will never run, as its exit's ``asked_by``.
        grace: as in StopAsked.
    """

    cause: Cause
    because: str
    grace: float | None = OWN

    def leaves_nothing_of(self, later: Ending) -> bool:
        """Whether *later* is no news to who knows of this one: it does not hurry, and nobody asked for it who had not."""
        if later.cause.asked and not self.cause.asked:
            return False
        if later.grace is None or later.grace == self.grace:
            return True
        return self.grace is not None and OWN not in (self.grace, later.grace) and self.grace <= later.grace


def asked(by: str, grace: float | None) -> Ending:
    """For somebody who wants it."""
    return Ending(Cause(Reason.STOPPED, by, asked=True), by, grace)


def failure_of(path: str) -> Ending:
    """For the siblings of a member that has failed."""
    return Ending(Cause(Reason.STOPPED, f"failure of {path}"), path)


def shutdown_by(path: str) -> Ending:
    """For the siblings of an essential member that has ended well."""
    return Ending(Cause(Reason.STOPPED, f"end of {path}"), path)


def restart_with(path: str) -> Ending:
    """For what is to come back together with the node at *path*."""
    return Ending(Cause(Reason.STOPPED, f"restart of {path}"), path)


def restart_asked(by: str) -> Ending:
    """For one that somebody wants to be started anew."""
    return Ending(Cause(Reason.STOPPED, by), by)


def end_of(path: str, reason: Reason) -> Ending:
    """For what runs in a group that is ended for *reason*, e.g. because its time is over."""
    return Ending(Cause(Reason.STOPPED, f"{_WORD.get(reason, reason.value)} of {path}"), path)


_WORD = {Reason.TIMED_OUT: "timeout"}


def classed(raw: Exit, cause: Cause | None, descent: Descent | None, ladder: Ladder) -> Exit:
    """Class what was seen of a leaf's end by intent: unasked it stays what it is, asked for it is the cause's reason."""
    by_us = descent is not None and descent.rung is Rung.KILL and raw.signal is not None and int(raw.signal) == _SIGKILL
    killed = raw.killed or by_us
    if cause is None or _fails_on_its_own(raw, cause, ladder):
        return replaced(raw, killed=killed)
    return replaced(raw, killed=killed, reason=cause.reason, asked_by=cause.by)


def _fails_on_its_own(raw: Exit, cause: Cause, ladder: Ladder) -> bool:
    """Whether a leaf that is stopped only because of another's failure has one of its own, as in a task group.

    What cuts a child off (CancelledError, Stopping) is no Exception; a command's code after its signal says nothing, but one
    that could not be started never heard a signal.
    """
    if cause.asked or cause.reason is not Reason.STOPPED or (ladder is Ladder.COMMAND and raw.pid is not None):
        return False
    return raw.reason is Reason.CRASHED and isinstance(raw.error, Exception)
