"""What a start that has come to nothing is raised as, by whoever waits for the node to be ready."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncproc._core.exit import Reason
from asyncproc._core.supervision.state import State
from asyncproc._supervision.outcome import error_of
from asyncproc.errors import ChildError, ChildStopped, StartFailed

if TYPE_CHECKING:
    from asyncproc._core.exit import Exit
    from asyncproc._supervision.place import Place


def raise_start_failure(place: Place) -> None:
    """Raise what it has failed by, unless it is ready, or has ended well before.

    Raises:
        StartFailed: it ended badly before; ``__cause__`` is its exception. ChildStopped: it was asked to end before.
    """
    exit = None if place.view.state in (State.RUNNING, State.STARTING) else place.view.exit
    if exit is None or place.view.ready or (exit.reason is Reason.FINISHED and not place.view.plan.says_ready):
        return
    place.awaited = True
    error = error_of(place, exit)
    if error is None:
        if place.view.plan.says_ready:
            raise StartFailed(_text(place, exit), exit)
        return
    if exit.reason is Reason.STOPPED and not isinstance(error, ChildError):  # what it had failed by before it was stopped
        raise ChildStopped(exit.explain(), exit) from error
    if not exit.failed or isinstance(error, StartFailed):  # a supervisor has said which member it was
        raise error
    raise StartFailed(_text(place, exit), exit) from error


def _text(place: Place, exit: Exit) -> str:
    text = f"{exit.path} ended before it was ready: {exit.explain()}"
    if not place.view.ready and (unsaid := _unsaid(place)):
        text = f"{text} ({unsaid})"
    tail = exit.stderr_tail.strip()
    return f"{text}\nlast lines of its standard error:\n{tail}" if tail else text


def _unsaid(place: Place) -> str | None:
    """Why it was not ready, of one whose spec says how that is found."""
    if place.health is not None and place.health.says_ready:
        return place.health.unsaid
    return _NEVER.get(str(place.spec._asyncproc.options.get("ready")))


_NEVER = {
    "call": "it never called ready()",
    "notify": "it never sent READY=1, nor a newline on descriptor 3",
}
