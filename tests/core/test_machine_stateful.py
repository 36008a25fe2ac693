"""The tree machine against the world: by search, and at random."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from asyncproc._core.supervision.state import State
from tests.core.random_world import play_for, play_until
from tests.core.world import LEGAL, REACHED, World


@pytest.mark.slow
def test_machine_against_the_world() -> None:
    """Whatever the world does, the rules of the tree hold, and everything that is stopped ends; all moves are reached."""
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large, HealthCheck.large_base_example]
    often = settings(max_examples=150, stateful_step_count=52, deadline=None, derandomize=True, suppress_health_check=checks)
    run_state_machine_as_test(World, settings=often)
    play_until(lambda: REACHED == LEGAL, 20_000)  # each option that a plan may have makes the others rarer
    states = {state for move in REACHED for state in move}
    print("states reached:", *sorted(state.value for state in states))
    print("moves reached:", *sorted(f"{before.value}>{after.value}" for before, after in REACHED))
    assert states == set(State)
    assert REACHED == LEGAL


@pytest.mark.slow
def test_machine_against_a_random_world() -> None:
    """For a few seconds, with another history each time."""
    play_for(4.0, 60)


@pytest.mark.full
@pytest.mark.timeout(900)
def test_machine_against_a_random_world_for_long() -> None:
    """For minutes, with longer ones too."""
    play_for(200.0, 60)
    play_for(100.0, 200)
