"""How an end is classed and told."""

from __future__ import annotations

from signal import SIGKILL, SIGTERM
from typing import Any

import pytest

from asyncproc._core.completed import Completed
from asyncproc._core.exit import Exit, Phase, Reason
from asyncproc._core.stop_report import StopReport
from asyncproc._core.supervision.state import State
from asyncproc._core.transition import Transition
from asyncproc.errors import Stopping


def ended(reason: Reason, **facts: Any) -> Exit:
    return Exit("app/x", 1, reason, **facts)


@pytest.mark.parametrize(
    ("exit", "ok", "failed"),
    [
        (ended(Reason.FINISHED), True, False),
        (ended(Reason.STOPPED), True, False),
        (ended(Reason.STOPPED, signal=SIGTERM), False, False),
        (ended(Reason.STOPPED, error=Stopping()), False, False),
        (ended(Reason.STOPPED, killed=True), False, False),
        (ended(Reason.SKIPPED), False, False),
        (ended(Reason.CRASHED), False, True),
        (ended(Reason.LOST), False, True),
        (ended(Reason.TIMED_OUT), False, True),
    ],
)
def test_classes(exit: Exit, ok: bool, failed: bool) -> None:
    """Well, cut off and failed are three things."""
    assert (exit.ok, exit.failed) == (ok, failed)


@pytest.mark.parametrize(
    ("exit", "text"),
    [
        (ended(Reason.FINISHED, duration=1.5), "app/x finished, after 1.50 s"),
        (ended(Reason.CRASHED, code=3, stderr_tail="one\ntwo\n"), "app/x crashed, with code 3, last words: two, after 0.00 s"),
        (ended(Reason.CRASHED, signal=SIGKILL), "app/x crashed, by signal SIGKILL, after 0.00 s"),
        (ended(Reason.STOPPED, asked_by="me", killed=True), "app/x was stopped, asked by me, had to be killed, after 0.00 s"),
        (ended(Reason.STOPPED, asked_by="me", code=1, error=Stopping("x")), "app/x was stopped, asked by me, after 0.00 s"),
        (Exit("app/x", 0, Reason.SKIPPED, asked_by="app/y"), "app/x was skipped, because of app/y"),
        (
            ended(Reason.CRASHED, error=ValueError("bad\nworse"), phase=Phase.ON_START, loop=2),
            "app/x crashed, ValueError: bad, in on_start, in loop 2, after 0.00 s",
        ),
        (ended(Reason.CRASHED, error=ValueError(), peak_memory=3 << 20), "app/x crashed, ValueError, after 0.00 s, peak 3 MiB"),
    ],
)
def test_explains_in_one_line(exit: Exit, text: str) -> None:
    """Cause, signal or exception, last words, and for how long."""
    assert exit.explain() == text


def test_explains_an_error_that_cannot_be_told() -> None:
    """A user's __str__ may raise."""

    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    assert ended(Reason.CRASHED, error=Mute()).explain() == "app/x crashed, Mute, after 0.00 s"


def test_values_are_values() -> None:
    """They compare by what they hold."""
    assert Completed(("a",), 0, "", "", 0.0, 0.0, 0, False) == Completed(("a",), 0, "", "", 0.0, 0.0, 0, False)
    assert StopReport((), (), (), 0.0) == StopReport((), (), (), 0.0)
    moved = Transition("app", 1, State.STARTING, State.RUNNING, 0.0)
    assert moved == Transition("app", 1, State.STARTING, State.RUNNING, 0.0)
