"""Turns: one holder, in order of arrival, whatever crosses on its way."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from asyncproc._core.turns import Ended, Event, GaveUp, Gone, Grant, Refuse, Turn, Turns, Wanted

A, B, C = Turn("a", 1), Turn("b", 1), Turn("c", 1)


def after(*events: Event) -> tuple[Turns, list[object]]:
    """The lock after these events, and what followed from the last one."""
    turns = Turns()
    followed: list[object] = []
    for event in events:
        followed = list(turns.handle(event))
    return turns, followed


@pytest.mark.parametrize(
    ("events", "followed", "holder"),
    [
        ([Wanted(A)], [Grant(A)], A),
        ([Wanted(A), Wanted(B)], [], A),
        ([Wanted(A), Wanted(B, waits=False)], [Refuse(B)], A),
        ([Wanted(A, waits=False)], [Grant(A)], A),
        ([Wanted(A), Ended(A)], [], None),
        ([Wanted(A), Wanted(B), Wanted(C), Ended(A)], [Grant(B)], B),
        ([Wanted(A), Wanted(B), Ended(B)], [], A),
        ([Wanted(A), Wanted(B), GaveUp(B)], [Refuse(B)], A),
        ([Wanted(A), Wanted(B), GaveUp(A)], [Grant(B)], B),
        ([GaveUp(A)], [], None),
        ([GaveUp(A), Wanted(A)], [Refuse(A)], None),
        ([GaveUp(A), Wanted(A), Wanted(B)], [Grant(B)], B),
        ([GaveUp(A), Gone("a"), Wanted(A)], [Grant(A)], A),
        ([Wanted(A), Wanted(B), Gone("a")], [Grant(B)], B),
        ([Wanted(A), Wanted(B), Gone("b")], [Refuse(B)], A),
        ([Wanted(A), Wanted(Turn("a", 2)), Wanted(B), Gone("a")], [Refuse(Turn("a", 2)), Grant(B)], B),
        ([Gone("a")], [], None),
    ],
)
def test_what_follows(events: list[Event], followed: list[object], holder: Turn | None) -> None:
    """Each event in each place that it can find a turn in."""
    turns, found = after(*events)
    assert (found, turns.holder) == (followed, holder)


class World(RuleBasedStateMachine):
    """Askers want, end, give up and die in any order; a request and its giving up may overtake each other."""

    askers = st.sampled_from("abc")
    pick = st.integers(0, 1000)

    def __init__(self) -> None:
        super().__init__()
        self.turns = Turns()
        self.token = 0
        self.open: list[Turn] = []  # wanted and not settled, in order
        self.given_up: list[Turn] = []  # not heard of yet

    def take(self, event: Event) -> None:
        for action in self.turns.handle(event):
            assert action.turn in self.open
            if isinstance(action, Grant):
                assert action.turn == self.open[0]  # the first that is left
            else:
                self.open.remove(action.turn)

    def new(self, asker: str) -> Turn:
        self.token += 1
        return Turn(asker, self.token)

    @rule(asker=askers, waits=st.booleans())
    def want(self, asker: str, waits: bool) -> None:
        turn = self.new(asker)
        self.open.append(turn)
        self.take(Wanted(turn, waits))

    @rule(asker=askers)
    def give_up_unheard(self, asker: str) -> None:
        self.given_up.append(self.new(asker))
        self.take(GaveUp(self.given_up[-1]))

    @rule(pick=pick)
    def want_at_last(self, pick: int) -> None:
        if self.given_up:
            turn = self.given_up.pop(pick % len(self.given_up))
            self.open.append(turn)
            self.take(Wanted(turn))
            assert turn not in self.open

    @rule(pick=pick, ends=st.booleans())
    def finish(self, pick: int, ends: bool) -> None:
        if self.open:
            turn = self.open[0] if ends else self.open[pick % len(self.open)]
            if turn == self.turns.holder:
                self.open.remove(turn)
            self.take(Ended(turn) if ends else GaveUp(turn))
            assert turn not in self.open

    @rule(asker=askers)
    def die(self, asker: str) -> None:
        self.given_up = [turn for turn in self.given_up if turn.asker != asker]
        if self.turns.holder is not None and self.turns.holder.asker == asker:
            self.open.remove(self.turns.holder)
        dead = [turn for turn in self.open if turn.asker == asker]
        refused = [action.turn for action in self.turns.handle(Gone(asker)) if isinstance(action, Refuse)]
        assert refused == dead
        self.open = [turn for turn in self.open if turn.asker != asker]

    @invariant()
    def the_first_holds_it(self) -> None:
        assert self.turns.holder == (self.open[0] if self.open else None)
        assert list(self.turns.waiting) == self.open[1:]


def test_world() -> None:
    """Never two holders, never a free lock while somebody waits, never out of order."""
    run_state_machine_as_test(World, settings=settings(max_examples=60, stateful_step_count=30, deadline=None))
