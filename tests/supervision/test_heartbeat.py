"""Heartbeats, stacks and statistics, of every kind of child; who is looked at when, and what it costs."""

from __future__ import annotations

import asyncio
import atexit
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from asyncproc import (
    BeforeLoop,
    Command,
    Concurrent,
    Coroutine,
    Manager,
    OnStart,
    Process,
    Reason,
    SpecError,
    State,
    StateError,
    Stats,
    Thread,
    current,
)
from asyncproc._core.exit import Exit
from asyncproc._core.supervision.action import Rung
from asyncproc._core.supervision.event import RunAsked
from asyncproc._ipc.frame import STACKS_SIGNAL
from asyncproc._supervision.group import handle_of
from asyncproc._supervision.place import Place
from asyncproc._supervision.supervisor import Supervisor
from asyncproc.testing import FakeClock, ScriptedChild, ScriptedEngine, hostile

BEAT = 0.4
MAPPED = "memfd:asyncproc heartbeat"

# --- rules on the clock ------------------------------------------------------------------------------------------------


class Beats:
    """Vitals as the test says; a stamp of None moves with each look."""

    def __init__(self) -> None:
        self.loop: float | None = None
        self.thread: float | None = None
        self.letter = "S"
        self.looks = 0

    def beats(self) -> tuple[float, float]:
        self.looks += 1
        return (self.looks if self.loop is None else self.loop), (self.looks if self.thread is None else self.thread)

    def condition(self) -> str:
        return self.letter


class Stage:
    """A supervisor in a world that only the test moves, with one child that is ready and has a heartbeat of 4 seconds."""

    def __init__(self, heartbeat: float = 4.0) -> None:
        self.vitals = Beats()
        self.clock = FakeClock()
        self.engine = ScriptedEngine(self._started)
        root = Concurrent(on_failure="continue")
        self.supervisor = Supervisor(asyncio.get_running_loop(), self.engine, self.clock, "app", root, 5.0)
        self.place = self.run("x", heartbeat)
        self.child = self.engine.named("x")

    def _started(self, child: ScriptedChild) -> None:
        child.vitals = self.vitals

    def run(self, name: str, heartbeat: float) -> Place:
        place = self.supervisor.add(Process(print, heartbeat=heartbeat), self.supervisor.root, name)
        self.supervisor.demand(RunAsked(place.id))
        return place

    async def settle(self) -> None:
        """Let a child that was found be condemned."""
        await self.supervisor.aclose()


async def test_nobody_looks_before_a_child_is_ready() -> None:
    """Its start has a limit of its own; and there is no timer."""
    stage = Stage()
    stage.child.spawn()
    stage.clock.advance(20)
    assert stage.vitals.looks == 0
    stage.child.ready()
    stage.clock.advance(4.0)
    assert stage.vitals.looks == 4


async def test_the_timer_ends_with_the_last_child() -> None:
    """None runs without somebody to look at."""
    stage = Stage()
    stage.child.ready()
    stage.child.end()
    assert stage.clock.next_due is None
    stage.clock.advance(20)
    assert stage.vitals.looks == 0


async def test_child_that_beats_is_left_alone() -> None:
    """For ever."""
    stage = Stage()
    stage.child.ready()
    stage.clock.advance(1000)
    await stage.settle()
    assert stage.place.view.state is State.RUNNING
    assert handle_of(stage.supervisor, stage.place).statistics().misses == 0


async def test_silent_child_is_condemned_and_its_stacks_stand_in_the_exit() -> None:
    """Once its limit is over; the ladder is its own."""
    stage = Stage()
    stage.child.ready()
    stage.vitals.loop = stage.vitals.thread = 7.0
    stage.clock.advance(5.0)
    await stage.settle()
    assert stage.place.view.state is State.RUNNING
    stage.clock.advance(1.0)
    await stage.settle()
    assert stage.child.rungs == [Rung.ASK]
    assert handle_of(stage.supervisor, stage.place).statistics().misses == 3
    stage.child.end(Reason.CRASHED)
    exit: Exit | None = stage.place.view.exit
    assert exit is not None
    assert (exit.reason, exit.asked_by) == (Reason.UNHEALTHY, "hung: no beat of its loop or thread for 5.0 s")
    assert exit.stacks == "it plays a script"


async def test_late_look_counts_for_no_more_than_one() -> None:
    """The host was away for a minute, the child as well: it has its time to come back, and uses it."""
    stage = Stage()
    stage.child.ready()
    stage.clock.advance(1.0)
    stage.vitals.loop = stage.vitals.thread = 7.0
    stage.clock.advance(1.0)
    stage.clock._time += 60.0  # nothing was called meanwhile
    stage.clock.advance(3.0)
    await stage.settle()
    assert stage.place.view.state is State.RUNNING
    stage.vitals.loop = stage.vitals.thread = 8.0
    stage.clock.advance(4.0)
    await stage.settle()
    assert stage.place.view.state is State.RUNNING


async def test_shorter_heartbeat_is_looked_at_more_often() -> None:
    """From the moment that its child is ready."""
    stage = Stage(heartbeat=20.0)
    stage.child.ready()
    stage.clock.advance(4.0)
    assert stage.vitals.looks == 0
    stage.run("y", 1.0)
    stage.engine.named("y").ready()
    stage.clock.advance(0.25)
    assert stage.vitals.looks == 2


async def test_child_that_is_being_stopped_is_not_judged() -> None:
    """Its ladder takes its own time, and nobody looks into it."""
    stage = Stage()
    stage.child.ready()
    stage.vitals.loop = stage.vitals.thread = 7.0
    stopping = asyncio.ensure_future(handle_of(stage.supervisor, stage.place).stop())
    await asyncio.sleep(0)
    stage.clock.advance(4.9)
    assert not stage.supervisor.chores._hooks
    stage.child.end()
    assert (await stopping).reason is Reason.STOPPED


# --- real children -----------------------------------------------------------------------------------------------------


def maps() -> int:
    return Path("/proc/self/maps").read_text().count(MAPPED)


def fds() -> int:
    return len(os.listdir("/proc/self/fd"))


def loaded() -> tuple[list[str], list[str]]:
    """In a child: modules that only a heartbeat needs, and open files."""
    wanted = {"asyncproc._runtime.pulse", "asyncproc._runtime.stacks", "mmap"}
    names = os.listdir("/proc/self/fd")
    return sorted(wanted & set(sys.modules)), [name for name in names if os.path.exists(f"/proc/self/fd/{name}")]


@pytest.mark.slow
@pytest.mark.both_loops
async def test_heartbeat_costs_its_manager_no_descriptor_and_no_memory_stays() -> None:
    """One page each, gone with the child: one that ended, and one that was killed."""
    async with Manager(spares=0) as manager:
        plain = await manager.start(Process(hostile.idle, name="plain", stderr="inherit"))
        before = fds()
        handles = [
            await manager.start(Process(hostile.idle, name=f"beats{n}", stderr="inherit", heartbeat=5.0)) for n in range(3)
        ]
        assert fds() - before == 3  # their channels
        assert maps() == 3
        assert handles[0].pid is not None
        os.kill(handles[0].pid, signal.SIGKILL)
        await handles[0].wait()
        await handles[1].stop(grace=0)
        assert maps() == 1
        assert plain.state is State.RUNNING
    assert maps() == 0


@pytest.mark.slow
async def test_child_without_a_heartbeat_loads_and_holds_nothing_of_it() -> None:
    """Its descriptors are the standard ones and its channel; neither has its manager loaded any of it."""
    async with Manager(spares=0) as manager:
        modules, files = await manager.run(Process(loaded))
        assert modules == []
        assert files == ["0", "1", "2", "3"]
        assert len((await manager.run(Process(loaded, heartbeat=1.0)))[1]) == 5
    program = (
        "import asyncio, sys, asyncproc\n"
        "async def main():\n"
        "    async with asyncproc.Manager() as manager:\n"
        "        await manager.run(asyncproc.Command('true'))\n"
        "        await manager.run(asyncproc.Process(len, 'x'))\n"
        "asyncio.run(main())\n"
        "names = ('_supervision.heartbeat', '_runtime.page', '_runtime.pulse', '_runtime.stacks', '_runtime.usage')\n"
        "print([name for name in names if 'asyncproc.' + name in sys.modules], 'ctypes' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert done.stdout == "[] False\n", done.stderr


class SlowStart(Process[str]):
    def on_start(self) -> None:
        time.sleep(2 * BEAT)

    async def loop(self) -> str:
        return "well"

    async def on_finish(self) -> None:
        atexit.register(time.sleep, 2 * BEAT)


@pytest.mark.slow
async def test_neither_the_start_nor_what_comes_after_the_loop_is_judged() -> None:
    """OnStart that blocks has its own limit; what runs when the loop has ended has none."""
    async with Manager(spares=0) as manager:
        assert await manager.run(SlowStart(heartbeat=BEAT)) == "well"


@pytest.mark.slow
async def test_passes_of_plain_code_may_take_longer_than_the_heartbeat() -> None:
    """Busy is not blocked: `timeouts` is what limits a pass."""
    async with Manager(spares=0) as manager:
        await manager.run(Process(time.sleep, 2.5 * BEAT, loops=2, heartbeat=BEAT))


@pytest.mark.slow
async def test_child_that_its_parent_holds_is_not_judged() -> None:
    """It stands at a gate, stopped by a debugger, say, for as long as its parent wants."""
    async with Manager(spares=0) as manager:
        handle = manager.add(Process(hostile.idle, loops=None, heartbeat=BEAT, grace=0), hold=True)
        async with OnStart(handle):
            pass
        async with BeforeLoop(handle):
            assert handle.pid is not None
            os.kill(handle.pid, signal.SIGSTOP)
            await asyncio.sleep(3 * BEAT)
            assert handle.state is State.RUNNING
        assert (await handle.wait()).reason is Reason.UNHEALTHY  # let go, it counts


@pytest.mark.slow
async def test_child_that_closes_all_its_descriptors_goes_on_beating() -> None:
    """As daemons do; its stamps are memory, and what it opens then is its own."""
    async with Manager(spares=0) as manager:
        assert await manager.run(Process(close_all, heartbeat=BEAT)) == b""


def close_all() -> bytes:
    channel = os.dup2(3, 1000)
    os.closerange(4, 1000)
    file = os.memfd_create("user's")
    time.sleep(3 * BEAT)
    os.dup2(channel, 3)
    return os.pread(file, 100, 0)


async def block_thread() -> None:
    await asyncio.sleep(0)
    _hold_on()


def _hold_on() -> None:
    time.sleep(4 * BEAT)


@pytest.mark.slow
async def test_thread_whose_loop_is_blocked_is_found_and_given_up() -> None:
    """It cannot be killed; its stacks show where it stands, and its siblings go on."""
    async with Manager() as manager:
        well = await manager.start(Thread(asyncio.sleep, 1000, name="well", heartbeat=BEAT))
        exit = await (await manager.start(Thread(block_thread, heartbeat=BEAT, grace=0.1))).wait()
        assert exit.reason is Reason.UNHEALTHY
        assert exit.asked_by is not None
        assert exit.asked_by.startswith("blocked: its loop")
        assert "in _hold_on" in exit.stacks
        assert exit.killed
        assert well.state is State.RUNNING
        await well.stop()
        _join("app/block_thread")


def _join(name: str) -> None:
    for thread in threading.enumerate():
        if thread.name == name:
            thread.join()


async def nothing_async() -> None: ...


def nothing() -> None: ...


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: Thread(nothing, heartbeat=5.0), "needs an async target or hook"),
        (lambda: Coroutine(nothing_async, heartbeat=5.0), "cannot be honoured by a coroutine: it is for process, thread"),
        (lambda: Command("true", heartbeat=5.0), "cannot be honoured by a command"),
        (lambda: Process(nothing, heartbeat=0), "must be >= 0.1 seconds, or None"),
    ],
)
def test_heartbeat_that_cannot_be_honoured_is_refused(make: Any, rule: str) -> None:
    """By name, before anything starts."""
    with pytest.raises(SpecError) as caught:
        make()
    (fault,) = caught.value.faults
    assert fault.field == "heartbeat"
    assert rule in fault.rule


# --- stacks ------------------------------------------------------------------------------------------------------------


async def deep(how: str) -> None:
    await current().send("up")
    await asyncio.gather(asyncio.create_task(deeper(), name="second"))


async def deeper() -> None:
    await asyncio.Event().wait()


def with_thread() -> None:
    thread = threading.Thread(target=nothing_for_long, name="besides", daemon=True)
    thread.start()
    current().sync.send("up")
    hostile.idle()


def nothing_for_long() -> None:
    time.sleep(hostile.FOR_EVER)


@pytest.mark.slow
@pytest.mark.both_loops
@pytest.mark.parametrize("launcher", ["auto", "portable"])
@pytest.mark.parametrize("heartbeat", [None, 5.0])
async def test_stacks_of_a_process_show_threads_and_tasks(heartbeat: float | None, launcher: str) -> None:
    """The whole chain of awaits, threads by name, and nothing of what is below a child."""
    async with Manager(spares=0, launcher=launcher) as manager:
        on_loop = await manager.start(Process(deep, "x", heartbeat=heartbeat))
        plain = await manager.start(Process(with_thread, heartbeat=heartbeat))
        await on_loop.receive()
        await plain.receive()
        tasks, threads = await asyncio.gather(on_loop.stacks(), plain.stacks())
        assert "main thread (most recent call last)" in tasks
        assert "task second (most recent call last)" in tasks
        assert tasks.index("in deeper") < tasks.index("await fut")
        assert "thread besides" in threads
        assert "in nothing_for_long" in threads
        assert "in idle" in threads
        assert "template" not in threads
        assert "_beat" not in threads
        assert await plain.stacks()  # again
        assert len({await each for each in [asyncio.ensure_future(plain.stacks()) for _ in range(3)]}) == 1  # one question
        assert plain.state is State.RUNNING


@pytest.mark.slow
async def test_stacks_of_a_process_that_cannot_answer_say_so() -> None:
    """Within their limit; with a heartbeat they are had all the same, and a stopped one stays stopped."""
    async with Manager(spares=0) as manager:
        plain = await manager.start(Process(hostile.hold_gil, name="plain", grace=0))
        beats = await manager.start(Process(hostile.hold_gil, name="beats", heartbeat=60.0, grace=0))
        stopped = await manager.start(Process(hostile.stop_itself, name="stopped", grace=0))
        for handle in (plain, beats, stopped):
            await handle.receive()
        while Path(f"/proc/{stopped.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            time.sleep(0.001)  # no event tells that to who is not its parent
        texts = await asyncio.gather(plain.stacks(), beats.stacks(), stopped.stacks())
        assert "did not come to run Python code" in texts[0]
        assert "with heartbeat= they would be" in texts[0]
        assert "_lock_twice" in texts[1]
        assert "is stopped" in texts[2]
        assert "_lock_twice" in await beats.stacks()  # again
        assert Path(f"/proc/{stopped.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def drop_handler() -> None:
    signal.signal(STACKS_SIGNAL, signal.SIG_DFL)
    hostile.tell_and_idle()


@pytest.mark.slow
async def test_to_ask_for_stacks_never_ends_a_child() -> None:
    """One that has no handler for the signal is not sent it."""
    async with Manager(spares=0) as manager:
        handle = await manager.start(Process(drop_handler))
        await handle.receive()
        assert "runs no code of its child" in await handle.stacks()
        assert handle.state is State.RUNNING


def flood() -> None:
    current().sync.send("up")
    current().sync.send(b"x" * (8 << 20))
    current().sync.send(b"x" * (8 << 20))


@pytest.mark.slow
async def test_stacks_do_not_wait_behind_data() -> None:
    """DESIGN 5.2: a child that is in the midst of a large value, which nobody takes, answers."""
    async with Manager(spares=0) as manager:
        handle = await manager.start(Process(flood, heartbeat=5.0))
        assert await handle.receive() == "up"
        assert "in flood" in await handle.stacks()


async def test_stacks_of_threads_and_coroutines_are_read_in_place() -> None:
    """Of the manager's own process, without a word to them."""
    async with Manager() as manager:
        coroutine = await manager.start(Coroutine(deeper))
        thread = await manager.start(Thread(deeper_plain, name="thread"))
        on_loop = await manager.start(Thread(deeper, name="on_loop"))
        await thread.receive()
        assert "in deeper" in await coroutine.stacks()
        assert "in deeper_plain" in await thread.stacks()
        text = await on_loop.stacks()
        assert "thread app/on_loop" in text
        assert "in deeper" in text
        await thread.send("enough")


def deeper_plain() -> None:
    current().sync.send("up")
    current().sync.receive()


@pytest.mark.slow
async def test_stacks_of_what_has_none_are_refused() -> None:
    """A command, a group, and what does not run; by name and state."""
    async with Manager() as manager:
        command = await manager.start(Command("sleep", "1000"))
        with pytest.raises(StateError, match="node app/sleep: is a command"):
            await command.stacks()
        ended = await manager.start(Process(nothing))
        await ended.wait()
        with pytest.raises(StateError, match="node app/nothing: has no stacks to show, it is ended"):
            await ended.stacks()
        group = manager.add(Concurrent(name="group"))
        with pytest.raises(StateError, match="is a concurrent"):
            await group.stacks()


# --- statistics --------------------------------------------------------------------------------------------------------


def spin_and_tell() -> None:
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass
    hostile.tell_and_idle()


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["auto", "portable"])
async def test_statistics_of_a_process_are_the_systems(launcher: str) -> None:
    """Processor seconds, memory, threads, and the time since it began."""
    async with Manager(spares=0, launcher=launcher) as manager:
        handle = await manager.start(Process(spin_and_tell, heartbeat=5.0))
        await handle.receive()
        stats = handle.statistics()
        assert stats.cpu is not None
        assert 0.08 <= stats.cpu < 5
        assert stats.memory is not None
        assert (1 << 18) < stats.memory < (1 << 28)
        assert stats.threads == 2
        assert 0.1 <= stats.uptime < 30
        assert (stats.restarts, stats.restart_at, stats.current_loop, stats.misses) == (0, None, 1, 0)
        await handle.kill()
        assert handle.statistics() == Stats(uptime=0.0)
        await handle.restart()
        assert handle.statistics().restarts == 1


@pytest.mark.slow
async def test_current_loop_is_told_where_it_is_known() -> None:
    """A thread's and a coroutine's at once, a held child's by its gate."""
    async with Manager() as manager:
        thread = await manager.start(Thread(deeper_plain, loops=None))
        await thread.receive()
        stats = thread.statistics()
        assert (stats.current_loop, stats.threads, stats.memory) == (1, 1, None)
        assert stats.cpu is not None
        await thread.send("on")
        await thread.receive()
        assert thread.statistics().current_loop == 2
        thread.rejoin()
        await thread.send("on")
        coroutine = await manager.start(Coroutine(deeper))
        assert coroutine.statistics().cpu is None
        held = manager.add(Process(nothing, loops=3), hold=True)
        async with OnStart(held):
            pass
        async for _ in held.steps():
            pass
        assert held.statistics().current_loop == 3


async def test_statistics_of_a_command_and_a_group() -> None:
    """The system knows a command as well; a group has only its time."""
    async with Manager(Concurrent(Command("sleep", "1000", name="sleep"), name="group")) as manager:
        running = asyncio.ensure_future(manager.run())
        command = manager.find("sleep")
        await command.wait_for(state=State.RUNNING)
        stats = command.statistics()
        assert stats.threads == 1
        assert stats.memory
        assert manager.find("app").statistics().uptime > 0
        await manager.stop()
        await running
