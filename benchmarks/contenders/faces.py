"""The async face, and three ways to call it from a thread without a loop: asyncproc.blocking, asyncio's own, anyio's portal.

The package is loaded by name, see `asyncproc.py` beside this file.
"""

import asyncio
import concurrent.futures
import importlib
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from benchmarks import targets
from benchmarks.contenders.asyncproc import load
from benchmarks.harness.contract import Contender, WrongWork

Call = Callable[[], object]


class AsyncFace(Contender):
    """Every call awaited on the loop that owns the tree: what the blocking ones are measured against."""

    def __init__(self) -> None:
        self._package = load()
        self._manager: Any = self._package.Manager()
        self._handle: Any = None

    async def aopen(self) -> None:
        await self._manager.aopen()
        self._handle = await self._manager.start(self._package.Process(targets.sleep_forever, stderr="inherit"))

    async def time_calls(self, count: int) -> list[float]:
        return await _time_awaits(self._handle.wait_ready, count)

    async def time_runs(self, count: int) -> list[float]:
        return await _time_awaits(lambda: self._manager.run(self._package.Coroutine(targets.noop_async)), count)

    async def time_reads(self, count: int) -> list[float]:
        return _time(lambda: self._handle.state, count)

    async def calls_at_once(self, threads: int, count: int) -> float:
        begun = time.perf_counter()
        await asyncio.gather(*(_time_awaits(self._handle.wait_ready, count) for _ in range(threads)))
        return threads * count / (time.perf_counter() - begun)

    async def aclose(self) -> None:
        await self._manager.aclose()


class BlockingFace(Contender):
    """`asyncproc.blocking` on a thread without a loop; the harness's loop waits meanwhile."""

    def __init__(self) -> None:
        self._package = load()
        self._manager: Any = importlib.import_module("asyncproc.blocking").Manager()
        self._handle: Any = None

    async def aopen(self) -> None:
        await asyncio.to_thread(self._open)

    def _open(self) -> None:
        self._manager.open()
        self._handle = self._manager.start(self._package.Process(targets.sleep_forever, stderr="inherit"))

    def _call(self) -> Call:
        wait_ready: Call = self._handle.wait_ready
        return wait_ready

    def _run(self) -> Call:
        return lambda: self._manager.run(self._package.Coroutine(targets.noop_async))

    async def time_calls(self, count: int) -> list[float]:
        return await asyncio.to_thread(_time, self._call(), count)

    async def time_runs(self, count: int) -> list[float]:
        return await asyncio.to_thread(_time, self._run(), count)

    async def time_reads(self, count: int) -> list[float]:
        return await asyncio.to_thread(_time, lambda: self._handle.state, count)

    async def calls_at_once(self, threads: int, count: int) -> float:
        return await asyncio.to_thread(_rate, self._call(), threads, count)

    async def verify(self) -> None:
        """The call really went to the loop and back."""
        if not await asyncio.to_thread(lambda: self._manager.nodes() and self._handle.ready):
            raise WrongWork("the node is not ready, or not there")

    async def aclose(self) -> None:
        await asyncio.to_thread(self._manager.close)


class Threadsafe(BlockingFace):
    """The same calls through `asyncio.run_coroutine_threadsafe`, to a loop in a thread of its own."""

    def __init__(self) -> None:
        super().__init__()
        self._manager = self._package.Manager()
        self._loop: Any = None

    def _open(self) -> None:
        from uvloop import Loop

        self._loop = Loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._portal(self._manager.aopen)
        self._handle = self._portal(self._manager.start, self._package.Process(targets.sleep_forever, stderr="inherit"))

    def _portal(self, work: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> Any:
        future: concurrent.futures.Future[Any] = asyncio.run_coroutine_threadsafe(work(*args), self._loop)
        return future.result()

    def _call(self) -> Call:
        return lambda: self._portal(self._handle.wait_ready)

    def _run(self) -> Call:
        return lambda: self._portal(self._manager.run, self._package.Coroutine(targets.noop_async))

    async def aclose(self) -> None:
        await asyncio.to_thread(self._portal, self._manager.aclose)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class AnyioPortal(Threadsafe):
    """The same calls through anyio's blocking portal."""

    def _open(self) -> None:
        from anyio.from_thread import start_blocking_portal

        self._entered = start_blocking_portal("asyncio", {"use_uvloop": True})
        self._anyio = self._entered.__enter__()
        self._portal(self._manager.aopen)
        self._handle = self._portal(self._manager.start, self._package.Process(targets.sleep_forever, stderr="inherit"))

    def _portal(self, work: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> Any:
        return self._anyio.call(work, *args)

    async def aclose(self) -> None:
        await asyncio.to_thread(self._portal, self._manager.aclose)
        await asyncio.to_thread(self._entered.__exit__, None, None, None)


async def _time_awaits(call: Callable[[], Awaitable[object]], count: int) -> list[float]:
    times = []
    for _ in range(count):
        begun = time.perf_counter()
        await call()
        times.append(time.perf_counter() - begun)
    return times


def _time(call: Call, count: int) -> list[float]:
    times = []
    for _ in range(count):
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    return times


def _rate(call: Call, threads: int, count: int) -> float:
    line = threading.Barrier(threads + 1)

    def work() -> None:
        line.wait()
        for _ in range(count):
            call()

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    line.wait()
    begun = time.perf_counter()
    for worker in workers:
        worker.join()
    return threads * count / (time.perf_counter() - begun)
