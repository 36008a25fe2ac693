"""Children and helpers that do not want to end, or end badly.

Rows R34, R47, R48, R55, R60, R80 and R81.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from asyncproc import Command, Manager, Process
from asyncproc._core.exit import Reason
from asyncproc.errors import ChannelBroken, ChildCrashed, DecodeError
from asyncproc.testing import hostile
from asyncproc.testing.leaks import Leaks
from tests.faults.harness import ended, helpers_of, wait_stopped

pytestmark = pytest.mark.slow

# --- helpers that are stopped ------------------------------------------------------------------------------------------


@pytest.mark.both_loops
@pytest.mark.parametrize("helper", ["launcher", "template"])
async def test_stopped_helper_is_continued_for_a_start(helper: str) -> None:
    """It owes an answer for a second, gets SIGCONT, and nobody is lost."""
    async with _with_stopped(helper) as (manager, handle):
        assert await manager.run(Process(hostile.return_it, 7)) == 7
        assert (await manager.run(Command("echo", "on"))).stdout == "on\n"
        assert handle.exit is None


@pytest.mark.alone
async def test_starved_helper_is_waited_for() -> None:
    """One that gets no processor owes its answer for longer than a stopped one may: it is not killed, and loses nobody."""
    async with Manager(spares=0) as manager:
        sibling = await manager.start(Command("sleep", "1000"))
        (launcher,) = helpers_of(os.getpid())["launcher"]
        with _starving(launcher):
            start = asyncio.ensure_future(manager.start(Command("sleep", "1000")))
            await asyncio.wait([start], timeout=4.5)  # the time is the fault
        assert (await start).pid
        assert sibling.exit is None
        assert helpers_of(os.getpid())["launcher"] == [launcher]


@contextmanager
def _starving(pid: int) -> Iterator[None]:
    """The process has one processor, which others keep busy, and none of it as long as anybody else wants it."""
    (processor, *_) = sorted(os.sched_getaffinity(0))
    busy = f"import os; os.sched_setaffinity(0, [{processor}])\nwhile True: pass"
    others = [subprocess.Popen([sys.executable, "-S", "-c", busy]) for _ in range(8)]
    os.sched_setaffinity(pid, [processor])
    os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


@pytest.mark.parametrize("helper", ["launcher", "template"])
async def test_stopped_helper_is_continued_for_a_stop(helper: str) -> None:
    """It is to tell an end that has come: the exit is the child's own, not a loss."""
    async with _with_stopped(helper) as (_, handle):
        exit = await handle.stop()
        assert exit.reason is Reason.STOPPED
        assert not exit.killed


@pytest.mark.parametrize("helper", ["warden", "launcher", "template"])
async def test_close_does_not_wait_for_a_stopped_helper(helper: str) -> None:
    """Whoever of them is stopped: the close comes to its end, and nobody is left."""
    with Leaks() as leaks:
        async with _with_stopped(helper):
            pass
        assert not leaks.survivors()


async def test_close_without_a_warden_continues_a_stopped_launcher() -> None:
    """Two faults at once: nobody is left all the same."""
    with Leaks() as leaks:
        async with Manager(spares=0, grace=0.1) as manager:
            await manager.start(Process(hostile.idle))
            helpers = helpers_of(os.getpid())
            os.kill(helpers["launcher"][0], signal.SIGSTOP)
            os.kill(helpers["warden"][0], signal.SIGKILL)
            await ended(helpers["warden"][0])
        assert not leaks.survivors()


@asynccontextmanager
async def _with_stopped(helper: str) -> AsyncIterator[tuple[Manager, Any]]:
    async with Manager(spares=0, grace=5.0) as manager:
        spec = Command("sleep", "1000") if helper == "launcher" else Process(hostile.tell_and_idle)
        handle = await manager.start(spec)
        await manager.run(Process(hostile.return_it, 1))
        pid = helpers_of(os.getpid())[helper][0]
        os.kill(pid, signal.SIGSTOP)
        wait_stopped(pid)
        yield manager, handle


# --- ends of many kinds ------------------------------------------------------------------------------------------------


@pytest.mark.both_loops
async def test_child_that_closes_its_channel_and_lives_on_is_ended() -> None:
    """R48: it counts as a failure, after a second."""
    async with Manager() as manager:
        handle = await manager.start(Process(hostile.close_channel))
        exit = await handle.wait()
        assert exit.reason is Reason.CRASHED
        assert isinstance(exit.error, ChannelBroken)


@pytest.mark.both_loops
async def test_end_does_not_wait_for_who_holds_the_output_open() -> None:
    """R47: a daemon holds the standard output; the end is told, with the last words, and the daemon goes."""
    async with Manager() as manager:
        handle = await manager.start(Process(hostile.hold_stdout, stdout="capture"))
        assert (await handle.wait()).reason is Reason.FINISHED
        done = await manager.run(Command("sh", "-c", "setsid -f sleep 1000; echo last words"))
        assert done.stdout == "last words\n"


GARBAGE = {
    "no frame": b"\xff" * 64,
    "too long": (1 << 31).to_bytes(4, "little") + b"\x02xx",
    "unknown kind": b"\x01\0\0\0\x63x",
    "no message": b"\x03\0\0\0\x01abc",
    "unknown message": b"\x02\0\0\0\x01\x91\x63",
}


@pytest.mark.parametrize("kind", GARBAGE)
async def test_garbage_from_a_child_ends_it_by_name(kind: str) -> None:
    """R60: the channel is closed, the child is ended, and nobody else notices."""
    async with Manager() as manager:
        sibling = await manager.start(Process(hostile.idle))
        handle = await manager.start(Process(hostile.write_garbage, GARBAGE[kind]))
        await handle.send("go")
        exit = await handle.wait()
        assert exit.reason is Reason.CRASHED
        assert isinstance(exit.error, DecodeError)
        assert sibling.exit is None


async def test_half_a_frame_then_death_is_the_death() -> None:
    """R60: what never became a frame is dropped."""
    async with Manager() as manager:
        exit = await (await manager.start(Process(hostile.half_a_result))).wait()
        assert exit.signal is signal.SIGKILL
        assert exit.error is None


@pytest.mark.parametrize("code", [0, 3])
async def test_exit_without_a_result_is_a_crash(code: int) -> None:
    """R55: also with code 0."""
    async with Manager() as manager:
        with pytest.raises((ChildCrashed, ChannelBroken)):
            await manager.run(Process(hostile.exit_at_once, code))


@pytest.mark.both_loops
async def test_result_that_has_been_sent_counts_whatever_came_then() -> None:
    """A large result, then SIGKILL: the result arrived."""
    async with Manager() as manager:
        for _ in range(5):
            assert await manager.run(Process(hostile.result_then_kill, 8 << 20)) == b"x" * (8 << 20)


async def test_child_that_becomes_another_program_is_still_ours() -> None:
    """R34: the channel goes with the exec, the child is told as failed and ended; a command's handle goes on."""
    async with Manager() as manager:
        handle = await manager.start(Process(hostile.become_another_program))
        assert (await handle.wait()).reason is Reason.CRASHED
        command = await manager.start(Command("sh", "-c", "exec sh -c 'exec sleep 1000'"))
        exit = await command.stop()
        assert exit.signal is signal.SIGTERM


# --- endurance ---------------------------------------------------------------------------------------------------------
