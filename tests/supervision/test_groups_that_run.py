"""Supervisors as a user holds them, with real coroutines: what is started, scaled and restarted while other things go on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from asyncproc import (
    Backoff,
    Concurrent,
    Coroutine,
    Group,
    Manager,
    RestartLimitReached,
    StartFailed,
    State,
    StateError,
    Supervisor,
    UnknownNode,
)

AT_ONCE = Backoff(0.0)


async def forever() -> None:
    await asyncio.Event().wait()


async def boom() -> None:
    raise ValueError("boom")


async def slow_to_end() -> None:
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0.1)


async def falls_when(event: asyncio.Event) -> None:
    await event.wait()
    event.clear()
    raise ValueError("fallen")


def group(manager: Manager[Any], path: str = "app") -> Group:
    found = manager.find(path)
    assert isinstance(found, Group)
    return found


def states(manager: Manager[Any]) -> dict[str, str]:
    return {node.name: node.state.value for node in manager.nodes("app/*")}


async def test_nothing_starts_in_a_manager_that_is_being_closed() -> None:
    """Whoever asks is told; the close has its end."""
    manager = await Manager(Supervisor(Coroutine(slow_to_end, name="s"))).aopen()
    top, member = group(manager), manager.find("app/s")
    closing = asyncio.create_task(manager.aclose())
    await member.wait_for(state=State.STOPPING)
    for call in (manager.start(forever), top.restart(), member.restart(), top.start(forever), top.scale("s", 2)):
        with pytest.raises(StateError, match=r"is being closed|is stopping"):
            await call
    with pytest.raises(StateError, match="is being closed"):
        manager.add(forever)
    await closing
    assert top.state is State.ENDED


async def test_stop_returns_though_somebody_starts_the_tree_again() -> None:
    """What was there has ended; what came since is not its business."""
    async with Manager(Supervisor(Coroutine(slow_to_end, name="s"))) as manager:
        top, member = group(manager), manager.find("app/s")
        stopping = asyncio.create_task(manager.stop())
        await member.wait_for(state=State.STOPPING)
        await top.restart()
        assert (await stopping).ended == ("app/s",)
        assert (top.state, member.state, member.incarnation) == (State.RUNNING, State.RUNNING, 2)


async def test_start_below_a_supervisor_that_is_being_started_again_waits_for_it() -> None:
    """It becomes a member, and is one: with the next restart it comes back."""
    fall = asyncio.Event()
    inner = Supervisor(Coroutine(falls_when, fall, name="a", backoff=AT_ONCE), name="inner", intensity=0)
    async with Manager(Supervisor(inner, backoff=Backoff(0.1, jitter=None))) as manager:
        nested = group(manager, "app/inner")
        fall.set()
        await nested.wait_for(state=State.BACKOFF)
        joined = await nested.start(Coroutine(forever, name="x"))
        assert (nested.state, nested.incarnation, joined.state) == (State.RUNNING, 2, State.RUNNING)
        fall.set()
        await nested.wait_for(incarnation=3)
        await joined.wait_for(state=State.RUNNING, incarnation=2)


async def test_start_below_a_supervisor_that_does_not_run_is_refused() -> None:
    """Nobody would start it again. Below any other group it runs by itself."""
    async with Manager() as manager:
        ended = await manager.start(Supervisor(Coroutine(forever, name="a"), name="s"))
        await ended.stop()
        assert isinstance(ended, Group)
        with pytest.raises(StateError, match=r"app/s: is ended; members can be started while it runs"):
            await ended.start(forever)
        plain = await manager.start(Concurrent(forever, name="c"))
        await plain.stop()
        assert isinstance(plain, Group)
        assert (await plain.start(forever)).state is State.RUNNING


async def test_member_whose_start_failed_is_none() -> None:
    """Who started it has the error; nobody comes upon it later."""
    fall = asyncio.Event()
    async with Manager(Supervisor(Coroutine(falls_when, fall, name="a"), strategy="one_for_all", backoff=AT_ONCE)) as manager:
        with pytest.raises(StartFailed, match="app/x") as caught:
            await group(manager).start(Coroutine(boom, name="x", ready="call"))
        assert isinstance(caught.value.__cause__, ValueError)
        with pytest.raises(UnknownNode):
            manager.find("app/x")
        fall.set()
        await manager.find("app/a").wait_for(state=State.RUNNING, incarnation=2)
        assert states(manager) == {"a": "running"}


async def test_scale_starts_planned_ones_again_that_have_ended() -> None:
    """Their names are theirs; the others are not touched."""
    async with Manager(Supervisor(Coroutine(forever, name="w", scale=3), Coroutine(forever, name="z"))) as manager:
        await manager.find("app/w-2").stop()
        await group(manager).scale("w", 4)
        assert states(manager) == dict.fromkeys(["w-1", "w-2", "w-3", "z", "w-4"], "running")
        assert [manager.find(f"app/{name}").incarnation for name in ("w-1", "w-2", "w-3", "w-4", "z")] == [1, 2, 1, 1, 1]
        await group(manager).scale("w", 1)
        assert states(manager) == {"w-1": "running", "z": "running"}


async def test_rolling_restart_leaves_alone_what_is_gone_when_its_turn_comes() -> None:
    """Removed meanwhile, or stopped by hand."""
    async with Manager(Supervisor(Coroutine(slow_to_end, name="w", scale=3))) as manager:
        restarts = asyncio.create_task(group(manager).rolling_restart())
        await manager.find("app/w-1").wait_for(state=State.STOPPING)
        await asyncio.gather(group(manager).remove("w-2"), manager.find("app/w-3").stop())
        await restarts
        assert states(manager) == {"w-1": "running", "w-3": "ended"}
        assert manager.find("app/w-1").incarnation == 2


async def test_planned_member_of_a_group_that_runs_is_not_removed() -> None:
    """It is refused before it is stopped: the group's end is made of its own."""
    async with Manager(Concurrent(Coroutine(forever, name="a"), Coroutine(forever, name="b"))) as manager:
        run = asyncio.create_task(manager.run())
        await manager.find("app/b").wait_ready()
        with pytest.raises(StateError, match=r"app/a: is planned"):
            await group(manager).remove("a")
        assert states(manager) == {"a": "running", "b": "running"}
        await manager.stop()
        await run
        await group(manager).remove("a")
        assert states(manager) == {"b": "ended"}


async def test_time_of_the_next_start_can_be_seen_and_need_not_be_waited_for() -> None:
    """In seconds of the loop's clock; a restart by hand is the next start."""
    fall = asyncio.Event()
    member = Coroutine(falls_when, fall, name="a", backoff=Backoff(60.0, cap=60.0, jitter=None))
    async with Manager(Supervisor(member)) as manager:
        handle = manager.find("app/a")
        assert handle.statistics().restart_at is None
        fall.set()
        await handle.wait_for(state=State.BACKOFF)
        at = handle.statistics().restart_at
        assert at is not None and 55.0 < at - asyncio.get_running_loop().time() <= 60.0
        await handle.restart()
        assert (handle.state, handle.incarnation, handle.statistics().restart_at) == (State.RUNNING, 2, None)


async def test_supervisor_whose_essential_member_was_forgotten_still_says_that_it_failed() -> None:
    """What that one failed by is gone with it."""
    fall = asyncio.Event()
    members = (Coroutine(falls_when, fall, name="job", essential=True, restart="temporary"), Coroutine(forever, name="b"))
    async with Manager() as manager:
        top = await manager.start(Supervisor(*members, name="s"))
        fall.set()
        assert not (await top.wait()).ok
        assert isinstance(top, Group)
        await top.remove("job")
        with pytest.raises(ExceptionGroup, match="app/s"):
            await top


async def test_awaiting_a_member_and_its_supervisor_gives_each_its_own_limit_error() -> None:
    """With the failures, and the last one as the cause; the same whoever asks, and whenever."""
    fall = asyncio.Event()
    fall.set()
    async with Manager() as manager:
        top = await manager.start(Supervisor(Coroutine(falls_when, fall, name="a"), name="s", intensity=1, backoff=AT_ONCE))
        member = manager.find("app/s/a")
        await member.wait_for(incarnation=2)
        fall.set()
        for handle in (member, top, member):
            with pytest.raises(RestartLimitReached, match=f"{handle.path}: 2 failures within 30 s") as caught:
                await handle
            assert [exit.incarnation for exit in caught.value.exits] == [1, 2]
            assert repr(caught.value.__cause__) == "ValueError('fallen')"
