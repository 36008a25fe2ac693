"""Facts as one line of text each, for people: all that is shown without a terminal, and what stands above a picture on one."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path

from asyncproc._core.supervision.state import State
from asyncproc._observe.facts import Fact, Moved, Outcome, Signalled
from asyncproc._observe.lines import Line, escape
from asyncproc._observe.render import named
from asyncproc.errors import RemoteError

HEADING = "Traceback (most recent call last):"
OURS = f'  File "{Path(__file__).parents[1]}/'
TRACEBACK_LINES = 60
"""Lines of one traceback that are shown; of a longer one the last."""


def event_text(moved: Moved) -> str:
    """One move in one line; an end is explained."""
    transition = moved.transition
    if transition.exit is not None:
        return transition.exit.explain()
    pid = f", pid {moved.pid}" if moved.pid is not None and transition.after is State.RUNNING else ""
    round = f", round {moved.round}" if moved.round > 1 and transition.after is State.STARTING else ""
    return f"{transition.path} {transition.after.value}{pid}{round}"


def signal_text(signalled: Signalled) -> str:
    """What a signal has begun, and what the next one will do."""
    if signalled.count > 1:
        return f"{signalled.name}: killing {named(signalled.waiting)}" if signalled.waiting else f"{signalled.name}: killing"
    waiting = f", waiting for {named(signalled.waiting)}" if signalled.waiting else ""
    return f"{signalled.name}: stopping{waiting} (once more kills)"


def told(fact: Fact) -> Iterator[tuple[str, bool]]:
    """The lines that a fact makes when every event is told, each with whether it is bad news."""
    if isinstance(fact, Moved):
        yield escape(event_text(fact), colours=False), fact.transition.exit is not None and fact.transition.exit.failed
    elif isinstance(fact, Signalled):
        yield escape(signal_text(fact), colours=False), False
    elif isinstance(fact, Outcome):
        yield escape(fact.text, colours=False), fact.code != 0


def traceback_lines(fact: Fact) -> list[Line]:
    """Where the error came from that ended a node, as lines of this node; none for an end without one."""
    exit = fact.transition.exit if isinstance(fact, Moved) else None
    if exit is None or exit.error is None or not exit.failed:
        return []
    lines = _without_ours(_traceback_of(exit.error).rstrip().splitlines())
    return [Line(exit.path, "stderr", line) for line in lines[-TRACEBACK_LINES:]]


def _without_ours(lines: list[str]) -> list[str]:
    """A traceback without the frames of ours that it begins with: they explain nothing. All of it, if there are no others."""
    if lines[:1] != [HEADING]:
        return lines
    cut = 1
    while cut < len(lines) and lines[cut].startswith(OURS):
        cut += 1
        while cut < len(lines) and lines[cut].startswith("    "):
            cut += 1
    return [HEADING, *lines[cut:]] if cut < len(lines) and lines[cut].startswith("  ") else []


def _traceback_of(error: BaseException) -> str:
    if isinstance(error.__cause__, RemoteError) and error.__cause__.traceback:
        return error.__cause__.traceback
    if isinstance(error, RemoteError):
        return error.traceback
    if error.__traceback__ is None:
        return ""
    try:
        return "".join(traceback.format_exception(error))
    except Exception:  # a user's __str__ may raise
        return ""
