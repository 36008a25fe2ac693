"""asyncio's own subprocesses (uvloop's own, where that loop runs): `sleep`, with the default or the pidfd child watcher."""

import asyncio
from asyncio.subprocess import Process
from typing import Literal

from benchmarks.harness.contract import Contender


class AsyncioVictim:
    """A running subprocess."""

    def __init__(self, process: Process) -> None:
        self.pid = process.pid
        self._process = process

    async def wait(self) -> int:
        return -await self._process.wait()


class AsyncioSubprocess(Contender):
    """Holds and loses commands."""

    def __init__(self, watcher: Literal["default", "pidfd"] = "default") -> None:
        self._watcher = watcher
        self._held: list[Process] = []

    async def aopen(self) -> None:
        if self._watcher == "pidfd":
            watcher = asyncio.PidfdChildWatcher()
            watcher.attach_loop(asyncio.get_running_loop())
            asyncio.set_child_watcher(watcher)

    async def hold(self, count: int) -> list[int]:
        self._held = [await _start_sleep() for _ in range(count)]
        return [process.pid for process in self._held]

    async def release(self) -> None:
        for process in self._held:
            process.terminate()
        await asyncio.gather(*(process.wait() for process in self._held))
        self._held.clear()

    async def start_victim(self) -> AsyncioVictim:
        return AsyncioVictim(await _start_sleep())

    async def aclose(self) -> None:
        await self.release()


async def _start_sleep() -> Process:
    return await asyncio.create_subprocess_exec("sleep", "1000")
