"""What comes at a bad moment: errors beside errors, limits and stops between two phases, lines that change hands."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections import Counter
from typing import Any

import pytest

from asyncproc import (
    AfterLoop,
    BeforeLoop,
    Coroutine,
    Current,
    Manager,
    OnFinish,
    OnStart,
    Process,
    Setup,
    SpecError,
    Thread,
    current,
)
from asyncproc._spec.leaf import Body


class MuteError(Exception):
    """Its own text raises."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def failing() -> None:
    raise ValueError("first")


async def awaits() -> None:
    await current().send("up")
    await asyncio.sleep(1000)


# --- errors beside errors ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Process, Thread])
async def test_error_without_a_text_hides_none(kind: Any) -> None:
    """M13, S2.65: it is named by its class, and all that was entered is left."""
    mute = Setup()
    left: list[str] = []
    for name in "ab":

        def entered(child: Current, name: str = name) -> Any:
            try:
                yield None
            finally:
                left.append(name)
                raise MuteError

        mute.before_loop(entered)

    @mute.on_finish
    def finish(child: Current) -> None:
        raise MuteError

    async with Manager() as manager:
        with pytest.raises(ValueError, match="first") as caught:
            await manager.run(kind(failing, setup=mute))
    notes = "\n".join(caught.value.__notes__)
    assert "after_loop of loop 1: MuteError: <str() of" in notes
    assert "on_finish: MuteError: <str() of" in notes
    assert kind is Process or left == ["b", "a"]


async def test_exit_in_a_generator_does_not_hide_what_failed_before() -> None:
    """M13: neither does ``force_finish()``, which is no error."""
    exits, forces = Setup(), Setup()

    @exits.on_start
    def entered(child: Current) -> Any:
        yield None
        raise SystemExit(0)

    def fail(child: Current) -> None:
        raise ValueError("in on_finish")

    exits.on_finish(fail)
    forces.on_finish(lambda child: child.force_finish())
    forces.on_finish(fail)
    async with Manager() as manager:
        for setup in (exits, forces):
            with pytest.raises(ValueError, match="in on_finish"):
                await manager.run(Process(time.monotonic, setup=setup))


async def test_attempts_of_another_loop_are_not_told() -> None:
    """S2.78: a loop that had been repeated, and then went well, is no part of a later error."""

    def body() -> None:
        found = current()
        found.vars.tries = getattr(found.vars, "tries", 0) + 1
        if found.vars.tries == 1:
            raise ValueError("of loop 1")
        if found.current_loop == 2:
            raise KeyError("of loop 2")

    async with Manager() as manager:
        with pytest.raises(KeyError) as caught:
            await manager.run(Thread(body, loops=2, retries=1))
    assert not any("of loop 1" in note for note in caught.value.__notes__)


async def test_of_two_failing_threads_both_are_told() -> None:
    """S2.6: the first is raised, and bears the other."""

    def body() -> None:
        together = threading.Barrier(2)

        def fail(name: str) -> None:
            together.wait()
            raise LookupError(name)

        threads = [current().background(fail, name) for name in "ab"]
        for thread in threads:
            thread.join()

    async with Manager() as manager:
        with pytest.raises(LookupError) as caught:
            await manager.run(Thread(body))
    assert f"then: LookupError: {'b' if str(caught.value) == 'a' else 'a'}" in caught.value.__notes__


def test_class_form_is_refused_a_generator_that_would_never_run() -> None:
    """As a setup is: AfterLoop and OnFinish have no later exit."""

    class Yields(Thread[None]):
        def loop(self) -> None: ...

        def after_loop(self, result: Any) -> Any:
            yield None

        def on_finish(self) -> Any:
            yield None

    with pytest.raises(SpecError) as caught:
        Yields()
    assert [fault[1] for fault in caught.value.faults] == ["after_loop", "on_finish"]


# --- threads in the background ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["no loop", "on_start fails"])
async def test_background_thread_ends_with_a_child_that_never_looped(how: str) -> None:
    """S2.6: it has no further pass, and nobody waits for it in vain."""
    threads: list[threading.Thread] = []
    ticking = Setup()

    @ticking.on_start
    def start(child: Current) -> None:
        ticks = threading.Event()
        threads.append(child.background(ticks.set, loops=None))
        ticks.wait()
        if how == "on_start fails":
            raise ValueError(how)

    async with Manager() as manager:
        handle = manager.add(Thread(time.monotonic, setup=ticking, loops=0))
        began = time.monotonic()
        await asyncio.gather(handle.restart(), return_exceptions=True)
        await handle.wait()
        assert time.monotonic() - began < 4
    threads[0].join(5)
    assert not threads[0].is_alive()


async def test_stop_while_a_thread_is_waited_for_hides_nothing() -> None:
    """M13: how the child ended was settled before its last passes are waited for."""
    slow = Setup()

    @slow.on_start
    def start(child: Current) -> None:
        began = threading.Event()

        def one_pass() -> None:
            began.set()
            time.sleep(1000)

        child.background(one_pass, loops=None)
        began.wait()

    @slow.on_finish
    def finish(child: Current) -> None:
        child.sync.send("ends")

    async with Manager() as manager:
        handle = await manager.start(Process(failing, setup=slow, grace=0.4))
        assert await handle.receive() == "ends"
        exit = await handle.stop()
        assert isinstance(exit.error, ValueError)
        assert not exit.killed


# --- limits ---------------------------------------------------------------------------------------------------------------


@pytest.mark.both_loops
async def test_limit_of_a_phase_that_became_async_is_its_own() -> None:
    """S2.77: plain code of a thread gives something to await: the limit goes on there, and ends with its phase."""
    quick, slow = Setup(), Setup()
    quick.on_start(lambda child: asyncio.sleep(0))
    slow.on_start(lambda child: asyncio.sleep(1000))
    async with Manager() as manager:
        limits = {"on_start": 0.1}
        assert await manager.run(Thread(lambda: asyncio.sleep(0.3, "late"), setup=quick, timeouts=limits)) == "late"
        with pytest.raises(Exception, match=r"on_start took more than 0.1 s"):
            await manager.run(Thread(time.monotonic, setup=slow, timeouts=limits))


async def test_limits_that_are_kept_leave_no_timers() -> None:
    """S2.77: a thread that arms a long one a thousand times costs its manager one."""

    def timers() -> int:
        return sum(type(found).__name__ == "TimerHandle" for found in gc.get_objects())

    async with Manager() as manager:
        before = timers()
        assert await manager.run(Thread(time.monotonic, loops=1000, timeouts={"loop": 60.0}))
        assert timers() < before + 100


@pytest.mark.both_loops
@pytest.mark.parametrize("awaits", [False, True])
@pytest.mark.parametrize("kind", [Process, Thread, Coroutine])
async def test_what_was_entered_is_left_whenever_a_limit_passes(kind: Any, awaits: bool) -> None:
    """S2.77, S2.78: it passes at every point of a loop, its generators' exits among them."""
    if kind is Coroutine and not awaits:
        return

    tight = Setup()

    @tight.on_start
    def start(child: Current) -> None:
        child.vars.seen = Counter()

    def enter(child: Current) -> Any:
        seen = child.vars.seen
        seen["in"] += 1
        try:
            yield None
        finally:
            seen["out"] += 1

    async def enter_async(child: Current) -> Any:
        seen = child.vars.seen
        seen["in"] += 1
        try:
            yield None
        finally:
            seen["out"] += 1

    tight.before_loop(enter_async if awaits else enter)

    @tight.on_finish
    def finish(child: Current) -> tuple[dict[str, int], BaseException | None]:
        return dict(child.vars.seen), child.error

    def spin() -> None:
        end = time.perf_counter() + (current().vars.seen["in"] % 10) * 2e-5
        while time.perf_counter() < end:
            pass

    async def spin_async() -> None:
        end = time.perf_counter() + (current().vars.seen["in"] % 10) * 2e-5
        while time.perf_counter() < end:
            await nothing()

    limits = {"before_loop": 0.0001, "loop": 0.0001, "after_loop": 0.0001}
    spec = kind(spin_async if awaits else spin, setup=tight, loops=100, retries=100_000, timeouts=limits)
    async with Manager() as manager:
        seen, error = await manager.run(spec)
    assert error is None
    assert seen["in"] == seen["out"] >= 100


async def nothing() -> None:
    await asyncio.sleep(0)


class Destroys:
    """Takes so long to be destroyed that what interrupts comes there, where Python swallows it."""

    def __del__(self) -> None:
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            pass


def destroys() -> None:
    Destroys()
    current().sync.send("destroyed")
    time.sleep(1000)


async def test_interruption_that_a_destructor_swallows_comes_again() -> None:
    """S2.77: ``__del__`` and callbacks of weak references cannot let it through."""
    async with Manager() as manager:
        with pytest.raises(Exception, match=r"loop of loop 1 took more than 0.1 s"):
            await manager.run(Process(destroys, timeouts={"loop": 0.1}))


# --- stops ------------------------------------------------------------------------------------------------------------------


@pytest.mark.both_loops
@pytest.mark.parametrize("kind", [Process, Thread, Coroutine])
async def test_on_finish_after_a_cancellation_is_a_task_like_any(kind: Any) -> None:
    """M14: nothing of the cancellation is left: limits and task groups of the user's work."""
    tidy = Setup()

    @tidy.on_finish
    async def finish(child: Current) -> None:
        task = asyncio.current_task()
        assert task is not None
        cancelling = task.cancelling()
        try:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(1000)
        except TimeoutError:
            await child.send(("limited", cancelling))

    async with Manager() as manager:
        handle = await manager.start(kind(awaits, setup=tidy))
        assert await handle.receive() == "up"
        await handle.stop()
        assert await handle.receive() == ("limited", 0)


@pytest.mark.both_loops
@pytest.mark.parametrize("kind", [Thread, Coroutine])
async def test_looping_code_that_awaits_for_ever_is_cut_when_it_is_given_up(kind: Any) -> None:
    """M14: its clean-up runs; no task is left behind."""
    cleaned = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def body() -> None:
        try:
            await current().send("up")
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:  # deaf to the first, in time before the end
                await asyncio.sleep(1000)
        finally:
            loop.call_soon_threadsafe(cleaned.set)

    async with Manager() as manager:
        handle = await manager.start(kind(body, loops=None, grace=0.8))  # the two cancellations must not meet
        assert await handle.receive() == "up"
        exit = await handle.stop()
        assert exit.killed
        async with asyncio.timeout(10):
            await cleaned.wait()


# --- lines --------------------------------------------------------------------------------------------------------------------


async def test_value_that_comes_while_a_plain_child_is_held_is_kept() -> None:
    """M19: the gate and the child's code read from one line."""
    async with Manager() as manager:
        handle = manager.add(Process(takes_one), hold=True)
        for gate in (OnStart, BeforeLoop):
            async with gate(handle):
                await handle.send(gate.__name__)
        async with AfterLoop(handle) as after:
            assert after.result == ["OnStart", "BeforeLoop"]
        async with OnFinish(handle):
            pass


def takes_one() -> list[Any]:
    return [current().sync.receive(timeout=10) for _ in range(2)]


async def send_and_receive() -> Any:
    found = current()
    await found.send("up")
    return await found.receive()


@pytest.mark.parametrize("spec", [Process(lambda: send_and_receive(), loops=3), Thread(lambda: send_and_receive(), loops=3)])
async def test_plain_target_that_gives_an_awaitable_has_its_line(spec: Body[Any]) -> None:
    """M34: what began as plain code goes on on a loop, and hears what is sent to it."""
    async with Manager() as manager:
        handle = await manager.start(spec)
        for number in range(3):
            assert await handle.receive() == "up"
            await handle.send(number)
        assert await handle == 2
        assert handle.exit is not None


async def test_stop_cancels_what_began_as_plain_code() -> None:
    """M14: at its await."""
    async with Manager() as manager:
        handle = await manager.start(Process(lambda: awaits(), grace=None))
        assert await handle.receive() == "up"
        exit = await handle.stop()
        assert isinstance(exit.error, asyncio.CancelledError)


def gives_up_waiting() -> str:
    async def waits() -> str:
        try:
            async with asyncio.timeout(0.01):
                await current().receive()
        except TimeoutError:
            return "given up"
        return "received"

    return asyncio.run(waits())


async def test_wait_on_a_loop_of_the_users_own_can_be_given_up() -> None:
    """No thread is left that waits, and holds up the end of that loop."""
    async with Manager() as manager:
        async with asyncio.timeout(20):
            assert await manager.run(Process(gives_up_waiting)) == "given up"
