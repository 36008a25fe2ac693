"""Hosts on the portable path, made to be killed or to end badly: ``python portable_hosts.py NAME [uvloop]``."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from typing import Any

from asyncproc import Command, Manager, Process, current
from asyncproc.errors import StartFailed
from asyncproc.testing import hostile


def busy() -> None:
    """Never let go of the interpreter."""
    current().sync.send("up")
    while True:
        pass


async def idle_async() -> None:
    await current().send("up")
    await asyncio.Event().wait()


def listens() -> None:
    current().sync.send("up")
    current().sync.receive()


async def nested() -> None:
    async with Manager(launcher="portable") as inner:
        await inner.start(Process(hostile.idle))
        await inner.start(Command("sleep", "1000"))
        await current().send("up")
        await asyncio.Event().wait()


TARGETS = (hostile.tell_and_idle, busy, idle_async, listens, hostile.ignore_term, nested)


async def plant(manager: Manager) -> None:
    for target in TARGETS:
        handle = await manager.start(Process(target))
        await handle.receive()
    await manager.start(Command("sleep", "1000"))


async def stands() -> None:
    async with Manager(launcher="portable") as manager:
        await plant(manager)
        print("up", flush=True)
        await asyncio.Event().wait()


async def forgets() -> None:
    manager = await Manager(launcher="portable").aopen()
    await plant(manager)
    print("up", flush=True)


async def os_exits() -> None:
    await forgets()
    os._exit(3)


async def churns() -> None:
    """Starts and stops for ever, so that a random moment falls into a start or a stop."""
    async with Manager(launcher="portable", grace=0.02) as manager:
        print("up", flush=True)
        while True:
            with suppress(StartFailed):
                specs: list[Any] = [Process(hostile.idle), Process(idle_async), Command("sleep", "1000")]
                await asyncio.gather(*(manager.start(spec) for spec in specs))
            await manager.stop()
            manager.forget_ended()


def fail() -> None:
    raise ValueError("its own")


def main(name: str) -> None:
    factory = None
    if "uvloop" in sys.argv:
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(globals()[name]())


if __name__ == "__main__":
    main(sys.argv[1])
