"""How a life is ended: by itself, by a stop between two loops, by its limits, by its time, by a thread in its background."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from asyncproc import (
    ChildCrashed,
    ChildStopped,
    ChildTimeout,
    Coroutine,
    Manager,
    PhaseTimeout,
    Process,
    Reason,
    SpecError,
    StartFailed,
    Thread,
    current,
)
from tests.lifecycle.targets import (
    ENDLESS,
    Decides,
    Listens,
    Slow,
    SlowLoop,
    Stuck,
    Ticks,
    block_for_ever,
    never_ready,
    quick,
    ready_when_told,
    spin_for_ever,
    wait_for_ever,
    with_endless_thread,
    with_failing_thread,
    with_failing_thread_async,
)


def kind(cls: Any) -> str:
    return str(cls.__name__)


# --- by itself --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "phase", "seen", "result"),
    [
        ("rejoin", "on_start", ["on_start", "went on", "on_finish"], None),
        ("rejoin", "before_loop", ["before_loop", "went on", "loop", "after_loop", "on_finish"], 2),
        ("rejoin", "loop", ["before_loop", "loop", "went on", "after_loop", "on_finish"], 2),
        ("rejoin", "after_loop", ["before_loop", "loop", "after_loop", "went on", "on_finish"], 2),
        ("rejoin", "on_finish", ["before_loop", "loop", "after_loop", "on_finish"], 5),
        ("force_finish", "on_start", ["on_start", "on_finish"], None),
        ("force_finish", "before_loop", ["before_loop", "on_finish"], 1),
        ("force_finish", "loop", ["before_loop", "loop", "on_finish"], 1),
        ("force_finish", "after_loop", ["before_loop", "loop", "after_loop", "on_finish"], 2),
        ("force_finish", "on_finish", ["before_loop", "loop", "after_loop", "on_finish"], 5),
    ],
)
async def test_child_ends_itself(how: str, phase: str, seen: list[str], result: Any) -> None:
    """M16, S2.24, S2.25, S2.61: it has finished well, with the result of its last completed loop."""
    async with Manager() as manager:
        handle = await manager.start(Decides(how, phase))
        assert (await handle.receive())[-len(seen) :] == seen
        assert await handle == result
        assert handle.exit is not None
        assert handle.exit.reason is Reason.FINISHED


# --- by a stop --------------------------------------------------------------------------------------------------------


@pytest.mark.both_loops
@pytest.mark.parametrize("cls", ENDLESS, ids=kind)
@pytest.mark.parametrize("how", ["stop", "rejoin", "stop for ever"])
async def test_stop_ends_a_looping_child_between_two_loops(cls: Any, how: str) -> None:
    """M14, S2.5, S2.36, S2.40: OnFinish has no error, its result is the last loop's; nothing was cut off."""
    async with Manager() as manager:
        handle = await manager.start(cls())
        assert await handle.receive() == "up"
        if how == "rejoin":
            handle.rejoin()
            exit = await handle.wait()
        else:
            exit = await handle.stop(*([None] if how == "stop for ever" else []))
        assert (exit.reason, exit.ok, exit.killed) == (Reason.STOPPED, True, False)
        assert await handle == "None True"
        report = await handle.loop_report()
        assert report.count >= 1


@pytest.mark.slow
async def test_stop_lets_a_long_plain_loop_complete() -> None:
    """Longer than the half second after which a child that hears nothing gets a signal: a looping one hears."""
    async with Manager() as manager:
        handle = await manager.start(SlowLoop())
        assert await handle.receive() == "up"
        exit = await handle.stop()
        assert (exit.ok, exit.error) == (True, None)
        assert await handle == 1


async def test_loop_that_never_ends_is_cut_and_cleans_up() -> None:
    """The ladder: TERM raises Stopping in the loop, OnFinish runs with it."""
    async with Manager() as manager:
        handle = await manager.start(Stuck(grace=0.4))
        assert await handle.receive() == "up"
        exit = await handle.stop()
        assert await handle.receive() == "Stopping"
        assert (exit.reason, exit.killed, type(exit.error).__name__) == (Reason.STOPPED, False, "Stopping")
        with pytest.raises(ChildStopped):
            await handle


async def test_looping_coroutine_is_cut_in_time_to_clean_up() -> None:
    """Before its grace is over: OnFinish runs, and it is not given up."""

    class Waits(Coroutine[str], loops=None, grace=0.4):
        async def loop(self) -> None:
            await self.send("up")
            await asyncio.sleep(1000)

        async def on_finish(self) -> None:
            await asyncio.sleep(0)
            await self.send(type(current().error).__name__)

    async with Manager() as manager:
        handle = await manager.start(Waits())
        assert await handle.receive() == "up"
        exit = await handle.stop()
        assert await handle.receive() == "CancelledError"
        assert (exit.killed, type(exit.error).__name__) == (False, "CancelledError")


async def test_stop_during_on_start_of_a_looping_child() -> None:
    """M15: as for one loop; start raises ChildStopped."""

    class Starts(Process[None], loops=None, grace=0.4):
        async def on_start(self) -> None:
            await self.send("starting")
            await asyncio.sleep(1000)

        async def loop(self) -> None: ...

    async with Manager() as manager:
        events = manager.events()
        starting = asyncio.ensure_future(manager.start(Starts(name="s")))
        await anext(events)
        handle = manager.find("s")
        assert await handle.receive() == "starting"
        await handle.stop()
        with pytest.raises(ChildStopped):
            await starting


async def test_child_that_was_asked_to_end_and_tells_no_outcome_has_not_ended_well() -> None:
    """Nothing is lost without a named error."""

    class Vanishes(Process[int], loops=None):
        def loop(self) -> int:
            self.sync.send("up")
            return 1

        def on_finish(self) -> None:
            os._exit(0)

    async with Manager() as manager:
        handle = await manager.start(Vanishes())
        assert await handle.receive() == "up"
        exit = await handle.stop()
        assert not exit.ok
        with pytest.raises(ChildCrashed, match="ended with code 0 and told no outcome"):
            await handle


async def test_failure_after_it_was_asked_to_end_is_its_own() -> None:
    """M1: nobody cut it off, so its exception comes out as it is."""

    class Fails(Thread[None], loops=None):
        def loop(self) -> None:
            self.sync.send("up")
            self.sync.wait_stopping()
            raise KeyError("mine")

    async with Manager() as manager:
        handle = await manager.start(Fails())
        assert await handle.receive() == "up"
        handle.rejoin()
        with pytest.raises(KeyError, match="mine"):
            await handle
        assert handle.exit is not None
        assert handle.exit.reason is Reason.STOPPED


# --- by its time --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", ENDLESS, ids=kind)
async def test_join_in_ends_it_well(cls: Any) -> None:
    """S2.9, M17, B2.18: after its present loop, as if it had decided so itself."""
    async with Manager() as manager:
        handle = await manager.start(cls(join_in=0.4))  # a fresh interpreter needs a tenth of it
        assert await handle == "None True"
        assert handle.exit is not None
        assert (handle.exit.reason, handle.exit.asked_by) == (Reason.FINISHED, None)


async def test_join_in_while_blocked_goes_down_the_ladder() -> None:
    """M17: its grace later, and it has run out of time."""
    async with Manager() as manager:
        handle = await manager.start(Stuck(join_in=0.6, grace=0.2))
        with pytest.raises(ChildTimeout):
            await handle
        assert handle.exit is not None
        assert handle.exit.reason is Reason.TIMED_OUT


# --- by the limits of its phases ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["on_start", "before_loop", "loop", "after_loop", "on_finish"])
async def test_phase_past_its_limit_is_interrupted(phase: str) -> None:
    """S2.77, B2.2: fractions of a second count; the error names node, phase, loop and limit."""
    async with Manager() as manager:
        handle = manager.add(Slow(phase, timeouts={phase: 0.05}, name="n"))
        if phase == "on_start":
            with pytest.raises(StartFailed):
                await handle.restart()
        else:
            await handle.restart()
        with pytest.raises(PhaseTimeout, match=rf"node app/n: {phase}( of loop 1)? took more than 0.05 s") as caught:
            await handle
        assert caught.value.phase == phase
        assert handle.exit is not None
        assert handle.exit.phase == phase
        assert handle.exit.duration < 5


@pytest.mark.both_loops
@pytest.mark.parametrize(
    "spec",
    [
        Process(wait_for_ever, timeouts={"loop": 0.05}, name="n"),
        Process(block_for_ever, timeouts={"loop": 0.05}, name="n"),
        Process(spin_for_ever, timeouts={"loop": 0.05}, name="n"),
        Thread(wait_for_ever, timeouts={"loop": 0.05}, name="n"),
        Thread(spin_for_ever, timeouts={"loop": 0.05}, name="n"),
        Coroutine(wait_for_ever, timeouts={"loop": 0.05}, name="n"),
    ],
    ids=["awaits", "blocks its loop", "spins", "thread awaits", "thread spins", "coroutine"],
)
async def test_limit_reaches_every_kind_of_code(spec: Any) -> None:
    """What waits, what blocks and what computes."""
    async with Manager() as manager:
        with pytest.raises(PhaseTimeout, match=r"node app/n: loop of loop 1 took more than 0.05 s"):
            await manager.run(spec)


@pytest.mark.parametrize("cls", [Process, Thread])
async def test_limit_that_is_kept_harms_nothing(cls: Any) -> None:
    """Armed and ended a thousand times."""
    async with Manager() as manager:
        assert await manager.run(cls(quick, loops=1000, timeouts={"loop": 5.0})) == 1000


async def test_timeout_is_retried_as_any_failure() -> None:
    """S2.78: a limit uses up one retry."""

    class Second(Process[str]):
        def loop(self) -> str:
            found = current()
            found.vars.tries = getattr(found.vars, "tries", 0) + 1
            if found.vars.tries == 1:
                spin_for_ever()
            return f"try {found.vars.tries}"

    async with Manager() as manager:
        assert await manager.run(Second(timeouts={"loop": 0.1}, retries=1)) == "try 2"


# --- by a thread in its background ----------------------------------------------------------------------------------------


@pytest.mark.both_loops
@pytest.mark.parametrize("target", [with_failing_thread, with_failing_thread_async])
async def test_failure_of_a_background_thread_is_the_childs(target: Any) -> None:
    """S2.6: it interrupts what the child does; a note names the thread."""
    async with Manager() as manager:
        with pytest.raises(LookupError, match="in the background") as caught:
            await manager.run(Process(target))
        assert "in background thread bus" in caught.value.__notes__


async def test_stop_is_heard_in_a_long_loop_that_has_received() -> None:
    """Who waits for a value is the only one to be woken by it; afterwards its listening thread hears again."""
    async with Manager() as manager:
        handle = await manager.start(Listens())
        await handle.send(7)
        exit = await handle.stop()
        assert exit.reason is Reason.STOPPED and exit.error is None
        assert await handle == 7


async def test_looping_background_thread_ends_with_its_child() -> None:
    """Its last pass is waited for; while OnFinish runs it may still be there."""
    async with Manager() as manager:
        alive, name, daemon = await manager.run(Ticks())
        assert (name, daemon) == ("tick", True)
        assert alive in (True, False)


async def test_background_thread_that_never_ends_does_not_hold_up_the_child() -> None:
    """It is a daemon."""
    async with Manager() as manager:
        assert await manager.run(Process(with_endless_thread)) == "done"


async def test_background_in_a_thread_and_a_coroutine() -> None:
    """current() is theirs as well; a failure ends what can be ended."""

    async def awaits() -> None:
        current().background(fails)
        await asyncio.sleep(1000)

    def fails() -> None:
        raise LookupError(current().name)

    def plain() -> str:
        current().background(fails).join()
        return "the loop that ran"

    async with Manager() as manager:
        with pytest.raises(LookupError, match="c"):
            await manager.run(Coroutine(awaits, name="c"))
        with pytest.raises(LookupError, match="t"):
            await manager.run(Thread(plain, name="t"))


async def test_background_refuses_nonsense() -> None:
    """By field and value, in the child."""

    def wrong(what: str) -> None:
        if what == "target":
            current().background(3)  # type: ignore[arg-type]
        current().background(quick, loops=-1)

    async with Manager() as manager:
        for what, value in (("target", "3"), ("loops", "-1")):
            with pytest.raises(SpecError, match=f"background {what} must be .*, got {value}"):
                await manager.run(Thread(wrong, what))


# --- ready --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [Process, Thread])
async def test_child_says_itself_that_it_is_ready(cls: Any) -> None:
    """D2.7: with ready="call", start returns then, and not before."""
    async with Manager() as manager:
        handle = manager.add(cls(ready_when_told, ready="call"))
        starting = asyncio.ensure_future(handle.restart())
        await handle.wait_for(incarnation=1)
        await handle.send("be ready")
        await starting
        assert handle.ready
        await handle.send("end")
        assert await handle == "end"


async def test_child_that_ends_before_it_was_ready_has_failed_to_start() -> None:
    """M11: however well it ended."""
    async with Manager() as manager:
        with pytest.raises(StartFailed, match="never called ready"):
            await manager.start(Process(never_ready, ready="call"))
        assert await manager.run(Process(never_ready, ready="call")) == 3
