"""aiomultiprocess: Worker where a result is wanted, Process otherwise; spawn unless told (its documented default).

It offers no channel to a single Process, so held children block in a multiprocessing Pipe that they get as an argument. Its
manager process is started untimed.
"""

import asyncio
import time
from multiprocessing.connection import Connection
from typing import Any, Literal

import aiomultiprocess  # type: ignore[import-untyped]  # ships no types
from aiomultiprocess.core import get_context, get_manager  # type: ignore[import-untyped]  # ships no types

from benchmarks import targets
from benchmarks.harness.contract import Contender, NoopRun, WrongWork


class AiomultiprocessVictim:
    """A running aiomultiprocess.Process."""

    def __init__(self, process: aiomultiprocess.Process) -> None:
        assert process.pid is not None
        self.pid = process.pid
        self._process = process

    async def wait(self) -> int:
        await self._process.join()
        return -(self._process.exitcode or 0)


class Aiomultiprocess(Contender):
    """Starts, holds and loses children."""

    pause = 0.0
    preloaded = False

    def __init__(self, method: Literal["spawn", "forkserver"] = "spawn") -> None:
        self._method = method
        self._held: list[tuple[aiomultiprocess.Process, Connection[Any, Any]]] = []

    async def aopen(self) -> None:
        aiomultiprocess.set_start_method(self._method)
        get_manager()

    async def run_noops(self, count: int) -> list[NoopRun]:
        workers = [aiomultiprocess.Worker(target=targets.noop_async) for _ in range(count)]
        for worker in workers:
            worker.start()
        values = await asyncio.gather(*(worker.join() for worker in workers))
        ended = time.perf_counter()
        return [NoopRun(value, ended) for value in values]

    async def hold(self, count: int) -> list[int]:
        self._held = [self._start_held() for _ in range(count)]
        return [pipe.recv() for _, pipe in self._held]

    async def release(self) -> None:
        for _, pipe in self._held:
            pipe.send(None)
        await asyncio.gather(*(process.join() for process, _ in self._held))
        if any(process.exitcode != 0 for process, _ in self._held):
            raise WrongWork("a child of aiomultiprocess did not end well")
        self._held.clear()

    async def start_victim(self) -> AiomultiprocessVictim:
        process, pipe = self._start_held()
        pipe.recv()
        pipe.close()
        return AiomultiprocessVictim(process)

    async def aclose(self) -> None:
        await self.release()
        get_manager().shutdown()

    def _start_held(self) -> "tuple[aiomultiprocess.Process, Connection[Any, Any]]":
        ours, theirs = get_context().Pipe()
        process = aiomultiprocess.Process(target=targets.hold_pipe_async, args=(theirs,))
        process.start()
        theirs.close()
        return process, ours
