"""The portable path: what only it has to be told of. The same tests as elsewhere run on it too, see :mod:`tests.portable`."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from asyncproc import Command, Manager, Process, SpecError, current
from asyncproc._core.exit import Exit, Reason
from asyncproc._engines.machine import MachineEngine
from asyncproc._runtime import fresh_main
from asyncproc.abc import Order
from asyncproc.errors import StartFailed
from asyncproc.testing import hostile
from asyncproc.testing.leaks import Leaks
from tests.faults.harness import PATIENCE, Victim, ended, wait_end
from tests.manager.programs import ROOT
from tests.portable import EXCEPTIONS, MODULES

pytestmark = pytest.mark.slow

HOSTS = Path(__file__).with_name("portable_hosts.py")


class Host(Victim):
    """A host of ``portable_hosts.py``."""

    program = HOSTS


@pytest.fixture
async def manager() -> Any:
    async with Manager(launcher="portable", grace=0.3) as manager:
        yield manager


# --- nobody is left ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_killed_manager_leaves_no_child(loop: str) -> None:
    """Idle, busy in pure Python, asleep, deaf to SIGTERM, with children of their own, and commands."""
    with Host("stands", loop) as host:
        host.until("up")
        host.kill()
        begun = time.monotonic()
        assert not host.survivors()
        print(f"gone after {(time.monotonic() - begun) * 1e3:.0f} ms")


@pytest.mark.parametrize("end", ["forgets", "os_exits"])
def test_host_that_ends_without_closing_leaves_no_child(end: str) -> None:
    """A forgotten manager, and an end without any clean-up."""
    with Host(end) as host:
        host.until("up")
        assert not host.survivors()


def test_manager_killed_at_any_moment_leaves_no_child() -> None:
    """Also while children start: what has not come to its first line yet, and a command that is not its program yet."""
    chance = random.Random(1)
    for _ in range(8):
        with Host("churns") as host:
            host.until("up")
            time.sleep(chance.random() * 0.2)  # the moment is the point of the test
            host.kill()
            assert not host.survivors()


async def test_closing_leaves_nobody_and_no_helper_was_there() -> None:
    """While children run, there are they alone: no tracker, no manager process, no thread; and multiprocessing lists none."""
    with Leaks() as leaks:
        async with Manager(launcher="portable") as manager:
            handles = [await manager.start(Process(hostile.tell_and_idle)) for _ in range(2)]
            handles.append(await manager.start(Command("sleep", "1000")))
            for handle in handles[:2]:
                await handle.receive()
            assert set(leaks.survivors()) == {handle.pid for handle in handles}
            assert not multiprocessing.active_children()
        assert not leaks.survivors()


async def test_daemon_of_a_child_that_ended_by_itself_is_swept(manager: Manager) -> None:
    """On Linux the stamp finds it."""
    daemon = await manager.run(Process(hostile.leave_daemon_and_end))
    await ended(daemon)


async def test_daemon_ends_with_its_child_and_no_other_does(manager: Manager) -> None:
    """A double fork and a session do not save it; that of a sibling is not touched."""
    first = await manager.start(Process(hostile.leave_daemon))
    second = await manager.start(Process(hostile.leave_daemon))
    gone, spared = await first.receive(), await second.receive()
    await first.stop()
    await ended(gone)
    assert not await _ended_now(spared)


async def _ended_now(pid: int) -> bool:
    return wait_end(pid, time.monotonic())


# --- ends are seen ---------------------------------------------------------------------------------------------------------


def hold_all_open() -> int:
    """Leave a grandchild that holds every descriptor of this child open; its pid."""
    pid = os.fork()
    if pid == 0:
        os.setsid()
        time.sleep(hostile.FOR_EVER)
        os._exit(0)
    return pid


@pytest.mark.both_loops
async def test_end_does_not_wait_for_who_holds_the_pipes(manager: Manager) -> None:
    """A sentinel would never fire: the end is the process's own."""
    grandchild = await manager.run(Process(hold_all_open))
    await ended(grandchild)


@pytest.mark.both_loops
async def test_killed_child_is_seen_by_its_handle(manager: Manager) -> None:
    """By somebody else: a crash with its signal, of a child and of a command."""
    for spec in (Process(hostile.idle), Command("sleep", "1000")):
        handle: Any = await manager.start(spec)
        os.kill(handle.pid, signal.SIGKILL)
        exit = await handle.wait()
        assert (exit.reason, exit.signal) == (Reason.CRASHED, signal.SIGKILL)


@pytest.mark.both_loops
async def test_ends_are_seen_without_pidfds(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on systems that lack them: by a waiting thread for each, which ends with it; who is left in the group is killed."""
    monkeypatch.delattr(os, "pidfd_open")
    async with Manager(launcher="portable", grace=0.3) as manager:
        assert manager.guarantees["stamps"] is False
        assert await manager.run(Process(hostile.return_it, 7)) == 7
        assert (await manager.run(Command("sh", "-c", "sleep 1000 >/dev/null & echo on"))).stdout == "on\n"
        handle = await manager.start(Process(hostile.ignore_term))
        await handle.receive()
        exit = await handle.stop()
        assert exit.killed and exit.signal is signal.SIGKILL
        await manager.start(Process(hostile.idle))


async def test_child_that_watches_its_channel_ends_with_it(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on systems without a parent-death signal: a manager that is gone has closed the channel."""
    monkeypatch.setattr(fresh_main, "WATCHES", True)
    handle = await manager.start(Process(hostile.tell_and_idle))
    await handle.receive()
    child: Any = manager._opened().supervisor.by_path["app/tell_and_idle"].child
    child._channel.close()
    assert (await handle.wait()).signal is signal.SIGKILL


# --- what a child is given ---------------------------------------------------------------------------------------------------


def about_this_interpreter() -> dict[str, Any]:
    return {
        "hash": os.environ.get("PYTHONHASHSEED"),
        "home": os.environ.get("HOME"),
        "method": multiprocessing.get_start_method(),
        "parent": multiprocessing.parent_process(),
        "seed": hash("x"),
        "json": "json" in sys.modules,
        "ignored": signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN,
        "fds": sorted(int(name) for name in os.listdir("/proc/self/fd"))[:5],
        "locks": resource.getrlimit(10)[0],
        "name": current().path,
    }


async def test_child_is_a_fresh_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """What only a new interpreter reads is heard; multiprocessing in it is as in any program; modules are preloaded."""
    async with Manager(launcher="portable", preload=["json"]) as manager:
        spec = Process(about_this_interpreter, env={"PYTHONHASHSEED": "7"})
        one, two = await manager.run(spec), await manager.run(spec)
        exact = await manager.run(Process(about_this_interpreter, env={"A": "B"}, inherit_env=False))
    assert (one["hash"], one["method"], one["parent"], one["json"]) == ("7", multiprocessing.get_start_method(), None, True)
    assert one["seed"] == two["seed"]
    assert one["locks"] != two["locks"]
    assert one["name"] == "app/about_this_interpreter"
    assert (exact["hash"], exact["home"]) == (None, None)


async def test_commands_start_clean_in_a_deaf_host(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the host ignores or blocks is not handed on."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    try:
        status = "Command", "sh", "-c", "grep -E 'Sig(Blk|Ign)' /proc/self/status"
        done = await manager.run(Command(*status[1:]))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    masks = {line.split()[0]: int(line.split()[1], 16) for line in done.stdout.splitlines()}
    assert masks["SigBlk:"] == 0
    assert not masks["SigIgn:"] & (1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGCHLD - 1))


async def test_without_an_interpreter_the_start_fails_by_name(manager: Manager) -> None:
    """What multiprocessing was told to start is not there."""
    before = multiprocessing.spawn.get_executable()
    multiprocessing.set_executable("/does/not/exist/python")
    try:
        with pytest.raises(StartFailed) as failed:
            await manager.start(Process(hostile.idle))
    finally:
        multiprocessing.set_executable(os.fsdecode(before))
    assert isinstance(failed.value.__cause__, FileNotFoundError)
    assert "step: exec" in failed.value.__cause__.__notes__


async def test_host_without_standard_streams_starts_children(tmp_path: Path) -> None:
    """A daemon has closed them: the channel must not stand in their place."""
    program = tmp_path / "program.py"
    out = tmp_path / "out"
    program.write_text(
        "import asyncio, os, sys\n"
        "from asyncproc import Command, Manager, Process\n"
        "async def main():\n"
        "    async with Manager(launcher='portable') as manager:\n"
        "        first = await manager.run(Process(len, 'four'))\n"
        "        return first, (await manager.run(Command('echo', 'on'))).stdout\n"
        "os.closerange(0, 3)\n"
        "result = asyncio.run(main())\n"
        "open(sys.argv[1], 'w').write(repr(result))\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, str(program), str(out)], env=env, check=True, timeout=PATIENCE * 4)
    assert out.read_text() == repr((4, "on\n"))


# --- what cannot be honoured -------------------------------------------------------------------------------------------------


async def test_what_the_system_lacks_is_refused_by_name(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never ignored: the start fails with the option and its value."""
    monkeypatch.delattr(os, "sched_setaffinity")
    monkeypatch.delattr(resource, "RLIMIT_NICE")
    spec: Any
    for spec in (Process(hostile.idle, cpus=[0], rlimits={"nice": 1}), Command("true", cpus=[0], rlimits={"nice": 1})):
        with pytest.raises(StartFailed) as failed:
            await manager.start(spec)
        error = failed.value.__cause__
        assert isinstance(error, SpecError)
        assert [fault.field for fault in error.faults] == ["cpus", "rlimits"]


async def test_without_a_posix_system_processes_are_refused_by_name() -> None:
    """What is left then are threads and coroutines."""
    ends: list[Exit] = []

    class Ended:
        def on_exit(self, exit: Exit, result: Any) -> None:
            ends.append(exit)
            if len(ends) == 2:
                both.set()

    both = asyncio.Event()
    engine = MachineEngine(asyncio.get_running_loop())
    for spec in (Process(hostile.idle), Command("true")):
        watcher: Any = Ended()
        engine.start(spec, Order("app/x", 1, 1, 1), watcher)
        assert not ends  # never within the start
    await both.wait()
    await engine.aclose()
    assert [type(exit.error) for exit in ends] == [SpecError] * 2
    assert "app/x: launcher" in str(ends[0].error)


def test_launcher_is_checked() -> None:
    """SpecError naming the field and its value."""
    wrong: Any = "fork"
    with pytest.raises(SpecError) as caught:
        Manager(launcher=wrong)
    assert [(fault.field, fault.value) for fault in caught.value.faults] == [("launcher", "fork")]


def test_guarantees_are_told_and_frozen() -> None:
    """Both launchers answer the same questions, differently."""
    auto, portable = Manager(launcher="auto").guarantees, Manager(launcher="portable").guarantees
    assert set(auto) == set(portable)
    assert (auto["launcher"], portable["launcher"]) == ("chain", "portable")
    assert auto["descendants end with a killed manager"] is True
    assert portable["descendants end with a killed manager"] is False
    with pytest.raises(TypeError):
        portable["spares"] = True  # type: ignore[index]


def test_exceptions_are_tests_that_exist() -> None:
    """What is left out on the portable path is named as it is called now."""
    for name in EXCEPTIONS:
        path, function = name.split("::")
        assert path in MODULES
        assert f"def {function}(" in (ROOT / path).read_text(), name
