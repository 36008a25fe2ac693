"""Whatever ends a host or a helper, and whenever it does: nobody below lives on. Rows R1 to R9."""

from __future__ import annotations

import os
import signal
import time

import pytest

from asyncproc import Command, Concurrent, Manager, Process
from asyncproc._core.exit import Reason
from asyncproc.testing import hostile
from asyncproc.testing.faults import DIE, STEPS, STOP, FaultPoint
from asyncproc.testing.leaks import Leaks
from tests.faults.harness import PATIENCE, Deaths, Victim, die_often, ended, helpers_of, wait_end

pytestmark = pytest.mark.slow

KINDS = {
    "manager": 200,
    "manager forks": 50,
    "manager deaf": 20,
    "launcher": 50,
    "launcher then": 50,
    "template then": 50,
    "warden": 50,
    "warden then": 50,
    "launcher manager": 50,
}
"""What is killed, and how often in a full run; "then" lets the host go on for a round before it is killed as well."""


@pytest.mark.parametrize("kind", KINDS)
def test_death_at_a_random_moment_leaves_nobody(kind: str, record_property: pytest.FixtureRequest) -> None:
    """R1, R5, R6, R8: the host, a helper, or both are killed while a deep tree starts, stands or stops."""
    deaths = die_often(kind, 12 if kind == "manager" else 5)
    assert not deaths.survivors, deaths


@pytest.mark.full
@pytest.mark.alone
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", KINDS)
def test_many_deaths_leave_nobody_within_a_second(kind: str) -> None:
    """The same in full number: and the slowest takes no longer than what is promised."""
    deaths = die_often(kind, KINDS[kind], seed=2)
    print(kind, deaths)
    assert not deaths.survivors
    assert max(deaths.times) < 1.0


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("end", ["execs", "os_exits"])
def test_host_that_ends_without_closing_leaves_nobody(end: str, loop: str) -> None:
    """R8, R9: another program in its place, or `os._exit`."""
    with Victim(end, loop) as victim:
        victim.until("up")
        spared = {victim.pid} if end == "execs" else set()
        assert not victim.survivors(spared)
        assert victim.process.poll() == (None if end == "execs" else 3)


@pytest.mark.parametrize("host", ["passing_thread", "grows_in_threads"])
def test_thread_that_ends_takes_no_child_along(host: str) -> None:
    """R7: children that were started from short-lived threads, and helpers too, live on; then none outlives the host."""
    with Victim(host, *(["thread"] if host == "grows_in_threads" else [])) as victim:
        victim.until("up")
        assert {"warden", "launcher", "template"} <= set(helpers_of(victim.pid))
        victim.kill()
        assert not victim.survivors()


# --- R2: between fork and exec, and everywhere else --------------------------------------------------------------------


@pytest.mark.parametrize("step", STEPS)
def test_host_killed_at_a_step_of_a_start_leaves_nobody(step: str) -> None:
    """R2: somebody is stopped at this step, there the host is killed."""
    deaths = Deaths()
    with Victim("stops_at", step) as victim:
        victim.until("at")
        with deaths.one(victim):
            victim.kill()
    assert not deaths.survivors


# --- R3, R4: exact attribution -----------------------------------------------------------------------------------------


@pytest.mark.both_loops
async def test_daemon_ends_with_its_child_and_no_other_does() -> None:
    """R3: a double fork, a session and an ignored SIGTERM do not save a daemon; one of a sibling is not touched."""
    async with Manager(grace=0.1) as manager:
        first = await manager.start(Process(hostile.leave_daemon, name="first"))
        second = await manager.start(Process(hostile.leave_daemon, name="second"))
        third = await manager.start(Command("sh", "-c", "setsid -f sleep 1000; echo up; sleep 1000", name="third"))
        gone, spared = await first.receive(), await second.receive()
        await first.stop()
        assert not _lives(gone)
        assert _lives(spared)
        assert third.exit is None
        await third.stop()
        assert _lives(spared)
    assert not _lives(spared)


async def test_daemon_of_a_child_that_ended_by_itself_is_swept() -> None:
    """What a child leaves behind goes soon after its own end, without a stop."""
    async with Manager() as manager:
        daemon = await manager.run(Process(hostile.leave_daemon_and_end))
        assert wait_end(daemon, time.monotonic() + PATIENCE)


def _lives(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")


@pytest.mark.alone
async def test_fork_bomb_ends_with_its_child() -> None:
    """R4: fifty lines of processes that live for a millisecond each; when the stop returns none is left, but the sibling's.

    A sweep has half a second, so this is no test for a machine that is busy with others.
    """
    with Leaks() as leaks:
        async with Manager(grace=0.1, spares=0) as manager:
            sibling = await manager.start(Process(hostile.leave_daemon))
            spared = await sibling.receive()
            before = set(leaks.survivors())
            bomb = await manager.start(Process(hostile.fork_bomb, 50, name="bomb"))
            await bomb.receive()
            assert (await bomb.stop()).reason is Reason.STOPPED
            assert set(leaks.survivors()) == before
            assert _lives(spared)


# --- a lost launcher ---------------------------------------------------------------------------------------------------


@pytest.mark.both_loops
@pytest.mark.parametrize("helper", ["launcher", "warden", "template"])
async def test_lost_helper_is_an_ordinary_exit_and_is_replaced(helper: str) -> None:
    """R5: each child of a killed helper has one exit, by its policy; what comes next has new helpers."""
    moves = []
    async with Manager() as manager:
        tree = Concurrent(Process(hostile.tell_and_idle, name="p"), Command("sleep", "1000", name="c"), on_failure="continue")
        group = await manager.start(tree)
        python, command = group.children
        await python.receive()
        manager._opened().supervisor.subscribers.append(moves.append)
        (pid,) = helpers_of(os.getpid())[helper]
        os.kill(pid, signal.SIGKILL)
        if helper == "launcher":
            assert (await command.wait()).reason is Reason.LOST
        if helper != "warden":
            assert (await python.wait()).reason is Reason.LOST
            assert not _lives(python.exit.pid)
        assert await manager.run(Process(hostile.return_it, 7)) == 7
        assert (await manager.run(Command("echo", "on"))).stdout == "on\n"
        if helper == "warden":
            assert python.exit is None
            assert command.exit is None
        await group.stop()
        ends = [move.path for move in moves if move.exit is not None and move.path.startswith("app/concurrent/")]
        assert sorted(ends) == ["app/concurrent/c", "app/concurrent/p"]
    assert not helpers_of(os.getpid())


async def test_warden_then_its_launcher_are_lost() -> None:
    """The one helper that nobody watched any more: its children are told as lost all the same."""
    async with Manager() as manager:
        command = await manager.start(Command("sh", "-c", "setsid sleep 1000 & sleep 1000"))
        python = await manager.start(Process(hostile.tell_and_idle))
        helpers = helpers_of(os.getpid())
        os.kill(helpers["warden"][0], signal.SIGKILL)
        assert (await manager.run(Command("echo", "on"))).stdout == "on\n"
        os.kill(helpers["launcher"][0], signal.SIGKILL)
        assert (await python.wait()).reason is Reason.LOST
        assert (await command.wait()).reason is Reason.LOST
    # the leak check finds nobody: the manager itself has ended what no helper was left for, also the daemon


async def test_close_without_a_warden_waits_for_the_launcher() -> None:
    """When a manager without a warden has closed, nobody is left: at once, not soon."""
    with Leaks() as leaks:
        async with Manager(grace=0.1) as manager:
            for _ in range(5):
                handle = await manager.start(Process(hostile.leave_daemon))
                await handle.receive()
            os.kill(helpers_of(os.getpid())["warden"][0], signal.SIGKILL)
            assert (await manager.run(Command("echo", "on"))).stdout == "on\n"
        assert not leaks.survivors()


@pytest.mark.parametrize("helper", ["launcher", "warden", "template"])
async def test_many_losses_leave_no_descriptor(helper: str) -> None:
    """A manager that loses its helpers again and again holds no more descriptors than before."""
    counts = []
    async with Manager(spares=0, grace=0.1) as manager:
        for _ in range(5):
            handle = await manager.start(Process(hostile.idle))
            counts.append(len(os.listdir("/proc/self/fd")))
            helpers = helpers_of(os.getpid())
            os.kill(helpers[helper][0], signal.SIGKILL)
            if helper == "warden":  # the others go when their last child does
                await ended(helpers["warden"][0])
                await manager.run(Command("true"))
                await handle.stop()
            assert (await handle.wait()).reason is (Reason.STOPPED if helper == "warden" else Reason.LOST)
            for pid in helpers["template"] if helper == "template" else helpers["launcher"] + helpers["template"]:
                await ended(pid)
    assert counts == [counts[0]] * 5


@pytest.mark.parametrize("step", STEPS)
async def test_death_at_a_step_fails_by_name_and_the_next_start_works(step: str) -> None:
    """R2, R24: who dies at a step of a start takes that start along at most, and leaves nothing behind."""
    with Leaks(), FaultPoint(step, DIE) as point:
        async with Manager(spares=0, grace=0.5) as manager:
            spec = Command("sleep", "1000") if "command" in step else Process(hostile.idle)
            try:
                handle = await manager.start(spec)
            except Exception as error:
                assert "lost" in str(error) or "signal" in str(error), error
            else:
                await handle.stop()
            assert point.happened
            assert await manager.run(Process(hostile.return_it, 7)) == 7
            assert (await manager.run(Command("echo", "on"))).stdout == "on\n"


@pytest.mark.parametrize("step", [step for step in STEPS if "child" not in step])
async def test_helper_stopped_at_a_step_is_continued_or_replaced(step: str) -> None:
    """A helper that is stopped while it owes an answer gets SIGCONT, then SIGKILL: no start waits for ever."""
    with Leaks(), FaultPoint(step, STOP) as point:
        async with Manager(spares=0, grace=0.5) as manager:
            spec = Command("sleep", "1000") if "command" in step else Process(hostile.idle)
            handle = await manager.start(spec)
            await handle.stop()
            assert point.happened
