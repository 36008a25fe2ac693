"""What can go wrong while a child starts: each fails by its own name, at once, and leaves nothing. Rows R24, R25, R29, R30."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asyncproc import Command, Manager, Process
from asyncproc._core.exit import Exit, Reason
from asyncproc._engines.local import REFILL_AFTER
from asyncproc.errors import SpecError, StartFailed
from asyncproc.testing import hostile
from asyncproc.testing.faults import DIE, STOP, FaultPoint
from asyncproc.testing.leaks import Leaks
from tests.faults.harness import PATIENCE, children_of, descriptors_left, helpers_of, wait_end

pytestmark = pytest.mark.slow

RAISES = "print('last words', file=__import__('sys').stderr)\nraise RuntimeError('at import')"
EXITS = "import os, sys\nsys.stderr.write('last words\\n'); sys.stderr.flush()\nos._exit(3)"
KILLS = "import os, sys\nsys.stderr.write('last words\\n'); sys.stderr.flush()\nos.kill(os.getpid(), 9)"
SLEEPS = "import time\ntime.sleep(1000)"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A module whose import does *request.param* in a child, and its function here."""
    name = f"hostile_{os.urandom(4).hex()}"
    path = tmp_path / f"{name}.py"
    path.write_text("def target(): pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    target = __import__(name).target
    path.write_text(request.param)
    shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
    yield target
    del sys.modules[name]


# --- R24, R25 ----------------------------------------------------------------------------------------------------------


@pytest.mark.both_loops
@pytest.mark.parametrize(
    ("module", "facts"),
    [(RAISES, {"code": 1}), (EXITS, {"code": 3}), (KILLS, {"signal": signal.SIGKILL})],
    indirect=["module"],
    ids=["raises", "exits", "is killed"],
)
async def test_end_at_the_import_of_the_target_fails_the_start(module: Any, facts: dict[str, Any]) -> None:
    """R24: with the exit and the last lines of its standard error, not by a timeout."""
    async with Manager() as manager:
        with pytest.raises(StartFailed, match="last words") as failed:
            await manager.start(Process(module))
        exit = failed.value.exit
        assert exit is not None
        assert exit.reason is Reason.CRASHED
        assert {name: getattr(exit, name) for name in facts} == facts
        assert "last words" in exit.stderr_tail
        if "code" in facts and facts["code"] == 1:
            assert "RuntimeError: at import" in str(failed.value.__cause__)
        assert await manager.run(Process(hostile.return_it, 7)) == 7


@pytest.mark.parametrize("module", [SLEEPS], indirect=True)
async def test_child_that_is_never_ready_runs_out_of_time(module: Any) -> None:
    """R25: the ladder is applied, and no process is left."""
    with Leaks() as leaks:
        async with Manager(spares=0, grace=0.05) as manager:
            with pytest.raises(StartFailed) as failed:
                await manager.start(Process(module, start_timeout=0.2))
            assert failed.value.exit is not None
            assert failed.value.exit.reason is Reason.TIMED_OUT
            assert not children_of(leaks)


async def test_child_that_is_stopped_before_it_is_ready_runs_out_of_time() -> None:
    """R25: SIGSTOP in its first steps does not save it from the ladder."""
    with Leaks() as leaks, FaultPoint("child is what it should be", STOP):
        async with Manager(spares=0, grace=0.05) as manager:
            with pytest.raises(StartFailed) as failed:
                await manager.start(Process(hostile.idle, start_timeout=0.2))
            assert failed.value.exit is not None
            assert failed.value.exit.reason is Reason.TIMED_OUT
            assert not children_of(leaks)


# --- R29: a table ------------------------------------------------------------------------------------------------------


def _busy(folder: Path) -> str:
    shutil.copy("/bin/sleep", folder / "busy")
    return str(folder / "busy")


def _script(folder: Path) -> str:
    (folder / "script").write_text("echo without an interpreter line\n")
    (folder / "script").chmod(0o755)
    return str(folder / "script")


def _plain_file(folder: Path) -> str:
    (folder / "plain").write_text("text")
    return str(folder / "plain")


TABLE: dict[str, tuple[Any, str, int]] = {
    "missing": (lambda folder: Command("/does/not/exist"), "exec", errno.ENOENT),
    "missing on the path": (lambda folder: Command("does-not-exist-anywhere"), "exec", errno.ENOENT),
    "below a file": (lambda folder: Command("/etc/passwd/x"), "exec", errno.ENOTDIR),
    "not executable": (lambda folder: Command(_plain_file(folder)), "exec", errno.EACCES),
    "a folder": (lambda folder: Command(str(folder)), "exec", errno.EACCES),
    "no program": (lambda folder: Command(_script(folder)), "exec", errno.ENOEXEC),
    "text busy": (lambda folder: Command(_busy(folder), "1000"), "exec", errno.ETXTBSY),
    "too long an argument": (lambda folder: Command("echo", "x" * (1 << 18)), "exec", errno.E2BIG),
    "wrong folder": (lambda folder: Command("true", cwd="/does/not/exist"), "cwd", errno.ENOENT),
    "wrong folder, limited": (lambda folder: Command("true", cwd="/does/not/exist", nice=1), "cwd", errno.ENOENT),
    "folder is a file": (lambda folder: Command("true", cwd=_plain_file(folder)), "cwd", errno.ENOTDIR),
    "no such processor": (lambda folder: Command("true", cpus=[4000]), "limits", errno.EINVAL),
    "too high a limit": (lambda folder: Command("true", rlimits={"nofile": 1 << 40}), "limits", errno.EPERM),
    "process in a wrong folder": (lambda folder: Process(hostile.idle, cwd="/does/not/exist"), "cwd", errno.ENOENT),
    "process without processor": (lambda folder: Process(hostile.idle, cpus=[4000]), "limits", errno.EINVAL),
    "output to nowhere": (lambda folder: Command("true", stdout="/does/not/exist/x"), "", errno.ENOENT),
}


@pytest.mark.parametrize("case", TABLE)
async def test_impossible_start_fails_with_errno_and_step(case: str, tmp_path: Path) -> None:
    """R29: a distinct error with the number and the step; the next start works, and no descriptor is left."""
    make, step, number = TABLE[case]
    spec = make(tmp_path)
    writer = open(tmp_path / "busy", "r+b") if case == "text busy" else None
    try:
        async with Manager(spares=0) as manager:
            await manager.run(Process(hostile.return_it, 1))
            before = len(os.listdir("/proc/self/fd"))
            with pytest.raises(StartFailed) as failed:
                await manager.start(spec)
            cause = failed.value.__cause__
            assert isinstance(cause, OSError), cause
            assert cause.errno == number
            assert not step or f"step: {step}" in cause.__notes__
            assert len(os.listdir("/proc/self/fd")) == before
            assert await manager.run(Process(hostile.return_it, 7)) == 7
    finally:
        if writer is not None:
            writer.close()


NULS: dict[str, Any] = {
    "command's folder": lambda: Command("true", cwd="a\0b"),
    "limited command's folder": lambda: Command("true", cwd="a\0b", nice=1),
    "process's folder": lambda: Process(hostile.idle, cwd="a\0b"),
    "output": lambda: Command("true", stdout="a\0b"),
    "error output": lambda: Command("true", stderr="a\0b"),
}


@pytest.mark.parametrize("case", NULS)
async def test_nul_fails_the_start_and_no_helper(case: str) -> None:
    """R29: a NUL in a path is refused, by the spec or by the start; the helpers live on."""
    async with Manager(spares=0) as manager:
        sibling = await manager.start(Command("sleep", "1000"))
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises((SpecError, StartFailed)):
            await manager.start(NULS[case]())
        assert len(os.listdir("/proc/self/fd")) == before or case == "process's folder"
        assert sibling.exit is None
        await sibling.stop()


# --- R30 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.both_loops
@pytest.mark.parametrize("kind", ["process", "command"])
@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
async def test_host_without_descriptors_fails_the_start_cleanly(kind: str, warm: bool) -> None:
    """R30: with 0, 1, 2, … descriptors to spare: an error by name until it works, and none is ever lost."""

    def spec() -> Any:
        return Process(hostile.return_it, 7, stdout="capture") if kind == "process" else Command("echo", "on", stdin="x")

    async with Manager() as manager:  # once: imports need descriptors too
        await manager.run(spec())
    succeeded = False
    for spare in range(24):
        async with Manager(spares=0) as manager:
            if warm:
                await manager.run(Process(hostile.return_it, 1))
            before = len(os.listdir("/proc/self/fd"))
            with descriptors_left(spare):
                try:
                    handle = await manager.start(spec())
                    await handle.wait()
                    succeeded = True
                except (StartFailed, OSError) as error:
                    cause = error.__cause__ if isinstance(error, StartFailed) else error
                    assert isinstance(cause, OSError), cause
                    assert cause.errno == errno.EMFILE
            if warm:
                assert len(os.listdir("/proc/self/fd")) == before, spare
            assert await manager.run(Process(hostile.return_it, 7)) == 7
        if succeeded:
            break
    assert succeeded


@pytest.mark.parametrize("helper", ["launcher", "template"])
async def test_helper_without_descriptors_fails_the_start_and_lives(helper: str) -> None:
    """R30: the start fails with EMFILE, the helper has lost no descriptor and no child, and the next start works."""
    async with Manager(spares=0, grace=0.5) as manager:
        sibling = await manager.start(Process(hostile.idle))
        pid = helpers_of(os.getpid())[helper][0]
        before = len(os.listdir(f"/proc/{pid}/fd"))
        for spare in range(5):
            with descriptors_left(spare, pid):
                spec = Command("echo", "on") if helper == "launcher" else Process(hostile.return_it, 7)
                try:
                    await (await manager.start(spec)).wait()
                except StartFailed as error:
                    assert isinstance(error.__cause__, OSError), (spare, error)
                    assert error.__cause__.errno == errno.EMFILE
            for _ in range(200):  # it tells an end before it tidies up
                if len(os.listdir(f"/proc/{pid}/fd")) == before:
                    break
                await asyncio.sleep(0.01)
            assert len(os.listdir(f"/proc/{pid}/fd")) == before
        assert sibling.exit is None
        assert (await manager.run(Command("echo", "on"))).stdout == "on\n"
        assert await manager.run(Process(hostile.return_it, 7)) == 7
        assert helpers_of(os.getpid())[helper] == [pid]


# --- large descriptions ------------------------------------------------------------------------------------------------


@pytest.mark.both_loops
async def test_large_environment_and_argument_arrive() -> None:
    """What no packet holds goes by a memory file, or by the child's own socket."""
    big = "x" * 100_000
    async with Manager(spares=0) as manager:
        done = await manager.run(Command("sh", "-c", "echo ${#BIG} ${#1}", "sh", big, env={"BIG": big}))
        assert done.stdout == "100000 100000\n"
        many = {f"NAME{number}": big for number in range(8)}
        done = await manager.run(Command("sh", "-c", "echo ${#NAME7}", env=many, nice=1))
        assert done.stdout == "100000\n"
        assert len(await manager.run(Process(hostile.return_it, big * 50, env=many))) == 5_000_000


async def test_host_with_a_large_command_line_starts_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a template is told first, the host's path and arguments, may be larger than a packet too."""
    monkeypatch.setattr(sys, "argv", [*sys.argv, "x" * 300_000])
    async with Manager(spares=0) as manager:
        assert await manager.run(Process(hostile.return_it, 7)) == 7


@pytest.mark.parametrize("module", ["import time\ntime.sleep(3.5)"], indirect=True)
async def test_slow_preload_is_no_stopped_template(module: Any) -> None:
    """A template that imports for longer than a helper may owe an answer is not killed for it."""
    async with Manager(spares=0, preload=[module.__module__]) as manager:
        assert await manager.run(Process(hostile.return_it, 7)) == 7


async def test_exit_of_a_failed_start_is_one(tmp_path: Path) -> None:
    """A start that fails ends its node once, with the reason of a crash."""
    ended: list[Exit | None] = []
    async with Manager() as manager:
        spec = Command("/does/not/exist", ended=lambda handle: ended.append(handle.exit))
        with pytest.raises(StartFailed):
            await manager.start(spec)
    assert [exit.reason for exit in ended if exit] == [Reason.CRASHED]


async def test_spare_that_has_died_costs_no_start() -> None:
    """A warm spare has been killed, and the loop has not heard of it yet: the start takes a cold fork."""
    async with Manager(spares=1) as manager:
        await manager.run(Process(hostile.return_it, 1))
        (spare,) = await _spare_of(manager)
        os.kill(spare, signal.SIGKILL)
        assert wait_end(spare, time.monotonic() + PATIENCE)
        assert await manager.run(Process(hostile.return_it, 7)) == 7


async def _spare_of(manager: Manager) -> list[int]:
    """The pid of the spare, when it is there."""
    engine = manager._opened().engine
    for _ in range(500):
        if pids := [spare.pid for spare in engine._spares if spare.pid is not None]:
            return pids
        await asyncio.sleep(0.01)
    return []


async def test_death_between_start_and_ready_names_the_signal() -> None:
    """R24: SIGKILL to the child before it is ready."""
    with FaultPoint("child knows its work", DIE):
        async with Manager(spares=0) as manager:
            with pytest.raises(StartFailed) as failed:
                await manager.start(Process(hostile.idle))
            assert failed.value.exit is not None
            assert failed.value.exit.signal is signal.SIGKILL


async def test_spares_do_not_pile_up() -> None:
    """A start that comes before a spare is born leaves it for the next one: never more than were wanted."""
    async with Manager(spares=1) as manager:
        for _ in range(30):
            await manager.run(Process(int))
            await asyncio.sleep(REFILL_AFTER)  # so that the next start comes as the spare is asked for
        template = helpers_of(os.getpid())["template"][0]
        children = Path(f"/proc/{template}/task/{template}/children").read_text().split()
        assert len(children) <= 1
