"""Hypothesis plays the world against the lifecycle machine: hooks return, raise, hang past their limit, call ``rejoin`` or
``force_finish``, and a stop may come at any moment. Every phase that was entered is left, in order, exactly once."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from asyncproc._core.lifecycle.action import (
    ACTIONS,
    END,
    FINISH,
    INTERRUPT,
    PREPARE,
    RUN,
    SETTLE,
    START,
    TELL_READY,
    UNWIND_LOOP,
    UNWIND_START,
    Action,
)
from asyncproc._core.lifecycle.event import (
    BEGUN,
    CLOSE_ASKED,
    CUT,
    DISMISSED,
    FAILED,
    FORCED,
    RETURNED,
    STOP_ASKED,
    TIME_UP,
    Event,
)
from asyncproc._core.lifecycle.machine import LifecycleMachine

EXAMPLES = 300
REACHED: set[tuple[Action | None, Event, Action]] = set()
IN_LOOP = (PREPARE, RUN, SETTLE)
LEGAL = {
    (None, BEGUN, START),
    *((START, RETURNED, after) for after in (PREPARE, FINISH)),
    *((START, error, UNWIND_START) for error in (FAILED, CUT)),
    (START, FORCED, FINISH),
    (PREPARE, RETURNED, RUN),
    (RUN, RETURNED, SETTLE),
    *((SETTLE, RETURNED, after) for after in (PREPARE, FINISH)),
    *((doing, error, UNWIND_LOOP) for doing in IN_LOOP for error in (FAILED, CUT, FORCED)),
    *((UNWIND_LOOP, event, FINISH) for event in (RETURNED, FAILED, CUT, FORCED)),
    *((UNWIND_LOOP, event, PREPARE) for event in (RETURNED, FAILED)),
    (START, DISMISSED, END),
    (PREPARE, DISMISSED, FINISH),
    *((doing, event, END) for doing in (FINISH, UNWIND_START) for event in (RETURNED, FAILED, CUT, FORCED)),
}
"""Every legal move: what was being done, what happened, what is done next."""


class World(RuleBasedStateMachine):
    """A driver that is honest, and hooks that are not."""

    @initialize()
    def begin(self) -> None:
        self.ended = True
        self.now = 0.0

    @precondition(lambda self: self.ended)
    @rule(loops=st.sampled_from([None, 2, 3, 1, 0]), retries=st.integers(0, 2), early=st.sampled_from([False, False, True]))
    def child_is_born(self, loops: int | None, retries: int, early: bool) -> None:
        self.machine = LifecycleMachine(loops, retries)
        self.loops = loops
        self.retries = retries
        self.asked = False
        self.inside: list[str] = []  # phases entered and not left, outermost first
        self.last: int | None = None  # the last loop that was begun
        self.repeated = 0
        self.ready = 0
        self.ended = False
        if early:
            self.ask(STOP_ASKED)
        self.tell(BEGUN)

    def tell(self, event: Event) -> None:
        before = self.machine.doing
        self.now += 1.0
        for wish in self.machine.handle(event, self.now):
            self.perform(wish, event)
            if wish not in (TELL_READY, INTERRUPT):
                REACHED.add((before, event, wish))

    def perform(self, wish: Action, event: Event) -> None:
        assert not self.ended, "nothing follows END"
        if wish is TELL_READY:
            self.ready += 1
            assert self.inside == ["start"]
        elif wish is START:
            assert self.inside == []
            self.inside.append("start")
        elif wish is PREPARE:
            assert self.inside == ["start"]
            self.inside.append("loop")
            number = self.machine.number
            if number == self.last:
                self.repeated += 1
                assert self.repeated <= self.retries
                assert not self.asked, "asked to end, it does not try again"
            else:
                assert number == (self.last or 0) + 1
                assert self.loops is None or number <= self.loops
                assert not self.asked, "asked to end, it begins no loop"
            self.last = number
        elif wish in (RUN, SETTLE):
            assert self.inside == ["start", "loop"]
            if wish is SETTLE:
                self.settling = True
        elif wish is UNWIND_LOOP:
            assert self.inside == ["start", "loop"]
        elif wish is FINISH:
            assert self.inside == ["start"]
        elif wish is UNWIND_START:
            assert self.inside == ["start"]
            assert self.last is None
        elif wish is END:
            assert self.inside == []
            self.ended = True

    def leave(self, event: Event) -> None:
        """What the doing leaves, when it has ended so."""
        doing = self.machine.doing
        if (doing is SETTLE and event is RETURNED) or doing is UNWIND_LOOP:
            assert self.inside.pop() == "loop"
        elif doing in (FINISH, UNWIND_START):
            assert self.inside.pop() == "start"

    def hook_ends(self, event: Event) -> None:
        self.leave(event)
        self.tell(event)

    @precondition(lambda self: not self.ended)
    @rule(times=st.integers(1, 3))
    def hooks_return(self, times: int) -> None:
        for _ in range(times):
            if not self.ended:
                self.hook_ends(RETURNED)

    @precondition(lambda self: not self.ended)
    @rule()
    def hook_fails(self) -> None:
        self.hook_ends(FAILED)

    @precondition(lambda self: not self.ended)
    @rule()
    def hook_is_cut(self) -> None:
        self.hook_ends(CUT)

    @precondition(lambda self: not self.ended)
    @rule()
    def hook_forces_the_end(self) -> None:
        self.hook_ends(FORCED)

    @precondition(lambda self: not self.ended and self.machine.doing in (START, PREPARE))
    @rule()
    def parent_dismisses(self) -> None:
        """Who held it there lets it go to its end."""
        self.inside.pop()
        self.asked = True
        self.tell(DISMISSED)

    @precondition(lambda self: not self.ended)
    @rule(swallowed=st.booleans())
    def hook_hangs(self, swallowed: bool) -> None:
        """Its limit passes; the interruption may be swallowed, then it returns."""
        assert self.machine.handle(TIME_UP, self.now) == (INTERRUPT,)
        self.hook_ends(RETURNED if swallowed else FAILED)

    @precondition(lambda self: hasattr(self, "machine"))
    @rule(event=st.sampled_from([CLOSE_ASKED, STOP_ASKED]), really=st.sampled_from([True, False, False]))
    def somebody_asks(self, event: Event, really: bool) -> None:
        """From inside or outside, before, during and after; not so often that no life would come to its second loop."""
        if really:
            self.ask(event)

    def ask(self, event: Event) -> None:
        doing = self.machine.doing
        wishes = self.machine.handle(event, self.now)
        cuts = event is STOP_ASKED and (doing is START or (doing in IN_LOOP and self.loops == 1))
        assert wishes == ((INTERRUPT,) if cuts else ())
        self.asked = True
        assert self.machine.is_last_loop

    def teardown(self) -> None:
        """Whatever has happened: asked to end, it does, and has been ready at most once."""
        if self.ended:
            return
        self.ask(CLOSE_ASKED)
        for _ in range(8):
            if self.ended:
                break
            self.hook_ends(RETURNED)
        assert self.ended
        assert self.inside == []
        assert self.ready <= 1
        assert self.machine.times.count == self.machine.completed


@pytest.mark.slow
def test_lifecycle_against_the_world(capsys: pytest.CaptureFixture[str]) -> None:
    """Prints which legal moves it reached: all of them."""
    run_state_machine_as_test(
        World,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
        ),
    )
    with capsys.disabled():
        print(f"\nlifecycle: {len(REACHED & LEGAL)} of {len(LEGAL)} legal moves, {len(ACTIONS)} actions")
    assert REACHED == LEGAL
