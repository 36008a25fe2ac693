"""The table of options: each of the contract's, by kind, is honoured, refused or refused for now; never taken and forgotten."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from asyncproc import Command, Concurrent, Coroutine, Manager, Process, Reason, Sequential, SpecError, State, Supervisor, Thread
from asyncproc._core.options import HONOURED, NOT_YET, ONLY_VALUE, table
from tests.manager.targets import (
    deaf,
    echo,
    echo_async,
    fail_async,
    metadata,
    metadata_async,
    nothing,
    nothing_async,
    setting,
    speak,
    until_cancelled,
    until_told_async,
)

LEAVES = {"process", "thread", "coroutine", "command"}
EVERY = LEAVES | {"sequential", "concurrent", "supervisor"}
CONTRACT = [
    ("name scale restart backoff needs essential ready alive start_timeout timeout grace resources", EVERY),
    ("schedule watch engine starting started ended metadata", EVERY),
    ("setup loops join_in retries on_stop timeouts", {"process", "thread", "coroutine"}),
    ("heartbeat", {"process", "thread"}),  # a coroutine that blocks its loop blocks the manager's own: nobody could tell
    ("env inherit_env cwd user group umask nice cpus rlimits max_memory stdout stderr trust", {"process", "command"}),
    ("stdin shell pty encoding ok_codes stop_signal max_output detach policy", {"command"}),
    ("on_failure", {"sequential", "concurrent"}),
    ("limit", {"concurrent", "supervisor"}),
    ("lag", {"concurrent"}),
    ("strategy intensity period at_limit auto_shutdown", {"supervisor"}),
]
KINDS = {option: kinds for options, kinds in CONTRACT for option in options.split()}
"""The contract: which kinds each option is for (API.md, part 2)."""
MAKE: dict[str, Any] = {
    "process": lambda **options: Process(nothing, **options),
    "thread": lambda **options: Thread(nothing, **options),
    "coroutine": lambda **options: Coroutine(nothing_async, **options),
    "command": lambda **options: Command("true", **options),
    "sequential": lambda **options: Sequential(**options),
    "concurrent": lambda **options: Concurrent(**options),
    "supervisor": lambda **options: Supervisor(**options),
}


def test_the_table_covers_the_contract() -> None:
    """Every option of API.md stands there, and no other."""
    assert set(table()) == set(KINDS)


@pytest.mark.parametrize("option", KINDS)
def test_an_option_is_for_the_kinds_that_the_contract_names(option: str) -> None:
    """Refused for all others; for these honoured, or refused for now. A group has no start_timeout: its members have."""
    row = table()[option]
    for_it = {kind for kind, word in row.items() if word != "refused"}
    if option == "start_timeout":
        assert for_it == LEAVES
    else:
        assert for_it == KINDS[option]


@pytest.mark.parametrize("option", KINDS)
def test_what_is_not_honoured_is_refused(option: str) -> None:
    """SpecError naming the option, whatever its value, for each kind that cannot honour it."""
    for kind, word in table()[option].items():
        if word == "honoured":
            continue
        with pytest.raises(SpecError) as caught:
            MAKE[kind](**{option: object()})
        (fault,) = caught.value.faults
        assert fault.field == option
        assert ("version" in fault.rule) == (word == "later")


def test_no_option_stands_in_two_tables() -> None:
    """For the same kind: else it would be unclear which rule holds."""
    assert not (set(HONOURED) | set(NOT_YET)) & set(ONLY_VALUE)
    for field in set(HONOURED) & set(NOT_YET):
        assert not set(HONOURED[field][0]) & set(NOT_YET[field])


def test_of_some_options_only_the_default_is_taken() -> None:
    """lag: its default may be said."""
    Concurrent(lag=0)
    with pytest.raises(SpecError, match="in this version"):
        Concurrent(lag=None)


# --- each honoured option has its effect (name and scale: tests/manager; limit and on_failure: test_groups) ------------------


BOTH = ["process", "command"]


async def told_by(kind: str, what: str, **options: Any) -> str:
    """What a process or a command says of its own setting."""
    shell = {
        "env": "echo $OURS-$HOME", "cwd": "pwd", "umask": "umask", "nice": "ps -o ni= -p $$ || nice",
        "cpus": "taskset -pc $$ | sed 's/.*: //'", "rlimits": "ulimit -Sn; ulimit -Hn", "session": "ps -o sid= -p $$",
    }[what]  # fmt: skip
    async with Manager() as manager:
        if kind == "process":
            return str(await manager.run(Process(setting, what, **options)))
        return " ".join((await manager.run(Command("sh", "-c", shell, **options))).stdout.split())


@pytest.mark.parametrize("kind", BOTH)
async def test_env_extends_and_removes(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values are added to the owner's, None removes, inherit_env=False starts from nothing; the owner's stays as it was."""
    monkeypatch.setenv("HOME", "/somewhere")
    path = os.environ["PATH"]
    assert await told_by(kind, "env", env={"OURS": "1"}) == "1-/somewhere"
    assert await told_by(kind, "env", env={"OURS": "1", "HOME": None}) == "1-"
    assert await told_by(kind, "env", env={"OURS": "2", "PATH": path}, inherit_env=False) == "2-"
    assert "OURS" not in os.environ


@pytest.mark.parametrize("kind", BOTH)
async def test_env_that_the_owner_has_changed_meanwhile_reaches_the_child(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment is the owner's at the start of the child, not at the start of the helpers."""
    async with Manager() as manager:
        await manager.run(Command("true"))
        monkeypatch.setenv("OURS", "later")
        spec = Process(setting, "env") if kind == "process" else Command("sh", "-c", "echo $OURS-$HOME")
        result: Any = await manager.run(spec)
    assert (result if kind == "process" else result.stdout.strip()).startswith("later-")


@pytest.mark.parametrize("kind", BOTH)
async def test_cwd_is_expanded(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path, ``~`` and variables; without it the owner's at the start."""
    monkeypatch.setenv("OURS", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    for cwd in (tmp_path, str(tmp_path), "~", "$OURS"):
        assert await told_by(kind, "cwd", cwd=cwd) == str(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert await told_by(kind, "cwd") == str(tmp_path)


@pytest.mark.parametrize("kind", BOTH)
async def test_umask_nice_cpus_and_rlimits_reach_the_child(kind: str) -> None:
    """Exactly, and the owner keeps its own."""
    before = os.sched_getaffinity(0), os.getpriority(os.PRIO_PROCESS, 0)
    cpu = min(os.sched_getaffinity(0))
    assert await told_by(kind, "umask", umask=0o027) in ("0o27", "0027")
    assert await told_by(kind, "nice", nice=5) == str(before[1] + 5)
    assert await told_by(kind, "cpus", cpus=[cpu]) == str(cpu)
    assert await told_by(kind, "rlimits", rlimits={"nofile": (100, 200)}) == "100 200"
    assert await told_by(kind, "rlimits", rlimits={"RLIMIT_NOFILE": 150}) == "150 150"
    assert (os.sched_getaffinity(0), os.getpriority(os.PRIO_PROCESS, 0)) == before


async def test_a_limit_that_the_system_refuses_fails_the_start_with_its_step() -> None:
    """OSError or ValueError of the step "limits"; nothing is silently weaker."""
    async with Manager() as manager:
        for spec in (Process(nothing, cpus=[4000]), Command("true", cpus=[4000])):
            handle = None
            with pytest.raises(Exception) as caught:
                handle = await manager.start(spec)
            assert handle is None
            cause: BaseException | None = caught.value.__cause__
            assert isinstance(cause, OSError) and any("step: " in note for note in cause.__notes__)


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
async def test_where_output_goes(kind: str, stream: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A path holds it, inherit shows it as it is, tee under the node's name, null and capture not at all."""
    file = tmp_path / "out"
    shown: dict[str, str] = {}
    for where in (file, "inherit", "tee", "null", "capture"):
        options: Any = {stream: where, "name": "child"}
        async with Manager() as manager:
            if kind == "process":
                await manager.run(Process(speak, stream, "word", **options))
            else:
                done = await manager.run(Command("sh", "-c", f"echo word >&{1 if stream == 'stdout' else 2}", **options))
                assert (getattr(done, stream) == "word\n") == (where in ("tee", "capture"))
        out, err = capfd.readouterr()
        shown[str(where)] = out + err
    assert file.read_text() == "word\n"
    assert shown["inherit"] == "word\n"
    assert "child" in shown["tee"] and "word" in shown["tee"]
    assert shown[str(file)] == shown["null"] == shown["capture"] == ""


async def test_stderr_into_stdout() -> None:
    """stderr="stdout" keeps the order of both."""
    async with Manager() as manager:
        done = await manager.run(Command("sh", "-c", "echo a; echo b >&2; echo c", stderr="stdout"))
        assert (done.stdout, done.stderr) == ("a\nb\nc\n", "")


async def test_options_of_commands() -> None:
    """stdin, shell, encoding, ok_codes, max_output; stop_signal stands in test_handles."""
    async with Manager() as manager:
        assert (await manager.run(Command("cat", stdin="text"))).stdout == "text"
        assert (await manager.run(Command("cat", stdin=b"\xff", encoding=None))).stdout == b"\xff"
        assert (await manager.run(Command("cat", stdin="null"))).stdout == ""
        assert (await manager.run(Command("cat"))).stdout == ""
        assert (await manager.run(Command("echo $((1+1)); exit 3", shell=True, ok_codes={3}))).stdout == "2\n"
        assert (await manager.run(Command("printf", r"\351", encoding="latin-1"))).stdout == "é"
        done = await manager.run(Command("sh", "-c", "printf %01000d 0; printf end", max_output=100))
        assert done.truncated and done.stdout.endswith("end") and len(done.stdout) <= 100


async def test_times_of_every_kind() -> None:
    """timeout= ends each kind as TIMED_OUT; grace= is how long it is asked before it is killed."""
    async with Manager() as manager:
        for spec in (
            Process(until_cancelled, timeout=0.05),
            Thread(until_cancelled, timeout=0.05),
            Coroutine(until_cancelled, timeout=0.05),
            Command("sleep", "1000", timeout=0.05),
            Sequential(Coroutine(until_cancelled), timeout=0.05),
            Concurrent(Coroutine(until_cancelled), timeout=0.05),
        ):
            with pytest.raises(TimeoutError) as caught:
                await manager.run(spec)
            assert caught.value.exit.reason is Reason.TIMED_OUT  # type: ignore[attr-defined]  # ChildTimeout
        handle: Any = await manager.start(Process(deaf, grace=0.05))
        await handle.receive()
        assert (await handle.stop()).signal is signal.SIGKILL
        handle = await manager.start(Command("sleep", "1000", grace=0))
        assert (await handle.stop()).signal is signal.SIGKILL
        group = await manager.start(Concurrent(Process(deaf, name="d"), grace=0.05, name="g"))
        await manager.find("g/d").receive()
        await group.stop()
        exit = manager.find("g/d").exit
        assert exit is not None and exit.killed


async def test_metadata_reaches_every_kind_of_python_child() -> None:
    """Joined with the node's own facts, of which none can be overridden."""
    async with Manager() as manager:
        for spec in (
            Process(metadata, metadata={"team": 7, "pid": 0}, name="a"),
            Thread(metadata, metadata={"team": 7, "pid": 0}, name="b"),
            Coroutine(metadata_async, metadata={"team": 7, "pid": 0}, name="c"),
        ):
            found = await manager.run(spec)
            assert found["team"] == 7 and found["pid"] != 0 and found["name"] in "abc"
            assert found["remove_on_process_join"] is True and found["current_loop"] == 1 and found["loops"] == 1


async def test_start_timeout_fails_what_is_not_ready_in_time() -> None:
    """A child that is not ready in time is asked to end, and start raises; nothing is left."""
    async with Manager() as manager:
        with pytest.raises(Exception) as caught:
            await manager.start(Process(echo, 1, start_timeout=0.0), name="a")
        assert isinstance(caught.value.__cause__ or caught.value, TimeoutError)
        assert manager.find("a").state is State.ENDED


async def test_on_failure_and_limit_take_their_values() -> None:
    """Both words of on_failure, and a limit of one."""
    assert (await Manager(Concurrent(Coroutine(echo_async, 1), limit=1, on_failure="stop")).run()).ok
    assert not (await Manager(Concurrent(Coroutine(fail_async, "x"), on_failure="continue")).run()).ok


async def test_on_stop_decides_whether_an_await_is_cancelled() -> None:
    """cancel: at the await; finish: not."""
    async with Manager() as manager:
        for word, ok in (("cancel", False), ("finish", True)):
            options: Any = {"on_stop": word}
            handle = await manager.start(Coroutine(until_told_async, **options))
            await handle.receive()
            stop = asyncio.ensure_future(handle.stop())
            await handle.wait_for(state=State.STOPPING)
            if ok:
                await handle.send("go")
            assert (await stop).ok is ok
