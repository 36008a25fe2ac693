"""Rows R11 to R23: whatever is to be stopped, and however often somebody asks, a stop has its order, its bound and its end."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
import uvloop

from asyncproc import (
    ChildStopped,
    Command,
    Concurrent,
    Coroutine,
    LogLine,
    Manager,
    Process,
    Reason,
    State,
    Supervisor,
    Thread,
    current,
)
from asyncproc._core.supervision.action import Rung
from asyncproc._runtime.process import ProcessChild
from asyncproc._supervision import chores
from asyncproc.testing import AwaitPoint, Leaks, ScriptedChild, hostile
from tests.cli.terminal import CTRL_C, Terminal, screen_of
from tests.faults.harness import children_of, ended, wait_stopped
from tests.requirements.hostile_trees import Unwilling, random_needs, random_tree
from tests.supervision.stage import Stage

pytestmark = pytest.mark.slow

LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop, uvloop.new_event_loop]
LATE = 0.1
"""Seconds after its limit within which a child that does not listen is gone."""


# --- R11, R12 ----------------------------------------------------------------------------------------------------------


@pytest.mark.both_loops
async def test_r11_child_that_ignores_sigterm_is_killed_at_its_limit() -> None:
    """At the end of its grace, not before, and 0.1 s later at most (the quickest of three); the exit says so."""
    late = []
    async with Manager() as manager:
        for _ in range(3):
            handle = await manager.start(Process(hostile.ignore_term, grace=0.3))
            await handle.receive()
            begun = time.monotonic()
            exit = await handle.stop()
            late.append(time.monotonic() - begun - 0.3)
            assert (exit.killed, exit.reason, exit.signal) == (True, Reason.STOPPED, signal.SIGKILL)
            assert "had to be killed" in exit.explain()
    assert 0.0 <= min(late) < LATE, late


async def test_r11_command_that_ignores_sigterm_is_killed_with_its_group(tmp_path: Path) -> None:
    """The shell's children too."""
    deaf = tmp_path / "deaf"
    os.mkfifo(deaf)
    with Leaks() as leaks:
        async with Manager(spares=0) as manager:
            script = "trap '' TERM; echo > $0; sleep 1000 & sleep 1000"
            handle = await manager.start(Command("sh", "-c", script, deaf, grace=0.2))
            deaf.read_text()  # returns when the shell has written
            exit = await handle.stop()
            assert (exit.killed, exit.reason, exit.signal) == (True, Reason.STOPPED, signal.SIGKILL)
            assert exit.duration >= 0.2
            assert "sleep" not in str(leaks.survivors())


@pytest.mark.parametrize("kind", ["process", "command"])
async def test_r12_stopped_child_hears_sigterm_because_it_is_continued(kind: str) -> None:
    """SIGTERM alone would wait for ever; nobody has to be killed."""
    async with Manager() as manager:
        if kind == "process":
            handle: Any = await manager.start(Process(hostile.stop_itself, grace=1.0))
            await handle.receive()
        else:
            handle = await manager.start(Command("sleep", "1000", grace=5.0))
            handle.signal("STOP")
        wait_stopped(handle.pid)
        exit = await handle.stop()
        assert (exit.killed, exit.reason) == (False, Reason.STOPPED)


@pytest.mark.parametrize("kind", ["process", "command"])
async def test_r12_stopped_child_that_ignores_sigterm_is_killed(kind: str) -> None:
    """It is continued, takes no notice, and ends at its limit."""
    async with Manager() as manager:
        if kind == "process":
            handle: Any = await manager.start(Process(hostile.ignore_term, grace=0.3))
            await handle.receive()
        else:
            handle = await manager.start(Command(sys.executable, "-S", "-c", hostile.DEAF, grace=0.3))
            async for line in handle.output():
                assert line == "deaf"
                break
        handle.signal("STOP")
        wait_stopped(handle.pid)
        exit = await handle.stop()
        assert (exit.killed, exit.signal, exit.reason) == (True, signal.SIGKILL, Reason.STOPPED)


# --- R13 ---------------------------------------------------------------------------------------------------------------


async def test_r13_child_that_cannot_be_ended_is_given_up_at_the_limit() -> None:
    """On a clock of the test: each rung once and nothing between them; then it is given up, told as left, and can be started
    again; what the old one says later is not heard."""
    stage = Stage()
    place = stage.run(Process(print, grace=5.0))
    child = stage.engine.named("x")
    child.ready()
    stage.stop(place)
    wakes = []
    while (due := stage.clock.next_due) is not None:
        wakes.append(due - 1000.0)
        stage.clock.advance(due - stage.clock.now())
    assert wakes == [0.5, 5.0, 6.0]
    assert child.rungs == [Rung.ASK, Rung.TERM, Rung.KILL]
    assert place.left and place.view.exit is not None
    assert (place.view.exit.reason, place.view.exit.killed) == (Reason.STOPPED, True)
    child.end(Reason.CRASHED)
    assert place.view.exit.reason is Reason.STOPPED


async def test_r13_process_that_does_not_die_is_named_and_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would kill it does not: the stop returns at its limit and the report names it; the manager does not spin; whenever
    the process does end, it is reaped; and its node can be started again."""
    async with Manager(spares=0) as manager:
        handle = await manager.start(Process(hostile.ignore_term, name="x", grace=0.2))
        await handle.receive()
        pid = handle.pid
        with monkeypatch.context() as patched:
            patched.setattr(ProcessChild, "_kill", lambda self: None)
            begun, used = time.monotonic(), time.process_time()
            report = await manager.stop()
            took, used = time.monotonic() - begun, time.process_time() - used
        assert (report.left, report.killed, report.ended) == (("app/x",), (), ())
        assert 1.2 <= took < 1.2 + 0.5
        assert used < 0.1
        assert handle.exit is not None and handle.exit.killed and handle.exit.reason is Reason.STOPPED
        assert pid is not None and os.path.exists(f"/proc/{pid}")
        await handle.restart()
        assert handle.pid != pid
        os.kill(pid, signal.SIGKILL)
        await ended(pid)
        assert await manager.run(Process(hostile.return_it, 7)) == 7  # who reaps has come past the end
        assert not os.path.exists(f"/proc/{pid}")


# --- R14, R15 ----------------------------------------------------------------------------------------------------------

SLOW = "trap 'sleep {seconds}; exit 0' TERM; echo up; while :; do sleep 1000 & wait; done"


async def is_up(handle: Any) -> None:
    async for line in handle.output():
        assert line == "up"
        return


@pytest.mark.alone
async def test_r14_hundred_slow_children_stop_together() -> None:
    """Each takes a second, all of a group take less than 1.5 s."""
    slow = [Command("sh", "-c", SLOW.format(seconds=1), name=f"s{number}") for number in range(100)]
    async with Manager(spares=0) as manager:
        group = await manager.start(Concurrent(*slow))
        for child in group.children:
            await is_up(child)
        report = await manager.stop()
        assert len(report.ended) == 100
        assert 1.0 <= report.duration < 1.5, report.duration
    print(f"100 children, each slow by 1 s, stopped in {report.duration:.2f} s")


async def test_r14_chain_of_slow_children_stops_one_after_the_other() -> None:
    """In reverse order, each when the one before has ended: the sum of their times."""
    slow = [Command("sh", "-c", SLOW.format(seconds=0.2), name=f"s{number}") for number in range(5)]
    order: list[tuple[str, State]] = []
    async with Manager(Supervisor(*slow), spares=0) as manager:
        for number in range(5):
            await is_up(manager.find(f"s{number}"))
        manager._opened().supervisor.subscribers.append(lambda move: order.append((move.path[-2:], move.after)))
        report = await manager.stop()
    assert 1.0 <= report.duration < 2.5
    expected = [(f"s{number}", state) for number in (4, 3, 2, 1, 0) for state in (State.STOPPING, State.ENDED)]
    assert [move for move in order if move[0] != "pp"] == expected


class Ends:
    """Sees to it that nobody is asked to end before all that need it are gone."""

    def __init__(self, needs: dict[str, tuple[str, ...]]) -> None:
        self.left = set(needs)
        self._dependents: dict[str, set[str]] = {name: set() for name in needs}
        for name, wanted in needs.items():
            for need in wanted:
                self._dependents[need].add(name)

    def asked(self, name: str) -> None:
        assert not self._dependents[name] & self.left, f"{name} was asked to end before {self._dependents[name] & self.left}"

    def free(self) -> set[str]:
        """Who may end now, and so must have been asked."""
        return {name for name in self.left if not self._dependents[name] & self.left}


async def test_r15_no_dependency_is_stopped_before_its_dependents_are_gone() -> None:
    """Of 50 nodes that need each other at random; the ends come in any order; and nobody waits longer than he must."""
    for seed in range(40):
        await stop_of_a_dag(random.Random(seed))


async def stop_of_a_dag(chance: random.Random) -> None:
    needs = random_needs(chance, 50)
    stage = Stage(ScriptedChild.ready)
    place = stage.run(Supervisor(*(Process(print, name=name, needs=wanted) for name, wanted in needs.items())), "s")
    assert place.view.state is State.RUNNING
    ends = Ends(needs)
    asked: set[str] = set()

    def look() -> None:
        for child in stage.engine.children:
            name = child.order.path.rpartition("/")[2]
            if child.rungs and name not in asked:
                asked.add(name)
                ends.asked(name)
        assert ends.free() <= asked, "somebody waits in vain"

    stage.stop(place)
    look()
    while waiting := [child for child in stage.engine.children if child.rungs and not child.ended]:
        child = chance.choice(waiting)
        child.end()
        ends.left.discard(child.order.path.rpartition("/")[2])
        look()
    assert not ends.left
    assert place.view.finished


async def test_r15_real_dag_stops_in_order() -> None:
    """The same with 50 children that take a random time to end."""
    chance = random.Random(7)
    needs = random_needs(chance, 50)

    async def lingers(seconds: float) -> None:
        try:
            await asyncio.sleep(hostile.FOR_EVER)
        finally:
            await asyncio.sleep(seconds)

    members = [Coroutine(lingers, chance.random() * 0.01, name=name, needs=wanted) for name, wanted in needs.items()]
    ends = Ends(needs)

    def look(move: Any) -> None:
        name = move.path.rpartition("/")[2]
        if move.after is State.STOPPING and name in needs:
            ends.asked(name)
        elif move.after is State.ENDED:
            ends.left.discard(name)

    async with Manager(Supervisor(*members)) as manager:
        manager._opened().supervisor.subscribers.append(look)
        await manager.stop()
    assert not ends.left


# --- R16 ---------------------------------------------------------------------------------------------------------------


def ends_when_told(how: str) -> str:
    word = current().sync.receive()
    if how == "raises":
        raise RuntimeError(word)
    if how == "exits":
        os._exit(3)
    if how == "is killed":
        os.kill(os.getpid(), signal.SIGKILL)
    return str(word)


async def waits_for_the_word() -> None:
    """Takes its time to end: until it is told that the others have."""
    try:
        await asyncio.sleep(hostile.FOR_EVER)
    finally:
        await current().receive()


@pytest.mark.parametrize("how", ["returns", "raises", "exits", "is killed"])
@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
async def test_r16_child_that_ends_by_itself_during_the_shutdown(restart: Any, how: str) -> None:
    """Whatever its type and its end: it does not come back, the manager ends well, and all others get their turn."""
    first = Process(hostile.idle, name="first")
    racer = Process(ends_when_told, how, name="racer", restart=restart)
    tree = Supervisor(first, racer, Coroutine(waits_for_the_word, name="last"))
    moves: list[Any] = []
    async with Manager(tree, spares=0) as manager:
        manager._opened().supervisor.subscribers.append(moves.append)
        stopping = asyncio.create_task(manager.stop())
        await manager.find("last").wait_for(state=State.STOPPING)
        await manager.find("racer").send("go")
        await manager.find("racer").wait()
        assert manager.find("first").state is State.RUNNING
        await manager.find("last").send("go")
        report = await stopping
        assert manager.find("racer").incarnation == 1
        exit = manager.find("racer").exit
        assert exit is not None
        assert exit.reason is (Reason.FINISHED if how == "returns" else Reason.CRASHED)
        assert manager.find("app").state is State.ENDED
        assert set(report.ended) == {"app/first", "app/racer", "app/last"}
    assert [move.path for move in moves if move.exit] == ["app/racer", "app/last", "app/first", "app"]
    assert not [move for move in moves if move.after is State.STARTING]
    assert moves[-1].exit.reason is Reason.STOPPED


# --- R17 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("whose", ["handle", "manager"])
async def test_r17_ten_stops_at_once_are_one_ladder(whose: str, tmp_path: Path) -> None:
    """All get the same, and the child gets one SIGTERM."""
    counted = tmp_path / "terms"
    async with Manager() as manager:
        handle = await manager.start(Process(hostile.count_terms, str(counted), grace=0.6))
        await handle.receive()
        stop = handle.stop if whose == "handle" else manager.stop
        first = asyncio.create_task(stop())
        await handle.wait_for(state=State.STOPPING)
        later = await asyncio.gather(*(stop() for _ in range(9)))
        assert {id(each) for each in later} == {id(await first)}
        assert handle.exit is not None and handle.exit.killed
    assert counted.read_text() == "TERM\n"


async def test_r17_stop_while_a_restart_is_under_way(tmp_path: Path) -> None:
    """The restart gives way and says so, the child gets one ladder, and no new one comes."""
    counted = tmp_path / "terms"
    async with Manager() as manager:
        handle = await manager.start(Process(hostile.count_terms, str(counted), grace=0.6))
        await handle.receive()
        restart = asyncio.create_task(handle.restart())
        await handle.wait_for(state=State.STOPPING)
        exits = await asyncio.gather(*(handle.stop() for _ in range(5)))
        assert len({id(exit) for exit in exits}) == 1
        with pytest.raises(ChildStopped):
            await restart
        assert (handle.incarnation, handle.state) == (1, State.ENDED)
    assert counted.read_text() == "TERM\n"


# --- R18, R19, R20 -----------------------------------------------------------------------------------------------------


def hostile_tree(grace: float = 0.05) -> Concurrent:
    return Concurrent(
        Process(hostile.ignore_term, name="deaf", grace=grace),
        Process(hostile.leave_daemon, name="daemon", grace=grace),
        Command("sh", "-c", "setsid -f sleep 1000; trap '' TERM; sleep 1000", name="shell", grace=grace),
    )


async def cancelled_at(point: AwaitPoint, what: str, leaks: Leaks) -> None:
    manager = Manager(hostile_tree(), spares=0)
    if what == "run":  # which has no end of its own: when the point is not reached, it is cancelled all the same
        with suppress(asyncio.CancelledError, TimeoutError):
            await asyncio.wait_for(point.run(manager.run()), 0.5)
        assert not leaks.survivors(), point.trail
        return
    await manager.aopen()
    if what == "run in an open one":
        with suppress(asyncio.CancelledError, TimeoutError):
            await asyncio.wait_for(point.run(manager.run(hostile_tree())), 0.5)
        assert not children_of(leaks), point.trail
        await manager.aclose()
        return
    await manager.start(hostile_tree(), name="more")
    try:
        await point.run(manager.aclose() if what == "aclose" else _reported(manager))
    except asyncio.CancelledError:
        assert point.happened
    else:
        assert not point.happened, "the cancellation was swallowed"
    assert not (children_of(leaks) if what == "stop" else leaks.survivors()), point.trail
    assert all(node.state in (State.ENDED, State.CREATED) for node in manager.nodes())
    await manager.aclose()


async def _reported(manager: Manager) -> None:
    assert not (await manager.stop()).left


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("what", ["stop", "aclose", "run", "run in an open one"])
def test_r18_shutdown_that_is_cancelled_at_each_await_leaves_nobody(what: str, times: int) -> None:
    """It goes on to its end, cancelled there, and once or twice more at the next awaits; then the cancellation comes out."""
    trails: set[str] = set()
    for number in itertools.count():
        point = AwaitPoint(*range(number, number + times))
        with Leaks() as leaks, asyncio.Runner(loop_factory=LOOPS[number % 2]) as runner:
            begun = time.monotonic()
            runner.run(cancelled_at(point, what, leaks))
            assert time.monotonic() - begun < 5.0
        trails.update(point.trail)
        if not point.happened:
            break
    print(what, times, *sorted(trails), sep="\n  ")
    assert number >= 2


async def after(turns: int, task: asyncio.Task[Any]) -> None:
    for _ in range(turns):
        if task.done():
            return
        await asyncio.sleep(0)


@pytest.mark.both_loops
@pytest.mark.parametrize("what", ["stop", "aclose", "run"])
async def test_r18_shutdown_that_is_cancelled_after_any_number_of_turns_leaves_nobody(what: str) -> None:
    """Between two awaits of the caller many things happen: cancelled after each number of turns of the loop."""
    for turns in (1, 2, 3, 5, 8, 15, 50, 200):
        with Leaks() as leaks:
            manager = Manager(hostile_tree(), spares=0)
            if what == "run":
                task: asyncio.Task[Any] = asyncio.create_task(manager.run())
            else:
                await manager.aopen()
                await manager.start(hostile_tree(), name="more")
                task = asyncio.create_task(manager.stop() if what == "stop" else manager.aclose())  # type: ignore[arg-type]  # either
            await after(turns, task)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            assert not (children_of(leaks) if what == "stop" else leaks.survivors()), turns
            await manager.aclose()
            assert not leaks.survivors()


@pytest.mark.alone
@pytest.mark.both_loops
@pytest.mark.parametrize("what", ["stop", "aclose", "run"])
async def test_r19_second_cancellation_kills_at_once(what: str) -> None:
    """Neither an hour of grace nor a slow callback is waited for: 0.2 s later it is over (the quickest of three)."""
    times = []
    for _ in range(3):
        begun = asyncio.Event()

        async def linger(handle: Any, begun: asyncio.Event = begun) -> None:
            begun.set()
            await asyncio.sleep(hostile.FOR_EVER)

        with Leaks() as leaks:
            manager = Manager(hostile_tree(3600.0), spares=0)
            if what != "run":
                await manager.aopen()
                group: Any = await manager.start(hostile_tree(3600.0), name="more")
                await manager.run(Process(hostile.return_it, 1, ended=linger))
                await begun.wait()
                await group.children[0].receive()
                task: asyncio.Task[Any] = asyncio.create_task(manager.stop() if what == "stop" else manager.aclose())  # type: ignore[arg-type]  # either
            else:
                task = asyncio.create_task(manager.run())
                await after(1, task)
                await manager.find("deaf").receive()
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.sleep(0.02)
            assert not task.done()
            at = time.monotonic()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            times.append(time.monotonic() - at)
            assert not (children_of(leaks) if what == "stop" else leaks.survivors())
            await manager.aclose()
    print(what, [f"{seconds:.3f}" for seconds in times])
    assert min(times) < 0.2, times


@pytest.mark.parametrize("opened", [False, True], ids=["closed", "open"])
@pytest.mark.parametrize("how", ["wait_for", "timeout", "task group", "host"])
@pytest.mark.parametrize("loop", LOOPS, ids=["asyncio", "uvloop"])
def test_r20_run_that_is_cancelled_from_outside_leaves_nobody(how: str, loop: Any, opened: bool) -> None:
    """The cancellation leaves `run()` when the tree is empty, within its bound."""
    left: list[dict[int, str]] = []

    async def run(leaks: Leaks) -> None:
        async with Manager(spares=0) if opened else nullcontext(Manager(spares=0)) as manager:
            try:
                await manager.run(hostile_tree(0.2))
            finally:
                left.append(children_of(leaks) if opened else leaks.survivors())

    async def fail() -> None:
        await asyncio.sleep(0.1)
        raise RuntimeError("a sibling of the run")

    async def main(leaks: Leaks) -> None:
        if how == "wait_for":
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(run(leaks), 0.1)
        elif how == "timeout":
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await run(leaks)
        elif how == "task group":
            with pytest.raises(ExceptionGroup):
                async with asyncio.TaskGroup() as group:
                    group.create_task(run(leaks))
                    group.create_task(fail())
        else:
            task = asyncio.current_task()
            assert task is not None
            asyncio.get_running_loop().call_later(0.1, task.cancel)  # as a host does that shuts down
            await run(leaks)

    with Leaks() as leaks, asyncio.Runner(loop_factory=loop) as runner:
        begun = time.monotonic()
        with suppress(asyncio.CancelledError):
            runner.run(main(leaks))
        assert time.monotonic() - begun < 0.1 + 0.2 + 1.5
    assert left == [{}]


# --- R21 ---------------------------------------------------------------------------------------------------------------

PROGRAMS = Path(__file__).parents[1] / "cli" / "programs.py"


def test_r21_first_ctrl_c_stops_gracefully() -> None:
    """Children clean up, who is waited for is named in one line, and the code is 130."""
    with Terminal("run", f"{PROGRAMS}:blocked") as terminal:
        terminal.until("| blocked")
        terminal.press(CTRL_C)
        terminal.until("SIGINT: stopping, waiting for app/block")
        assert terminal.wait() == 130
        assert sum("SIGINT: stopping" in line for line in screen_of(terminal)) == 1
        assert "| cleaned up" in terminal.text
        assert "app/sleep was stopped, asked by manager.stop(), by signal SIGTERM" in terminal.text
        assert "\nstopped by SIGINT, " in terminal.text
        assert "Traceback" not in terminal.text


def test_r21_second_ctrl_c_kills() -> None:
    """Also a child that ignores SIGTERM and whose grace has no end; the code is 130."""
    with Terminal("run", f"{PROGRAMS}:deafest") as terminal:
        terminal.until("| deaf")
        terminal.press(CTRL_C)
        terminal.until("waiting for app/deafest (once more kills)")
        terminal.press(CTRL_C)
        assert terminal.wait() == 130
        assert "app/deafest was stopped, asked by manager.stop(), had to be killed, by signal SIGKILL" in terminal.text
        assert "\nstopped by SIGINT, something had to be killed, " in terminal.text


def test_r21_third_ctrl_c_exits() -> None:
    """Whatever the program still does; the terminal needs no repair, and nobody is left."""
    with Leaks() as leaks, Terminal("run", f"{PROGRAMS}:program_deaf") as terminal:
        terminal.until("deaf")
        terminal.press(CTRL_C)
        terminal.until("heard")
        terminal.press(CTRL_C)
        terminal.until("killing")
        terminal.press(CTRL_C)
        assert terminal.wait() == 130
        assert "\x1b[?" not in terminal.raw
        assert not leaks.survivors()


# --- R22 ---------------------------------------------------------------------------------------------------------------


async def stop_of_a_random_tree(seed: int) -> tuple[float, float]:
    """How long the stop took, and its bound."""
    chance, unwilling = random.Random(seed), Unwilling()
    manager = await Manager(spares=chance.randrange(2)).aopen()
    try:
        start = asyncio.create_task(manager.start(random_tree(chance, unwilling)))
        await asyncio.wait([start], timeout=chance.random() * 0.3)  # the moment is the point of the test
        bound = manager.stop_bound
        begun = time.monotonic()
        report = await manager.stop()
        took = time.monotonic() - begun
        assert bound is not None
        assert not [path for path in report.left if manager.find(path).pid is not None]
        with suppress(Exception):
            await start
        return took, bound
    finally:
        unwilling.release()
        await manager.aclose()


@pytest.mark.parametrize(
    "seeds",
    [
        range(7), range(7, 14), range(14, 20),
        pytest.param(range(100, 300), marks=[pytest.mark.full, pytest.mark.alone, pytest.mark.timeout(600)]),
    ],
    ids=lambda seeds: f"{seeds.start}-{seeds.stop}",
)  # fmt: skip
@pytest.mark.parametrize("loop", LOOPS[:1], ids=["asyncio"])
def test_r22_stop_never_takes_longer_than_its_bound(seeds: range, loop: Any) -> None:
    """By no more than 10 % or 0.25 s, of random hostile trees that start or stand; on both loops in turn."""
    stops: list[tuple[float, float]] = []
    for seed in seeds:
        with Leaks(), asyncio.Runner(loop_factory=LOOPS[seed % 2]) as runner:
            stops.append(runner.run(stop_of_a_random_tree(seed)))
    longest = max(stops, key=lambda stop: stop[0] - stop[1])
    nearest = f"the nearest to its bound {longest[0]:.2f} of {longest[1]:.2f} s"
    print(f"{len(stops)} stops; the longest took {max(stops)[0]:.2f} of {max(stops)[1]:.2f} s; {nearest}")
    for took, bound in stops:
        assert took <= max(bound * 1.1, bound + 0.25), (took, bound)


DEAF = "trap '' TERM; echo up; sleep 1000"
EACH = 0.7
"""Seconds of grace of four that end one after the other: in all more than one of them with all that its bound allows it."""


def deaf(name: str, **options: Any) -> Command:
    return Command("sh", "-c", DEAF, name=name, grace=EACH, ready=LogLine("up"), **options)


WAYS: dict[str, Callable[[], Supervisor]] = {
    "chain": lambda: Supervisor(*map(deaf, "abcd")),
    "needs": lambda: Supervisor(deaf("a"), deaf("b", needs=["a"]), deaf("c", needs=["b"]), deaf("d", needs=["c"]), deaf("x")),
    "nested": lambda: Supervisor(deaf("a"), Supervisor(deaf("b"), deaf("c"), name="inner"), deaf("d")),
}


@pytest.mark.parametrize("way", WAYS)
async def test_r22_bound_is_the_sum_of_those_that_end_one_after_the_other(way: str) -> None:
    """None of them listens: each uses its grace up, and all the same the stop stays within its bound."""
    async with Manager(WAYS[way](), spares=0) as manager:
        bound = manager.stop_bound
        report = await manager.stop()
        assert bound is not None
        assert len(report.killed) == (5 if way == "needs" else 4) and not report.left
        assert report.duration > 4 * EACH - 0.05, "they have ended one after the other"
        assert report.duration <= max(bound * 1.1, bound + 0.25), (report.duration, bound)


async def test_r22_bound_holds_when_a_child_does_not_come_to_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What makes it is busy for longer than the stop may take: it is given up, and ended when it comes."""
    (tmp_path / "slow_to_import.py").write_text("import time\ntime.sleep(30)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with Leaks() as leaks:
        async with Manager(spares=0, grace=0.1, preload=["slow_to_import"]) as manager:
            start = asyncio.create_task(manager.start(Process(hostile.idle, name="x")))
            await asyncio.sleep(0)
            bound = manager.stop_bound
            report = await manager.stop()
            assert bound is not None and report.duration <= bound + 0.25
            assert report.left == ("app/x",)
            with pytest.raises(ChildStopped):
                await start
        assert not leaks.survivors()


# --- R23 ---------------------------------------------------------------------------------------------------------------


async def fails(handle: Any) -> None:
    raise RuntimeError("of the callback")


async def sleeps(handle: Any) -> None:
    await asyncio.sleep(hostile.FOR_EVER)


async def cancels_itself(handle: Any) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(hostile.FOR_EVER)


def fails_plainly(handle: Any) -> None:
    raise RuntimeError("of the callback")


def is_cancelled_plainly(handle: Any) -> None:
    raise asyncio.CancelledError


CALLBACKS: dict[str, tuple[Any, str]] = {
    "raises": (fails, "failed"),
    "raises plainly": (fails_plainly, "failed"),
    "raises CancelledError": (is_cancelled_plainly, "failed"),
    "sleeps": (sleeps, "took more than 0.2 s and was cut"),
    "cancels itself": (cancels_itself, "was cancelled"),
}


@pytest.mark.parametrize("how", CALLBACKS)
@pytest.mark.parametrize("word", ["starting", "started", "ended"])
async def test_r23_callback_that_misbehaves_is_logged_and_cut(
    word: str, how: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Start and stop go on as if there was none, and the close waits for no more than its limit."""
    monkeypatch.setattr(chores, "HOOK_LIMIT", 0.2)
    callback, text = CALLBACKS[how]
    begun = time.monotonic()
    async with Manager() as manager:
        handle = await manager.start(Process(hostile.idle, name="x", **{word: callback}))
        assert handle.state is State.RUNNING
        report = await manager.stop()
        assert (report.ended, report.killed, report.left) == (("app/x",), (), ())
    assert time.monotonic() - begun < 2.0
    assert text in caplog.text and f"{word} callback" in caplog.text and "app/x" in caplog.text


async def test_r23_callback_that_ignores_its_limit_holds_up_no_close(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is cut, named, and left behind."""
    monkeypatch.setattr(chores, "HOOK_LIMIT", 0.1)
    monkeypatch.setattr(chores, "CUT_LIMIT", 0.2)
    gate = asyncio.Event()
    tasks: list[asyncio.Task[Any] | None] = []

    async def stubborn(handle: Any) -> None:
        tasks.append(asyncio.current_task())
        while not gate.is_set():
            with suppress(asyncio.CancelledError):
                await gate.wait()

    async with Manager() as manager:
        assert await manager.run(Process(hostile.return_it, 7, name="x", ended=stubborn)) == 7
    assert "ended callback of app/x took more than 0.1 s and was cut" in caplog.text
    assert "ended callback of app/x does not end, though it was cancelled" in caplog.text
    gate.set()
    await asyncio.wait([task for task in tasks if task is not None])


class Hooked(Process):
    """A child whose on_finish misbehaves."""

    def __init__(self, how: str, **options: Any) -> None:
        super().__init__(loops=None, **options)
        self.how = how

    async def loop(self) -> None:
        await asyncio.sleep(hostile.FOR_EVER)

    async def on_finish(self) -> None:
        await misbehave(self.how)


class HookedThread(Thread):
    """The same as a thread."""

    def __init__(self, how: str, **options: Any) -> None:
        super().__init__(loops=None, **options)
        self.how = how

    loop = Hooked.loop
    on_finish = Hooked.on_finish


class HookedCoroutine(Coroutine):
    """The same as a coroutine."""

    def __init__(self, how: str, **options: Any) -> None:
        super().__init__(loops=None, **options)
        self.how = how

    loop = Hooked.loop
    on_finish = Hooked.on_finish


async def misbehave(how: str) -> None:
    if how == "raises":
        raise RuntimeError("of the hook")
    if how == "cancels itself":
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
    await asyncio.sleep(hostile.FOR_EVER)


@pytest.mark.parametrize("limited", [False, True], ids=["grace", "timeouts"])
@pytest.mark.parametrize("how", ["raises", "sleeps", "cancels itself"])
@pytest.mark.parametrize("kind", [Hooked, HookedThread, HookedCoroutine])
async def test_r23_stop_hook_that_misbehaves_is_cut(
    kind: Any, how: str, limited: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """By its own limit or by the grace of its child; what it raised is told; the stop goes on, and others are not touched."""
    options = {"timeouts": {"on_finish": 0.1}} if limited else {}
    async with Manager(grace=0.6) as manager:
        sibling = await manager.start(Process(hostile.idle, name="sibling"))
        handle = await manager.start(kind(how, name="x", **options))
        begun = time.monotonic()
        exit = await handle.stop()
        assert time.monotonic() - begun < 0.6 + 1.0
        assert exit.reason is Reason.STOPPED
        if how == "raises" or (limited and how == "sleeps"):
            wrong = "RuntimeError: of the hook" if how == "raises" else "PhaseTimeout"
            assert "app/x" in caplog.text and wrong in caplog.text
        assert sibling.exit is None
        report = await manager.stop()
        assert report.left == () and sibling.exit is not None
