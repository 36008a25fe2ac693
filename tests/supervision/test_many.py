"""Many real children under one supervisor: lost ones come back, nobody is in the others' way, and all end."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import signal

import pytest

from asyncproc import Coroutine, Manager, Process, State, Supervisor
from asyncproc._supervision import below
from tests.manager import targets

COUNT, LOST = 60, 5


def member(name: str) -> Process:
    return Process(targets.echo_mail, name=name, backoff=None, stdout="inherit", stderr="inherit")


@pytest.mark.slow
async def test_members_that_are_lost_among_many_come_back() -> None:
    """Each answers, before and after; the others live on as they were."""
    async with Manager(Supervisor(intensity=None)) as manager:
        group = manager.find("app")
        handles = await asyncio.gather(*(group.start(member(f"m-{number}")) for number in range(COUNT)))
        before = {handle.pid for handle in handles}
        assert len(before) == COUNT
        lost = random.sample(handles, LOST)
        for handle in lost:
            os.kill(handle.pid, signal.SIGKILL)
        for handle in lost:
            await handle.wait_for(state=State.RUNNING, incarnation=2)
        for handle in handles:
            await handle.send(handle.name)
        assert [await handle.receive() for handle in handles] == [handle.name for handle in handles]
        assert len({handle.pid for handle in handles} - before) == LOST
        assert [handle.incarnation for handle in handles].count(1) == COUNT - LOST
        report = await manager.stop()
        assert not report.left


async def test_ended_nodes_are_forgotten_among_those_that_live_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest that have ended go when others come, whatever lives on before them; what lives stays."""
    monkeypatch.setattr(below, "ENDED_KEPT", 4)
    async with Manager() as manager:
        living = [await manager.start(Coroutine(forever, name=f"living-{number}")) for number in range(6)]
        for number in range(40):
            await (await manager.start(Coroutine(nothing, name=f"short-{number}")))
        ended = manager.nodes("**", state=State.ENDED)
        assert 4 <= len(ended) <= 4 + len(living)
        assert "short-39" in {node.name for node in ended}
        assert [node.state for node in living] == [State.RUNNING] * 6
        assert manager.forget_ended() == len(ended)
        await manager.stop()


async def test_the_loop_goes_on_while_there_are_no_descriptors_for_a_restart_without_delay() -> None:
    """The member is tried again, and comes back when there are some."""
    async with Manager(Supervisor(member("m"), intensity=None), spares=0) as manager:
        handle = manager.find("app/m")
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            os.kill(handle.pid, signal.SIGKILL)
            async with asyncio.timeout(10):
                await handle.wait_for(incarnation=4)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await handle.wait_for(state=State.RUNNING)
        await handle.send("back")
        assert await handle.receive() == "back"


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


async def nothing() -> None: ...
