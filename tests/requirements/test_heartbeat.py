"""R61, R62, R63: what keeps a child from running is told apart, shown, and ended; a host that was away condemns nobody."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from asyncproc import ChildCrashed, Manager, Process, Reason, State
from asyncproc.testing import hostile

pytestmark = pytest.mark.slow

BEAT = 0.4
"""Seconds without a beat that make a child unhealthy here."""


def letter(pid: int | None) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.both_loops
@pytest.mark.parametrize("launcher", ["auto", "portable"])
@pytest.mark.parametrize("block", [hostile.block_loop, hostile.spin_loop])
async def test_r61_blocked_loop_is_told_dumped_and_ended_by_policy(block: Any, launcher: str) -> None:
    """Its loop stands while its thread beats: the exit says blocked, shows where, and the child's own grace ends it."""
    async with Manager(spares=0, launcher=launcher) as manager:
        handle = await manager.start(Process(block, heartbeat=BEAT, grace=0.4))
        assert await handle.receive() == "up"
        exit = await handle.wait()
        assert exit.reason is Reason.UNHEALTHY
        assert exit.asked_by is not None
        assert exit.asked_by.startswith("blocked: its loop has not run for")
        assert "was unhealthy, blocked" in exit.explain()
        shown = "in _wait_in_plain_code" if block is hostile.block_loop else "in spin_loop"
        assert shown in exit.stacks  # seen before it was asked to end: no Stopping has moved it
        assert "_on_term" not in exit.stacks
        assert not exit.killed  # SIGTERM of the ladder has met it in plain code
        with pytest.raises(ChildCrashed) as caught:
            await handle
        assert shown in str(caught.value)
        assert caught.value.exit is exit


async def test_r61_grace_of_zero_kills_at_once_and_after_the_dump() -> None:
    """Kill by policy: the ladder is the node's own."""
    async with Manager(spares=0) as manager:
        handle = await manager.start(Process(hostile.block_loop, heartbeat=BEAT, grace=0))
        exit = await handle.wait()
        assert exit.killed
        assert exit.signal is signal.SIGKILL
        assert "_wait_in_plain_code" in exit.stacks


async def test_r61_child_that_is_busy_in_plain_code_is_not_blocked() -> None:
    """Told apart: a plain function that computes for many heartbeats, and one that sleeps, are well."""
    async with Manager(spares=0) as manager:
        busy = await manager.start(Process(spin, 3 * BEAT, heartbeat=BEAT))
        asleep = await manager.start(Process(time.sleep, 3 * BEAT, heartbeat=BEAT))
        assert await busy == "done"
        await asleep


def spin(seconds: float) -> str:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return "done"


@pytest.mark.parametrize("launcher", ["auto", "portable"])
@pytest.mark.parametrize("hold", [hostile.hold_gil, hostile.hold_gil_on_loop])
async def test_r62_interpreter_held_by_c_code_is_hung(hold: Any, launcher: str) -> None:
    """Neither its loop nor its thread beats: the exit says hung, shows the C call's place in Python, and it is killed."""
    async with Manager(spares=0, launcher=launcher) as manager:
        handle = await manager.start(Process(hold, heartbeat=BEAT, grace=0.1))
        assert await handle.receive() == "up"
        exit = await handle.wait()
        assert exit.reason is Reason.UNHEALTHY
        assert exit.asked_by is not None
        owners = "its thread" if hold is hostile.hold_gil else "its loop or thread"
        assert exit.asked_by.startswith(f"hung: no beat of {owners} for")
        assert "_lock_twice" in exit.stacks
        assert exit.killed
        with pytest.raises(ChildCrashed, match="_lock_twice"):
            await handle


@pytest.mark.parametrize("launcher", ["auto", "portable"])
async def test_r62_stopped_process_is_told_by_its_state(launcher: str) -> None:
    """Both miss, and the system says T: the exit says stopped; nobody has continued it to look."""
    async with Manager(spares=0, launcher=launcher) as manager:
        handle = await manager.start(Process(hostile.stop_itself, heartbeat=BEAT, grace=0))
        assert await handle.receive() == "up"
        exit = await handle.wait()
        assert exit.reason is Reason.UNHEALTHY
        assert exit.asked_by is not None
        assert exit.asked_by.startswith("is stopped: no beat for")
        assert "is stopped" in exit.stacks
        assert exit.killed


async def r63_host_that_was_blocked(seconds: float) -> None:
    """Children that beat, and one that was away as long as the host, are left alone; misses count from then on."""
    async with Manager(spares=0) as manager:
        well = await manager.start(Process(asyncio.sleep, 1000, name="well", heartbeat=BEAT))
        frozen = await manager.start(Process(hostile.tell_and_idle, name="frozen", heartbeat=2 * BEAT, grace=0))
        await frozen.receive()
        assert frozen.pid is not None
        os.kill(frozen.pid, signal.SIGSTOP)
        await asyncio.sleep(BEAT / 3)  # its last beat has been seen
        time.sleep(seconds)  # the host's loop is blocked
        await asyncio.sleep(BEAT / 2)  # and is back, before that child is
        assert (well.state, frozen.state) == (State.RUNNING, State.RUNNING)
        assert letter(frozen.pid) == "T"
        os.kill(frozen.pid, signal.SIGCONT)
        await asyncio.sleep(3 * BEAT)
        assert (well.state, frozen.state) == (State.RUNNING, State.RUNNING)
        os.kill(frozen.pid, signal.SIGSTOP)
        assert (await frozen.wait()).reason is Reason.UNHEALTHY  # with the host awake it counts
        assert well.state is State.RUNNING


@pytest.mark.both_loops
async def test_r63_blocked_host_condemns_nobody() -> None:
    """Misses are counted only while the host's own loop is alive."""
    await r63_host_that_was_blocked(3 * BEAT)


@pytest.mark.full
async def test_r63_host_blocked_for_ten_seconds_condemns_nobody() -> None:
    """As the row says it."""
    await r63_host_that_was_blocked(10.0)
