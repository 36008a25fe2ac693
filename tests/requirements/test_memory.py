"""How much memory a child may use with all that comes from it, and its control group: row R4, seed D4.7."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from asyncproc import Command, Manager, Process
from asyncproc._core.exit import Reason
from asyncproc._runtime import cgroup
from asyncproc.errors import ChildCrashed
from asyncproc.testing import hostile
from asyncproc.testing.leaks import Leaks
from tests.faults.harness import Victim, wait_end
from tests.requirements import limits_targets as targets
from tests.requirements.limits_targets import MIB

pytestmark = pytest.mark.slow
in_groups = pytest.mark.skipif(cgroup.own_group() is None, reason="no cgroup of version 2 is mounted here")
BOTH = ["process", "command"]


class RootHost(Victim):
    program = Path(__file__).with_name("limits_hosts.py")


# --- R4 ----------------------------------------------------------------------------------------------------------------


@in_groups
@pytest.mark.parametrize("end", ["kill", "stop"])
async def test_r4_fork_bomb_in_a_group_ends_at_once(end: str) -> None:
    """Fifty lines that fork each millisecond: none is left when the end of their node is told, and the sibling lives."""
    with Leaks() as leaks:
        async with Manager(grace=0.1, spares=0) as manager:
            sibling = await manager.start(Process(hostile.leave_daemon))
            await sibling.receive()
            before = set(leaks.survivors())
            bomb = await manager.start(Process(hostile.fork_bomb, 50, max_memory="8GiB", name="bomb"))
            await bomb.receive()
            await (bomb.kill() if end == "kill" else bomb.stop())
            assert set(leaks.survivors()) == before
            assert sibling.exit is None


@in_groups
@pytest.mark.parametrize("end", ["kill", "stop"])
async def test_r4_who_bears_anothers_stamp_ends_with_its_group(end: str) -> None:
    """A daemon that takes its sibling's stamp is spared by each sweep: only the group says whose it is."""
    async with Manager(grace=0.1, spares=0) as manager:
        forger = await manager.start(Process(targets.forge, max_memory="8GiB", name="forger"))
        sibling = await manager.start(Process(targets.tell_stamp))
        await forger.send(await sibling.receive())
        daemon = await forger.receive()
        await (forger.kill() if end == "kill" else forger.stop())
        assert wait_end(daemon, asyncio.get_running_loop().time() + 1.0)
        assert sibling.exit is None


@pytest.mark.parametrize("grouped", [True, False], ids=["group", "no group"])
def test_r4_fork_bomb_ends_with_its_manager(grouped: bool) -> None:
    """The manager is killed while a bomb goes off: the tree is empty within the limit, and no group of ours is left."""
    with RootHost("bombs", *(["grouped"] if grouped else [])) as host:
        host.until("up")
        folder = host.until("folder")
        assert bool(folder) == (grouped and cgroup.own_group() is not None)
        host.kill()
        assert not host.survivors()
        assert not folder or not os.path.exists(folder)


# --- control groups ----------------------------------------------------------------------------------------------------


def test_groups_are_found_in_hybrid_and_unified_mounts_alike() -> None:
    """The one line of mountinfo that is about version 2 counts, wherever it is mounted and whatever part of it is shown."""
    hybrid = b"41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
    old = b"40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd\n"
    part = b"33 24 0:29 /docker/abc /sys/fs/my\\040groups rw shared:9 - cgroup2 cgroup rw,nsdelegate\n"
    assert cgroup._below(hybrid, b"/") == "/sys/fs/cgroup/unified"
    assert cgroup._below(hybrid, b"/user.slice/a") == "/sys/fs/cgroup/unified/user.slice/a"
    assert cgroup._below(old, b"/") is None
    assert cgroup._below(part, b"/docker/abc") == "/sys/fs/my groups"
    assert cgroup._below(part, b"/docker/abc/x") == "/sys/fs/my groups/x"
    assert cgroup._below(part, b"/docker/abcd") is None


@in_groups
@pytest.mark.parametrize("kind", BOTH)
async def test_a_child_has_a_group_only_if_it_asks_for_a_limit(kind: str) -> None:
    """It is below ours, nothing that is ours is written to, and it is gone when the child is; a plain child makes none."""
    ours = cgroup.own_group()
    assert ours is not None
    before = os.listdir(ours), Path(ours, "cgroup.subtree_control").read_text()

    def spec(**options: Any) -> Any:
        return (
            Process(targets.own_group, **options)
            if kind == "process"
            else Command("grep", "^0::", "/proc/self/cgroup", **options)
        )

    async with Manager(spares=0) as manager:
        plain = await manager.run(spec())
        assert os.listdir(ours) == before[0]
        limited = await manager.run(spec(max_memory="1GB"))
        if kind == "command":
            plain, limited = plain.stdout[3:].strip(), limited.stdout[3:].strip()
        assert ours.endswith(plain) or plain == "/"
        (folder,) = set(os.listdir(ours)) - set(before[0])
        assert limited.endswith(f"/{folder}/1")
        assert not [entry for entry in os.scandir(f"{ours}/{folder}") if entry.is_dir()]
    assert (os.listdir(ours), Path(ours, "cgroup.subtree_control").read_text()) == before


@in_groups
async def test_a_forgotten_folder_is_removed_by_the_next() -> None:
    """One of a warden that lives no more goes; one of a warden that lives stays."""
    ours = cgroup.own_group()
    dead = f"{ours}/{cgroup.PREFIX}4194305"  # no pid is that high
    living = f"{ours}/{cgroup.PREFIX}{os.getpid()}"
    os.makedirs(f"{dead}/3")
    os.makedirs(living)
    try:
        async with Manager(spares=0) as manager:
            await manager.run(Command("true", max_memory="1GB"))
        assert not os.path.exists(dead) and os.path.exists(living)
    finally:
        cgroup.remove(dead)
        cgroup.remove(living)


# --- memory ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["itself", "child", "daemon"])
async def test_d4_7_more_memory_than_allowed_ends_the_tree_and_says_so(where: str) -> None:
    """The child itself, its child or its daemon takes too much: the ladder, not a kill; the exit tells reason and amount."""
    with Leaks():
        async with Manager(spares=0) as manager:
            sibling = await manager.start(Process(targets.hold, 80 * MIB, where))
            handle = await manager.start(Process(targets.hold, 80 * MIB, where, max_memory="64MiB"))
            exit = await handle.wait()
            assert exit.reason is Reason.OUT_OF_MEMORY and not exit.ok and exit.failed
            assert not exit.killed  # it obeyed
            assert (
                exit.asked_by is not None and exit.asked_by.startswith("uses ") and exit.asked_by.endswith("more than 64 MiB")
            )
            assert "ran out of memory, uses" in exit.explain()
            assert sibling.exit is None
            with pytest.raises(ChildCrashed):
                await handle


async def test_d4_7_memory_is_limited_without_a_launcher() -> None:
    """The portable path: of the child and of what has it among its parents."""
    async with Manager(launcher="portable") as manager:
        handle = await manager.start(Process(targets.hold, 120 * MIB, "child", max_memory="100MiB"))
        assert (await handle.wait()).reason is Reason.OUT_OF_MEMORY


async def test_d4_7_command_out_of_memory_gets_its_signal_first() -> None:
    """A command has its grace too."""
    text = (
        "import signal,sys,time;signal.signal(15, lambda *_: sys.exit(9));block=b'x' * (80 << 20)\nwhile True: time.sleep(0.05)"
    )
    async with Manager(spares=0) as manager:
        handle = await manager.start(Command(sys.executable, "-S", "-c", text, max_memory=64 * MIB))
        exit = await handle.wait()
        assert (exit.reason, exit.code) == (Reason.OUT_OF_MEMORY, 9)


async def test_d4_7_shared_pages_count_once() -> None:
    """Five processes that share 60 MiB use 60 MiB, though each shows all of it: less than the limit."""
    async with Manager(spares=0) as manager:
        handle = await manager.start(Process(targets.share, 60 * MIB, 4, max_memory="160MiB"))
        assert await handle > 160 * MIB


async def test_memory_is_looked_at_only_while_somebody_has_a_limit() -> None:
    """Nothing is loaded or planned for children without; the last with one takes the alarm along."""
    async with Manager(spares=0) as manager:
        await manager.run(Process(hostile.return_it, 1))
        supervisor = manager._opened().supervisor
        assert supervisor._memory is None
        first = await manager.start(Process(hostile.idle, max_memory="1GB"))
        second = await manager.start(Command("sleep", "1000", max_memory="1GB"))
        assert supervisor._memory is not None
        await first.stop(grace=0)
        assert supervisor._memory._alarm is not None
        await second.stop()
        assert supervisor._memory._alarm is None


async def test_two_managers_of_one_process_count_apart() -> None:
    """They hand out the same stamps: what one's child uses is not the other's."""
    async with Manager(spares=0, name="one") as one, Manager(spares=0, name="two") as two:
        large = await one.start(Process(targets.hold, 120 * MIB, "daemon"))
        small = await two.start(Process(hostile.idle, max_memory="60MiB"))
        engine = two._opened().engine
        for _ in range(300):
            used = one._opened().engine.memory_of(
                {place.child: 1 for place in one._opened().supervisor.places.values() if place.child}
            )
            if max(used.values(), default=0) > 100 * MIB:
                break
            await asyncio.sleep(0.01)
        assert max(used.values()) > 100 * MIB
        assert engine.memory_of({child_of(two): 1})[child_of(two)] < 60 * MIB
        assert large.exit is None and small.exit is None


def child_of(manager: Manager) -> Any:
    (child,) = [place.child for place in manager._opened().supervisor.places.values() if place.child is not None]
    return child
