"""Options: every one is honoured, refused, or said to come later; never taken and forgotten."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from asyncproc import Backoff, Exec, Http, LogFile, LogLine, Port, Schedule, Setup
from asyncproc._core.options import EVERY, HONOURED, NOT_YET, ONLY_VALUE, option_faults, table

WELL: dict[str, list[Any]] = {
    "name": ["a"], "scale": [1, 4], "start_timeout": [None, 0, 1.5], "timeout": [None, 2], "grace": [None, 0, 5.0],
    "metadata": [{"a": 1}], "starting": [None, print], "started": [print], "ended": [print], "on_stop": ["cancel", "finish"],
    "env": [{"A": "b", "C": None}], "inherit_env": [True, False], "cwd": ["/tmp", Path("/tmp"), b"/tmp"], "umask": [0, 0o777],
    "nice": [-20, 19], "cpus": [[0], {1, 2}], "stderr": ["stdout"],
    "rlimits": [{"nofile": 64}, {"RLIMIT_CPU": (1, 2)}, {"core": -1}, {"as": (5, -1)}],
    "stdout": ["capture", "tee", "inherit", "null", "log", "/tmp/x", LogFile("x")], "stdin": ["null", "pipe", "text", b"bytes"],
    "shell": [True], "encoding": ["latin-1", None], "ok_codes": [(0, 1), {255}], "stop_signal": ["SIGINT", 2],
    "max_output": [1], "on_failure": ["stop", "continue"], "limit": [None, 1],
    "setup": [None, Setup()], "loops": [0, 1, None], "join_in": [None, 0, 0.5], "retries": [0, 3],
    "restart": ["permanent", "transient", "temporary", bool], "backoff": [None, Backoff(), Backoff(0, 0, 1, None)],
    "needs": [(), ["a", "b"], {"a"}], "essential": [True, False],
    "resources": [{}, {"gpu": 1, "x": 0.5}],
    "schedule": [None, 5, 0.5, "* * * * *", Schedule(every=1.0)], "watch": [(), ["a", Path("b")]],
    "strategy": ["one_for_one", "one_for_all", "rest_for_one"],
    "intensity": [0, 3, None], "period": [0.5, 30], "at_limit": ["escalate", "stay", "pause"],
    "auto_shutdown": [None, "any", "all"],
    "user": [None, "nobody", 0], "group": [None, "nogroup", 65534], "trust": ["code", "data"],
    "max_memory": [None, 1, "512MiB", "1.5 GB"],
    "timeouts": [{}, {"loop": 0.2, "on_start": None}], "heartbeat": [None, 0.1, 5],
    "ready": [None, "call", "notify", Port(80), LogLine("up"), asyncio.sleep],
    "alive": [None, Http("http://localhost/"), Exec("true")],
}  # fmt: skip
BADLY: dict[str, list[Any]] = {
    "name": ["", "a/b", 3], "scale": [0, None, True, "2"], "start_timeout": [-1, "1", float("nan"), True], "timeout": [-0.1],
    "grace": [-1, "x"], "metadata": [3, {1: 2}], "starting": [3], "started": ["x"], "ended": [1], "on_stop": ["kill"],
    "env": [3, {"": "x"}, {"a=b": "x"}, {"A": 1}, {"A\0": "x"}, {"A": "\0"}, {1: "x"}], "inherit_env": [1], "cwd": [3, ""],
    "umask": [-1, 0o1000, True], "nice": [-21, 20, 1.5], "cpus": [[], 3, [-1]],
    "rlimits": [3, {"locks": 1}, {"nofile": -2}, {"nofile": (2, 1)}, {"nofile": (-1, 1)}, {"nofile": (1, 2, 3)}, {3: 1}],
    "stdout": [3, "terminal", LogFile(""), LogFile("x", 0)], "stderr": ["pipe", LogFile("x", max_age=0)], "shell": ["yes"],
    "stdin": ["terminal", 3],
    "encoding": [3], "ok_codes": [3, [256]], "stop_signal": [True, 2.5], "max_output": [0, None], "on_failure": ["ignore"],
    "limit": [0, -1, True],
    "setup": [3, "x"], "loops": [-1, 1.5, True, "x"], "join_in": [-1, "x"], "retries": [-1, None, True], "ready": ["soon", 3],
    "alive": ["x", 1.5],
    "timeouts": [3, {"loop": 0}, {"loop": "x"}, {"body": 1.0}],
    "restart": ["always", True, None, 3],
    "backoff": [1.0, Backoff(-1), Backoff(cap=-1), Backoff(factor=0.5), Backoff(stable_after="x"), Backoff(jitter="half")],
    "needs": ["a", 3, [1]], "essential": [1, None],
    "resources": [3, {"": 1}, {"gpu": 0}, {"gpu": True}, {"x": float("inf")}],
    "schedule": [0, -1, True, float("nan"), float("inf"), b"* * * * *", [1]], "watch": ["a", 3, [3], None],
    "strategy": ["one_for_two", None], "intensity": [-1, 1.5, True],
    "period": [0, -1, "x", None], "at_limit": ["stop"], "auto_shutdown": ["first", True],
    "user": ["", -1, True, 1.5, "a\0"], "group": ["", -1, b"x"], "trust": [None, "none", True],
    "max_memory": [0, -1, True, "", "much", "1XB", 1.5],
    "heartbeat": [0, 0.09, -1, "5", True, float("nan"), float("inf")],
}  # fmt: skip


@pytest.mark.parametrize("field", HONOURED)
def test_legal_values_pass(field: str) -> None:
    """On every kind that has the option."""
    for kind in HONOURED[field][0]:
        for value in WELL[field]:
            assert option_faults(kind, "app/x", {field: value}) == []


@pytest.mark.parametrize("field", HONOURED)
def test_illegal_values_are_named(field: str) -> None:
    """With path, field, value and the rule."""
    for value in BADLY[field]:
        (fault,) = option_faults(next(iter(sorted(HONOURED[field][0]))), "app/x", {field: value})
        assert fault[:2] == ("app/x", field)
        assert fault.value is value
        assert fault.rule


def test_all_faults_at_once() -> None:
    """Not only the first."""
    faults = option_faults("process", "app/x", {"grace": -1, "nmae": "x", "limit": 3, "restart": "always"})
    assert [fault.field for fault in faults] == ["grace", "nmae", "limit", "restart"]
    assert "did you mean 'name'" in faults[1].rule
    assert "concurrent" in faults[2].rule
    assert "temporary" in faults[3].rule


def test_unknown_option_without_a_neighbour() -> None:
    """Nothing is suggested that is not near."""
    (fault,) = option_faults("thread", "app/x", {"zzzzzz": 1})
    assert fault.rule == "is no option of a thread"


@pytest.mark.parametrize("kind", sorted(EVERY))
def test_what_is_not_honoured_is_refused(kind: str) -> None:
    """Of the whole contract, for every kind."""
    for field, kinds in table().items():
        if kinds[kind] == "honoured":
            continue
        value = ONLY_VALUE[field][1] if field in ONLY_VALUE else WELL.get(field, [object()])[0]
        assert option_faults(kind, "app/x", {field: value}), (kind, field)


def test_only_values_are_taken() -> None:
    """Where this version has the default alone."""
    for field, (kinds, only) in ONLY_VALUE.items():
        for kind in kinds:
            assert option_faults(kind, "app/x", {field: only}) == []
            assert option_faults(kind, "app/x", {field: "something else"})


def test_later_options_say_so() -> None:
    """They are known, and refused."""
    for field, kinds in NOT_YET.items():
        for kind in EVERY:
            (fault,) = option_faults(kind, "app/x", {field: object()})
            assert ("not supported by this version" in fault.rule) == (kind in kinds)
