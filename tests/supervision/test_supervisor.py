"""The driver with scripted children and a clock that goes when the test says so: rules on the clock, nothing waits."""

from __future__ import annotations

from typing import Any

import pytest

from asyncproc import Command, Coroutine, Process, Reason, Sequential, Spec, State, Thread
from asyncproc._core.supervision.action import Rung
from asyncproc._core.supervision.event import OWN
from asyncproc._supervision.group import handle_of
from asyncproc._supervision.place import Place
from asyncproc.testing import ScriptedChild
from tests.supervision.stage import Stage


async def nothing() -> None: ...


async def test_python_child_that_does_not_listen_gets_term_after_half_a_second() -> None:
    """Asked at 0, TERM at 0.5, KILL at the end of its grace, given up one second later."""
    stage = Stage()
    place = stage.run(Process(print))
    child = stage.engine.named("x")
    child.ready()
    stage.stop(place)
    assert child.rungs == [Rung.ASK]
    stage.clock.advance(0.49)
    assert child.rungs == [Rung.ASK]
    stage.clock.advance(0.02)
    assert child.rungs == [Rung.ASK, Rung.TERM]
    stage.clock.advance(4.48)
    assert child.rungs == [Rung.ASK, Rung.TERM]
    stage.clock.advance(0.02)
    assert child.rungs == [Rung.ASK, Rung.TERM, Rung.KILL]
    stage.clock.advance(0.9)
    assert not place.view.finished
    stage.clock.advance(0.2)
    assert place.view.finished
    assert place.left
    assert place.view.exit is not None
    assert (place.view.exit.reason, place.view.exit.killed) == (Reason.STOPPED, True)


async def test_python_child_that_listens_has_until_one_second_before_the_end() -> None:
    """The acknowledgement moves TERM back."""
    stage = Stage()
    place = stage.run(Process(print))
    child = stage.engine.named("x")
    child.ready()
    stage.stop(place)
    child.acknowledge()
    stage.clock.advance(3.9)
    assert child.rungs == [Rung.ASK]
    stage.clock.advance(0.2)
    assert child.rungs == [Rung.ASK, Rung.TERM]


@pytest.mark.parametrize(
    ("spec", "grace", "rungs"),
    [
        (Process(print), 0, [Rung.KILL]),
        (Process(print), None, [Rung.FINISH]),
        (Command("x"), OWN, [Rung.ASK, Rung.KILL]),
        (Command("x"), 0, [Rung.KILL]),
        (Thread(print), OWN, [Rung.ASK, Rung.TERM]),
        (Coroutine(nothing), OWN, [Rung.ASK, Rung.TERM]),
    ],
)
async def test_ladder_of_each_kind(spec: Spec[Any], grace: float | None, rungs: list[Rung]) -> None:
    """However long it takes."""
    stage = Stage()
    place = stage.run(spec)
    child = stage.engine.named("x")
    child.ready()
    stage.stop(place, grace)
    stage.clock.advance(5.5)
    assert child.rungs == rungs
    assert place.view.finished == (grace == 0 or spec._asyncproc.kind in ("thread", "coroutine"))


async def test_no_timer_is_left_after_an_end() -> None:
    """An idle tree has nothing that will wake it."""
    stage = Stage(ScriptedChild.ready)
    stage.run(Process(print, timeout=60.0))
    assert stage.clock.next_due is not None
    stage.engine.named("x").end()
    assert stage.clock.next_due is None


async def test_start_limit_is_over_when_it_is_ready() -> None:
    """A ready child has no timer."""
    stage = Stage()
    stage.run(Process(print))
    assert stage.clock.next_due is not None
    stage.engine.named("x").ready()
    assert stage.clock.next_due is None


async def test_child_that_is_never_ready_times_out() -> None:
    """After its start_timeout, by its ladder."""
    stage = Stage()
    place = stage.run(Process(print, start_timeout=2.0))
    child = stage.engine.named("x")
    child.spawn()
    stage.clock.advance(2.1)
    assert child.rungs == [Rung.ASK]
    child.end()
    assert place.view.exit is not None
    assert place.view.exit.reason is Reason.TIMED_OUT


async def test_events_come_in_order() -> None:
    """Every move, once, with its exit."""
    stage = Stage(ScriptedChild.ready)
    moves: list[tuple[str, State]] = []
    stage.supervisor.subscribers.append(lambda moved: moves.append((moved.path, moved.after)))
    stage.run(Sequential(Process(print, name="a"), Process(print, name="b")), "s")
    stage.engine.named("a").end()
    stage.engine.named("b").end()
    assert moves == [
        ("app/s", State.STARTING), ("app/s/a", State.STARTING), ("app/s/b", State.WAITING), ("app/s/a", State.RUNNING),
        ("app/s", State.RUNNING), ("app/s/a", State.ENDED), ("app/s/b", State.STARTING), ("app/s/b", State.RUNNING),
        ("app/s/b", State.ENDED), ("app/s", State.ENDED),
    ]  # fmt: skip


async def test_what_an_old_incarnation_says_is_not_heard() -> None:
    """Its mail and its exit are no longer anybody's."""
    stage = Stage(ScriptedChild.ready)
    place = stage.run(Process(print), rounds=2)
    first = stage.engine.children[0]
    first.end(result=1)
    second = stage.engine.children[1]
    first.say("late")
    first.end(Reason.CRASHED)
    assert place.view.incarnation == 2
    assert place.view.state is State.RUNNING
    second.say("now")
    second.end(result=2)
    handle = handle_of(stage.supervisor, place)
    assert await handle.receive() == "now"
    assert await handle == 2


async def test_callback_that_adds_to_the_tree_does_not_upset_it() -> None:
    """A start within a start is taken at once."""
    stage = Stage(ScriptedChild.ready)
    added: list[Place] = []
    stage.run(Process(print, started=lambda handle: added.append(stage.run(Process(print), "y"))))
    assert [child.order.name for child in stage.engine.children] == ["x", "y"]
    assert added[0].view.state is State.RUNNING
