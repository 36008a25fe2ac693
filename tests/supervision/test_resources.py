"""Resources and standing still, with real children."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from asyncproc import Command, Concurrent, Coroutine, Manager, Process, SpecError, State, StateError, Supervisor, current
from tests.manager.targets import nothing, until_told


def given() -> tuple[object, str]:
    return current().metadata["resources"], os.environ.get("CUDA_VISIBLE_DEVICES", "")


async def given_here() -> object:
    return current().metadata["resources"]


async def test_child_is_told_its_slots() -> None:
    """In its metadata; gpus also where CUDA looks for them, for processes and commands, unless ``env`` says otherwise."""
    async with Manager(resources={"gpu": 2, "x": 1.5}) as manager:
        first = await manager.start(Process(until_told, resources={"gpu": 1}))
        assert await manager.run(Process(given, resources={"gpu": 1, "x": 0.5})) == ({"gpu": [1], "x": 0.5}, "1")
        done = await manager.run(Command("sh", "-c", "echo $CUDA_VISIBLE_DEVICES", resources={"gpu": 1}))
        assert done.stdout == "1\n"
        own = Process(given, resources={"gpu": 1}, env={"CUDA_VISIBLE_DEVICES": "7"})
        assert await manager.run(own) == ({"gpu": [1]}, "7")
        assert await manager.run(Coroutine(given_here, resources={"gpu": 0.5})) == {"gpu": [1]}
        await first.stop()


async def test_child_waits_visibly_for_what_another_holds() -> None:
    """WAITING, with the names of what it misses; it starts when that is free."""
    async with Manager(resources={"gpu": 1}) as manager:
        first = await manager.start(Process(until_told, name="first", resources={"gpu": 1}))
        waiting = asyncio.create_task(manager.start(Process(until_told, name="second", resources={"gpu": 1})))
        await asyncio.sleep(0)
        second = manager.find("second")
        await second.wait_for(state=State.WAITING)
        assert second.missed == ("gpu",)
        assert "waiting   for gpu" in manager.tree().text()
        await first.stop()
        assert await waiting == second
        assert second.missed == ()
        await second.stop()


async def test_wish_that_can_never_be_met_is_refused() -> None:
    """By name, before anything starts; so is a wrong capacity."""
    with pytest.raises(SpecError, match="gpu must be an amount > 0"):
        Manager(resources={"gpu": -1})
    async with Manager(resources={"gpu": 1}) as manager:
        with pytest.raises(SpecError, match="more than there is: 1"):
            await manager.start(Process(nothing, resources={"gpu": 2}))
        with pytest.raises(SpecError, match="there is not"):
            await manager.start(Process(nothing, resources={"disk": 1}))
        assert await manager.run(Process(nothing, resources={"gpu": 1})) is None
    with pytest.raises(SpecError, match="more than there is"):
        await Manager(Concurrent(Process(nothing, resources={"gpu": 2})), resources={"gpu": 1}).run()


async def until(condition: Callable[[], bool]) -> None:
    """The kernel tells nobody what a process does that is not ours."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # see above
            await asyncio.sleep(0.005)


def ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


async def test_paused_child_stands_still_with_its_group_and_goes_on() -> None:
    """No processor time, no limit; its state says so; a stop of a paused child ends it in time."""
    async with Manager() as manager:
        busy = await manager.start(
            Command("sh", "-c", "sh -c 'while :; do :; done' & echo $!; wait", name="busy", timeout=60.0)
        )
        async for line in busy.output():
            inner = int(line)
            break
        await busy.pause()
        assert busy.state is State.PAUSED
        assert busy.pid is not None
        await until(lambda: (state_of(busy.pid or 0), state_of(inner)) == ("T", "T"))
        before = ticks(inner)
        await asyncio.sleep(0.1)
        assert ticks(inner) == before
        await busy.resume()
        assert busy.state is State.RUNNING
        await until(lambda: ticks(inner) > before)
        await busy.pause()
        exit = await busy.stop()
        assert exit.signal is not None
        assert not exit.killed


async def test_supervisor_pauses_what_is_below_it() -> None:
    """Coroutines go on, as they must; what has no process cannot be paused by itself."""
    async with Manager(Supervisor(Command("sleep", "60", name="a"), Command("sleep", "60", name="b"))) as manager:
        app = manager.find("app")
        await app.pause()
        assert {node.state for node in manager.nodes()} == {State.PAUSED}
        await app.resume()
        assert {node.state for node in manager.nodes()} == {State.RUNNING}
        task = await manager.start(Coroutine(asyncio.Event().wait, name="task"))
        with pytest.raises(StateError, match="cannot be paused"):
            await task.pause()
        await task.kill()
        with pytest.raises(StateError, match="only what runs"):
            await task.pause()
