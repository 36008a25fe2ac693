"""A manager in a child: children may have children, each with a manager of its own.

What to see: paths that continue the path of the child that the inner manager lives in; a pid for each of three generations; and
that the end of the outer child, here by a stop, takes the inner tree along.
"""

import asyncio
import os

import asyncproc
from asyncproc import Concurrent, Manager, Process


def work(order: int) -> str:
    return f"order {order}: done by {asyncproc.current().path} in {os.getpid()}"


async def department() -> list[str]:
    """Runs in a child process, and is a manager there."""
    async with Manager(name="desk") as manager:
        results = await manager.run(Concurrent(Process(work, 1, name="ada"), Process(work, 2, name="bob")))
        return list(results.values())


async def night_shift() -> None:
    async with Manager(name="desk") as manager:
        sleeper = await manager.start(Process(asyncio.Event().wait, name="sleeper"))
        await asyncproc.current().send((sleeper.path, sleeper.pid))
        await sleeper


def is_alive(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")


async def main() -> None:
    async with Manager() as manager:
        print(f"the outer manager lives in {os.getpid()}")
        child = await manager.start(Process(department))
        print(f"{child.path} lives in {child.pid}")
        print(*await child, sep="\n")

        shift = await manager.start(Process(night_shift))
        path, pid = await shift.receive()
        print(f"{path} runs in {pid}")
        end = await shift.stop()
        print(f"{end.path} {end.reason.value}; {pid} is {'alive' if is_alive(pid) else 'gone'}")


asyncproc.run(main())
