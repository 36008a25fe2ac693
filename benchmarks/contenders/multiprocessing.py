"""multiprocessing.Process with a Pipe for the result: fork, forkserver, forkserver with preload, spawn.

Its documented best form: `set_forkserver_preload` before the server starts, one Pipe per child (a Queue adds a feeder thread),
all started before the first is awaited. The calls block, as its users' do.
"""

import asyncio
import multiprocessing
import os
import sys
import time
from collections import deque
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Literal

from benchmarks import targets
from benchmarks.harness.contract import Contender, NoopRun, WrongWork

Child = tuple[BaseProcess, "Connection[Any, Any]"]


class Multiprocessing(Contender):
    """Starts, holds and echoes.

    Args:
        preload: modules for the fork server.
        rerun_main: False hides the main file from the children, as in a program that has none.
    """

    pause = 0.0
    room = 65536  # send blocks when the socket is full, while the child blocks in its own send

    def __init__(
        self, method: Literal["fork", "forkserver", "spawn"], preload: tuple[str, ...] = (), rerun_main: bool = True
    ) -> None:
        self._context: Any = multiprocessing.get_context(method)  # typeshed gives BaseContext no Process
        self._method = method
        self._preload = list(preload)
        self._held: list[Child] = []
        self._values: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self.preloaded = method == "fork" or "benchmarks.targets" in preload
        if not rerun_main:
            del sys.modules["__main__"].__file__

    async def aopen(self) -> None:
        if self._method == "forkserver":
            self._context.set_forkserver_preload(self._preload)
            forkserver.ensure_running()
        elif self._method == "spawn":
            resource_tracker.ensure_running()

    async def run_noops(self, count: int) -> list[NoopRun]:
        children = [self._start(targets.noop_to_pipe, duplex=False) for _ in range(count)]
        runs = [NoopRun(pipe.recv(), time.perf_counter()) for _, pipe in children]
        for child in children:
            _end(child)
        return runs

    async def hold(self, count: int) -> list[int]:
        self._held = [self._start(targets.hold_pipe) for _ in range(count)]
        return [pipe.recv() for _, pipe in self._held]

    async def release(self) -> None:
        for _, pipe in self._held:
            pipe.send(None)
        while self._held:
            _end(self._held.pop())

    async def connect(self) -> int:
        self._held = [self._start(targets.echo_pipe)]
        process, pipe = self._held[0]
        asyncio.get_running_loop().add_reader(pipe.fileno(), self._on_readable)
        os.set_blocking(pipe.fileno(), True)  # uvloop's add_reader clears it, and a Connection cannot read a part of a message
        assert process.pid is not None
        return process.pid

    async def send(self, value: bytes) -> None:
        self._held[0][1].send(value)

    async def receive(self) -> bytes:
        """Wait in the loop, as a program with other work must."""
        while not self._values:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._values.popleft()

    async def aclose(self) -> None:
        for _, pipe in self._held:
            asyncio.get_running_loop().remove_reader(pipe.fileno())
        await self.release()

    def _on_readable(self) -> None:
        self._values.append(self._held[0][1].recv())
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _start(self, target: Any, duplex: bool = True) -> Child:
        ours, theirs = self._context.Pipe(duplex)
        process: BaseProcess = self._context.Process(target=target, args=(theirs,))
        process.start()
        theirs.close()
        return process, ours


def _end(child: Child) -> None:
    process, pipe = child
    process.join()
    pipe.close()
    if process.exitcode != 0:
        raise WrongWork(f"a child of multiprocessing ended with {process.exitcode}")
    process.close()
