"""Watching: each change once, the latest for who is slow."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from asyncproc import Coroutine, Manager, Process, Thread
from asyncproc._spec.leaf import Body

from . import targets
from .targets import Shared


@pytest.mark.both_loops
@pytest.mark.parametrize(
    "spec", [Process(targets.watch_counter, 3), Thread(targets.watch_counter, 3), Coroutine(targets.watch_counter, 3)]
)
async def test_child_sees_each_change(spec: Body[Any]) -> None:
    """Of the field that it watches, and of no other; the last one for sure."""
    async with Manager(namespace=Shared()) as manager:
        child = await manager.start(spec)
        assert await child.receive() == "watching"
        await manager.namespace.set(label="of no interest")
        seen = asyncio.ensure_future(child)
        number = 0
        while not seen.done():
            await manager.namespace.set(counter=(number := number + 1))
            await asyncio.wait([seen], timeout=0.01)
        found = await seen
        assert found == sorted(set(found)) and len(found) == 3 and found[-1] <= number


async def test_slow_reader_gets_the_latest_once() -> None:
    """Three changes meanwhile are one; then nothing until the next."""
    namespace = Manager(namespace=Shared()).namespace
    changes = namespace.watch()
    for _ in range(3):
        await namespace.add("counter")
    assert (await anext(changes)).counter == 3
    following = asyncio.ensure_future(anext(changes))  # type: ignore[arg-type]  # an awaitable is all it needs
    await asyncio.sleep(0)
    assert not following.done()
    async with namespace.transaction():
        pass  # nothing is changed
    assert not following.done()
    await namespace.set(label="x")
    assert (await following).label == "x"


async def test_fields_that_come_and_go() -> None:
    """Of a mapping; also when a field is back before anybody has looked."""
    namespace: Any = Manager(namespace={"a": 1, "b": 1}).namespace
    changes = namespace.watch("a", "c")
    async with namespace.transaction() as state:
        del state.a
    assert not hasattr(await anext(changes), "a")
    await namespace.set(c=1)
    assert (await anext(changes)).c == 1
    async with namespace.transaction() as state:
        del state.c
    await namespace.set(c=1)
    assert (await anext(changes)).c == 1
    await namespace.set(b=2)
    following = asyncio.ensure_future(anext(changes))
    await asyncio.sleep(0)
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following


async def test_watch_of_the_owner_ends_with_the_manager() -> None:
    """And can be begun again."""
    manager = Manager(namespace=Shared())
    seen: list[int] = []

    async def watch() -> None:
        seen.extend([state.counter async for state in manager.namespace.watch("counter")])

    async with manager:
        watching = asyncio.create_task(watch())
        await asyncio.sleep(0)
        await manager.run(Process(targets.append, 1))
        await manager.run(Process(targets.add_blocking))
    await watching
    assert seen == [1]


async def test_watcher_that_dies_is_forgotten() -> None:
    """Nothing is kept for it."""
    async with Manager(namespace=Shared()) as manager:
        child = await manager.start(Process(targets.watch_counter, 3))
        assert await child.receive() == "watching"
        await manager.namespace.add("counter")
        await child.kill()
        await manager.namespace.add("counter")
        assert manager._state is not None and not manager._state._watching
