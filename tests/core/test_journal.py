"""Events as plain data and back. That a replay leads to the same actions is in test_machine_stateful, for any history."""

from __future__ import annotations

import json
from signal import SIGTERM
from typing import TYPE_CHECKING

import pytest

from asyncproc._core.exit import Exit, Phase, Reason
from asyncproc._core.journal import RecordedError, RecordedInterrupt, encode, from_record, to_record
from asyncproc._core.supervision.action import Rung, Stop
from asyncproc._core.supervision.event import (
    Acknowledged,
    Added,
    Due,
    Exited,
    Forgotten,
    KillAsked,
    NodeId,
    Readied,
    RunAsked,
    Spawned,
    StopAsked,
    Timer,
    TimerFired,
)
from asyncproc._core.supervision.plan import Kind, Ladder, Overlap, Plan

if TYPE_CHECKING:
    from asyncproc._core.supervision.event import Event

NODE = NodeId(3)
PLAN = Plan("app", Kind.CONCURRENT, (Plan("a", ladder=Ladder.TASK, grace=None), Plan("b", timeout=1.0)), limit=1)


@pytest.mark.parametrize(
    "event",
    [
        Added(NODE, None, PLAN),
        RunAsked(NODE, None, binding=False),
        Spawned(NODE, 1, None),
        Readied(NODE, 1),
        Acknowledged(NODE, 1),
        Exited(NODE, 1, Exit("app", 1, Reason.LOST, signal=SIGTERM, phase=Phase.LOOP, stderr_tail="ä")),
        StopAsked(NODE, None, "manager.stop()"),
        KillAsked(NODE, "manager.kill()"),
        TimerFired(NODE, 1, Timer.REAP, 4),
        Forgotten(NODE),
        Added(NODE, None, Plan("app", overlap=Overlap.QUEUE, at_once=False)),
        Due(NODE, 7),
    ],
)
def test_event_comes_back_as_it_was(event: Event) -> None:
    """Through JSON, and a second time from what came back."""
    text = json.dumps(to_record(2.5, event))
    now, again = from_record(json.loads(text))
    assert (now, again) == (2.5, event)
    assert json.dumps(to_record(now, again)) == text


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (ValueError("boom"), RecordedError, "boom"),
        (SystemExit(3), RecordedInterrupt, "3"),
        (UnspeakableError(), RecordedError, ""),
    ],
)
def test_error_comes_back_as_a_stand_in(error: BaseException, kind: type[BaseException], text: str) -> None:
    """It is called the same, says the same, and is an Exception if the original was one."""
    record = to_record(0.0, Exited(NODE, 1, Exit("app", 1, Reason.CRASHED, error=error)))
    _, event = from_record(json.loads(json.dumps(record)))
    assert isinstance(event, Exited)
    stand_in = event.exit.error
    assert isinstance(stand_in, kind)
    assert (type(stand_in).__name__, str(stand_in)) == (type(error).__name__, text)


def test_error_of_the_system_keeps_its_number() -> None:
    """The machine looks at it: a replay decides the same."""
    exit = Exit("app", 1, Reason.CRASHED, error=OSError(11, "try again"))
    _, event = from_record(json.loads(json.dumps(to_record(0.0, Exited(NODE, 1, exit)))))
    assert isinstance(event, Exited)
    assert getattr(event.exit.error, "errno", None) == 11


def test_signal_keeps_its_name() -> None:
    """An exit from a journal explains itself as the original does."""
    exit = Exit("app", 1, Reason.CRASHED, signal=SIGTERM)
    _, event = from_record(to_record(0.0, Exited(NODE, 1, exit)))
    assert isinstance(event, Exited)
    assert event.exit.explain() == exit.explain()


def test_action_as_plain_data() -> None:
    """For comparing, and for people."""
    assert encode(Stop(NODE, 2, Rung.ASK)) == {"type": "Stop", "node": 3, "incarnation": 2, "rung": "ask"}
