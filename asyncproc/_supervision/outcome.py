"""What an end means to whoever awaits it: the result, or the exception that it is raised as."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asyncproc._core import options as kinds
from asyncproc._core.exit import Exit, Reason
from asyncproc._core.results import Results, failure_of, group_failure
from asyncproc._core.supervision.restart import limit_error
from asyncproc.errors import ChildTimeout, CommandError

if TYPE_CHECKING:
    from asyncproc._supervision.place import Place


def error_of(place: Place, exit: Exit) -> BaseException | None:
    """What ``await handle`` raises for this end; None when it gives a result."""
    if place.view.spent and place.view.exit is exit:
        return limit_error(place.path, place.limits, place.view.spent)
    if place.spec._asyncproc.kind in kinds.GROUPS:
        return _group_error(place, exit)
    if exit.ok:
        return None
    if place.spec._asyncproc.kind == kinds.COMMAND and exit.reason is Reason.CRASHED and exit.error is None:
        return _command_error(place, exit)
    error = failure_of(exit)
    if isinstance(error, ChildTimeout) and place.spec._asyncproc.kind == kinds.COMMAND:
        error.completed = place.result
    return error


def _group_error(place: Place, exit: Exit) -> BaseException | None:
    if exit.reason in (Reason.FINISHED, Reason.STOPPED):
        return None
    if exit.error is not None:  # a supervisor's own
        return exit.error
    if (culprit := place.member(place.view.culprit)) is not None:
        return _failure_below(culprit)
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
    return _Found(place).results()


class _Found:
    """What is below a group, by path relative to it: each group is looked through once, then taken over by its parent."""

    def __init__(self, group: Place) -> None:
        self._group = group
        self.values: dict[str, Any] = {}
        self.exits: dict[str, Exit] = {}
        self.errors: dict[str, BaseException] = {}
        for member in group.members:
            if member.spec._asyncproc.kind in kinds.GROUPS:
                self._add_group(member.view.name, member)
            else:
                self._add_leaf(member.view.name, member)

    def results(self) -> Results:
        view = self._group.view
        exit = view.exit
        # Without binding the members count rounds for themselves. A round that never began is none.
        rounds = max([view.round, *(member.view.round for member in self._group.members)])
        if exit is not None and exit.incarnation == 0:
            rounds = 0
        duration = exit.duration if exit is not None else 0.0
        return Results(self.values, self.exits, rounds=rounds, duration=duration, errors=self.errors)

    def _add_leaf(self, path: str, leaf: Place) -> None:
        exit = leaf.view.exit
        if exit is None:
            return
        self.exits[path] = exit
        if exit.ok:
            self.values[path] = leaf.result
        elif exit.failed and (error := error_of(leaf, exit)) is not None:
            self.errors[path] = error

    def _add_group(self, path: str, group: Place) -> None:
        exit = group.view.exit
        below = _Found(group)
        if exit is not None:
            self.exits[path] = exit
            if exit.reason is not Reason.SKIPPED:
                self.values[path] = below.results()
            if exit.error is not None:
                self.errors[path] = exit.error
        for mine, theirs in ((self.values, below.values), (self.exits, below.exits), (self.errors, below.errors)):
            for relative, found in theirs.items():
                mine[f"{path}/{relative}"] = found  # type: ignore[assignment]  # the same kind of value in both
