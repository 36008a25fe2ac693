"""The suite on the portable path: which test modules run there, and which of their tests cannot hold there.

``python -m tests`` runs them with ``--launcher portable`` after all others. A manager's default is changed for that run, so the
tests are the same; a fresh interpreter takes 50 to 150 ms to start, so what starts hundreds of children is not among them.
"""

from __future__ import annotations

import pytest

from asyncproc import Manager

MODULES = (
    "tests/manager/test_manager.py",
    "tests/manager/test_handles.py",
    "tests/manager/test_groups.py",
    "tests/manager/test_functions.py",
    "tests/faults/test_start.py",
    "tests/faults/test_stop.py",
    "tests/lifecycle/test_phases.py",
    "tests/lifecycle/test_ends.py",
    "tests/lifecycle/test_gates.py",
    "tests/shared/test_transactions.py",
    "tests/requirements/test_output.py",
    "tests/requirements/test_death.py",
    "tests/requirements/test_stopping.py",
    "tests/requirements/test_starting.py",
    "tests/requirements/test_embedding.py",
    "tests/requirements/test_endurance.py",
)

_HELPERS = "about the launcher's helper processes, of which there are none"
_STEPS = "comes to a fault at a step of a helper, of which there are none"
_SPARES = "about spares, of which there are none"
_HOST = "kills a host with a chain of its own; what the portable path promises then stands in tests/faults/test_portable.py"

EXCEPTIONS: dict[str, str] = {
    "tests/manager/test_functions.py::test_a_child_imports_no_more_than_it_needs": "multiprocessing imports more than that",
    "tests/faults/test_stop.py::test_starved_helper_is_waited_for": _HELPERS,
    "tests/faults/test_stop.py::test_stopped_helper_is_continued_for_a_start": _HELPERS,
    "tests/faults/test_stop.py::test_stopped_helper_is_continued_for_a_stop": _HELPERS,
    "tests/faults/test_stop.py::test_close_does_not_wait_for_a_stopped_helper": _HELPERS,
    "tests/faults/test_stop.py::test_close_without_a_warden_continues_a_stopped_launcher": _HELPERS,
    "tests/requirements/test_endurance.py::test_r80_many_commands_cost_little_each": "hundreds of starts",
    "tests/requirements/test_endurance.py::test_r81_cycles_leave_no_trace": "hundreds of starts, and about helpers",
    "tests/requirements/test_embedding.py::test_r75_helper_processes_end_a_manager_that_no_finaliser_met": _HELPERS,
    "tests/requirements/test_embedding.py::test_r71_lost_helpers_of_one_manager_touch_no_other": _HELPERS,
    "tests/faults/test_start.py::test_child_that_is_stopped_before_it_is_ready_runs_out_of_time": _STEPS,
    "tests/faults/test_start.py::test_death_between_start_and_ready_names_the_signal": _STEPS,
    "tests/faults/test_start.py::test_helper_without_descriptors_fails_the_start_and_lives": _HELPERS,
    "tests/faults/test_start.py::test_spare_that_has_died_costs_no_start": _SPARES,
    "tests/faults/test_start.py::test_spares_do_not_pile_up": _SPARES,
    "tests/faults/test_start.py::test_slow_preload_is_no_stopped_template": "about a template, of which there is none",
    "tests/requirements/test_death.py::test_r1_sigkill_to_the_manager": _HOST,
    "tests/requirements/test_death.py::test_r1_sigkill_to_the_manager_200_times": _HOST,
    "tests/requirements/test_death.py::test_r1_tree_is_deep_and_hostile": _HOST,
    "tests/requirements/test_death.py::test_r2_sigkill_to_the_manager_at_a_step_of_a_start": _HOST,
    "tests/requirements/test_death.py::test_r2_death_at_a_step_fails_by_name_and_the_next_start_works": _STEPS,
    "tests/requirements/test_death.py::test_r3_daemon_ends_with_the_manager": _HOST,
    "tests/requirements/test_death.py::test_r5_lost_launcher_is_an_exit_of_each_child": _HELPERS,
    "tests/requirements/test_death.py::test_r5_sigkill_to_the_launcher_then_to_the_manager": _HELPERS,
    "tests/requirements/test_death.py::test_r6_sigkill_to_manager_and_launcher_together": _HELPERS,
    "tests/requirements/test_death.py::test_r6_without_any_helper_python_children_die_all_the_same": _HELPERS,
    "tests/requirements/test_death.py::test_r7_children_outlive_the_thread_that_started_them": _HOST,
    "tests/requirements/test_death.py::test_r8_forked_copy_of_the_host_keeps_nobody_alive": _HOST,
    "tests/requirements/test_death.py::test_r8_host_that_becomes_another_program_leaves_nobody": _HOST,
    "tests/requirements/test_death.py::test_r9_os_exit_of_the_host_leaves_nobody": _HOST,
    "tests/requirements/test_death.py::test_r9_os_exit_at_a_random_moment": _HOST,
    "tests/requirements/test_stopping.py::test_r21_first_ctrl_c_stops_gracefully": _HOST,
    "tests/requirements/test_stopping.py::test_r21_second_ctrl_c_kills": _HOST,
    "tests/requirements/test_stopping.py::test_r21_third_ctrl_c_exits": _HOST,
    "tests/requirements/test_stopping.py::test_r22_bound_holds_when_a_child_does_not_come_to_exist": "there it exists at once",
    "tests/requirements/test_starting.py::test_r26_start_that_is_cancelled_at_a_step_leaves_nothing": _STEPS,
}
"""Tests that cannot hold on the portable path, each with the reason."""

PREAMBLE = "import asyncproc; asyncproc.Manager.__init__.__kwdefaults__['launcher'] = 'portable'\n"
"""The first line of a program that is to run on it."""


def make_default() -> None:
    """Let every manager of this process that says nothing else take the portable path."""
    defaults = Manager.__init__.__kwdefaults__
    assert defaults is not None
    defaults["launcher"] = "portable"


def is_default() -> bool:
    defaults = Manager.__init__.__kwdefaults__
    return defaults is not None and defaults["launcher"] == "portable"


def leave_out(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the exceptions."""
    out = [item for item in items if _name(item) in EXCEPTIONS]
    if out:
        config.hook.pytest_deselected(items=out)
        items[:] = [item for item in items if _name(item) not in EXCEPTIONS]


def _name(item: pytest.Item) -> str:
    return item.nodeid.partition("[")[0]
