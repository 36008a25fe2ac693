"""Wrong specs: one table of every fault, each told with its path, field and value, all at once, before anything starts."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest

from asyncproc import Command, Concurrent, Coroutine, Manager, Process, Sequential, SpecError, Thread


def plain(path: str, times: int = 1) -> str:
    return path * times


async def awaited(path: str) -> str:
    return path


def faults_of(make: Callable[[], object]) -> list[tuple[str, str, object]]:
    """Path, field and value of every fault."""
    with pytest.raises(SpecError) as caught:
        make()
    assert isinstance(caught.value, ValueError)
    for fault in caught.value.faults:
        assert fault.path in str(caught.value) and fault.field in str(caught.value) and fault.rule in str(caught.value)
    return [(path, field, value) for path, field, value, _ in caught.value.faults]


class WithHook(Process[int]):
    def after_loop(self) -> None: ...  # type: ignore[override]
    def loop(self) -> int:
        return 1


MISSING: Any = object()
TABLE: dict[str, tuple[Callable[[], object], tuple[str, str, object]]] = {
    "two given names": (
        lambda: Concurrent(Process(plain, "", name="a"), Thread(plain, "", name="a")),
        ("concurrent", "name", "a"),
    ),
    "two given names in a sequence": (
        lambda: Sequential(Process(plain, "", name="a"), Thread(plain, "", name="a"), name="s"),
        ("s", "name", "a"),
    ),
    "negative grace": (lambda: Process(plain, "", grace=-1), ("plain", "grace", -1)),
    "negative timeout": (lambda: Command("true", timeout=-0.5), ("true", "timeout", -0.5)),
    "negative start_timeout": (lambda: Coroutine(awaited, "", start_timeout=-1), ("awaited", "start_timeout", -1)),
    "a time that is no number": (lambda: Thread(plain, "", timeout="5"), ("plain", "timeout", "5")),  # type: ignore[call-overload]
    "a time that is a bool": (lambda: Process(plain, "", grace=True), ("plain", "grace", True)),
    "a target that is not callable": (lambda: Process(3, name="a"), ("a", "target", 3)),  # type: ignore[call-overload]
    "neither target nor loop": (lambda: Process(name="a"), ("a", "target", None)),
    "rlimits on a thread": (lambda: Thread(plain, "", rlimits={"nofile": 9}), ("plain", "rlimits", {"nofile": 9})),  # type: ignore[call-overload]
    "env on a coroutine": (lambda: Coroutine(awaited, "", env={}), ("awaited", "env", {})),  # type: ignore[call-overload]
    "shell on a process": (lambda: Process(plain, "", shell=True), ("plain", "shell", True)),  # type: ignore[call-overload]
    "loops on a command": (lambda: Command("true", loops=2), ("true", "loops", 2)),  # type: ignore[call-arg]
    "limit on a sequence": (lambda: Sequential(limit=2), ("sequential", "limit", 2)),  # type: ignore[call-arg]
    "a limit of none": (lambda: Concurrent(limit=0), ("concurrent", "limit", 0)),
    "an unknown on_failure": (lambda: Concurrent(on_failure="ignore"), ("concurrent", "on_failure", "ignore")),  # type: ignore[arg-type]
    "an unknown on_stop": (lambda: Process(plain, "", on_stop="die"), ("plain", "on_stop", "die")),  # type: ignore[call-overload]
    "a plain coroutine": (lambda: Coroutine(plain, "", name="a"), ("a", "target", plain)),  # type: ignore[call-overload]
    "an unknown option": (lambda: Process(plain, "", garce=1), ("plain", "garce", 1)),  # type: ignore[call-overload]
    "a list as argv": (lambda: Command(["ls", "-l"]), ("command", "argv", ["ls", "-l"])),  # type: ignore[arg-type]
    "a word that is no text": (lambda: Command("ls", 3), ("ls", "argv[1]", 3)),  # type: ignore[arg-type]
    "no program": (lambda: Command(), ("command", "argv", ())),
    "NUL in a word": (lambda: Command("ls", "a\0b"), ("ls", "argv[1]", "a\0b")),
    "an unknown signal": (lambda: Command("ls", stop_signal="SIGX"), ("ls", "stop_signal", "SIGX")),
    "an unknown limit": (lambda: Command("ls", rlimits={"x": 1}), ("ls", "rlimits", {"x": 1})),
    "an exit code that is none": (lambda: Command("ls", ok_codes=(256,)), ("ls", "ok_codes", (256,))),
    "a stream that is none": (lambda: Command("ls", stdout=3), ("ls", "stdout", 3)),  # type: ignore[arg-type]
    "an environment that is none": (lambda: Command("ls", env={"A": 1}), ("ls", "env", {"A": 1})),  # type: ignore[dict-item]
    "a directory that is none": (lambda: Process(plain, "", cwd=3), ("plain", "cwd", 3)),  # type: ignore[call-overload]
    "a mask that is none": (lambda: Process(plain, "", umask=0o7777), ("plain", "umask", 0o7777)),
    "processors that are none": (lambda: Process(plain, "", cpus=[]), ("plain", "cpus", [])),
    "a niceness that is none": (lambda: Process(plain, "", nice=99), ("plain", "nice", 99)),
    "metadata that is no mapping": (lambda: Process(plain, "", metadata=[1]), ("plain", "metadata", [1])),  # type: ignore[call-overload]
    "a callback that is none": (lambda: Process(plain, "", ended="x"), ("plain", "ended", "x")),  # type: ignore[call-overload]
    "a scale of none": (lambda: Process(plain, "", scale=0), ("plain", "scale", 0)),
    "a scale in a sequence": (lambda: Sequential(Process(plain, "", name="a", scale=2)), ("sequential/a", "scale", 2)),
    "a member that is no spec": (lambda: Concurrent(3), ("concurrent[0]", "member", 3)),  # type: ignore[arg-type]
    "a class as a member": (lambda: Sequential(Meter), ("sequential[0]", "member", MISSING)),
    "a permanent one": (
        lambda: Sequential(Process(plain, "", restart="permanent")),
        ("sequential/plain", "restart", "permanent"),
    ),
    # M41
    "too many arguments": (lambda: Process(plain, "a", 2, 3), ("plain", "args", ("a", 2, 3))),  # type: ignore[call-overload]
    "an unknown keyword": (lambda: Process(plain, "a", kwargs={"x": 1}), ("plain", "args", ("a",))),
    "multiprocessing's habit": (lambda: Process(target=plain, args=("a",)), ("Process", "target", plain)),  # type: ignore[call-overload]
    "args alone": (lambda: Process(plain, args=("a",)), ("plain", "args", ("a",))),  # type: ignore[call-overload]
    "kwargs that are no mapping": (lambda: Process(plain, kwargs=[1]), ("plain", "kwargs", [1])),  # type: ignore[call-overload]
    "a hook with the wrong signature": (lambda: WithHook(), ("WithHook", "after_loop", WithHook.after_loop)),
    "a target beside a loop": (lambda: Meter(plain, "a"), ("plain", "target", plain)),
}


class Meter(Process[int]):
    def loop(self) -> int:
        return 1


@pytest.mark.parametrize("make, fault", TABLE.values(), ids=TABLE)
def test_a_fault_is_told_with_path_field_and_value(make: Callable[[], object], fault: tuple[str, str, object]) -> None:
    """One SpecError with this fault alone."""
    ((path, field, value),) = faults_of(make)
    assert (path, field) == fault[:2]
    if fault[2] is not MISSING:
        assert value == fault[2]


def test_all_faults_are_told_at_once() -> None:
    """Of one spec, and of the members that a group cannot take."""
    wrong: Any = {"grace": -1, "umask": "x", "nmae": "a", "restart": "always", "loops": -3, "shell": True}
    assert [(field, value) for _, field, value in faults_of(lambda: Process(plain, "a", **wrong))] == list(wrong.items())
    members: Any = (3, Process(plain, "a", name="a"), "x", Process(plain, "b", name="a"))
    found = faults_of(lambda: Concurrent(*members, limit=0, on_failure="no"))  # type: ignore[arg-type]
    assert [field for _, field, _ in found] == ["member", "member", "limit", "on_failure", "name"]
    argv: Any = ("ls", 3, b"x", "a\0")
    assert [field for _, field, _ in faults_of(lambda: Command(*argv, ok_codes=5, stop_signal="no"))] == [  # type: ignore[arg-type]
        "ok_codes", "argv[1]", "argv[2]", "argv[3]", "stop_signal"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "wrong, near",
    [
        ("nmae", "name"),
        ("grase", "grace"),
        ("time_out", "timeout"),
        ("std_out", "stdout"),
        ("rlimit", "rlimits"),
        ("loop", "loops"),
        ("restarts", "restart"),
    ],
)
def test_an_unknown_option_names_the_nearest_known_one(wrong: str, near: str) -> None:
    """Among those that this kind can have."""
    with pytest.raises(SpecError, match=f"did you mean '{near}'"):
        Process(plain, "a", **{wrong: 1})  # type: ignore[call-overload]


def test_an_unknown_option_does_not_name_one_of_another_kind() -> None:
    """A thread is not offered what only a process has."""
    with pytest.raises(SpecError) as caught:
        Thread(plain, "a", rlimit={})  # type: ignore[call-overload]
    assert "rlimits" not in str(caught.value)


def test_what_is_missing_is_told_when_it_starts() -> None:
    """M41: arguments that hooks could still add are no fault of the spec, but of its start; also in a tree."""
    specs: Any = [Process(plain), Sequential(Process(plain, name="a"), Thread(plain, name="b"))]
    for spec, paths in zip(specs, (["app"], ["app/a", "app/b"]), strict=True):
        with pytest.raises(SpecError, match="path") as caught:
            Manager(spec).check_run(None, 1, True)
        assert [fault.path for fault in caught.value.faults] == paths


async def test_nothing_starts_where_anything_is_wrong() -> None:
    """The first member would run; the last lacks an argument."""
    ran: list[int] = []

    async def note() -> None:
        ran.append(1)

    spec: Any = Process(plain)
    async with Manager() as manager:
        for call in (
            manager.run(Sequential(Coroutine(note), spec)),
            manager.start(spec),
            manager.start(Concurrent(note_plain, spec)),
        ):
            with pytest.raises(SpecError):
                await call
        assert ran == [] and manager.nodes() == []


def note_plain() -> None: ...


async def test_wrong_rounds_and_binding_are_told_together() -> None:
    """Both, and what the tree lacks, in one error."""
    spec: Any = Sequential(Process(plain))  # type: ignore[call-overload]
    with pytest.raises(SpecError) as caught:
        await Manager(spec).run(rounds=-1, binding=False)
    assert [fault.field for fault in caught.value.faults] == ["args", "rounds", "binding"]


@pytest.mark.parametrize(
    "name", ["name", "pid", "current_loop", "loops", "metadata", "store", "log", "sync", "rejoin", "send", "loop", "on_finish"]
)
def test_the_frameworks_names_on_self_are_refused(name: str) -> None:
    """M33: with the class and the name; from __init__ and from outside."""

    class Mine(Process[int]):
        def __init__(self) -> None:
            setattr(self, name, 1)

        def loop(self) -> int:
            return 1

    assert faults_of(Mine) == [("Mine", name, 1)]
    assert faults_of(lambda: setattr(Meter(), name, 1)) == [("Meter", name, 1)]


@pytest.mark.parametrize("name", ["path", "error", "round", "level", "incarnation", "kwargs", "vars", "loop_time", "stopping"])
def test_all_other_names_on_self_are_the_users(name: str) -> None:
    """M33: the second block of Current is at current() only."""
    meter = Meter()
    setattr(meter, name, 7)
    assert getattr(meter, name) == 7


def test_a_spec_is_frozen_data() -> None:
    """with_options gives a copy with the change checked; the original stays; it can be pickled."""
    one = Process(plain, "a", name="a", grace=1.0)
    two = one.with_options(name="b")
    assert (one.made_name, "name='a'" in repr(one), "name='b'" in repr(two)) == ("plain", True, True)
    with pytest.raises(SpecError, match="grace"):
        one.with_options(grace=-1)
    assert repr(pickle.loads(pickle.dumps(one))) == repr(one)


def test_secrets_are_not_shown() -> None:
    """An environment is in no repr; what looks like a secret in argv is masked."""
    command = Command("x", "--password", "hunter2", "token=abc", "http://me:pw@host/", env={"KEY": "hunter3"})
    assert "hunter3" not in repr(command)
    assert not any(word in command.shown_argv for word in ("hunter2", "abc", "me:pw"))


def test_reserved_names_of_the_class_form_cannot_be_defined() -> None:
    """M33: neither in the class nor in a mixin; names the class and the name."""

    class Mixin:
        def send(self) -> None: ...

    for make in (
        lambda: type("Shadows", (Process,), {"name": "x", "loop": lambda self: 1}),
        lambda: type("Shadows", (Mixin, Process), {"loop": lambda self: 1}),
    ):
        with pytest.raises(SpecError, match=r"node Shadows: (name|send) is the framework's own name"):
            make()
