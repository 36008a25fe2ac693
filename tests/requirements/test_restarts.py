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
    ChildCrashed,
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
from asyncproc.testing import Leaks
from tests.faults.harness import children_of
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
    """A command that crashes at once after each start takes less than 2 % of a processor, as it comes back ever later; it is
    given up after the fourth restart: its supervisor fails by the limit, that by the last exit, and nobody is left beside."""
    crash = Command("sh", "-c", "exit 3", name="crash", backoff=exact())
    beside = Command("sleep", "1000", name="beside")
    async with Manager(Supervisor(crash, beside, intensity=4, period=1000.0)) as manager:
        member = manager.find("app/crash")
        await member.wait_for(incarnation=2)
        wall, cpu = time.monotonic(), time.process_time()
        await member.wait_for(incarnation=5)
        share = (time.process_time() - cpu) / (time.monotonic() - wall)
        assert 1.3 < time.monotonic() - wall < 4.0  # 0.2 + 0.4 + 0.8
        assert share < 0.02, f"{share:.1%} of a processor"
        with pytest.raises(RestartLimitReached, match=r"app: 5 failures within 1000 s, and 4 are allowed") as caught:
            await asyncio.wait_for(manager.run(), 10.0)
        assert [(exit.incarnation, exit.code) for exit in caught.value.exits] == [(number, 3) for number in range(1, 6)]
        assert isinstance(caught.value.__cause__, ChildCrashed) and caught.value.__cause__.exit is member.exit
        ended = manager.find("app").exit
        assert ended is not None and (ended.reason, ended.error) == (Reason.CRASHED, caught.value)
        assert [manager.find(path).state for path in ("app", "app/crash", "app/beside")] == [State.ENDED] * 3


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


@pytest.mark.parametrize("seed", range(20))
async def test_r36_window_slides(stage: Stage, seed: int) -> None:
    """At every failure the limit is as by a list of all of them: more than *intensity* not older than a period."""
    chance = random.Random(seed)
    intensity, period, moment = chance.choice((1, 2, 4)), 8.0, 2.0**-10  # all of them exact
    manager = await stage.opened(Process(print, name="a", backoff=AT_ONCE), intensity=intensity, period=period)
    failures: list[float] = []
    while manager.find("app").state is State.RUNNING and len(failures) < 200:
        gaps = (0.0, period / intensity, period / intensity + moment, period - moment, period, period + moment)
        stage.clock.advance(chance.choice(gaps))
        failures.append(stage.clock.now())
        counted = sum(failed >= failures[-1] - period for failed in failures)
        assert stage.crash("a") == (["start a"] if counted <= intensity else []), failures


async def test_r37_slow_flapper_is_never_given_up_and_is_not_stable(stage: Stage) -> None:
    """One failure each period and a little never escalates; its delay begins anew only after ``stable_after``."""
    backoff = exact(0.1, 3.0, stable_after=60.0)
    manager = await stage.opened(Process(print, name="a", backoff=backoff), intensity=1, period=10.0)
    delays = [0.0]
    for _ in range(50):
        stage.clock.advance(10.0 + 1e-3 - delays[-1])  # after the last failure, not after the start
        stage.crash("a")
        delays.append(until_start(stage, "a"))
    assert delays[1:8] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.0, 3.0]
    assert set(delays[7:]) == {3.0}
    assert (manager.find("app").state, manager.find("app/a").incarnation) == (State.RUNNING, 51)
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
        await asyncio.wait_for(member.wait_for(state=State.RUNNING, incarnation=6), 20.0)
        while len(exits) < 5:
            moved = await anext(events)
            exits += [moved.exit] if moved.exit is not None else []
        assert [exit.reason for exit in exits] == [Reason.CRASHED, Reason.TIMED_OUT, *[Reason.CRASHED] * 3]
        assert (other.pid, other.incarnation) == (pid, 1)
        member.signal("KILL")  # the sixth failure: those that never became ready have all counted
        with pytest.raises(RestartLimitReached, match="app: 6 failures"):
            await asyncio.wait_for(manager.run(), 10.0)


class NotAlways:
    """An argument of a child that can be sent once, and then no more: each further start fails before it begins.

    Attributes:
        turn: of the loop; each counts once *counts* is set. turns: which they were at each start.
    """

    def __init__(self) -> None:
        self.counts = asyncio.Event()
        self.turn = 0
        self.turns: list[int] = []

    def __reduce__(self) -> tuple[Any, ...]:
        # So many in one turn would never end, and hang the test.
        if len(self.turns) == 1 or self.turns.count(self.turn) > 1000:
            return (str, ())
        raise ValueError("no more")

    def note(self, handle: Handle[Any]) -> None:
        self.turns.append(self.turn)

    async def count(self) -> None:
        while True:
            self.turn += 1
            self.counts.set()
            await asyncio.sleep(0)


def is_sent(argument: object) -> None:
    time.sleep(1000)


@pytest.mark.slow
@pytest.mark.both_loops
async def test_r38_commands_are_served_between_starts_that_fail_at_once() -> None:
    """Without any delay the loop goes on between two of them: others are started and stopped, and so is the one that fails."""
    argument = NotAlways()
    failing = Process(is_sent, argument, name="failing", backoff=AT_ONCE, starting=argument.note)
    tree = Supervisor(failing, Coroutine(forever, name="other"), intensity=None)
    async with Manager(tree) as manager, asyncio.TaskGroup() as group:
        counting = group.create_task(argument.count())
        member, other = manager.find("app/failing"), manager.find("app/other")
        await argument.counts.wait()
        member.signal("KILL")
        await member.wait_for(incarnation=10)
        assert (await manager.run(Command("echo", "on"))).stdout == "on\n"
        exit = await member.stop()
        tried = len(argument.turns)
        assert tried >= 10 and member.incarnation == tried
        assert all(before < after for before, after in pairwise(argument.turns)), "the loop has not gone on between two starts"
        assert (exit.reason, member.state) == (Reason.STOPPED, State.ENDED)
        await manager.run(Coroutine(asyncio.sleep, 0))
        assert (len(argument.turns), other.incarnation, other.state) == (tried, 1, State.RUNNING)
        counting.cancel()


@pytest.mark.slow
async def test_r38_program_that_is_gone_counts_each_time(tmp_path: Path) -> None:
    """A restart that fails in the kernel counts as one that ends later: the limit is reached, and named by its reason."""
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\nexec sleep 1000\n")
    program.chmod(0o755)
    gone = Command(program, name="gone", backoff=AT_ONCE)
    async with Manager(Supervisor(gone, Command("sleep", "1000", name="other"), intensity=3, period=1000.0)) as manager:
        program.unlink()
        manager.find("app/gone").signal("KILL")
        with pytest.raises(RestartLimitReached, match="app: 4 failures") as caught:
            await asyncio.wait_for(manager.run(), 20.0)
        assert [exit.signal for exit in caught.value.exits] == [signal.SIGKILL, None, None, None]
        assert [type(exit.error) for exit in caught.value.exits[1:]] == [FileNotFoundError] * 3
        assert isinstance(caught.value.__cause__, FileNotFoundError)
        assert manager.find("app/other").incarnation == 1


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
    manager = await stage.opened(*members, strategy="rest_for_one", intensity=4)
    stage.told()
    stage.fails["c"] = 1
    assert stage.crash("b") == ["ask d", "ask c", "start b", "start c", "start c", "start d"]
    assert [manager.find(f"app/{name}").incarnation for name in "abcd"] == [1, 2, 3, 2]
    stage.fails["d"] = 1
    assert stage.crash("c") == ["ask d", "start c", "start d", "start d"]  # what came up stays up as the next one fails
    assert stage.crash("a") == ["ask d", "ask c", "ask b"]
    with pytest.raises(RestartLimitReached, match="app: 5 failures"):
        await manager.run()


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
async def test_r39_commands_are_served_between_attempts(stage: Stage, strategy: Any) -> None:
    """While the one that failed on the way back rests, a stop of it, or of all, is heard: nobody is started after that."""
    members = [Process(print, name=name, backoff=exact(1.0)) for name in "abc"]
    manager = await stage.opened(*members, strategy=strategy, intensity=None)
    stage.crash("a")
    stage.fails["b"] = 1
    stage.advance(1.0)
    assert manager.find("app/b").state is State.BACKOFF
    stage.told()
    again = asyncio.create_task(manager.find("app/b").stop())
    await settled()
    assert (await again).reason is Reason.STOPPED
    assert "start b" not in stage.advance(1000.0)
    assert manager.find("app").state is State.RUNNING
    stage.fails["c"] = 1
    stage.crash("a")
    stage.advance(1.0)
    assert manager.find("app/c").state is State.BACKOFF
    stopping = asyncio.create_task(manager.stop())
    await settled()
    stage.told()
    assert stage.advance(1000.0) == []
    assert (await stopping).left == ()


class Log:
    """What children do, in order.

    Attributes:
        falls: set to let one fall that is up. weak: names whose next start fails.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.falls: dict[str, asyncio.Event] = {}
        self.weak: set[str] = set()

    async def child(self, name: str) -> None:
        self.falls[name] = asyncio.Event()
        if name in self.weak:
            self.weak.remove(name)
            self.lines.append(f"{name} fails")
            raise OSError(f"{name} does not come up")
        self.lines.append(f"{name} up")
        current().ready()
        try:
            await self.falls[name].wait()
        except asyncio.CancelledError:
            self.lines.append(f"{name} down")
            raise
        self.lines.append(f"{name} falls")
        raise ValueError(name)


BACK = {
    "one_for_all": "b falls, d down, c down, a down, a up, b up, c fails, b down, a down, a up, b up, c up, d up",
    "rest_for_one": "b falls, d down, c down, b up, c fails, c up, d up",
}


@pytest.mark.parametrize("strategy", BACK)
async def test_r39_real_member_that_fails_on_the_way_back(strategy: Any) -> None:
    """The same two rules, as children themselves see it; and each attempt counts."""
    log = Log()
    members = [Coroutine(log.child, name, name=name, ready="call", backoff=AT_ONCE) for name in "abcd"]
    async with Manager(Supervisor(*members, strategy=strategy, intensity=2, period=1000.0)) as manager:
        log.lines.clear()
        log.weak.add("c")
        log.falls["b"].set()
        await asyncio.wait_for(manager.find("app/d").wait_for(state=State.RUNNING, incarnation=2), 10.0)
        assert ", ".join(log.lines) == BACK[strategy]
        log.falls["d"].set()
        with pytest.raises(RestartLimitReached, match="app: 3 failures"):
            await asyncio.wait_for(manager.run(), 10.0)


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
async def test_r40_bystanders_of_every_kind_with_real_children(strategy: Any) -> None:
    """With the group a permanent and a transient one come back, a temporary one is ended and never does."""
    log = Log()
    kinds: dict[str, Any] = {"a": "permanent", "b": "transient", "c": "temporary", "d": "permanent"}
    members = [
        Coroutine(log.child, name, name=name, ready="call", restart=kind, backoff=AT_ONCE) for name, kind in kinds.items()
    ]
    async with Manager(Supervisor(*members, strategy=strategy)) as manager:
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
        all_of_them = strategy == "one_for_all"
        assert log.lines == ["b falls", "d down", *["a down", "a up"][: 2 * all_of_them], "b up", "d up"]
        assert [manager.find(f"app/{name}").incarnation for name in "abcd"] == [2 + all_of_them, 3, 1, 3]


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


RULES = (1, 2, 0, 3, 1)
"""Restarts that each level has to give, the lowest first."""


async def test_r41_escalation_through_five_supervisors(leaks: Leaks) -> None:
    """Each level applies its own rule, the causes are chained from the top to the child, and no subtree is left running."""
    starts: list[int] = []

    async def falls() -> None:
        starts.append(1)
        await asyncio.sleep(0)  # let those above it be up
        raise ValueError("the child")

    tree: Any = Coroutine(falls, name="child", backoff=AT_ONCE)
    for level in range(5):
        beside = Command("sleep", "1000", name=f"beside-{level}")
        tree = Supervisor(beside, tree, name=f"s{level}", intensity=RULES[level], period=1000.0, backoff=AT_ONCE)
    async with Manager() as manager:
        handle = await manager.start(tree)
        with pytest.raises(RestartLimitReached, match="app/s4: 2 failures") as caught:
            await asyncio.wait_for(handle.wait(), 20.0)
            await handle
        assert not children_of(leaks), "nobody of any level is left, though the manager is open"
        assert causes(caught.value) == [*["RestartLimitReached"] * 5, "ValueError"]
        error: Any = caught.value
        for level in range(4, -1, -1):  # each by its own count, and by that of the level below
            assert f"/s{level}: {RULES[level] + 1} failures within 1000 s, and {RULES[level]} are allowed" in str(error)
            assert len(error.exits) == RULES[level] + 1
            error = error.__cause__
        assert all(node.state is State.ENDED for node in manager.nodes("app/s4/**"))
        path, times = "app/s4", 1
        for level in range(4, -1, -1):  # who stands beside is started as often as the level that it is in
            assert manager.find(f"{path}/beside-{level}").incarnation == times
            times *= RULES[level] + 1
            path += f"/s{level - 1}"
        assert len(starts) == manager.find("app/s4/s3/s2/s1/s0/child").incarnation == times


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
async def test_r41_escalation_through_five_nested_managers(tmp_path: Path, leaks: Leaks) -> None:
    """The same through five managers, each in a child of the one above; nobody of them is left while the outermost is open."""
    path = tmp_path / "levels"
    async with Manager() as manager:
        with pytest.raises(RestartLimitReached) as caught:
            tree = Supervisor(Process(nested, 4, str(path), name="m4"), name="top", intensity=0, backoff=AT_ONCE)
            await asyncio.wait_for(manager.run(tree), 20.0)
        assert not [what for what in children_of(leaks).values() if "sleep" in what]
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
        begun, busy = loop.time(), time.thread_time()
        while crashes < 1000:  # that is a second, where nothing else keeps this machine busy
            due, cpu = loop.time() + 0.005, time.thread_time()
            await asyncio.sleep(0.005)
            # Of what it came too late only as much as this thread has worked: the rest is other programs on this machine.
            lags.append(min(loop.time() - due, time.thread_time() - cpu))
        busy = time.thread_time() - busy
    await reading
    lags.sort()
    assert lags[len(lags) * 99 // 100] < 0.05, f"p99 {lags[len(lags) * 99 // 100] * 1000:.1f} ms"
    assert busy < 1.0, f"{crashes} crashes, which have to fit into a second, took {busy:.2f} s of a processor"
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


async def test_r43_one_line_stands_for_an_interval(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """On a clock of the test: the first failure is told at once, the other 999 of a second in one line, which counts them and
    the nodes; each further interval has one line or none; after one without any the next is told at once again."""
    caplog.set_level(logging.WARNING, "asyncproc")
    members = [Process(print, name=f"c-{number}", backoff=AT_ONCE) for number in range(100)]
    await stage.opened(*members, intensity=None)

    def lines() -> list[str]:
        said = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return said

    for number in range(1000):
        stage.crash(f"c-{number % 100}")
        stage.clock.advance(2.0**-10)  # 1000 of them are less than a second
    assert lines() == ["app/c-0 crashed, ValueError: boom, after 0.00 s; it will be started again"]
    stage.clock.advance(24 * 2.0**-10)
    assert lines() == ["app: 999 more failures, nodes: 100; the last: app/c-99 crashed, ValueError: boom, after 0.10 s"]
    for name in ("c-3", "c-4", "c-3"):
        stage.crash(name)
        assert lines() == []
    stage.clock.advance(1.0)
    assert lines() == ["app: 3 more failures, nodes: 2; the last: app/c-3 crashed, ValueError: boom, after 0.00 s"]
    stage.clock.advance(3.0)
    assert lines() == []
    stage.crash("c-3")
    assert lines() == ["app/c-3 crashed, ValueError: boom, after 4.00 s; it will be started again"]


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


@pytest.mark.slow
@pytest.mark.parametrize("first", ["outside", "stop"])
async def test_r44_end_by_another_after_the_request_is_a_stop(first: str) -> None:
    """A child that is stopped and does not listen, and one that somebody else kills as it is stopped: both are stopped, and
    only that by which it ended says whose signal it was; it does not come back, and counts for no limit."""
    deaf = Command("sh", "-c", "trap '' TERM; echo up; exec sleep 1000", name="x", ready=asyncproc.LogLine("up"))
    async with Manager(Supervisor(deaf, Coroutine(forever), intensity=0), grace=30.0) as manager:
        handle = manager.find("app/x")
        assert handle.pid is not None
        if first == "outside":
            os.kill(handle.pid, signal.SIGKILL)  # and nobody can have seen it yet
            exit = await handle.stop()
        else:
            stopping = asyncio.create_task(handle.stop())
            await handle.wait_for(state=State.STOPPING)
            os.kill(handle.pid, signal.SIGKILL)
            exit = await stopping
        assert (exit.reason, exit.signal, exit.killed) == (Reason.STOPPED, signal.SIGKILL, False)
        assert (handle.state, handle.incarnation) == (State.ENDED, 1)
        assert manager.find("app").state is State.RUNNING


@pytest.mark.slow
async def test_r44_stop_after_a_crash_is_a_stop_of_the_restart() -> None:
    """Who rests after a crash was crashed, and is stopped from then on: nobody ran, and what ended the last one stays told."""
    fallen = Command("sleep", "1000", name="x", backoff=exact(1000.0, 1000.0))
    async with Manager(Supervisor(fallen, Coroutine(forever), intensity=None)) as manager:
        handle = manager.find("app/x")
        assert handle.pid is not None
        os.kill(handle.pid, signal.SIGTERM)
        await handle.wait_for(state=State.BACKOFF)
        crash = handle.exit
        stop = await handle.stop()
        assert crash is not None
        assert (crash.reason, stop.reason) == (Reason.CRASHED, Reason.STOPPED)
        assert crash.signal == stop.signal == signal.SIGTERM and crash.asked_by is None and stop.asked_by
        assert (handle.state, handle.incarnation) == (State.ENDED, 1)


def _kill(fd: int) -> None:
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(fd, signal.SIGTERM)


@pytest.mark.slow
@pytest.mark.parametrize("races", [RACES, pytest.param(200, marks=[pytest.mark.full, pytest.mark.timeout(300)])])
async def test_r44_race_of_a_kill_from_outside_with_a_stop(races: int) -> None:
    """Whichever comes first: what ends after the request is stopped and stays so, what ended before it has crashed; each
    fourth time it is seen to be back before somebody asks."""
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    seen = set()
    async with Manager(Supervisor(_ends("signal"), Coroutine(forever), intensity=None)) as manager:
        handle = manager.find("app/x")
        for number in range(races):
            moves: list[Transition] = []
            manager._root.supervisor.subscribers.append(moves.append)  # type: ignore[union-attr]  # every move, at once
            assert handle.pid is not None
            stopping: asyncio.Task[Exit] | None = None
            fd = os.pidfd_open(handle.pid)  # the stop may be faster, and its pid another's then
            both: list[Callable[[], Any]] = [
                lambda fd=fd: _kill(fd),  # type: ignore[misc]  # bound now
                lambda: asyncio.ensure_future(handle.stop()),
            ]
            if number % 4 and chance.random() < 0.5:
                both.reverse()
            again = handle.incarnation + 1
            done = [both[0]()]
            if not number % 4:
                await handle.wait_for(state=State.RUNNING, incarnation=again)
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(chance.choice([0, 0.0005]))
            done.append(both[1]())
            stopping = next(each for each in done if each is not None)
            exit = await stopping
            os.close(fd)
            manager._root.supervisor.subscribers.remove(moves.append)  # type: ignore[union-attr]  # as above
            exits = [move for move in moves if move.exit is not None and move.path == "app/x"]
            assert exit.reason is Reason.STOPPED and exits[-1].after is State.ENDED
            for move in exits:
                asked = move.before in (State.STOPPING, State.BACKOFF)
                assert move.exit is not None and move.exit.reason is (Reason.STOPPED if asked else Reason.CRASHED)
            assert len(exits) == 2 or number % 4, "the one has crashed, its successor was stopped"
            seen.add(len(exits))
            await handle.restart()
    print("ends in a race:", seen)
