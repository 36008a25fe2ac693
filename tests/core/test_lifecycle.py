"""The lifecycle machine: the path of a life, and every way off it."""

from __future__ import annotations

import pickle

import pytest

from asyncproc._core.lifecycle.action import (
    ACTIONS,
    AFTER_LOOP,
    BEFORE_LOOP,
    END,
    FINISH,
    INTERRUPT,
    ON_START,
    PREPARE,
    RUN,
    SETTLE,
    START,
    TELL_READY,
    UNWIND_LOOP,
    UNWIND_START,
)
from asyncproc._core.lifecycle.arguments import Arguments
from asyncproc._core.lifecycle.event import (
    BEGUN,
    CLOSE_ASKED,
    CUT,
    DISMISSED,
    EVENTS,
    FAILED,
    FORCED,
    RETURNED,
    STOP_ASKED,
    TIME_UP,
    Event,
)
from asyncproc._core.lifecycle.loop_times import RECENT, LoopReport, LoopTimes
from asyncproc._core.lifecycle.machine import LifecycleMachine
from asyncproc.errors import InternalError


def path(machine: LifecycleMachine, *events: Event) -> list[object]:
    """All wishes that these events lead to; each comes a second after the last."""
    return [wish for number, event in enumerate(events) for wish in machine.handle(event, float(number))]


@pytest.mark.parametrize(("loops", "count"), [(0, 0), (1, 1), (3, 3)])
def test_life_that_goes_well(loops: int, count: int) -> None:
    """Each loop has three phases; around them stand OnStart and OnFinish."""
    machine = LifecycleMachine(loops)
    wishes = path(machine, BEGUN, *[RETURNED] * (3 * count + 2))
    assert wishes == [START, TELL_READY, *[PREPARE, RUN, SETTLE] * count, FINISH, END]
    assert (machine.number, machine.completed, machine.times.count, machine.doing) == (count, count, count, None)


def test_endless_life_ends_after_the_loop_in_which_it_is_asked_to() -> None:
    """Whoever asks, and in whichever phase."""
    for asked in (CLOSE_ASKED, STOP_ASKED):
        machine = LifecycleMachine(None)
        assert not machine.is_last_loop
        wishes = path(machine, BEGUN, RETURNED, RETURNED, asked, RETURNED, RETURNED, RETURNED)
        assert wishes == [START, TELL_READY, PREPARE, RUN, SETTLE, FINISH, END]
        assert machine.is_last_loop


def test_stop_interrupts_what_does_not_loop() -> None:
    """And OnStart of anything; never what cleans up."""
    for loops, before, cut in [(1, 2, True), (2, 2, False), (None, 1, True), (2, 1, True), (1, 5, False)]:
        machine = LifecycleMachine(loops)
        path(machine, BEGUN, *[RETURNED] * (before - 1))
        assert machine.handle(STOP_ASKED, 9.0) == ((INTERRUPT,) if cut else ())
        assert machine.handle(CLOSE_ASKED, 9.0) == ()


def test_life_that_is_asked_to_end_before_it_began() -> None:
    """OnStart and OnFinish run, and no loop."""
    machine = LifecycleMachine(2)
    assert path(machine, STOP_ASKED, BEGUN, RETURNED, RETURNED) == [START, TELL_READY, FINISH, END]


@pytest.mark.parametrize("error", [FAILED, CUT])
def test_failed_on_start_is_only_unwound(error: Event) -> None:
    """OnFinish belongs to an OnStart that is through."""
    assert path(LifecycleMachine(), BEGUN, error, RETURNED) == [START, UNWIND_START, END]
    assert path(LifecycleMachine(), BEGUN, error, FAILED) == [START, UNWIND_START, END]


@pytest.mark.parametrize("steps", [2, 3, 4])
@pytest.mark.parametrize("error", [FAILED, CUT, FORCED])
def test_error_in_a_loop_is_unwound_and_finished(steps: int, error: Event) -> None:
    """Without AfterLoop, in whichever of the three phases."""
    machine = LifecycleMachine(5)
    wishes = path(machine, BEGUN, *[RETURNED] * (steps - 1), error, RETURNED, RETURNED)
    assert wishes == [START, TELL_READY, *[PREPARE, RUN, SETTLE][: steps - 1], UNWIND_LOOP, FINISH, END]


def test_force_finish_in_on_start_goes_to_on_finish() -> None:
    """Who ends it himself has decided that it is through."""
    assert path(LifecycleMachine(), BEGUN, FORCED, RETURNED) == [START, FINISH, END]


@pytest.mark.parametrize("error", [FAILED, CUT, FORCED])
def test_error_in_on_finish_ends(error: Event) -> None:
    """There is nothing left to be left."""
    assert path(LifecycleMachine(0), BEGUN, RETURNED, error) == [START, TELL_READY, FINISH, END]


def test_retry_repeats_the_same_loop() -> None:
    """As often as it may, and then the life ends."""
    machine = LifecycleMachine(2, retries=2)
    path(machine, BEGUN, RETURNED)
    for _ in range(2):
        assert path(machine, RETURNED, FAILED, RETURNED) == [RUN, UNWIND_LOOP, PREPARE]
        assert machine.number == 1
    assert path(machine, FAILED, RETURNED, RETURNED) == [UNWIND_LOOP, FINISH, END]


def test_what_is_no_failure_is_not_retried() -> None:
    """A cancellation, force_finish, a loop whose unwinding was cut, and one that is asked to end."""
    for events in (
        [CUT, RETURNED],
        [FORCED, RETURNED],
        [FAILED, CUT],
        [FORCED, FAILED],
        [FAILED, FORCED],
        [CLOSE_ASKED, FAILED, RETURNED],
    ):
        machine = LifecycleMachine(None, retries=3)
        path(machine, BEGUN, RETURNED)
        assert path(machine, *events)[-2:] == [UNWIND_LOOP, FINISH]


def test_error_while_unwinding_a_failure_does_not_forbid_the_retry() -> None:
    """It is one more failure of the same loop."""
    machine = LifecycleMachine(None, retries=1)
    assert path(machine, BEGUN, RETURNED, FAILED, FAILED)[-2:] == [UNWIND_LOOP, PREPARE]


def test_dismissed_before_a_loop_or_before_all() -> None:
    """The loop has not begun, and is not counted; of a life nothing has. One that was to be repeated had begun."""
    machine = LifecycleMachine(None)
    assert path(machine, BEGUN, RETURNED, DISMISSED, RETURNED) == [START, TELL_READY, PREPARE, FINISH, END]
    assert (machine.number, machine.closing) == (0, True)
    assert path(LifecycleMachine(), BEGUN, DISMISSED) == [START, END]
    again = LifecycleMachine(None, retries=1)
    assert path(again, BEGUN, RETURNED, FAILED, RETURNED, DISMISSED)[-2:] == [PREPARE, FINISH]
    assert again.number == 1
    with pytest.raises(InternalError, match="DISMISSED"):
        path(LifecycleMachine(), DISMISSED)


def test_limit_interrupts_whatever_runs() -> None:
    """And nothing when nothing does."""
    machine = LifecycleMachine(0)
    assert machine.handle(TIME_UP, 0.0) == ()
    path(machine, BEGUN)
    assert machine.handle(TIME_UP, 0.0) == (INTERRUPT,)


def test_driver_that_reports_what_cannot_be_is_told() -> None:
    """A bug of its own."""
    for events in ([RETURNED], [FAILED], [BEGUN, BEGUN]):
        with pytest.raises(InternalError, match="lifecycle"):
            path(LifecycleMachine(), *events)


def test_events_and_actions_have_names() -> None:
    """What a bug report shows."""
    assert repr(EVENTS[0]) == "BEGUN"
    assert {repr(action) for action in ACTIONS} >= {"START", "END"}


# --- keyword arguments ------------------------------------------------------------------------------------------------


def test_later_wins() -> None:
    """spec < OnStart < AfterLoop < BeforeLoop < gate."""
    arguments = Arguments({"a": "spec", "b": "spec", "c": "spec", "d": "spec", "e": "spec", "f": "spec"})
    arguments.add(ON_START, dict.fromkeys("bcdef", "start"))
    arguments.begin_loop()
    arguments.add(AFTER_LOOP, dict.fromkeys("cdef", "after"))
    arguments.begin_loop()
    arguments.add(BEFORE_LOOP, dict.fromkeys("def", "before"))
    arguments.add_from_gate(ON_START, dict.fromkeys("ef", "gate"))
    arguments.add_from_gate(BEFORE_LOOP, {"f": "gate now"})
    want = {"a": "spec", "b": "start", "c": "after", "d": "before", "e": "gate", "f": "gate now"}
    assert arguments.now() == want
    arguments.begin_loop()
    assert arguments.now() == {"a": "spec", **dict.fromkeys("bcd", "start"), "e": "gate", "f": "gate"}


def test_what_a_gate_gives_after_a_loop_is_for_the_next() -> None:
    """And for no other."""
    arguments = Arguments({})
    arguments.begin_loop()
    arguments.add_from_gate(AFTER_LOOP, {"x": 1})
    assert arguments.now() == {}
    arguments.begin_loop()
    assert arguments.now() == {"x": 1}
    arguments.begin_loop()
    assert arguments.now() == {}
    arguments.add("on_finish", {"x": 1})
    arguments.add_from_gate("on_finish", {"x": 1})
    assert arguments.now() == {}


# --- loop times -------------------------------------------------------------------------------------------------------


def test_report_tells_of_all_loops_and_takes_the_median_of_the_last() -> None:
    """Bounded, however many there are."""
    times = LoopTimes()
    assert times.report("none") == LoopReport("none", 0, 0.0, 0.0, 0.0, 0.0, 0.0)
    assert str(times.report("none")) == "none: no loops"
    for seconds in (3.0, 1.0):
        times.add(seconds)
    one = LoopTimes()
    one.add(2.0)
    assert one.report("x").median == 2.0
    assert times.report("x") == LoopReport("x", 2, 4.0, 2.0, 1.0, 3.0, 1.0)
    for _ in range(RECENT):
        times.add(0.002)
    report = times.report("x")
    assert (report.count, report.median, report.slowest, report.fastest, report.last) == (RECENT + 2, 0.002, 3.0, 0.002, 0.002)
    assert report.mean == report.total / report.count
    times.add(0.00001)
    assert str(times.report("x")).startswith(
        "x: 1003 loops in 6.00 s; mean 5.98 ms, median 2.00 ms, fastest 10.0 us, slowest 3.00"
    )


def test_report_is_a_value() -> None:
    """It pickles, compares, hashes, shows itself, and cannot be changed."""
    report = LoopReport("x", 2, 4.0, 2.0, 1.0, 3.0, 1.0)
    assert pickle.loads(pickle.dumps(report)) == report
    assert hash(report) == hash(pickle.loads(pickle.dumps(report)))
    assert report != 3
    assert repr(report) == "LoopReport('x', count=2, fastest=1, last=1, mean=2, median=2, slowest=3, total=4)"
    with pytest.raises(AttributeError, match="read-only"):
        report.count = 3
    assert str(LoopTimes().report("x")) == "x: no loops"
