"""The parent's hand on a child: gates, stepping, and what happens when the hand lets go."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from asyncproc import (
    AfterLoop,
    BeforeLoop,
    ChildStopped,
    Command,
    Concurrent,
    Coroutine,
    Manager,
    OnFinish,
    OnStart,
    Phase,
    Process,
    Reason,
    SpecError,
    State,
    StateError,
    Thread,
)
from asyncproc.errors import EncodeError
from tests.lifecycle.targets import quick


def train(config: str, batch: int | None = None, carried: int | None = None) -> tuple[str, int | None, int | None]:
    return config, batch, carried


async def train_async(config: str, batch: int | None = None, carried: int | None = None) -> tuple[str, int | None, int | None]:
    return config, batch, carried


def fails_in_second(value: int) -> int:
    if value == 2:
        raise ValueError("second")
    return value


HELD = [
    Process(train, loops=2),  # type: ignore[call-overload]
    Process(train_async, loops=2),  # type: ignore[call-overload]
    Thread(train, loops=2),  # type: ignore[call-overload]
    Thread(train_async, loops=2),  # type: ignore[call-overload]
    Coroutine(train_async, loops=2),  # type: ignore[call-overload]
]
IDS = ["process", "async process", "thread", "async thread", "coroutine"]


@pytest.mark.both_loops
@pytest.mark.parametrize("spec", HELD, ids=IDS)
async def test_held_child_waits_at_each_phase(spec: Any) -> None:
    """M19, S2.12 to S2.14: every gate is entered and left; values go where they belong, and win."""
    async with Manager() as manager:
        handle = manager.add(spec, hold=True)
        assert (handle.state, handle.phase) == (State.CREATED, None)
        async with OnStart(handle) as start:
            assert (handle.state, handle.phase, start.number, start.phase) == (State.STARTING, Phase.ON_START, 0, "on_start")
            start.add(config="c")
        async with BeforeLoop(handle) as before:
            assert (before.number, before.kwargs) == (1, {"config": "c"})
            before.add(batch=1)
        async with AfterLoop(handle, add_for_next=True) as after:
            assert after.result == ("c", 1, None)
            after.add(carried=5)
        async with BeforeLoop(handle) as before:
            assert (before.number, before.kwargs) == (2, {"config": "c", "carried": 5})
        async with AfterLoop(handle) as after:
            assert after.result == ("c", None, 5)
        async with OnFinish(handle):
            assert handle.phase is Phase.ON_FINISH
        assert await handle == ("c", None, 5)


@pytest.mark.both_loops
@pytest.mark.parametrize("spec", HELD, ids=IDS)
async def test_gates_of_one_phase_take_turns(spec: Any) -> None:
    """M19: of two tasks that wait for it, the one that comes second has the next loop."""
    numbers: list[int] = []

    async def pass_by(gate: type[BeforeLoop | AfterLoop]) -> None:
        async with gate(handle, timeout=10) as entered:
            numbers.append(entered.number)

    async with Manager() as manager:
        handle = manager.add(spec, hold=True)
        async with OnStart(handle) as start:
            start.add(config="c")
        await asyncio.gather(*(pass_by(gate) for gate in (BeforeLoop, BeforeLoop, AfterLoop, AfterLoop)))
        async with OnFinish(handle):
            pass
    assert numbers == [1, 1, 2, 2]


@pytest.mark.both_loops
@pytest.mark.parametrize("spec", HELD, ids=IDS)
async def test_steps_run_one_loop_each(spec: Any) -> None:
    """DESIGN 3.3: asking for the next lets it run; then waiting for the end lets it finish."""
    async with Manager() as manager:
        handle = manager.add(spec, hold=True)
        async with OnStart(handle) as start:
            start.add(config="c")
        numbers = []
        async for before in handle.steps():
            numbers.append(before.number)
            before.add(batch=before.number * 10)
        assert numbers == [1, 2]
        assert await handle == ("c", 20, None)


async def test_steps_that_were_abandoned_can_be_taken_up() -> None:
    """M19: the child stands where it stood, for new steps and for a gate."""
    async with Manager() as manager:
        handle = manager.add(Process(quick, loops=4), hold=True)
        async with OnStart(handle):
            pass
        async for before in handle.steps():
            if before.number == 2:
                break
        async with asyncio.timeout(10):
            async for before in handle.steps():
                assert before.number == 2
                break
            async with BeforeLoop(handle) as gate:
                assert gate.number == 2
            assert [before.number async for before in handle.steps()] == [3, 4]
            assert await handle == 4


async def test_cancelled_steps_end_the_child() -> None:
    """M19: nobody is left who would let it go on."""

    async def step(handle: Any) -> None:
        async for _ in handle.steps():
            pass

    async with Manager() as manager:
        handle = manager.add(Coroutine(asyncio.sleep, 1000, loops=None, grace=0.1), hold=True)
        async with OnStart(handle):
            pass
        stepping = asyncio.create_task(step(handle))
        await handle._supervisor.until(handle._place, lambda: handle.phase is Phase.BEFORE_LOOP)
        await asyncio.wait([stepping], timeout=0.01)
        stepping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stepping
        assert handle.state is State.ENDED


async def test_gate_of_after_loop_is_not_passed_by_steps_that_wait_as_well() -> None:
    """Steps pass AfterLoop for nobody but themselves: whoever waited for it before is served."""
    async with Manager() as manager:
        handle = manager.add(Process(quick, loops=2), hold=True)
        async with OnStart(handle):
            pass
        results = []

        async def watch() -> None:
            async with AfterLoop(handle) as after:
                results.append((after.number, after.result))

        watching = asyncio.create_task(watch())
        numbers = [before.number async for before in handle.steps()]
        await watching
        assert (numbers, results) == ([1, 2], [(1, 1)])
        assert await handle == 2


async def test_listening_thread_of_a_child_sleeps_while_answers_come() -> None:
    """Each answer wakes the thread that waits for it, and not another that would contend with it."""
    async with Manager() as manager:
        handle = manager.add(Process(quick, loops=202), hold=True)
        async with OnStart(handle):
            pass
        switches = [switches_of_other_threads(handle.pid) async for before in handle.steps() if before.number in (2, 202)]
        assert await handle == 202
        assert switches[1] - switches[0] < 20  # of 400 answers


def switches_of_other_threads(pid: int | None) -> int:
    files = [file for file in Path(f"/proc/{pid}/task").glob("*/status") if file.parent.name != str(pid)]
    assert len(files) == 1
    return sum(int(line.split()[1]) for line in files[0].read_text().splitlines() if line.startswith("voluntary_ctxt"))


async def test_finish_can_be_held_after_steps() -> None:
    """It waits for its gate, until somebody waits for its end."""
    async with Manager() as manager:
        handle = manager.add(Process(quick, loops=1), hold=True)
        async with OnStart(handle):
            pass
        async for _ in handle.steps():
            pass
        async with OnFinish(handle) as finish:
            assert finish.number == 1
        assert await handle == 1


async def test_step_of_a_failed_loop_is_the_last() -> None:
    """The error is the child's, and nothing hangs."""
    async with Manager() as manager:
        handle = manager.add(Process(fails_in_second, loops=None), hold=True)  # type: ignore[call-overload]
        async with OnStart(handle):
            pass
        numbers = []
        async for before in handle.steps():
            before.add(value=before.number)
            numbers.append(before.number)
        assert numbers == [1, 2]
        with pytest.raises(ValueError, match="second"):
            await handle


@pytest.mark.parametrize("spec", [Process(quick, loops=None), Thread(quick, loops=None)], ids=["process", "thread"])
async def test_gate_left_by_an_exception_ends_the_child(spec: Any) -> None:
    """And the exception goes on."""
    async with Manager() as manager:
        for gate in (OnStart, BeforeLoop):
            handle = manager.add(spec, hold=True, name=gate.__name__)
            with pytest.raises(KeyError, match="mine"):
                async with OnStart(handle):
                    if gate is OnStart:
                        raise KeyError("mine")
                async with gate(handle):
                    raise KeyError("mine")
            assert handle.exit is not None
            assert handle.exit.reason is Reason.STOPPED
            assert handle.exit.asked_by == f"its {gate.__name__} gate, left by an exception"


async def test_cancelled_parent_ends_the_child() -> None:
    """M19: in a gate, and while waiting for one."""
    async with Manager() as manager:
        for wait in (False, True):
            handle = manager.add(Process(quick, loops=None), hold=True)
            inside = asyncio.Event()

            async def parent(handle: Any = handle, inside: asyncio.Event = inside, wait: bool = wait) -> None:
                async with OnStart(handle):
                    if not wait:
                        inside.set()
                        await asyncio.sleep(1000)
                async with AfterLoop(handle):  # it stands at BeforeLoop, whose gate nobody enters
                    pass

            task = asyncio.create_task(parent())
            if wait:
                await handle._supervisor.until(handle._place, lambda: handle.phase is Phase.BEFORE_LOOP)  # noqa: B023
            else:
                await inside.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert handle.state is State.ENDED


async def test_stop_releases_a_held_child() -> None:
    """One that is asked to end is held no longer, wherever it stands."""
    async with Manager() as manager:
        handle = manager.add(Process(quick, loops=None), hold=True)
        async with OnStart(handle):
            pass
        steps = handle.steps()
        await anext(steps)
        exit = await handle.stop()
        assert exit.ok
        with pytest.raises(StopAsyncIteration):
            await anext(steps)


@pytest.mark.parametrize("how", ["rejoin", "stop"])
@pytest.mark.parametrize("spec", [Process(quick, loops=None), Thread(quick, loops=None)], ids=["process", "thread"])
async def test_child_that_is_asked_to_end_at_a_gate_begins_no_loop(spec: Any, how: str) -> None:
    """M16: neither the one that it stands before, nor one after the loop whose end it stands at."""
    async with Manager() as manager:
        before_second = manager.add(spec, hold=True, name="before")
        after_first = manager.add(spec, hold=True, name="after")
        for handle in (before_second, after_first):
            async with OnStart(handle):
                pass
            async with BeforeLoop(handle):
                pass
        async with AfterLoop(before_second):
            pass
        async with BeforeLoop(before_second):
            await end(before_second, how)
        async with AfterLoop(after_first):
            await end(after_first, how)
        assert (await before_second, await after_first) == (1, 1)
        assert (await before_second.loop_report()).count == 1


async def end(handle: Any, how: str) -> None:
    if how == "rejoin":
        handle.rejoin()
        await handle.wait_for(state=State.STOPPING)
    else:
        await handle.stop()


async def test_child_that_is_stopped_before_its_start_was_let_go_runs_nothing() -> None:
    """Neither OnStart nor OnFinish."""
    async with Manager() as manager:
        handle = manager.add(Unsendable(), hold=True)
        async with OnStart(handle):
            exit = await handle.stop()
        assert exit.ok
        assert await handle is None


async def test_steps_that_were_left_can_be_taken_up_again() -> None:
    """By other steps, or by a gate of the same loop; a gate of a later phase says what stands in its way."""
    async with Manager() as manager:
        handle = manager.add(Process(train, loops=3), hold=True)  # type: ignore[call-overload]
        async with OnStart(handle) as start:
            start.add(config="c")
        async for _ in handle.steps():
            break
        with pytest.raises(StateError, match=r"stands before loop 1 for steps\(\)"):
            async with AfterLoop(handle):
                pass
        async for before in handle.steps():
            assert before.number == 1
            break
        async with BeforeLoop(handle) as before:
            assert before.number == 1
            before.add(batch=7)
        with pytest.raises(StateError, match="gate has been left"):
            before.add(batch=8)
        async with AfterLoop(handle) as after:
            assert after.result == ("c", 7, None)
        assert [before.number async for before in handle.steps()] == [2, 3]
        assert await handle == ("c", None, None)


async def test_leaving_the_manager_releases_held_children() -> None:
    """At a gate, and never started."""
    async with Manager() as manager:
        handle = manager.add(Process(quick, loops=None), hold=True)
        never = manager.add(Process(quick), hold=True, name="never")
        async with OnStart(handle):
            pass
    assert handle.state is State.ENDED
    assert never.exit is not None
    assert never.exit.reason is Reason.SKIPPED


async def test_gate_has_a_timeout() -> None:
    """It names node and phase; the child is still held, and can be had later."""
    async with Manager() as manager:
        handle = manager.add(Process(quick, loops=1, name="n"), hold=True)
        async with OnStart(handle):
            pass
        with pytest.raises(TimeoutError, match=r"node app/n: did not come to on_finish within 0.05 s"):
            async with OnFinish(handle, timeout=0.05):
                pass
        async for _ in handle.steps():
            pass
        assert await handle == 1


async def test_start_timeout_does_not_run_while_held() -> None:
    """M19."""
    async with Manager() as manager:
        handle = manager.add(Process(quick, start_timeout=0.5), hold=True)
        async with OnStart(handle):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.7):
                    await handle.wait_for(state=State.RUNNING)
        async for _ in handle.steps():
            pass
        assert await handle == 1


async def test_gate_on_the_wrong_child_is_a_state_error() -> None:
    """M19: not held, past the phase, ended; it names node and phase."""
    async with Manager() as manager:
        free = await manager.start(Process(quick, name="free"))
        with pytest.raises(StateError, match=r"node app/free: is not held, OnStart needs manager.add\(spec, hold=True\)"):
            async with OnStart(free):
                pass
        with pytest.raises(StateError, match="is not held"):
            free.steps()
        held = manager.add(Process(quick, name="held"), hold=True)
        with pytest.raises(StateError, match="has not started"):
            await anext(held.steps())
        async with OnStart(held):
            pass
        with pytest.raises(StateError, match="node app/held: is past on_start"):
            async with OnStart(held):
                pass
        async for _ in held.steps():
            pass
        with pytest.raises(StateError, match="node app/held: is past before_loop"):
            async with BeforeLoop(held):
                pass
        await held
        with pytest.raises(StateError, match="node app/held: is past on_finish, it has ended"):
            async with OnFinish(held):
                pass


async def test_gate_that_cannot_be_started_says_why() -> None:
    """The child ends before it stands there."""
    async with Manager() as manager:
        handle = manager.add(Process(quick, cwd="/nowhere at all"), hold=True)
        with pytest.raises(StateError, match=r"is past on_start, it has ended: .*nowhere"):
            async with OnStart(handle):
                pass


async def test_value_that_cannot_be_sent_is_refused_at_the_gate() -> None:
    """In the parent, by name; the child waits on."""
    async with Manager() as manager:
        handle = manager.add(Process(train, loops=1), hold=True)  # type: ignore[call-overload]
        async with OnStart(handle) as start:
            with pytest.raises(EncodeError, match="config of the on_start gate of app/train"):
                start.add(config=threading.Lock())
            start.add(config="c")
        async for _ in handle.steps():
            pass
        assert await handle == ("c", None, None)


async def test_gate_gives_what_the_target_does_not_take() -> None:
    """M12: a TypeError of the child that names phase and name."""
    async with Manager() as manager:
        handle = manager.add(Process(quick), hold=True)
        async with OnStart(handle) as start:
            start.add(unknown=1)
        with pytest.raises(TypeError, match=r"on_start gave 'unknown', which quick\(\) does not take"):
            await handle


class Unsendable(Process[Any], loops=1):
    """What it has cannot be told at a gate: the gate shows the rest."""

    def on_start(self) -> dict[str, Any]:
        return {"lock": threading.Lock(), "number": 3}

    def loop(self, lock: Any, number: int) -> Any:
        return lock

    def on_finish(self) -> str:
        return "fine"


async def test_what_cannot_be_told_is_left_out_at_a_gate() -> None:
    """Arguments and result."""
    async with Manager() as manager:
        handle = manager.add(Unsendable(), hold=True)
        async with OnStart(handle):
            pass
        async with BeforeLoop(handle) as before:
            assert before.kwargs == {"number": 3}
        async with AfterLoop(handle) as after:
            assert after.result is None
        async with OnFinish(handle):
            pass
        assert await handle == "fine"


async def test_only_what_has_phases_can_be_held() -> None:
    """A SpecError names node, field and kind; a gate's timeout is checked too."""
    async with Manager() as manager:
        for spec in (Command("true"), Concurrent(quick)):
            with pytest.raises(SpecError, match="hold is for what has phases: coroutine, process, thread"):
                manager.add(spec, hold=True)
        handle = manager.add(Process(quick), hold=True)
        with pytest.raises(SpecError, match="timeout must be >= 0"):
            OnStart(handle, timeout=-1)


async def test_added_node_can_be_replaced_and_started_again() -> None:
    """add() without hold: restart() starts it; a name that has not started gives way with replace=True."""
    async with Manager() as manager:
        first = manager.add(Process(quick), name="n")
        second = manager.add(Process(quick, loops=2), name="n", replace=True)
        assert first.exit is not None
        await second.restart()
        assert await second == 2
        await second.restart()
        assert (await second, second.incarnation) == (2, 2)


async def test_held_child_can_be_run_again() -> None:
    """restart() starts the next incarnation, which is held as the first was."""
    async with Manager() as manager:
        handle = manager.add(Process(quick, loops=2), hold=True)
        for incarnation in (1, 2):
            starting = asyncio.create_task(handle.restart())
            await asyncio.sleep(0)  # it has asked
            await handle.wait_for(incarnation=incarnation)
            async with OnStart(handle):
                assert handle.incarnation == incarnation
            await starting
            assert [before.number async for before in handle.steps()] == [1, 2]
            assert await handle == 2


async def test_killed_child_frees_its_gates() -> None:
    """Whoever waits for it hears of its end."""
    async with Manager() as manager:
        handle = manager.add(Process(quick, loops=2), hold=True)
        async with OnStart(handle):
            pass
        waiting = asyncio.create_task(OnFinish(handle).__aenter__())
        await anext(handle.steps())
        await handle.kill()
        with pytest.raises(StateError, match="is past on_finish"):
            await waiting
        with pytest.raises(ChildStopped):
            await handle
