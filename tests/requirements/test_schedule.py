"""R42 of the requirements, as far as cron entries go: clocks that jump, and machines that sleep."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from asyncproc import Coroutine, Manager, Reason, Schedule, State
from asyncproc._supervision import schedules
from tests.supervision.test_schedule import NOON, Stage

DAY = 86400.0


def entries(misfire: Any) -> list[Stage]:
    """Every five minutes, once a day an hour from now, and an interval."""
    return [
        Stage(Schedule(cron="*/5 * * * *", misfire=misfire)),
        Stage(Schedule(cron=f"{time.localtime(NOON).tm_min} {time.localtime(NOON + 3600).tm_hour} * * *", misfire=misfire)),
        Stage(Schedule(every=300.0, misfire=misfire)),
    ]


@pytest.mark.parametrize(("misfire", "made_up"), [("skip", 0), ("once", 1)])
async def test_r42_a_wall_clock_that_jumps_ahead_makes_no_burst(misfire: str, made_up: int) -> None:
    """No restart burst, no early timeout, no stuck backoff; cron entries follow their misfire policy.

    The same holds for a suspended machine: the wall clock went on, the monotonic one did not.
    """
    often, daily, interval = entries(misfire)
    interval.ends()
    for stage in (often, daily, interval):
        stage.advance(150.0)
        stage.clock.set_wall(stage.clock.wall() + DAY)
        stage.advance(60.0)
    assert (often.runs, daily.runs) == (made_up, made_up)
    assert interval.runs == 1
    often.advance(90.0)  # now it is due again
    assert often.runs == made_up + 1
    daily.advance(3600.0 - 300.0)
    assert daily.runs == made_up
    daily.advance(120.0)
    assert daily.runs == made_up + 1
    interval.advance(90.0)
    assert interval.runs == 2


async def test_r42_a_wall_clock_that_jumps_back_leaves_nobody_stuck() -> None:
    """No restart burst, no early timeout, no stuck backoff; cron entries follow the time that the clock shows."""
    often, daily, interval = entries("once")
    interval.ends()
    for stage in (often, daily, interval):
        stage.advance(150.0)
        stage.clock.set_wall(stage.clock.wall() - DAY)
        stage.advance(60.0)
        assert stage.runs == (1 if stage is interval else 0)
    often.advance(100.0)
    assert often.runs == 1
    daily.advance(3600.0 - 200.0)
    assert daily.runs == 1
    interval.advance(100.0)
    assert interval.runs == 2


async def test_r42_timeouts_and_restarts_do_not_go_by_the_wall() -> None:
    """A run's timeout is not early, and its rest after a failure not stuck."""
    stage = Stage("*/5 * * * *", timeout=50.0, restart="transient")
    stage.clock.advance(300.0)
    stage.engine.named("x").ready()
    stage.clock.set_wall(NOON + DAY)
    stage.clock.advance(10.0)
    assert stage.handle.state is State.RUNNING
    stage.engine.named("x").end(reason=Reason.CRASHED)
    assert stage.handle.state is State.BACKOFF
    stage.clock.set_wall(NOON - DAY)
    stage.clock.advance(0.2)
    assert (stage.handle.state, stage.runs) == (State.STARTING, 2)


@pytest.mark.slow
async def test_r42_with_a_real_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of the machine, patched: a day ahead it runs once and then at the next time, a day back at the next one too."""
    monkeypatch.setattr(schedules, "LOOK", 0.05)
    ahead = 0.0
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + ahead)
    begun: list[float] = []

    async def note() -> None:
        begun.append(time.time())

    later = time.localtime(real() + 3 * 3600)
    text = f"{later.tm_min} {later.tm_hour} * * *"
    async with Manager() as manager:
        once = await manager.start(Coroutine(note, name="once", schedule=Schedule(cron=text, misfire="once")))
        skip = await manager.start(Coroutine(note, name="skip", schedule=Schedule(cron=text)))
        ahead = DAY
        await once.wait_for(incarnation=1)
        assert skip.incarnation == 0
        ahead = 0.0
        seconds = Schedule(cron="* * * * * *")
        each = await manager.start(Coroutine(note, name="each", schedule=seconds))
        ahead = -DAY
        await each.wait_for(incarnation=2)
        await asyncio.sleep(0)
        assert (once.incarnation, skip.incarnation) == (1, 0)
        assert once.restart_at is not None
