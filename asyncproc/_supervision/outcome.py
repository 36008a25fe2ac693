"""What an end means to whoever awaits it: the result, or the exception that it is raised as."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asyncproc._core import options as kinds
from asyncproc._core.exit import Exit, Reason
from asyncproc._core.results import Results, failure_of, group_failure
from asyncproc.errors import CommandError

if TYPE_CHECKING:
    from asyncproc._supervision.place import Place


def error_of(place: Place, exit: Exit) -> BaseException | None:
    """What ``await handle`` raises for this end; None when it gives a result."""
    if place.spec._asyncproc.kind in kinds.GROUPS:
        return _group_error(place, exit)
    if exit.ok:
        return None
    if place.spec._asyncproc.kind == kinds.COMMAND and exit.reason is Reason.CRASHED and exit.error is None:
        return _command_error(place, exit)
    return failure_of(exit)


def _group_error(place: Place, exit: Exit) -> BaseException | None:
    if exit.reason in (Reason.FINISHED, Reason.STOPPED):
        return None
    if exit.reason is Reason.CRASHED:
        return group_failure(exit.path, [error for member in place.members if (error := _failure_below(member)) is not None])
    return failure_of(exit)


def _failure_below(place: Place) -> BaseException | None:
    exit = place.view.exit
    return error_of(place, exit) if exit is not None and exit.failed else None


def _command_error(place: Place, exit: Exit) -> CommandError:
    from asyncproc._spec.command import Command

    assert isinstance(place.spec, Command)
    text = f"{exit.explain()}: {place.spec.shown_argv}"
    tail = exit.stderr_tail.strip()
    if tail:
        text = f"{text}\nlast lines of its standard error:\n{tail}"
    return CommandError(text, exit, place.spec.argv, place.result)


def results_of(place: Place) -> Results:
    """The results of a group and all below it, by path relative to it."""
    found = _Found(len(place.path) + 1)
    for member in place.members:
        found.collect(member)
    exit = place.view.exit
    duration = exit.duration if exit is not None else 0.0
    return Results(found.values, found.exits, rounds=place.view.round, duration=duration, errors=found.errors)


class _Found:
    """What is below a group, by path relative to it."""

    def __init__(self, cut: int) -> None:
        self._cut = cut
        self.values: dict[str, Any] = {}
        self.exits: dict[str, Exit] = {}
        self.errors: dict[str, BaseException] = {}

    def collect(self, place: Place) -> None:
        path = place.path[self._cut :]
        exit = place.view.exit
        group = place.spec._asyncproc.kind in kinds.GROUPS
        if exit is not None:
            self.exits[path] = exit
            if group and exit.reason is not Reason.SKIPPED:
                self.values[path] = results_of(place)
            elif not group and exit.ok:
                self.values[path] = place.result
            elif not group and exit.failed and (error := error_of(place, exit)) is not None:
                self.errors[path] = error
        for member in place.members:
            self.collect(member)
