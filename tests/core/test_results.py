"""Results, and what an end is raised as."""

from __future__ import annotations

import pickle
from signal import SIGTERM

import pytest

from asyncproc._core.exit import Exit, Reason
from asyncproc._core.results import Results, failure_of, group_failure
from asyncproc.errors import ChildCrashed, ChildSkipped, ChildStopped, ChildTimeout

WELL = Exit("app/a", 1, Reason.FINISHED)
BAD = Exit("app/g/b", 1, Reason.CRASHED, code=3)
ERROR = ValueError("boom")


def nested(group: Exit) -> Results:
    """A group with one member that is well, and a group with one that is not and one that never ran."""
    below = {"b": BAD, "c": Exit("app/g/c", 0, Reason.SKIPPED, asked_by="app/g/b")}
    inner = Results({}, below)
    exits = {"a": WELL, "g": group, **{f"g/{path}": exit for path, exit in below.items()}}
    return Results({"a": 1, "g": inner}, exits, rounds=2, duration=1.5)


FAILED = nested(Exit("app/g", 1, Reason.CRASHED))


def test_values_stand_under_their_paths_in_order() -> None:
    """A nested group's also under its own name."""
    inner = Results({"b": 2}, {"b": Exit("app/g/b", 1, Reason.FINISHED)})
    exits = {"a": WELL, "g": Exit("app/g", 1, Reason.FINISHED), "g/b": Exit("app/g/b", 1, Reason.FINISHED)}
    results = Results({"a": 1, "g": inner, "g/b": 2}, exits)
    assert list(results) == ["a", "g", "g/b"]
    assert (results["a"], results["g"]["b"], results["g/b"], len(results)) == (1, 2, 2, 3)
    assert results.succeeded == ["a", "g/b"]
    assert results.check() is results


def test_each_end_is_counted_once() -> None:
    """A group that fails by its members has not failed itself."""
    assert FAILED.failed == {"g/b": BAD}
    assert FAILED.skipped == {"g/c": "app/g/b"}
    assert FAILED.succeeded == ["a"]
    assert not FAILED.ok
    assert repr(FAILED) == "<Results: 1 succeeded, 1 failed, 1 skipped>"
    assert (FAILED.rounds, FAILED.duration, list(FAILED.exits)) == (2, 1.5, ["a", "g", "g/b", "g/c"])


def test_nothing_ran() -> None:
    """An empty group is well."""
    assert repr(Results({}, {}).check()) == "<Results: nothing ran>"


def test_value_that_is_not_there_says_why() -> None:
    """A KeyError, as of any mapping."""
    with pytest.raises(KeyError, match="app/g/b crashed, with code 3"):
        FAILED["g/b"]
    with pytest.raises(KeyError, match="nobody"):
        FAILED["nobody"]
    assert FAILED.get("g/b") is None


@pytest.mark.parametrize("reason", [Reason.CRASHED, Reason.FINISHED])
def test_check_raises_failures_nested_as_the_groups_are(reason: Reason) -> None:
    """Also where the group was to continue."""
    with pytest.raises(ExceptionGroup, match="app: 1 failed") as caught:
        nested(Exit("app/g", 1, reason)).check()
    (inner,) = caught.value.exceptions
    assert isinstance(inner, ExceptionGroup)
    assert inner.message == "app/g: 1 failed"
    assert [type(error) for error in inner.exceptions] == [ChildCrashed]


def test_check_raises_the_timeout_of_a_group_beside_its_failures() -> None:
    """That its time was over is a failure of its own."""
    with pytest.raises(ExceptionGroup) as caught:
        nested(Exit("app/g", 1, Reason.TIMED_OUT)).check()
    (inner,) = caught.value.exceptions
    assert isinstance(inner, ExceptionGroup)
    assert [type(error) for error in inner.exceptions] == [ChildCrashed, ChildTimeout]


def test_check_raises_what_it_was_given() -> None:
    """Errors that are more than their exit stand in its place."""
    with pytest.raises(ExceptionGroup) as caught:
        Results({}, {"b": Exit("b", 1, Reason.CRASHED)}, errors={"b": ERROR}).check()
    assert caught.value.exceptions == (ERROR,)
    assert caught.value.message == ": 1 failed"


def test_results_survive_pickling() -> None:
    """With all that they say."""
    copy = pickle.loads(pickle.dumps(nested(Exit("app/g", 1, Reason.TIMED_OUT))))
    assert copy["a"] == 1
    assert list(copy.failed) == ["g", "g/b"]


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        (Reason.SKIPPED, ChildSkipped),
        (Reason.STOPPED, ChildStopped),
        (Reason.TIMED_OUT, ChildTimeout),
        (Reason.CRASHED, ChildCrashed),
        (Reason.LOST, ChildCrashed),
        (Reason.UNHEALTHY, ChildCrashed),
    ],
)
def test_end_without_an_error_is_raised_as_its_reason(reason: Reason, kind: type[Exception]) -> None:
    """The text explains, the exit goes with it."""
    exit = Exit("app/a", 1, reason)
    error = failure_of(exit)
    assert type(error) is kind
    assert str(error) == exit.explain()


def test_own_error_is_raised_as_it_is() -> None:
    """Unless it was cut off: then it is the cause. One that only fails on its way out was not."""
    assert failure_of(Exit("a", 1, Reason.CRASHED, error=ERROR)) is ERROR
    assert failure_of(Exit("a", 1, Reason.STOPPED, error=ERROR)) is ERROR
    for cut in ({"killed": True}, {"signal": SIGTERM}, {"error": KeyboardInterrupt()}):
        exit = Exit("a", 1, Reason.STOPPED, **{"error": ERROR, **cut})
        stopped = failure_of(exit)
        assert isinstance(stopped, ChildStopped)
        assert stopped.__cause__ is exit.error


def test_unhealthy_end_is_raised_with_where_it_stood() -> None:
    """Whatever it raised on its way out is the cause: it would not have ended without us."""
    exit = Exit("app/a", 1, Reason.UNHEALTHY, error=ERROR, stacks="main thread: in f")
    error = failure_of(exit)
    assert isinstance(error, ChildCrashed)
    assert str(error) == f"{exit.explain()}\nwhere it stood:\nmain thread: in f"
    assert error.__cause__ is ERROR


def test_group_of_exceptions_is_an_exception_group() -> None:
    """And of anything else a BaseExceptionGroup."""
    assert isinstance(group_failure("app", [ERROR]), ExceptionGroup)
    assert not isinstance(group_failure("app", [KeyboardInterrupt()]), ExceptionGroup)


def test_group_whose_members_have_run_again_has_failed_all_the_same() -> None:
    """An exception group cannot be empty."""
    (error,) = group_failure("app", []).exceptions
    assert isinstance(error, ChildCrashed)


def test_stack_of_a_crash_stands_on_the_error() -> None:
    """D7.4: what the interpreter itself told; the explanation says its first line, not its last."""
    stack = "Fatal Python error: Segmentation fault\n\nCurrent thread (most recent call first):\n  File x, line 1 in f\n"
    exit = Exit("app/a", 1, Reason.CRASHED, stderr_tail=stack)
    error = failure_of(exit)
    assert error.__notes__ == [stack.rstrip()] and "last words: Fatal Python error: Segmentation fault" in exit.explain()
    assert not hasattr(failure_of(Exit("app/a", 1, Reason.CRASHED, stderr_tail="oh\n")), "__notes__")
