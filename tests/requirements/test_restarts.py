"""R35 to R44: what restarts do under crash loops, flappers, failing starts, nesting, jumping clocks and floods of crashes."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import asyncproc
from asyncproc import (
    Backoff,
    Command,
    Coroutine,
    Exit,
    Handle,
    Manager,
    Process,
    Reason,
    RestartLimitReached,
    State,
    Supervisor,
    Transition,
    current,
)
from tests.requirements.scripted import Stage, settled

AT_ONCE = Backoff(0.0)


async def forever() -> None:
    await asyncio.Event().wait()


@pytest.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    stage = Stage(monkeypatch)
    yield stage
    await stage.cleared()


def exact(first: float = 0.1, cap: float = 30.0, **options: Any) -> Backoff:
    return Backoff(first, cap, jitter=None, **options)


def until_start(stage: Stage, name: str) -> float:
    """Let the time pass to the next start; how long that took."""
    begun = stage.clock.now()
    while stage.named(name).ended:
        assert stage.clock.next_due is not None, "nobody will start it"
        stage.clock.advance(stage.clock.next_due - stage.clock.now())
    return round(stage.clock.now() - begun, 6)


# --- R35 -------------------------------------------------------------------------------------------------------------------


async def test_r35_crash_loop_follows_the_curve_and_gives_up(stage: Stage) -> None:
    """Delays follow the backoff curve up to its cap; after the intensity it has failed for good, by the chain of causes."""
    manager = await stage.opened(Process(print, name="a", backoff=exact(0.1, 1.0)), intensity=6, period=1000.0)
    member = manager.find("app/a")
    delays = []
    for _ in range(6):
        stage.crash("a", ValueError(len(delays)))
        assert member.state is State.BACKOFF
        delays.append(until_start(stage, "a"))
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    stage.crash("a", ValueError("the last"))
    assert (member.state, manager.find("app").state) == (State.ENDED, State.ENDED)
    with pytest.raises(RestartLimitReached, match=r"app: 7 failures within 1000 s, and 6 are allowed") as caught:
        await manager.run()
    assert [exit.incarnation for exit in caught.value.exits] == [1, 2, 3, 4, 5, 6, 7]
    assert repr(caught.value.__cause__) == "ValueError('the last')"
    assert stage.clock.next_due is None or stage.clock.next_due <= stage.clock.now() + 1.0  # only the log's interval


async def test_r35_full_jitter_is_drawn_between_nothing_and_the_curve(stage: Stage) -> None:
    """With full jitter no delay exceeds the curve, they differ, and the curve is used as far as it goes."""
    members = [Process(print, name=f"a{number}", backoff=Backoff(8.0, 8.0)) for number in range(60)]
    manager = await stage.opened(*members, intensity=None)
    for number in range(60):
        stage.crash(f"a{number}")
    at = [manager.find(f"app/a{number}").statistics().restart_at for number in range(60)]
    delays = [when - stage.clock.now() for when in at if when is not None]
    assert len(delays) == len(set(delays)) == 60
    assert all(0.0 <= delay <= 8.0 for delay in delays)
    assert min(delays) < 2.0 and max(delays) > 6.0  # by chance wrong once in 10 ** 7


@pytest.mark.slow
@pytest.mark.alone
async def test_r35_crash_loop_costs_the_manager_next_to_nothing() -> None:
    """A command that crashes at once after each start takes less than 2 % of a processor, as it comes back ever later."""
    crash = Command("sh", "-c", "exit 3", name="crash", backoff=exact())
    async with Manager(Supervisor(crash, Coroutine(forever), intensity=None)) as manager:
        member = manager.find("app/crash")
        await member.wait_for(incarnation=2)
        wall, cpu = time.monotonic(), time.process_time()
        await member.wait_for(incarnation=5)
        share = (time.process_time() - cpu) / (time.monotonic() - wall)
        assert 1.3 < time.monotonic() - wall < 4.0  # 0.2 + 0.4 + 0.8
        assert share < 0.02, f"{share:.1%} of a processor"
        assert member.exit is not None and member.exit.code == 3


# --- R36, R37 --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("age", "within"), [(10.0 - 1e-3, True), (10.0, True), (10.0 + 1e-3, False)])
async def test_r36_window_is_inclusive(stage: Stage, age: float, within: bool) -> None:
    """A failure that is exactly one period old still counts, one that is older does not."""
    manager = await stage.opened(Process(print, name="a", backoff=AT_ONCE), intensity=1, period=10.0)
    assert stage.crash("a") == ["start a"]
    stage.clock.advance(age)
    assert stage.crash("a") == ([] if within else ["start a"])
    assert (manager.find("app").state is State.ENDED) is within


@pytest.mark.parametrize("intensity", [0, 1, 2, 5])
async def test_r36_so_many_restarts_and_no_more(stage: Stage, intensity: int) -> None:
    """Exactly *intensity* restarts inside the window are allowed, the next failure escalates; 0 escalates at once."""
    manager = await stage.opened(
        Process(print, name="a", backoff=AT_ONCE), Process(print, name="b", backoff=AT_ONCE), intensity=intensity
    )
    stage.told()
    for number in range(intensity):
        assert stage.crash("ab"[number % 2]) == [f"start {'ab'[number % 2]}"]  # the counter is the supervisor's
    assert stage.crash("a") == ["ask b"]
    with pytest.raises(RestartLimitReached) as caught:
        await manager.run()
    assert len(caught.value.exits) == intensity + 1


async def test_r37_slow_flapper_is_never_given_up_and_is_not_stable(stage: Stage) -> None:
    """One failure each period and a little never escalates; its delay begins anew only after ``stable_after``."""
    backoff = exact(0.1, 3.0, stable_after=60.0)
    manager = await stage.opened(Process(print, name="a", backoff=backoff), intensity=1, period=10.0)
    delays = []
    for _ in range(50):
        stage.clock.advance(10.0 + 1e-3)
        stage.crash("a")
        delays.append(until_start(stage, "a"))
    assert delays[:7] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.0, 3.0]
    assert set(delays[6:]) == {3.0}
    assert manager.find("app").state is State.RUNNING
    stage.clock.advance(60.0 - 1e-3)
    stage.crash("a")
    assert until_start(stage, "a") == 3.0
    stage.clock.advance(60.0)
    stage.crash("a")
    assert until_start(stage, "a") == 0.1


# --- R38 -------------------------------------------------------------------------------------------------------------------


def comes_up_late(path: str, hangs: int, fails: int) -> None:
    """Ready in its first start; then some starts hang, some fail before it is ready; after those it is ready again."""
    with open(path, "a+") as file:
        file.write("x")
        file.flush()
        file.seek(0)
        number = len(file.read())
    if 1 < number <= 1 + hangs:
        time.sleep(1000)
    if 1 + hangs < number <= 1 + hangs + fails:
        raise OSError(f"start {number} fails")
    current().ready()
    if number == 1:
        current().sync.receive()
        raise ValueError("down")
    time.sleep(1000)


@pytest.mark.slow
async def test_r38_starts_that_fail_count_and_hold_up_nobody(tmp_path: Path) -> None:
    """A restart that hangs or fails counts each time and is repeated; meanwhile all else is served, siblings do not notice."""
    options: dict[str, Any] = {"ready": "call", "start_timeout": 2.0, "grace": 0.1, "backoff": exact(0.02, 0.02)}
    late = Process(comes_up_late, str(tmp_path / "starts"), 1, 3, name="late", **options)
    async with Manager(Supervisor(late, Process(time.sleep, 1000, name="other"), intensity=5)) as manager:
        member, other = manager.find("app/late"), manager.find("app/other")
        pid = other.pid
        exits: list[Exit] = []
        events = member.events()
        await member.send("down")
        await member.wait_for(incarnation=2)  # it hangs now
        begun = time.monotonic()
        extra = await manager.start(Command("sleep", "1000", name="extra"))
        await extra.restart()
        await extra.stop()
        assert "late" in manager.tree().text()
        assert member.state in (State.STARTING, State.STOPPING) and member.incarnation == 2
        assert time.monotonic() - begun < 2.0, "nobody waited for the start that hangs"
        await member.wait_for(state=State.RUNNING, incarnation=6)
        while len(exits) < 5:
            moved = await anext(events)
            exits += [moved.exit] if moved.exit is not None else []
        assert [exit.reason for exit in exits] == [Reason.CRASHED, Reason.TIMED_OUT, *[Reason.CRASHED] * 3]
        assert (other.pid, other.incarnation) == (pid, 1)
        member.signal("KILL")  # the sixth failure: those that never became ready have all counted
        with pytest.raises(RestartLimitReached, match="app: 6 failures"):
            await asyncio.wait_for(manager.run(), 10.0)


# --- R39, R40 --------------------------------------------------------------------------------------------------------------


async def test_r39_one_for_all_member_that_fails_on_the_way_back(stage: Stage) -> None:
    """Those that were started in this attempt are stopped, in reverse, and it begins with the first; each attempt counts."""
    members = [Process(print, name=name, backoff=AT_ONCE) for name in "abcd"]
    manager = await stage.opened(*members, strategy="one_for_all", intensity=2)
    assert stage.told() == ["start a", "start b", "start c", "start d"]
    stage.fails["c"] = 1
    assert stage.crash("b") == [
        "ask d", "ask c", "ask a",
        "start a", "start b", "start c",
        "ask b", "ask a",
        "start a", "start b", "start c", "start d",
    ]  # fmt: skip
    stage.fails["c"] = 1
    assert stage.crash("d") == ["ask c", "ask b", "ask a"]  # the third failure
    with pytest.raises(RestartLimitReached, match="app: 3 failures"):
        await manager.run()


async def test_r39_rest_for_one_member_that_fails_on_the_way_back(stage: Stage) -> None:
    """Those before the one that fails are not started once more."""
    members = [Process(print, name=name, backoff=AT_ONCE) for name in "abcd"]
    manager = await stage.opened(*members, strategy="rest_for_one")
    stage.told()
    stage.fails["c"] = 1
    assert stage.crash("b") == ["ask d", "ask c", "start b", "start c", "start c", "start d"]
    assert [manager.find(f"app/{name}").incarnation for name in "abcd"] == [1, 2, 3, 2]


class Log:
    """What children do, in order."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.falls: dict[str, asyncio.Event] = {}

    async def child(self, name: str) -> None:
        self.falls[name] = asyncio.Event()
        self.lines.append(f"{name} up")
        try:
            await self.falls[name].wait()
        except asyncio.CancelledError:
            self.lines.append(f"{name} down")
            raise
        self.lines.append(f"{name} falls")
        raise ValueError(name)


async def test_r40_bystanders_of_every_kind_with_real_children() -> None:
    """With the group a permanent and a transient one come back, a temporary one is ended and never does."""
    log = Log()
    kinds = {"a": "permanent", "b": "transient", "c": "temporary", "d": "permanent"}
    members = [Coroutine(log.child, name, name=name, restart=kind, backoff=AT_ONCE) for name, kind in kinds.items()]  # type: ignore[arg-type]
    async with Manager(Supervisor(*members, strategy="one_for_all")) as manager:
        log.lines.clear()
        log.falls["a"].set()
        await manager.find("app/d").wait_for(state=State.RUNNING, incarnation=2)
        assert log.lines == ["a falls", "d down", "c down", "b down", "a up", "b up", "d up"]
        temporary = manager.find("app/c")
        assert (temporary.state, temporary.incarnation) == (State.ENDED, 1)
        assert temporary.exit is not None and temporary.exit.asked_by == "restart of app/a"
        log.lines.clear()
        log.falls["b"].set()
        await manager.find("app/d").wait_for(state=State.RUNNING, incarnation=3)
        assert log.lines == ["b falls", "d down", "a down", "a up", "b up", "d up"]


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
async def test_r40_bystanders_that_had_ended(stage: Stage, strategy: Any) -> None:
    """A transient one that had ended well comes back with its group; a temporary one does not, however it had ended."""
    kinds = {"a": "permanent", "well": "transient", "gone": "temporary", "z": "permanent"}
    members = [Process(print, name=name, restart=kind, backoff=AT_ONCE) for name, kind in kinds.items()]  # type: ignore[arg-type]
    await stage.opened(*members, strategy=strategy)
    assert stage.end("well") == []
    assert stage.crash("gone") == []  # it is not started again, so nobody is with it
    assert stage.crash("a") == ["ask z", "start a", "start well", "start z"]


# --- R41 -------------------------------------------------------------------------------------------------------------------


def causes(error: BaseException | None) -> list[str]:
    chain = []
    while error is not None:
        chain.append(type(error).__name__)
        error = error.__cause__
    return chain


async def test_r41_escalation_through_five_supervisors() -> None:
    """Each level applies its own rule, the causes are chained from the top to the child, and no subtree is left running."""
    starts: list[int] = []

    async def falls() -> None:
        starts.append(1)
        await asyncio.sleep(0)  # let those above it be up
        raise ValueError("the child")

    tree: Any = Coroutine(falls, name="child", backoff=AT_ONCE)
    for level in range(5):
        beside = Command("sleep", "1000", name=f"beside-{level}")
        tree = Supervisor(beside, tree, name=f"s{level}", intensity=1, backoff=AT_ONCE)
    async with Manager() as manager:
        handle = await manager.start(tree)
        with pytest.raises(RestartLimitReached, match="app/s4: 2 failures") as caught:
            await handle
        assert len(starts) == 2**5, "each level has started what is below it once more"
        assert causes(caught.value) == [*["RestartLimitReached"] * 5, "ValueError"]
        assert all(node.state is State.ENDED for node in manager.nodes("app/s4/**"))
        assert manager.find("app/s4/beside-4").incarnation == 1
        assert manager.find("app/s4/s3/s2/s1/s0/child").incarnation == 32


def nested(level: int, path: str) -> None:
    """A program of its own at each level: a manager in a child of a manager, down to one that falls."""
    with open(path, "a") as file:
        file.write(f"{level}\n")
    if level == 0:
        raise ValueError("the innermost")
    beside = Command("sleep", "1000", name="beside")
    asyncproc.run(
        Supervisor(beside, Process(nested, level - 1, path, name="inner"), intensity=0 if level > 1 else 1, backoff=AT_ONCE)
    )


@pytest.mark.slow
async def test_r41_escalation_through_five_nested_managers(tmp_path: Path) -> None:
    """The same through five managers, each in a child of the one above; the leak check finds nobody left."""
    path = tmp_path / "levels"
    async with Manager() as manager:
        with pytest.raises(RestartLimitReached) as caught:
            await manager.run(Supervisor(Process(nested, 4, str(path), name="m4"), name="top", intensity=0, backoff=AT_ONCE))
    assert sorted(path.read_text().split()) == ["0", "0", "1", "2", "3", "4"], "only the lowest has a restart to give"
    chain = causes(caught.value)
    assert chain.count("RestartLimitReached") == 5
    assert "ValueError" in chain


# --- R42 -------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("jump", [86_400.0, -86_400.0])
async def test_r42_wall_clock_that_jumps(monkeypatch: pytest.MonkeyPatch, jump: float) -> None:
    """A wall clock set by a day makes no restart burst, no early timeout and no stuck backoff: nobody looks at it for that."""
    real = time.time
    fall = asyncio.Event()

    async def falls() -> None:
        await fall.wait()
        fall.clear()
        raise ValueError("fallen")

    async def not_ready() -> None:
        await asyncio.sleep(0.3)
        current().ready()
        await forever()

    async with Manager(Supervisor(Coroutine(falls, name="a", backoff=exact(0.3)), intensity=1, period=10.0)) as manager:
        member = manager.find("app/a")
        steady = await manager.start(Coroutine(forever, name="steady", timeout=60.0))
        late = asyncio.create_task(manager.start(Coroutine(not_ready, name="late", ready="call", start_timeout=5.0)))
        fall.set()
        await member.wait_for(state=State.BACKOFF)
        begun = asyncio.get_running_loop().time()
        monkeypatch.setattr(time, "time", lambda: real() + jump)
        await member.wait_for(state=State.RUNNING, incarnation=2)
        assert 0.25 < asyncio.get_running_loop().time() - begun < 0.6
        assert (await late).state is State.RUNNING
        assert (steady.state, steady.incarnation, member.incarnation) == (State.RUNNING, 1, 2)
        fall.set()  # the first failure has not been forgotten either
        with pytest.raises(RestartLimitReached):
            await manager.run()


def test_r42_clock_of_a_manager_stands_still_in_a_suspend() -> None:
    """Both loops' clocks are the monotonic one, which a suspend stops, and not the one that goes on in it."""
    import uvloop

    for make in (asyncio.new_event_loop, uvloop.new_event_loop):
        loop = make()
        from asyncproc._runtime.clock import LoopClock

        assert abs(LoopClock(loop).now() - time.clock_gettime(time.CLOCK_MONOTONIC)) < 0.1
        loop.close()


async def test_r42_suspend_in_a_backoff_and_a_start(stage: Stage) -> None:
    """After a day's suspend what was left of a delay or a limit is still left: the manager's clock has not moved meanwhile."""
    stage.silent.add("late")
    boot = stage.clock.now()  # the clock that goes on in a suspend
    manager = await stage.opened(Process(print, name="a", backoff=exact(8.0)), intensity=1, period=10.0)
    starting = asyncio.create_task(manager.start(Process(print, name="late", start_timeout=30.0)))
    await settled()
    stage.crash("a")
    stage.told()
    assert stage.advance(5.0) == []
    boot += 5.0 + 86_400.0
    assert boot - stage.clock.now() == 86_400.0
    assert stage.advance(2.999) == []
    assert stage.advance(0.001) == ["start a"]
    assert manager.find("app/late").state is State.STARTING
    stage.named("late").ready()
    await starting
    stage.crash("a")  # 8 seconds of its own after the first: that counts
    assert manager.find("app").state is State.ENDED


async def test_r42_clock_that_makes_one_great_step(stage: Stage) -> None:
    """Where the clock goes on in a suspend all that was due comes once: each node starts once, and the limit is not reached."""
    members = [Process(print, name=f"a{number}", backoff=exact(8.0)) for number in range(5)]
    manager = await stage.opened(*members, intensity=5, period=10.0)
    for number in range(5):
        stage.crash(f"a{number}")
    stage.told()
    assert sorted(stage.advance(86_400.0)) == [f"start a{number}" for number in range(5)]
    assert manager.find("app").state is State.RUNNING
    for number in range(5):
        stage.crash(f"a{number}")
    assert manager.find("app").state is State.RUNNING, "the earlier failures are a day old"


# --- R43 -------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.both_loops
async def test_r43_a_thousand_crashes_in_a_second(caplog: pytest.LogCaptureFixture) -> None:
    """One summarised line per interval, whoever reads events too slowly loses the oldest, counted, and the loop stays free."""
    caplog.set_level(logging.WARNING, "asyncproc")
    crashes = 0

    async def crash() -> None:
        await asyncio.sleep(random.uniform(0.05, 0.15))
        raise ValueError("boom")

    def count(handle: Handle[Any]) -> None:
        nonlocal crashes
        assert handle.exit is not None
        crashes += handle.exit.failed

    members = Coroutine(crash, name="c", scale=110, backoff=AT_ONCE, ended=count)
    lags: list[float] = []
    loop = asyncio.get_running_loop()
    async with Manager(Supervisor(members, intensity=None)) as manager:
        never, fast = manager.events(), manager.events()
        moves = 0

        async def read() -> None:
            nonlocal moves
            async for _ in fast:
                moves += 1

        reading = asyncio.create_task(read())
        begun = loop.time()
        while crashes < 1000:  # that is a second, where nothing else keeps this machine busy
            due, cpu = loop.time() + 0.005, time.thread_time()
            await asyncio.sleep(0.005)
            # Of what it came too late only as much as this thread has worked: the rest is other programs on this machine.
            lags.append(min(loop.time() - due, time.thread_time() - cpu))
    await reading
    lags.sort()
    assert lags[len(lags) * 99 // 100] < 0.05, f"p99 {lags[len(lags) * 99 // 100] * 1000:.1f} ms"
    assert moves > 2 * crashes and fast.dropped == 0  # type: ignore[attr-defined]  # of the subscription
    assert never.dropped == moves - 1000  # type: ignore[attr-defined]  # as above
    lines = [record.getMessage() for record in caplog.records]
    lines = [line for line in lines if "was stopped" not in line]  # it was about to fail as the manager closed
    took = loop.time() - begun
    assert lines[0].startswith("app/c-") and lines[0].endswith("it will be started again")
    assert 2 <= len(lines) <= 3 + took, lines
    # The first after an interval without any is told by itself, all others of an interval in one line.
    many = [line for line in lines if "more failures, nodes: " in line]
    assert sum(int(line.split()[1]) for line in many) + len(lines) - len(many) == crashes, "each is in exactly one line"
    assert all("the last: app/c-" in line for line in many)
    await never.aclose()  # type: ignore[attr-defined]  # as above


# --- R44 -------------------------------------------------------------------------------------------------------------------

THREE = (
    "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(3))\nprint('up', flush=True)\ntime.sleep(1000)"
)
RACES = 12


def _ends(kind: str) -> Command:
    """Ends by SIGTERM itself, or with code 3 when it gets one."""
    if kind == "signal":
        return Command("sleep", "1000", name="x", backoff=AT_ONCE)
    return Command(sys.executable, "-S", "-c", THREE, name="x", ready=asyncproc.LogLine("up"), backoff=AT_ONCE)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["signal", "code"])
async def test_r44_same_end_from_outside_and_from_a_stop(kind: str) -> None:
    """The same signal, or the same code, is a crash when nobody asked for the end, and a stop when somebody did."""
    async with Manager(Supervisor(_ends(kind), intensity=None)) as manager:
        handle = manager.find("app/x")
        assert handle.pid is not None
        os.kill(handle.pid, signal.SIGTERM)
        await handle.wait_for(state=State.RUNNING, incarnation=2)
        crash = handle.exit
        assert crash is not None
        stop = await handle.stop()
        assert (crash.reason, stop.reason) == (Reason.CRASHED, Reason.STOPPED)
        assert (
            (crash.code, crash.signal)
            == (stop.code, stop.signal)
            == ((None, signal.SIGTERM) if kind == "signal" else (3, None))
        )
        assert handle.incarnation == 2


def _kill(fd: int) -> None:
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(fd, signal.SIGTERM)


@pytest.mark.slow
@pytest.mark.parametrize("races", [RACES, pytest.param(200, marks=[pytest.mark.full, pytest.mark.timeout(300)])])
async def test_r44_race_of_a_kill_from_outside_with_a_stop(races: int) -> None:
    """Whichever comes first: what ends after the request is stopped and stays so, what ended before it has crashed."""
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    seen = set()
    async with Manager(Supervisor(_ends("signal"), Coroutine(forever), intensity=None)) as manager:
        handle = manager.find("app/x")
        for _ in range(races):
            moves: list[Transition] = []
            manager._root.supervisor.subscribers.append(moves.append)  # type: ignore[union-attr]  # every move, at once
            assert handle.pid is not None
            stopping: asyncio.Task[Exit] | None = None
            fd = os.pidfd_open(handle.pid)  # the stop may be faster, and its pid another's then
            both: list[Callable[[], Any]] = [
                lambda fd=fd: _kill(fd),  # type: ignore[misc]  # bound now
                lambda: asyncio.ensure_future(handle.stop()),
            ]
            if chance.random() < 0.5:
                both.reverse()
            done = [both[0]()]
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(chance.choice([0, 0.0005]))
            done.append(both[1]())
            stopping = next(each for each in done if each is not None)
            exit = await stopping
            os.close(fd)
            manager._root.supervisor.subscribers.remove(moves.append)  # type: ignore[union-attr]  # as above
            exits = [move for move in moves if move.exit is not None and move.path == "app/x"]
            assert exit.reason is Reason.STOPPED and exits[-1].after is State.ENDED
            for before, move in pairwise(move for move in moves if move.path == "app/x"):
                if move.exit is not None:
                    asked = before.after is State.STOPPING or move.before is State.BACKOFF
                    assert move.exit.reason is (Reason.STOPPED if asked else Reason.CRASHED)
            seen.add(len(exits))
            await handle.restart()
    print("ends in a race:", seen)
