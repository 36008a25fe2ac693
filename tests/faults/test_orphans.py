"""Whatever ends a host or a helper, and whenever it does: nobody below lives on. Rows R4 and R72.

R1 to R3 and R5 to R9 stand in ``tests/requirements/test_death.py``, R75 and R76 in ``test_embedding.py`` there.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from asyncproc import Command, Concurrent, Manager, Process
from asyncproc._core.exit import Reason
from asyncproc.testing import hostile
from asyncproc.testing.faults import STEPS, STOP, FaultPoint
from asyncproc.testing.leaks import Leaks
from tests.faults.harness import PATIENCE, Victim, die_often, ended, helpers_of, wait_end

pytestmark = pytest.mark.slow

KINDS = {
    "manager deaf": 20,
    "template then": 50,
    "warden": 50,
    "warden then": 50,
}
"""What is killed, and how often in a full run; "then" lets the host go on for a round before it is killed as well."""


@pytest.mark.parametrize("kind", KINDS)
def test_death_at_a_random_moment_leaves_nobody(kind: str, record_property: pytest.FixtureRequest) -> None:
    """R67 and the helpers that no row names: killed while a deep tree starts, stands or stops."""
    deaths = die_often(kind, 5)
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


def test_death_of_the_middle_process_ends_the_inner_tree() -> None:
    """R72: a child with a manager of its own is killed; the outer host lives, its other children too."""
    with Victim("stands") as victim:
        middle = int(victim.until("inner"))
        victim.until("up")
        inner = _tree_below(middle)
        assert len(inner) >= 6  # three helpers, three children
        os.kill(middle, signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE
        assert all(wait_end(pid, deadline) for pid in inner)
        assert victim.process.poll() is None
        victim.kill()
        assert not victim.survivors()


def _tree_below(pid: int) -> set[int]:
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        lists = Path(f"/proc/{waiting.pop()}/task").glob("*/children")
        children = {int(word) for text in lists for word in text.read_text().split()}
        waiting += children
        found |= children
    return found


# --- what children leave behind ----------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("step", [step for step in STEPS if "child" not in step])
async def test_helper_stopped_at_a_step_is_continued_or_replaced(step: str) -> None:
    """A helper that is stopped while it owes an answer gets SIGCONT, then SIGKILL: no start waits for ever."""
    with Leaks(), FaultPoint(step, STOP) as point:
        async with Manager(spares=0, grace=0.5) as manager:
            spec = Command("sleep", "1000") if "command" in step else Process(hostile.idle)
            handle = await manager.start(spec)
            await handle.stop()
            assert point.happened
