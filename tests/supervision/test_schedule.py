"""Schedules with scripted children and a clock that goes when the test says so; a few with real ones."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import time
from typing import Any

import pytest

from asyncproc import (
    ChildSkipped,
    Command,
    Concurrent,
    Coroutine,
    Handle,
    Manager,
    Process,
    Reason,
    Schedule,
    Sequential,
    Spec,
    SpecError,
    StartFailed,
    State,
    Supervisor,
)
from asyncproc._core.supervision.action import Rung
from asyncproc._core.supervision.event import KillAsked, RunAsked
from asyncproc._supervision import schedules
from asyncproc._supervision.group import handle_of
from asyncproc._supervision.place import Place
from asyncproc._supervision.supervisor import Supervisor as Driver
from asyncproc.testing import FakeClock, ScriptedEngine
from tests.manager.targets import nothing

NOON = 1_700_049_600.0
"""14 November 2023, 12:00 UTC; whole hours in any zone with whole hours."""


class Stage:
    """One node in a world that only the test moves."""

    def __init__(self, schedule: Any, **options: Any) -> None:
        self.clock = FakeClock(wall=NOON)
        self.engine = ScriptedEngine()
        loop = asyncio.get_running_loop()
        self.driver = Driver(loop, self.engine, self.clock, "app", Concurrent(on_failure="continue"), 5.0)
        spec: Spec[Any] = Process(nothing, schedule=schedule, **options)
        self.place: Place = self.driver.add(spec, self.driver.root, "x")
        self.begun = self.clock.now()
        self.driver.demand(RunAsked(self.place.id))

    @property
    def handle(self) -> Handle[Any]:
        return handle_of(self.driver, self.place)

    @property
    def runs(self) -> int:
        return len(self.engine.children)

    @property
    def left(self) -> float | None:
        """Seconds until it is started."""
        at = self.handle.restart_at
        return None if at is None else round(at - self.clock.now(), 3)

    def ends(self, **facts: Any) -> None:
        child = self.engine.named("x")
        child.ready()
        child.end(**facts)

    def advance(self, seconds: float, step: float = 10.0) -> None:
        """Let time pass; each run ends as soon as it has begun."""
        while seconds > 0:
            self.clock.advance(min(step, seconds))
            seconds -= step
            if self.place.child is not None and not self.engine.children[-1].ended:
                self.ends()


async def test_an_interval_goes_from_start_to_start() -> None:
    """The first start is at once; how long a run takes makes no difference."""
    stage = Stage(5.0)
    assert stage.runs == 1
    stage.clock.advance(2.0)
    stage.ends()
    assert (stage.handle.state, stage.left) == (State.WAITING, 3.0)
    assert stage.handle.statistics().restart_at == stage.begun + 5.0
    stage.clock.advance(2.9)
    assert stage.runs == 1
    stage.clock.advance(0.1)
    assert (stage.runs, stage.handle.state) == (2, State.STARTING)
    assert stage.left is None
    stage.clock.advance(4.0)
    stage.ends()
    stage.clock.advance(1.0)
    assert stage.runs == 3


async def test_an_interval_does_not_drift() -> None:
    """After many runs it stands where it began, though each timer came late."""
    stage = Stage(0.1)
    for _ in range(100):
        stage.ends()
        due = stage.clock.next_due
        assert due is not None
        stage.clock.advance(due + 0.03 - stage.clock.now())
    assert stage.runs == 101
    stage.ends()
    assert stage.handle.restart_at == pytest.approx(stage.begun + 101 * 0.1)


async def test_due_times_while_it_runs_are_skipped() -> None:
    """The next start is the next due time after the end."""
    stage = Stage(5.0)
    stage.clock.advance(12.0)
    assert stage.runs == 1
    stage.ends()
    assert stage.left == 3.0


async def test_overlap_queue_makes_up_for_them_once() -> None:
    """However many have come."""
    stage = Stage(Schedule(every=5.0, overlap="queue"))
    stage.clock.advance(17.0)
    stage.ends()
    assert stage.runs == 2
    stage.ends()
    assert (stage.runs, stage.left) == (2, 3.0)


async def test_overlap_restart_ends_the_run() -> None:
    """By its ladder, as a restart by hand does."""
    stage = Stage(Schedule(every=5.0, overlap="restart"))
    child = stage.engine.named("x")
    child.ready()
    stage.clock.advance(5.0)
    assert child.rungs == [Rung.ASK]
    child.end()
    assert stage.runs == 2
    assert stage.place.view.exit is not None
    assert (stage.place.view.exit.reason, stage.place.view.exit.asked_by) == (Reason.STOPPED, "its schedule")


async def test_jitter_is_drawn_for_each_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for the first; the due times stay on their grid."""
    from asyncproc._supervision import supervisor

    drawn = iter([2.0, 0.5, 3.0])
    monkeypatch.setattr(supervisor, "_drawn", lambda low, high: next(drawn))
    stage = Stage(Schedule(every=10.0, jitter=3.0))
    assert (stage.runs, stage.left) == (0, 2.0)
    stage.clock.advance(2.0)
    stage.ends()
    assert (stage.runs, stage.left) == (1, 8.5)
    stage.clock.advance(8.5)
    stage.ends()
    assert (stage.runs, stage.left) == (2, 12.5)


async def test_cron_waits_for_the_first_time_that_it_means() -> None:
    """And is looked at once a minute at most."""
    stage = Stage("*/5 * * * *")
    assert (stage.runs, stage.handle.state, stage.left) == (0, State.WAITING, 300.0)
    stage.advance(299.0)
    assert stage.runs == 0
    stage.clock.advance(1.0)
    assert stage.runs == 1
    stage.ends()
    assert stage.left == 300.0


async def test_a_timer_of_cron_never_runs_for_longer_than_a_minute() -> None:
    """An interval's does: its clock is never set."""
    stage = Stage("0 0 1 1 *")
    assert stage.clock.next_due == stage.begun + schedules.LOOK
    other = Stage(3600.0)
    other.ends()
    assert other.clock.next_due == other.begun + 3600.0


async def test_a_clock_that_shows_the_same_time_again_starts_nothing_again() -> None:
    """Set back by seconds, as time servers do: the time that it shows once more has been."""
    stage = Stage("*/2 * * * * *")
    stage.advance(2.5, 0.5)
    assert stage.runs == 1
    stage.clock.set_wall(stage.clock.wall() - 3.0)
    stage.advance(4.0, 0.5)
    assert stage.runs == 1
    stage.advance(1.0, 0.5)
    assert stage.runs == 2


async def test_several_times_that_have_passed_are_one_start() -> None:
    """When the last of them has only just come, it is not too late for that one."""
    stage = Stage("* * * * *")
    stage.clock.advance(30.0)
    stage.clock.set_wall(stage.clock.wall() + 600.0)
    stage.clock.advance(30.0)
    assert stage.runs == 1
    stage.ends()
    assert stage.left == 60.0


async def test_a_start_that_the_manager_was_late_for_is_not_missed() -> None:
    """Up to a minute; of several due times it is one start."""
    stage = Stage(5.0)
    stage.ends()
    stage.clock.advance(5.0)
    stage.ends()
    late = stage.clock._due[0][2]
    call, late.call = late.call, None
    stage.clock.advance(22.0)
    assert call is not None
    call()
    stage.ends()
    assert (stage.runs, stage.left) == (3, 3.0)


async def test_a_failure_is_logged_and_does_not_end_it(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody who awaits it is woken; a stop then gives its last result."""
    stage = Stage(5.0)
    waiting = asyncio.ensure_future(stage.handle)
    await asyncio.sleep(0)
    with caplog.at_level(logging.WARNING, "asyncproc"):
        stage.ends(reason=Reason.CRASHED, error=ValueError("boom"))
    assert "boom" in caplog.text
    assert "waits for its next time" in caplog.text
    stage.clock.advance(5.0)
    stage.ends(result=42)
    await asyncio.sleep(0)
    assert not waiting.done()
    exit = await stage.handle.stop()
    assert (exit.reason, exit.asked_by) == (Reason.STOPPED, "handle.stop()")
    assert await waiting == 42
    assert stage.clock.next_due in (None, stage.begun + 6.0)  # the crash log's


@pytest.mark.parametrize("schedule", [5.0, "@daily"])
async def test_nothing_is_left_to_wait_for_after_its_end(schedule: Any) -> None:
    """The timer ends with it."""
    stage = Stage(schedule)
    stage.driver.post(KillAsked(stage.place.id, "the test"))
    if stage.runs:
        stage.engine.named("x").end(signal=9)
    assert stage.place.view.finished
    assert stage.clock.next_due is None


async def test_one_that_never_ran_was_skipped_or_stopped() -> None:
    """As anything that was stopped before it began."""
    async with Manager(Concurrent(Process(nothing, schedule="@yearly", name="a"), Coroutine(asyncio.Event().wait))) as manager:
        run = asyncio.ensure_future(manager.run())
        handle = manager.find("a")
        await handle.wait_for(state=State.WAITING)
        await manager.stop()
        assert (await run).skipped == {"a": "manager.stop()"}
        with pytest.raises(ChildSkipped):
            await handle


# --- with real children ---------------------------------------------------------------------------------------------------


async def test_start_returns_when_it_is_ready_or_waits() -> None:
    """A failing first run is not raised: the next one is its next chance. A restart by hand says it."""
    began = asyncio.Event()

    async def note() -> None:
        began.set()

    async with Manager() as manager:
        first = await manager.start(Coroutine(note, schedule=60.0))
        assert began.is_set()
        waits = await manager.start(Command("true", schedule="@yearly"))
        assert (waits.state, waits.incarnation, waits.ready) == (State.WAITING, 0, False)
        fails = await manager.start(Command("no-such-program", schedule=60.0))
        assert (fails.state, fails.incarnation) == (State.WAITING, 1)
        with pytest.raises(StartFailed, match="no-such-program"):
            await fails.restart()
        assert (fails.incarnation, fails.state) == (2, State.WAITING)
        began.clear()
        await first.restart()
        assert began.is_set()
        assert "again in" in manager.tree().text()


@pytest.mark.slow
async def test_real_processes_every_so_often() -> None:
    """Each in a process of its own, and none before its time."""
    begun: list[float] = []
    pids: set[int | None] = set()
    async with Manager() as manager:
        spec = Process(
            nothing,
            schedule=0.2,
            starting=lambda handle: begun.append(time.monotonic()),
            ended=lambda handle: pids.add(handle.exit and handle.exit.pid),
        )
        handle = await manager.start(spec)
        await handle.wait_for(incarnation=4)
    assert len(pids) >= 3
    assert all(at - begun[0] > 0.2 * count - 0.02 for count, at in enumerate(begun))


async def test_a_supervisor_is_ready_while_a_member_waits() -> None:
    """Members after it start, and it is "temporary" there; a failing run of it is not the supervisor's."""
    tree = Supervisor(
        Process(nothing, schedule="@yearly", name="nightly"), Command("sleep", "60", name="b"), Command("false", schedule=60.0)
    )
    async with Manager(tree) as manager:
        assert manager.find("nightly").state is State.WAITING
        assert manager.find("b").state is State.RUNNING
        await manager.find("false").wait_for(state=State.WAITING)
        assert manager.find("app").state is State.RUNNING
        await manager.find("nightly").restart()
        assert manager.find("nightly").incarnation == 1


async def test_a_group_with_a_schedule_runs_as_a_whole() -> None:
    """Its members one after the other, each time."""
    ran: list[str] = []

    async def note(name: str) -> None:
        ran.append(name)

    async with Manager() as manager:
        group = Sequential(Coroutine(note, "a"), Coroutine(note, "b"), name="nightly", schedule="@yearly")
        handle = await manager.start(group)
        assert ran == []
        for count in (1, 2):
            await handle.restart()
            await handle.wait_for(state=State.WAITING)
            assert ran == ["a", "b"] * count
        await handle.stop()
        assert [path for path, exit in (await handle).exits.items() if exit.reason is Reason.FINISHED] == ["note", "note-2"]


async def test_what_is_held_has_no_schedule() -> None:
    """Its gates say when it starts."""
    async with Manager() as manager:
        with pytest.raises(SpecError, match="schedule is not for what is held"):
            manager.add(Process(nothing, schedule=1.0), hold=True)


def test_nobody_pays_who_has_no_schedule() -> None:
    """No module of it is loaded, in the manager of one that runs without."""
    program = (
        "import asyncio, sys, asyncproc\n"
        "asyncio.run(asyncproc.Manager(asyncproc.Command('true')).run())\n"
        "print([name for name in sys.modules if name.rpartition('.')[2] in "
        "('schedule', 'schedules', 'cron', 'cronsim', 'watch', 'watching', 'watchfiles', 'pathspec')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert done.stdout == "[]\n", done.stderr
