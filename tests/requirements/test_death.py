"""Rows R1 to R3, R5 to R9: whatever ends the manager or its helpers, and whenever it does, nobody below lives on."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import time
from typing import Any

import pytest

from asyncproc import Backoff, ChildCrashed, Command, Manager, Process, Reason, State, Supervisor
from asyncproc.testing import hostile
from asyncproc.testing.faults import DIE, STEPS, FaultPoint
from asyncproc.testing.leaks import Leaks
from tests.faults.harness import PATIENCE, Deaths, Victim, die_often, ended, helpers_of, wait_end

pytestmark = pytest.mark.slow

PROMISED = 1.0
"""Seconds after which nobody may be left."""


def often(count: int) -> Any:
    """A few deaths in each run, and *count* of them in a full one."""
    full = [pytest.mark.full, pytest.mark.alone, pytest.mark.timeout(600)]
    return pytest.mark.parametrize("count", [6, pytest.param(count, marks=full)])


def assert_nobody_is_left(kind: str, count: int) -> None:
    """Kill what *kind* names so often, each time at a random moment of a tree's start, life or stop."""
    deaths = die_often(kind, count, seed=count)
    print(kind, deaths)
    assert not deaths.survivors, deaths
    if count > 6:  # else others may have the machine
        assert max(deaths.times) < PROMISED, deaths


@pytest.mark.parametrize("part", [1, 2])
def test_r1_sigkill_to_the_manager(part: int) -> None:
    """No child and no grandchild, be it a daemon or deaf, lives on, whenever the manager is killed."""
    deaths = die_often("manager", 6, seed=part)
    assert not deaths.survivors, deaths


@pytest.mark.full
@pytest.mark.alone
@pytest.mark.timeout(600)
def test_r1_sigkill_to_the_manager_200_times() -> None:
    """Nobody is left within a second, of any of 200."""
    assert_nobody_is_left("manager", 200)


def test_r1_tree_is_deep_and_hostile() -> None:
    """What the two above kill: three deep below the manager, with daemons; and all of it is gone in time."""
    deaths = Deaths()
    with Victim("stands") as victim:
        victim.until("up")
        assert len(victim.leaks.survivors()) >= 18
        with deaths.one(victim):
            victim.kill()
    assert not deaths.survivors


@pytest.mark.parametrize("step", STEPS)
def test_r2_sigkill_to_the_manager_at_a_step_of_a_start(step: str) -> None:
    """Who stands still at this step, also between fork and exec, never lives on."""
    deaths = Deaths()
    with Victim("stops_at", step) as victim:
        victim.until("at")
        with deaths.one(victim):
            victim.kill()
    assert not deaths.survivors


@pytest.mark.parametrize("step", STEPS)
async def test_r2_death_at_a_step_fails_by_name_and_the_next_start_works(step: str) -> None:
    """Who dies at a step of a start takes that start along at most, and leaves nothing behind."""
    with Leaks(), FaultPoint(step, DIE) as point:
        async with Manager(spares=0, grace=0.5) as manager:
            spec: Any = Command("sleep", "1000") if "command" in step else Process(hostile.idle)
            try:
                handle = await manager.start(spec)
            except Exception as error:
                assert "lost" in str(error) or "signal" in str(error), error
            else:
                await handle.stop()
            assert point.happened
            assert await manager.run(Process(hostile.return_it, 7)) == 7
            assert (await manager.run(Command("echo", "on"))).stdout == "on\n"


# --- R3 ----------------------------------------------------------------------------------------------------------------


@pytest.mark.both_loops
async def test_r3_daemon_ends_with_the_stop_of_its_child() -> None:
    """A double fork, a session and an ignored SIGTERM do not save it; that of a sibling is not touched."""
    async with Manager(grace=0.1) as manager:
        first = await manager.start(Process(hostile.leave_daemon, name="first"))
        second = await manager.start(Process(hostile.leave_daemon, name="second"))
        third = await manager.start(Command("sh", "-c", "setsid -f sleep 1000; echo up; sleep 1000", name="third"))
        gone, spared = await first.receive(), await second.receive()
        await first.stop()
        await ended(gone)
        assert third.exit is None
        await third.stop()
        assert not wait_end(spared, time.monotonic())
    await ended(spared)


def test_r3_daemon_ends_with_the_manager() -> None:
    """Of children and of commands, two forks away from each."""
    with Victim("stands") as victim:
        victim.until("up")
        below = {pid: what for pid, what in victim.leaks.survivors().items() if _parent(pid) in helpers(victim.pid)}
        daemons = [pid for pid in below if os.getsid(pid) != pid]
        assert len(daemons) >= 3, below
        victim.kill()
        assert not victim.survivors()


def helpers(host: int) -> set[int]:
    return {pid for pids in helpers_of(host).values() for pid in pids}


def _parent(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return int(stat.read().rpartition(")")[2].split()[1])
    except OSError:
        return 0


# --- R5, R6 ------------------------------------------------------------------------------------------------------------


@pytest.mark.alone
@pytest.mark.both_loops
async def test_r5_lost_launcher_is_an_exit_of_each_child(caplog: pytest.LogCaptureFixture) -> None:
    """Seen within 0.1 s and logged; each child has one exit, *lost*; the permanent come back, from a new launcher; a call in
    flight fails by its name; a daemon of a lost child is ended too."""
    times = []
    tree = Supervisor(
        Process(hostile.tell_and_idle, name="p"),
        Command("sleep", "1000", name="c"),
        Process(hostile.idle, name="q"),
        Process(hostile.leave_daemon, name="once", restart="temporary"),
        intensity=None,
        backoff=Backoff(0.001, 0.001),
    )
    async with Manager(tree, spares=0) as manager:
        daemon = await manager.find("once").receive()
        moves = manager.events()
        flight = asyncio.create_task(manager.run(Process(hostile.idle, name="flight", restart="temporary")))
        async for move in moves:
            if (move.path, move.after) == ("app/flight", State.RUNNING):
                break
        for number in range(1, 4):
            seen: list[Any] = []
            manager._opened().supervisor.subscribers.append(seen.append)
            (launcher,) = helpers_of(os.getpid())["launcher"]
            at = time.monotonic()
            os.kill(launcher, signal.SIGKILL)
            for name in "pcq":
                await manager.find(name).wait_for(incarnation=number + 1)
                await manager.find(name).wait_for(state=State.RUNNING)
            manager._opened().supervisor.subscribers.remove(seen.append)
            ends = sorted((move.path, move.incarnation, move.exit.reason) for move in seen if move.exit)
            expected = [(f"app/{name}", number, Reason.LOST) for name in "cpq"]
            once = [("app/flight", 1, Reason.LOST), ("app/once", 1, Reason.LOST)] if number == 1 else []
            assert ends == sorted(expected + once)
            times.append(min(move.time for move in seen if move.exit) - at)
            assert helpers_of(os.getpid())["launcher"] != [launcher]
        with pytest.raises(ChildCrashed, match="app/flight was lost"):
            await flight
        await ended(daemon)
    assert sorted(times)[1] < 0.1, times
    assert caplog.text.count("app: its helper processes were lost") == 3


@often(50)
@pytest.mark.parametrize("kind", ["launcher", "launcher then"])
def test_r5_sigkill_to_the_launcher_then_to_the_manager(kind: str, count: int) -> None:
    """At once, or when a new round of the tree stands: nobody is left of the old launcher, nor of the new one."""
    assert_nobody_is_left(kind, count)


@often(50)
def test_r6_sigkill_to_manager_and_launcher_together(count: int) -> None:
    """The warden ends the rest."""
    assert_nobody_is_left("launcher manager", count)


def test_r6_without_any_helper_python_children_die_all_the_same() -> None:
    """All of them at once: what is promised then is the end of Python children, by their parent-death signal."""
    with Victim("stands") as victim:
        victim.until("up")
        below = helpers_of(victim.pid)
        adopted = [pid for template in below["template"] for pid in _children(template)]
        python = [pid for pid in adopted if os.getsid(pid) == pid]  # the others are daemons that they left
        assert len(python) >= 3
        for pid in [pid for pids in below.values() for pid in pids] + [victim.pid]:
            os.kill(pid, signal.SIGSTOP)  # so that none of them sees another's end
        for pid in [pid for pids in below.values() for pid in pids] + [victim.pid]:
            os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE
        assert all(wait_end(pid, deadline) for pid in python)


def _children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as children:
        return [int(word) for word in children.read().split()]


# --- R7, R8, R9 --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["passing_thread", "grows_in_threads"])
def test_r7_children_outlive_the_thread_that_started_them(host: str) -> None:
    """Whether it started them, or the helpers, or the loop; then none outlives the host."""
    with Victim(host, *(["thread"] if host == "grows_in_threads" else [])) as victim:
        children = [int(victim.until("child")) for _ in range(5 if host == "grows_in_threads" else 0)]
        victim.until("up")
        assert {"warden", "launcher", "template"} <= set(helpers_of(victim.pid))
        assert not any(wait_end(pid, time.monotonic()) for pid in children)
        victim.kill()
        assert not victim.survivors()


@often(50)
def test_r8_forked_copy_of_the_host_keeps_nobody_alive(count: int) -> None:
    """It has all that the host had open, lives on, and the tree ends with the host."""
    assert_nobody_is_left("manager forks", count)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_r8_host_that_becomes_another_program_leaves_nobody(loop: str) -> None:
    """Its descriptors are closed by the exec."""
    with Victim("execs", loop) as victim:
        victim.until("up")
        assert not victim.survivors({victim.pid})
        assert victim.process.poll() is None


async def test_r8_forked_copy_that_ends_disturbs_nobody() -> None:
    """One that drops everything and ends as an interpreter does takes nothing away from the host."""
    async with Manager() as manager:
        handle = await manager.start(Process(hostile.idle))
        pid = os.fork()
        if pid == 0:
            try:
                manager._root.abandon()  # type: ignore[union-attr]  # as its finaliser would
                gc.collect()
            finally:
                os._exit(0)
        await ended(pid)
        assert os.waitpid(pid, 0)[1] == 0
        assert handle.exit is None
        assert await manager.run(Process(hostile.return_it, 7)) == 7
        assert (await manager.run(Command("echo", "on"))).stdout == "on\n"
        assert (await handle.stop()).reason is Reason.STOPPED


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_r9_os_exit_of_the_host_leaves_nobody(loop: str) -> None:
    """As if it had been killed: nobody of a tree three deep, be he a daemon or deaf."""
    deaths = Deaths()
    with Victim("stands", "exits", loop) as victim:
        victim.until("up")
        assert len(victim.leaks.survivors()) >= 18
        with deaths.one(victim):
            victim.exit()
        assert victim.process.returncode == 3
    assert not deaths.survivors


@often(50)
def test_r9_os_exit_at_a_random_moment(count: int) -> None:
    """Also amid a start or a stop; nobody is left within a second, which the run of 50 measures."""
    assert_nobody_is_left("exits", count)
