"""Rows R26 to R28, R31, R33: a start that is cancelled, fails or is not wanted any more leaves nothing, and tells all."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asyncproc import (
    Backoff,
    ChildStopped,
    Command,
    Concurrent,
    Coroutine,
    Manager,
    Process,
    Reason,
    Sequential,
    SpecError,
    StartFailed,
    State,
    Supervisor,
    Thread,
)
from asyncproc._supervision.group import handle_of
from asyncproc._supervision.handle import started
from asyncproc.testing import AwaitPoint, FaultPoint, Leaks, hostile
from asyncproc.testing.faults import STOP
from tests import portable
from tests.faults.harness import children_of
from tests.supervision.stage import Stage

pytestmark = pytest.mark.slow

LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop, uvloop.new_event_loop]


# --- R26 ---------------------------------------------------------------------------------------------------------------

SPECS: dict[str, Callable[[], Any]] = {
    "process": lambda: Process(hostile.idle, name="x"),
    "command": lambda: Command("sleep", "1000", name="x"),
    "never ready": lambda: Process(hostile.idle, name="x", ready=never),
    "group": lambda: Concurrent(
        Process(hostile.leave_daemon), Command("sleep", "1000"), Coroutine(wait, ready=never), name="x"
    ),
    "supervisor": lambda: Supervisor(Process(hostile.ignore_term), Command("sleep", "1000"), Process(hostile.idle), name="x"),
}


async def never(handle: Any) -> bool:
    return False


async def wait() -> None:
    await asyncio.sleep(hostile.FOR_EVER)


ENDLESS = ("never ready", "group")
"""Those whose start never ends by itself: when the point was not reached, it is cancelled all the same."""


async def start_cancelled_at(point: AwaitPoint, kind: str, leaks: Leaks, warm: bool) -> None:
    async with Manager(spares=0, grace=0.05) as manager:
        if warm:
            await manager.run(Process(hostile.return_it, 1))
            await manager.run(Command("true"))
        before = len(os.listdir("/proc/self/fd"))
        with suppress(TimeoutError):
            try:
                await asyncio.wait_for(point.run(manager.start(SPECS[kind]())), 1.0 if kind in ENDLESS else None)
            except asyncio.CancelledError:
                assert point.happened
            else:
                assert not point.happened, "the cancellation was swallowed"
                await manager.stop()
        if portable.is_default():  # there what a daemon held open ends a few turns of the loop after its child
            await _descriptors_are(before)
        assert_nothing(manager, leaks, before if warm else None)
        assert await manager.run(Process(hostile.return_it, 7, name="x")) == 7  # the name is free


async def _descriptors_are(count: int) -> None:
    for _ in range(1000):
        if len(os.listdir("/proc/self/fd")) <= count:
            return
        await asyncio.sleep(0)


def assert_nothing(manager: Manager, leaks: Leaks, descriptors: int | None) -> None:
    """Of any child: no process, no descriptor, no entry of a helper's, no node that lives."""
    assert not children_of(leaks)
    assert descriptors is None or len(os.listdir("/proc/self/fd")) == descriptors
    assert all(node.state is State.ENDED for node in manager.nodes())
    engine: Any = manager._opened().engine
    for chain in getattr(engine, "chains", ()):
        assert not any(link.children for link in [chain.launcher, *chain.templates])
        assert not chain._indices


@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
@pytest.mark.parametrize("kind", SPECS)
def test_r26_start_that_is_cancelled_at_each_await_leaves_nothing(kind: str, warm: bool) -> None:
    """No process, descriptor or entry of that child is there when the CancelledError comes out; and its name is free."""
    trails: set[str] = set()
    for number in itertools.count():
        point = AwaitPoint(number, number + 1) if number % 3 == 2 else AwaitPoint(number)
        with Leaks() as leaks, asyncio.Runner(loop_factory=LOOPS[number % 2]) as runner:
            runner.run(start_cancelled_at(point, kind, leaks, warm))
        trails.update(point.trail)
        if not point.happened:
            break
    print(kind, *sorted(trails), sep="\n  ")
    assert number >= 2


async def cancel_after(turns: int, awaited: Any) -> bool:
    """Cancel *awaited* after so many turns of the loop; whether it was still at work."""
    task = asyncio.ensure_future(awaited)
    for _ in range(turns):
        if task.done():
            break
        await asyncio.sleep(0)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return True
    return False


@pytest.mark.both_loops
@pytest.mark.parametrize("kind", ["process", "command"])
async def test_r26_start_that_is_cancelled_after_any_number_of_turns_leaves_nothing(kind: str) -> None:
    """Between two awaits of the caller many things happen: cancelled after each number of turns of the loop."""
    with Leaks() as leaks:
        async with Manager(spares=0, grace=0.05) as manager:
            await manager.run(Process(hostile.return_it, 1))
            await manager.run(Command("true"))
            manager.forget_ended()
            before = len(os.listdir("/proc/self/fd"))
            for turns in [*range(12), 20, 50, 100, 200, 400]:
                if not await cancel_after(turns, manager.start(SPECS[kind](), name=f"c{turns}")):
                    await manager.stop()
                assert_nothing(manager, leaks, before)


@pytest.mark.parametrize(
    "step", ["template is wanted", "child is wanted", "child is forked", "child knows its work", "command is there"]
)
async def test_r26_start_that_is_cancelled_at_a_step_leaves_nothing(step: str) -> None:
    """Cancelled exactly when somebody stands still at this step of the start."""
    with Leaks() as leaks, FaultPoint(step, STOP) as point:
        async with Manager(spares=0, grace=0.05) as manager:
            spec: Any = Command("sleep", "1000") if "command" in step else Process(hostile.idle)
            task = asyncio.create_task(manager.start(spec))
            await point.reached()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not children_of(leaks)
            assert await manager.run(Process(hostile.return_it, 7)) == 7


# --- R27, R28 ----------------------------------------------------------------------------------------------------------


def fail() -> None:
    raise ValueError("in its first step")


class FailsFirst(Process):
    """A child whose OnStart fails."""

    def on_start(self) -> None:
        fail()

    def loop(self) -> None: ...


FAILING: dict[str, Callable[[], Any]] = {
    "command": lambda: Command("/does/not/exist", name="third"),
    "process": lambda: FailsFirst(name="third"),
    "ends before it is ready": lambda: Command("false", name="third", ready=never),
}


@pytest.mark.parametrize("how", FAILING)
async def test_r27_start_of_the_nth_in_a_chain_fails(how: str) -> None:
    """Those started are stopped in reverse order, one after the other; the error names the child, and no other was begun."""
    idle = [Process(hostile.idle, name=name) for name in ("first", "second", "fourth", "fifth")]
    moves: list[Any] = []
    async with Manager() as manager:
        manager._opened().supervisor.subscribers.append(moves.append)
        with pytest.raises(StartFailed, match="third") as failed:
            await manager.start(Supervisor(idle[0], idle[1], FAILING[how](), *idle[2:], name="s"))
        assert failed.value.exit is not None and failed.value.exit.path == "app/s/third"
        assert [manager.find(f"s/{name}").incarnation for name in ("fourth", "fifth")] == [0, 0]
        skipped: list[Any] = [manager.find(f"s/{name}").exit for name in ("fourth", "fifth")]
        assert [exit.reason for exit in skipped] == [Reason.SKIPPED] * 2
        assert {node.state for node in manager.nodes()} == {State.ENDED}
    log = [(move.path.rpartition("/")[2], move.after) for move in moves if move.path.count("/") == 2]
    begun = [name for name, state in log if state is State.STARTING]
    assert begun == ["first", "second", "third"]
    down = [each for each in log[log.index(("third", State.ENDED)) :] if each[0] in ("first", "second")]
    assert down == [
        ("second", State.STOPPING), ("second", State.ENDED), ("first", State.STOPPING), ("first", State.ENDED),
    ]  # fmt: skip


async def test_r27_start_of_the_second_in_a_sequence_fails() -> None:
    """The error names the child, no later one was begun."""
    begun: list[str] = []
    async with Manager() as manager:
        watched: Any = {"starting": lambda handle: begun.append(handle.name)}
        tree = Sequential(
            Command("true", name="first", **watched),
            Command("/does/not/exist", name="second", **watched),
            Command("true", name="third", **watched),
        )
        with pytest.raises(ExceptionGroup, match="sequential") as failed:
            await manager.run(tree)
        assert begun == ["first", "second"]
        assert [type(error) for error in failed.value.exceptions] == [FileNotFoundError]
        assert "second" in "".join(failed.value.exceptions[0].__notes__)


class FailsWithOthers(Process):
    """A child whose OnStart says that it is there, and fails when it is told to."""

    def __init__(self, here: str, gate: str, **options: Any) -> None:
        super().__init__(**options)
        self.here, self.gate = here, gate

    def on_start(self) -> None:
        with open(self.here, "wb") as here:
            here.write(b".")
        with open(self.gate, "rb", buffering=0) as gate:
            gate.read(1)
        fail()

    def loop(self) -> None: ...


@pytest.mark.both_loops
@pytest.mark.parametrize("how", ["start", "run"])
@pytest.mark.parametrize("kind", ["process", "command"])
async def test_r28_five_that_cannot_start_give_five_causes(kind: str, how: str, tmp_path: Path) -> None:
    """All of them in one group, none masked by the first; who still starts is cancelled, who had started is stopped."""
    here, gate = str(tmp_path / "here"), str(tmp_path / "gate")
    bad: list[Any] = [Command(f"/does/not/exist/{number}", name=f"bad{number}") for number in range(5)]
    if kind == "process":
        bad = [FailsWithOthers(here, gate, name=f"bad{number}") for number in range(5)]
    slow = Coroutine(wait, name="slow", ready=never)
    tree = Concurrent(Process(hostile.idle, name="good"), slow, *bad, name="g")
    os.mkfifo(here)
    os.mkfifo(gate)
    there, go = os.open(here, os.O_RDWR), os.open(gate, os.O_RDWR)
    with Leaks() as leaks:
        async with Manager(grace=0.5, spares=0) as manager:
            ends: list[Any] = []
            manager._opened().supervisor.subscribers.append(lambda move: ends.append(move) if move.exit else None)
            begun = asyncio.create_task(manager.start(tree) if how == "start" else manager.run(tree))  # type: ignore[arg-type]  # a coroutine each
            if kind == "process":
                await _come(there, 5)
                os.write(go, b".....")
            if how == "start":
                with pytest.raises(StartFailed) as failed:
                    await begun
                group = failed.value.__cause__
            else:
                with pytest.raises(ExceptionGroup) as raised:
                    await begun
                group = raised.value
            assert isinstance(group, ExceptionGroup)
            notes = sorted(note for error in group.exceptions for note in error.__notes__ if note.startswith("node "))
            assert [note.partition(",")[0] for note in notes] == [f"node app/g/bad{number}" for number in range(5)]
            assert {type(error) for error in group.exceptions} == {ValueError if kind == "process" else FileNotFoundError}
            reasons = {move.path.rpartition("/")[2]: move.exit.reason for move in ends}
            assert reasons["good"] is reasons["slow"] is Reason.STOPPED
            assert not children_of(leaks)
    os.close(there)
    os.close(go)


async def _come(fd: int, count: int) -> None:
    """Wait for so many bytes."""
    loop, there = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(fd, there.set)
    while count:
        await there.wait()
        there.clear()
        count -= len(os.read(fd, count))
    loop.remove_reader(fd)


# --- R31 ---------------------------------------------------------------------------------------------------------------


async def test_r31_stop_at_a_random_point_of_backoff_or_start_spawns_nothing_later() -> None:
    """100 points, on the test's own clock: in backoff over at once, while starting after the abort; no child comes later."""
    points = set()
    for seed in range(100):
        points.add(await stop_at_a_random_point(random.Random(seed)))
    assert {State.BACKOFF, State.STARTING, State.RUNNING} <= points


async def stop_at_a_random_point(chance: random.Random) -> State:
    stage = Stage()
    backoff = Backoff(1.0, 8.0)
    specs = [Process(print, name=name, backoff=backoff, start_timeout=None) for name in ("a", "b")]
    top = stage.run(
        Supervisor(*specs, intensity=None, strategy=chance.choice(["one_for_one", "one_for_all", "rest_for_one"])), "s"
    )
    for _ in range(chance.randrange(1, 12)):
        living = [child for child in stage.engine.children if not child.ended]
        if living and chance.random() < 0.6:
            child = chance.choice(living)
            if child.pid is not None and child.rungs:
                child.end()
            elif child.pid is None and chance.random() < 0.7:
                child.ready()
            elif stage.supervisor.by_path[child.order.path].view.ready:
                child.end(Reason.CRASHED)
        else:
            stage.clock.advance(chance.random() * 3)
    states = {place.view.state for place in top.members}
    made = len(stage.engine.children)
    stage.stop(top)
    assert all(place.view.state is not State.BACKOFF for place in top.members), "a stop in backoff is over at once"
    while living := [child for child in stage.engine.children if not child.ended]:
        child = chance.choice(living)
        if child.pid is None:
            child.spawn()
        child.end()
    assert top.view.finished
    stage.clock.advance(1000.0)
    assert len(stage.engine.children) == made
    assert stage.clock.next_due is None
    found = [state for state in (State.BACKOFF, State.STARTING) if state in states]
    return found[0] if found else State.RUNNING


@pytest.mark.parametrize("part", range(2))
async def test_r31_stop_of_real_children_that_crash_at_once(part: int) -> None:
    """The same with a crash loop of real processes: whenever the stop comes, nothing is spawned after it."""
    chance = random.Random(part)
    backoff = Backoff(0.02, 0.05)
    with Leaks() as leaks:
        for _ in range(10):
            spawned: list[Any] = []
            crashing = Supervisor(
                Command("sh", "-c", "exit 3", name="a", restart="permanent"),
                Process(hostile.exit_at_once, 3, name="b"),
                intensity=None,
                backoff=backoff,
                starting=spawned.append,
            )
            async with Manager(spares=0, grace=0.05) as manager:
                with suppress(StartFailed):
                    await manager.start(crashing)
                await asyncio.sleep(chance.random() * 0.1)  # the moment is the point of the test
                await manager.stop()
                count = len(spawned)
                assert not children_of(leaks)
                await asyncio.sleep(0.06)  # longer than any backoff
                assert len(spawned) == count
                assert not children_of(leaks)


async def test_r31_stop_while_children_start_starts_nothing_later() -> None:
    """Whatever has begun is ended, and what has not never does."""
    with Leaks() as leaks:
        async with Manager(spares=0, grace=0.05) as manager:
            await manager.run(Process(hostile.return_it, 1))
            for turns in (1, 2, 3, 5, 8, 13, 30, 100):
                tree = Sequential(Process(hostile.idle, name="a"), Process(hostile.idle, name="b"), name=f"s{turns}")
                group = asyncio.create_task(manager.start(tree))
                for _ in range(turns):
                    await asyncio.sleep(0)
                await manager.stop()
                await asyncio.gather(group, return_exceptions=True)
                assert not children_of(leaks), turns
                states = {node.state for node in manager.nodes() if node.path.count("/")}
                assert states <= {State.ENDED, State.CREATED}


async def test_r31_start_in_backoff_is_told_that_it_was_stopped() -> None:
    """Who waits for the start of one that rests, as the system had nothing for it, hears of the stop at once."""
    stage = Stage()
    place = stage.run(Supervisor(Process(print, name="a", backoff=Backoff(100.0, 100.0, jitter=None))), "s")

    waiting = asyncio.create_task(started(handle_of(stage.supervisor, place.members[0])))
    await asyncio.sleep(0)
    stage.engine.named("a").end(Reason.CRASHED, error=OSError(11, "nothing left"))
    assert place.members[0].view.state is State.BACKOFF
    stage.stop(place)
    assert place.view.finished
    with pytest.raises(ChildStopped) as stopped:
        await waiting
    assert isinstance(stopped.value.__cause__, BlockingIOError)


# --- R33 ---------------------------------------------------------------------------------------------------------------

WRONG: dict[str, Callable[[], Any]] = {
    "grace": lambda: Process(hostile.idle, grace=-1.0),
    "loops": lambda: Process(hostile.idle, loops=-1),
    "restart": lambda: Command("true", restart="sometimes"),  # type: ignore[arg-type]  # wrong on purpose
    "name": lambda: Thread(hostile.idle, name="no spaces"),
    "cpus": lambda: Command("true", cpus=[-1]),
    "both": lambda: Process(hostile.idle, grace="long", retries=-2),  # type: ignore[call-overload]  # wrong on purpose
}


@pytest.mark.parametrize("which", WRONG)
async def test_r33_invalid_options_are_refused_before_anything_starts(which: str) -> None:
    """All of them at once, by their names."""
    with Leaks() as leaks:
        with pytest.raises(SpecError) as refused:
            WRONG[which]()
        fields = {fault.field for fault in refused.value.faults}
        assert fields == ({"grace", "retries"} if which == "both" else {which})
        assert not leaks.survivors()


NAMES = st.sampled_from(["a", "b", "c", "d", "e", "f"])
MEMBERS = st.lists(
    st.tuples(NAMES, st.lists(st.one_of(NAMES, st.just("nobody")), max_size=3, unique=True)), min_size=1, max_size=7
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(MEMBERS)
def test_r33_names_and_needs_that_make_no_sense_are_all_told(members: list[tuple[str, list[str]]]) -> None:
    """A name twice, an unknown need, a circle: each is among the faults, whatever else is; and what is sound is accepted."""
    names = [name for name, _ in members]
    expected = {("name", name) for name in names if names.count(name) > 1}
    expected |= {("needs", need) for _, needs in members for need in needs if need not in names}
    graph = {name: [need for need in needs if need in names] for name, needs in members}
    circular = any(_reaches(graph, name, name) for name in graph)
    try:
        Supervisor(*(Process(hostile.idle, name=name, needs=needs) for name, needs in members))
    except SpecError as error:
        told = {(fault.field, fault.value) for fault in error.faults}
        assert expected <= told
        circles = [fault.value for fault in error.faults if "circle" in fault.rule]
        if len(set(names)) == len(names):  # of two of a name it is the last one that counts
            assert bool(circles) == circular
        assert expected or circles
    else:
        assert not expected and not circular


def _reaches(graph: dict[str, list[str]], begin: str, end: str) -> bool:
    seen: set[str] = set()
    waiting = list(graph[begin])
    while waiting:
        name = waiting.pop()
        if name == end:
            return True
        if name not in seen:
            seen.add(name)
            waiting += graph[name]
    return False


def needs_two(first: object, second: object) -> None: ...


async def test_r33_faults_that_only_a_start_can_find_are_all_told_and_nothing_starts() -> None:
    """Missing arguments anywhere in a tree, options without a group that could honour them: all at once, and no process."""
    tree = Concurrent(
        Process(needs_two, 1, name="one"),
        Process(hostile.idle, name="sound"),
        Sequential(Thread(needs_two, name="two"), Command("true", name="also-sound"), name="inner"),
        name="g",
    )
    with Leaks() as leaks:
        async with Manager() as manager:
            for call in (manager.start, manager.run):
                with pytest.raises(SpecError) as refused:
                    await call(tree)
                assert {fault.path for fault in refused.value.faults} == {"app/g/one", "app/g/inner/two"}
            with pytest.raises(SpecError, match="scale"):
                await manager.start(Process(hostile.idle, scale=3))
            assert not leaks.survivors()
            assert not manager.nodes()
        assert not leaks.survivors()
