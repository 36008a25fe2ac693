"""The lock of a transaction: whoever holds it, waits for it, gives it up or dies with it."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from asyncproc import ChildCrashed, ChildStopped, Coroutine, Handle, Manager, Process, SpecError, StateError, Thread, TimedOut
from asyncproc._spec.leaf import Body

from . import targets
from .targets import Shared


def manager_of(**fields: Any) -> Manager[Shared]:
    return Manager(namespace=Shared(**fields))


async def inside(manager: Manager[Any], spec: Body[Any]) -> Handle[Any]:
    """Start a child that holds the lock, and return when it does."""
    handle = await manager.start(spec)
    assert await handle.receive() == "inside"
    return handle


HOLDERS = [Process(targets.hold), Process(targets.hold_async), Thread(targets.hold), Thread(targets.hold_async)]


@pytest.mark.both_loops
@pytest.mark.parametrize("spec", [*HOLDERS, Coroutine(targets.hold_async)])
async def test_nothing_is_seen_before_the_end(spec: Body[Any]) -> None:
    """And all of it after; a change by anybody else waits for it."""
    async with manager_of(counter=1) as manager:
        holder = await inside(manager, spec)
        adding = asyncio.create_task(manager.namespace.add("counter"))
        with pytest.raises(TimedOut):
            async with manager.namespace.transaction(timeout=0):
                pass
        assert manager.namespace.view == Shared(1) and not adding.done()
        await holder.send("go on")
        assert await adding == 100
        assert manager.namespace.view == Shared(100, [99])
        await holder


@pytest.mark.parametrize("spec", [Process(targets.hold), Process(targets.hold_async)])
async def test_killed_holder_leaves_nothing_and_frees_the_lock(spec: Body[Any]) -> None:
    """A real SIGKILL in the middle; the waiters go on in their order."""
    async with manager_of(counter=1) as manager:
        holder = await inside(manager, spec)
        waiters = [
            await manager.start(Process(targets.wait_for_turn)),
            await manager.start(Process(targets.wait_for_turn_blocking)),
        ]
        for waiter in waiters:
            assert await waiter.receive() == "wants"
        adding = asyncio.create_task(manager.namespace.add("counter", 10))
        await holder.kill()
        for waiter in waiters:
            await waiter
        await adding
        assert manager.namespace.view == Shared(13)


async def test_child_that_kills_itself_inside() -> None:
    """As above, without anybody's asking."""
    async with manager_of() as manager:
        with pytest.raises(ChildCrashed):
            await manager.run(Process(targets.die_inside))
        async with manager.namespace.transaction(timeout=5.0) as state:
            assert state == Shared()


async def test_waiter_that_is_killed_is_passed_over() -> None:
    """Its turn never comes."""
    async with manager_of(counter=1) as manager:
        holder = await inside(manager, Process(targets.hold))
        waiter = await manager.start(Process(targets.wait_for_turn_blocking))
        assert await waiter.receive() == "wants"
        await waiter.kill()
        await holder.send("go on")
        await holder
        assert await manager.namespace.add("counter") == 100


@pytest.mark.parametrize(
    "spec",
    [
        Process(targets.wait_for_turn),
        Process(targets.wait_for_turn_blocking),
        Thread(targets.wait_for_turn),
        Coroutine(targets.wait_for_turn),
    ],
)
async def test_waiter_that_is_stopped_gives_up(spec: Body[Any]) -> None:
    """The stop reaches it while it waits; its turn is nobody's burden."""
    async with manager_of(counter=1) as manager:
        async with manager.namespace.transaction() as state:
            waiter = await manager.start(spec)
            assert await waiter.receive() == "wants"
            exit = await waiter.stop(grace=5.0)
            assert not exit.killed
            state.counter = 2
        with pytest.raises(ChildStopped):
            await waiter
        assert await manager.namespace.add("counter") == 3


@pytest.mark.parametrize("spec", [*HOLDERS[:2], HOLDERS[3], Coroutine(targets.hold_async)])
async def test_holder_that_is_stopped_leaves_nothing(spec: Body[Any]) -> None:
    """What is raised by the stop is an exception like any other."""
    async with manager_of(counter=1) as manager:
        holder = await inside(manager, spec)
        await holder.stop(grace=5.0)
        assert manager.namespace.view == Shared(1)
        assert await manager.namespace.add("counter") == 2


async def test_thread_that_is_given_up_loses_the_lock() -> None:
    """What it does later is refused, and nobody waits for it."""
    async with manager_of(counter=1) as manager:
        holder = await inside(manager, Thread(targets.hold))
        thread: Any = holder._place.child  # which no handle reaches any more when it is given up
        exit = await holder.stop(grace=0)
        assert exit.killed
        assert await manager.namespace.add("counter") == 2
        thread.send_value("go on")
        with ThreadPoolExecutor(1) as pool:
            await asyncio.get_running_loop().run_in_executor(pool, thread._thread.join)
        assert manager.namespace.view == Shared(2)


# --- timeouts ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [0, 0.02])
@pytest.mark.parametrize("kind", [Process, Thread])
@pytest.mark.parametrize("target", [targets.time_out, targets.time_out_async])
async def test_timeout_is_timed_out(kind: Any, target: Any, timeout: float) -> None:
    """M38: TimedOut, which is a TimeoutError; the same call goes through when the lock is free, also with 0."""
    async with manager_of() as manager:
        async with manager.namespace.transaction():
            assert await manager.run(kind(target, timeout)) == "namespace: True"
        assert await manager.run(kind(target, timeout or 5)) == "in"


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Process, Thread])
@pytest.mark.parametrize("target", [targets.cross, targets.cross_async])
async def test_timeouts_that_cross_the_grant_leave_no_lock(kind: Any, target: Any) -> None:
    """Many waits that end just when their turn comes: each is had or not, and counted once, and the lock is free at the end."""
    async with manager_of() as manager:
        children = [await manager.start(kind(target, 200, 0.0007 * n)) for n in range(1, 5)]
        found = [await child for child in children]
        assert manager.namespace.view.counter == sum(had for had, _ in found)
        async with manager.namespace.transaction(timeout=5.0):
            pass


async def test_cancelled_waiter_of_the_owner_gives_up() -> None:
    """Before its turn, and in the moment in which it comes."""
    async with manager_of() as manager:
        namespace = manager.namespace

        async def wait() -> None:
            async with namespace.transaction():
                await asyncio.Event().wait()

        async with namespace.transaction():
            waiting = asyncio.create_task(wait())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
        async with namespace.transaction():
            waiting = asyncio.create_task(wait())
            await asyncio.sleep(0)
        waiting.cancel()  # granted, and not yet told
        await asyncio.wait([waiting])
        async with namespace.transaction(timeout=0):
            pass


@pytest.mark.parametrize("timeout", [-1, "3", True])
def test_bad_timeout_is_refused(timeout: Any) -> None:
    """At the call."""
    with pytest.raises(SpecError, match="timeout must be seconds >= 0"):
        manager_of().namespace.transaction(timeout=timeout)


# --- in each other's way ----------------------------------------------------------------------------------------------------


async def test_transaction_in_a_transaction_is_refused() -> None:
    """Where one would wait for itself; another task of the same child just waits."""
    async with manager_of() as manager:
        found = await manager.run(Process(targets.nest))
        assert len(found) == 3 and all("is open here already" in text for text in found)
        async with manager.namespace.transaction():
            for call in (manager.namespace.set(counter=1), manager.namespace.add("counter")):
                with pytest.raises(StateError, match="is open here already"):
                    await call
            other = asyncio.create_task(manager.namespace.add("counter"))
        assert await other == 1


async def test_transaction_cannot_be_entered_twice() -> None:
    """At once, that is; afterwards it can."""
    namespace = manager_of().namespace
    transaction = namespace.transaction()
    async with transaction as state:
        state.counter += 1
        with pytest.raises(StateError, match="entered already"):
            await transaction.__aenter__()
    async with transaction as state:
        state.counter += 1
    assert namespace.view.counter == 2


async def test_blocking_face_on_a_loop_is_refused() -> None:
    """In an async child, in a coroutine, and in the owner."""
    async with manager_of() as manager:
        for spec in (Process(targets.sync_on_a_loop), Thread(targets.sync_on_a_loop), Coroutine(targets.sync_on_a_loop)):
            found = await manager.run(spec)
            assert len(found) == 3 and all("runs an event loop" in text for text in found)
        with pytest.raises(StateError, match="runs an event loop"):
            manager.namespace.sync.set(counter=1)


@pytest.mark.parametrize("spec", [Process(targets.clean_up_in_namespace), Process(targets.clean_up_in_namespace_async)])
async def test_what_is_written_while_ending_counts(spec: Body[Any]) -> None:
    """A stop that was heard does not cut the transactions that clean-up makes."""
    async with manager_of() as manager:
        handle = await manager.start(spec)
        assert await handle.receive() == "waits"
        exit = await handle.stop(grace=10.0)
        assert not exit.killed and manager.namespace.view.label == "cleaned up"
