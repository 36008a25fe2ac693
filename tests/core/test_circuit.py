"""The rules of a circuit: what trips it, who is let in, what closes it, and that nothing hangs."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncproc._core.backoff import Backoff
from asyncproc._core.circuit import (
    Action,
    Admit,
    Asked,
    CircuitMachine,
    CircuitState,
    Event,
    Failed,
    GaveUp,
    Refuse,
    Reported,
    Reset,
    Rules,
    Succeeded,
    Tell,
    Tripped,
)

CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN
EXACT = Backoff(first=1.0, cap=8.0, factor=2.0, jitter=None, stable_after=60.0)


def circuit(threshold: int = 2, period: float = 10.0, backoff: Backoff | None = EXACT, trials: int = 1) -> CircuitMachine:
    return CircuitMachine(Rules(threshold, period, backoff, trials))


def after(machine: CircuitMachine, *happened: tuple[Event, float]) -> list[list[Action]]:
    return [machine.handle(event, now) for event, now in happened]


# --- closed -----------------------------------------------------------------------------------------------------------------


def test_closed_lets_everybody_in() -> None:
    """And nothing follows from a success."""
    machine = circuit()
    assert after(machine, (Asked(1), 0.0), (Asked(2), 0.0), (Succeeded(1, 0), 1.0)) == [
        [Admit(0, False)],
        [Admit(0, False)],
        [],
    ]
    assert (machine.state(1.0), machine.failures(1.0), machine.patience(1.0)) == (CLOSED, 0, 0.0)


def test_so_many_failures_within_the_period_trip_it() -> None:
    """The threshold itself does."""
    machine = circuit(threshold=3)
    assert after(machine, (Failed(1, 0), 0.0), (Failed(2, 0), 5.0)) == [[], []]
    assert (machine.state(5.0), machine.failures(5.0)) == (CLOSED, 2)
    assert after(machine, (Failed(3, 0), 10.0)) == [[Tell()]]  # one exactly a period old still counts
    assert (machine.state(10.0), machine.failures(10.0), machine.trips, machine.retry_at) == (OPEN, 3, 1, 11.0)


def test_failures_further_apart_do_not() -> None:
    """Those older than the period are forgotten."""
    machine = circuit()
    after(machine, (Failed(1, 0), 0.0), (Failed(2, 0), 10.1), (Failed(3, 0), 20.2))
    assert (machine.state(20.2), machine.failures(20.2), machine.failures(31.0)) == (CLOSED, 1, 0)


def test_a_failure_seen_elsewhere_counts_like_one_of_a_call() -> None:
    """fail() counts where it can change something."""
    machine = circuit()
    assert after(machine, (Reported(), 0.0), (Reported(), 0.0), (Reported(), 0.5)) == [[], [Tell()], []]
    assert (machine.state(0.5), machine.trips) == (OPEN, 1)
    assert after(machine, (Reported(), 1.0)) == [[Tell()]]  # half-open by now
    assert (machine.trips, machine.retry_at) == (2, 3.0)


# --- open -------------------------------------------------------------------------------------------------------------------


def test_open_refuses_and_says_until_when() -> None:
    """By hand, too; a second wish of the same kind changes nothing."""
    machine = circuit()
    assert after(machine, (Tripped(), 0.0), (Tripped(), 0.5), (Asked(1), 0.9)) == [[Tell()], [], [Refuse(1.0)]]
    assert (machine.state(0.9), machine.trips) == (OPEN, 1)
    assert machine.patience(0.75) == 0.25


def test_what_was_let_in_before_the_trip_says_nothing_after_it() -> None:
    """Neither a success nor a failure."""
    machine = circuit()
    after(machine, (Asked(1), 0.0), (Asked(2), 0.0), (Tripped(), 0.0))
    assert after(machine, (Succeeded(1, 0), 0.5), (Failed(2, 0), 1.5)) == [[], []]
    assert (machine.state(1.5), machine.trips) == (HALF_OPEN, 1)


def test_without_backoff_it_stays_open_until_it_is_reset() -> None:
    """However late it is."""
    machine = circuit(backoff=None)
    after(machine, (Tripped(), 0.0))
    assert (machine.handle(Asked(1), 1e9), machine.state(1e9)) == ([Refuse(inf)], OPEN)
    assert after(machine, (Reset(), 1e9), (Asked(2), 1e9)) == [[Tell()], [Admit(2, False)]]
    assert (machine.state(1e9), machine.trips) == (CLOSED, 1)


# --- half-open --------------------------------------------------------------------------------------------------------------


def test_half_open_lets_one_in_and_its_success_closes_it() -> None:
    """All failures are forgotten then."""
    machine = circuit()
    after(machine, (Tripped(), 0.0))
    assert after(machine, (Asked(1), 1.0), (Asked(2), 1.0)) == [[Admit(1, True)], [Refuse(2.0)]]
    assert machine.state(1.0) is HALF_OPEN
    assert after(machine, (Succeeded(1, 1), 1.5), (Asked(3), 1.5)) == [[Tell()], [Admit(2, False)]]
    assert (machine.state(1.5), machine.failures(1.5)) == (CLOSED, 0)


def test_failed_trial_opens_it_for_longer() -> None:
    """Up to the cap."""
    machine = circuit()
    now, waits = 0.0, []
    machine.handle(Tripped(), now)
    for token in range(5):
        waits.append(machine.patience(now))
        now = machine.retry_at
        machine.handle(Asked(token), now)
        assert machine.handle(Failed(token, token + 1), now) == [Tell()]
    assert (waits, machine.trips) == ([1.0, 2.0, 4.0, 8.0, 8.0], 6)


def test_several_trials_at_once() -> None:
    """The first outcome decides, what the others say is left aside."""
    machine = circuit(trials=2)
    after(machine, (Tripped(), 0.0))
    found = after(machine, (Asked(1), 1.0), (Asked(2), 1.0), (Asked(3), 1.0), (Failed(2, 1), 1.0), (Succeeded(1, 1), 1.0))
    assert found == [[Admit(1, True)], [Admit(1, True)], [Refuse(2.0)], [Tell()], []]
    assert (machine.state(1.0), machine.retry_at) == (OPEN, 3.0)


def test_outcome_of_who_was_never_let_in_decides_nothing() -> None:
    """Of this era or another."""
    machine = circuit()
    after(machine, (Tripped(), 0.0), (Asked(1), 1.0))
    assert after(machine, (Succeeded(7, 1), 1.0), (Failed(7, 1), 1.0), (GaveUp(7), 1.0)) == [[], [], []]
    assert machine.state(1.0) is HALF_OPEN


def test_cancelled_trial_leaves_its_place_to_the_next() -> None:
    """At once, and nothing is decided."""
    machine = circuit()
    after(machine, (Tripped(), 0.0), (Asked(1), 1.0))
    assert after(machine, (GaveUp(1), 1.25), (Asked(2), 1.25)) == [[Tell()], [Admit(1, True)]]
    assert (machine.trips, machine.state(1.25)) == (1, HALF_OPEN)


def test_trial_that_is_never_heard_of_hangs_nothing() -> None:
    """After as long as it was open, another is let in; when that gives up, the first still has its place."""
    machine = circuit()
    after(machine, (Tripped(), 0.0), (Asked(1), 1.0))
    assert after(machine, (Asked(2), 1.9), (Asked(3), 2.0), (Asked(4), 2.0)) == [[Refuse(2.0)], [Admit(1, True)], [Refuse(3.0)]]
    assert after(machine, (GaveUp(3), 2.5), (Asked(5), 2.5)) == [[Tell()], [Refuse(3.0)]]
    assert after(machine, (Succeeded(1, 1), 2.5)) == [[Tell()]]
    assert machine.state(2.5) is CLOSED


# --- how long it stays open -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("again", "stays"), [(30.0, 2.0), (61.0, 1.0)])
def test_closed_long_enough_it_begins_with_the_first_delay(again: float, stays: float) -> None:
    """A success alone does not: one that closes and trips again and again stays open for longer and longer."""
    machine = circuit()
    after(machine, (Tripped(), 0.0), (Asked(1), 1.0), (Succeeded(1, 1), 1.0), (Tripped(), again))
    assert machine.retry_at == again + stays


def test_reset_begins_with_the_first_delay() -> None:
    """And closes it, whatever it was; calls from before it say nothing any more."""
    machine = circuit()
    after(machine, (Tripped(), 0.0), (Asked(1), 1.0), (Failed(1, 1), 1.0), (Reset(), 1.5))
    assert (machine.state(1.5), machine.trips) == (CLOSED, 2)
    after(machine, (Tripped(), 2.0))
    assert machine.retry_at == 3.0
    closed = circuit(threshold=1)
    after(closed, (Asked(1), 0.0), (Reset(), 0.0), (Failed(1, 0), 0.0))
    assert closed.state(0.0) is CLOSED


@pytest.mark.parametrize(("chance", "stays"), [(0.0, 0.0), (0.25, 0.25), (1.0, 1.0)])
def test_with_jitter_chance_decides_within_the_bounds(chance: float, stays: float) -> None:
    """The number is handed in."""
    machine = circuit(backoff=Backoff(first=1.0, jitter="full"))
    machine.handle(Tripped(), 5.0, chance)
    assert machine.retry_at == 5.0 + stays


# --- whatever happens -------------------------------------------------------------------------------------------------------

TOKENS = st.integers(0, 5)
ERAS = st.integers(0, 12)
EVENTS = st.one_of(
    st.builds(Asked, TOKENS), st.builds(Succeeded, TOKENS, ERAS), st.builds(Failed, TOKENS, ERAS), st.builds(GaveUp, TOKENS),
    st.just(Reported()), st.just(Tripped()), st.just(Reset()),
)  # fmt: skip
STORIES = st.lists(st.tuples(EVENTS, st.floats(0.0, 5.0), st.floats(0.0, 1.0)), max_size=40)


@pytest.mark.slow
@given(STORIES, st.integers(1, 3), st.integers(1, 3))
@settings(max_examples=100, deadline=None)
def test_it_replays_and_never_hangs(story: list[tuple[Event, float, float]], threshold: int, trials: int) -> None:
    """The same journal gives the same answers, and after the longest delay somebody is always let in."""
    backoff = Backoff(first=1.0, cap=8.0, stable_after=20.0)
    first, second = circuit(threshold, 10.0, backoff, trials), circuit(threshold, 10.0, backoff, trials)
    now, trips = 0.0, 0
    for event, passed, chance in story:
        now += passed
        assert first.handle(event, now, chance) == second.handle(event, now, chance)
        assert first.trips >= trips and first.patience(now) < backoff.cap + 1e-6
        assert (first.state(now) is OPEN) <= (first.patience(now) > 0)
        trips = first.trips
    assert isinstance(first.handle(Asked(99), now + backoff.cap + 1e-6)[0], Admit)
