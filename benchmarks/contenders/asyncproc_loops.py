"""asyncproc's looping children in the class form: in a process, a thread, and as a coroutine."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import asyncproc
from asyncproc._ipc.frame import FrameReader
from asyncproc._supervision.place import Incarnation
from benchmarks import asyncproc_lives as ours
from benchmarks.harness import procfs
from benchmarks.harness.contract import Contender, Ending, Pace, WrongWork
from benchmarks.lives import Form, Work

_TOLD = ("on_value", "on_question", "on_credit", "on_report", "on_acknowledged")


class _Loops(Contender):
    """Runs one kind of child.

    Args:
        on_uvloop: whether the manager's loop, and with it a process's own, is uvloop's.
    """

    forms: tuple[Form, ...] = ("plain", "async")
    works: tuple[Work, ...] = ("sleep", "busy", "rest")
    EMPTY: dict[Form, Any]
    WORKING: dict[Work, Any]

    def __init__(self, on_uvloop: bool = True) -> None:
        self._on_uvloop = on_uvloop
        self._manager: Any = asyncproc.Manager(preload=["benchmarks.asyncproc_lives"])

    async def aopen(self) -> None:
        await self._manager.aopen()
        await self._manager.run(self._made(next(iter(self.EMPTY.values())), loops=1))  # its helpers are there

    async def aclose(self) -> None:
        await self._manager.aclose()

    async def pace(self, form: Form, count: int) -> Pace:
        with _ears() as told:
            seconds, cpu, on_uvloop = await self._manager.run(self._made(self.EMPTY[form], loops=count))
        return Pace(seconds, cpu, told(), on_uvloop)

    async def stop_one(self, work: Work, after: float) -> Ending:
        handle = await self._manager.start(self._made(self.WORKING[work], loops=None))
        await asyncio.sleep(after)
        asked = time.monotonic()
        exit = await handle.stop()
        known = time.monotonic()
        if not exit.ok or exit.killed:
            raise WrongWork(f"it was cut off: {exit.explain()}")
        return Ending(asked, known, await handle)

    async def end_one(self, work: Work, loops: int) -> Ending:
        asked = time.monotonic()
        noted = await self._manager.run(self._made(self.WORKING[work], loops=loops))
        return Ending(asked, time.monotonic(), noted)

    def _made(self, kind: Any, **options: Any) -> Any:
        return kind(**options)


class ProcessLoops(_Loops):
    """Children in processes; also held at gates."""

    EMPTY = {"plain": ours.EmptyProcess, "async": ours.EmptyAsyncProcess}
    WORKING = {"sleep": ours.SleepingProcess, "busy": ours.BusyProcess, "rest": ours.RestingProcess}
    ECHO: dict[Form, Any] = {"plain": ours.EchoProcess, "async": ours.EchoAsyncProcess}

    def __init__(self, on_uvloop: bool = True) -> None:
        super().__init__(on_uvloop)
        self._echoes: dict[Form, Any] = {}

    def _made(self, kind: Any, **options: Any) -> Any:
        spec = super()._made(kind, **options)
        if not self._on_uvloop:
            spec.without = ours.WithoutUvloop()
        return spec

    async def time_gates(self, form: Form, count: int, cpus: set[int]) -> list[float]:
        handle = self._manager.add(self._made(self.EMPTY[form], loops=count + 1), hold=True)
        times: list[float] = []
        async with asyncproc.OnStart(handle):
            procfs.pin(handle.pid, cpus)
        entered = 0.0
        async for gate in handle.steps():
            now = time.monotonic()
            if gate.number > 1:
                times.append(now - entered)
            entered = now
        await handle
        if len(times) != count:
            raise WrongWork(f"{len(times)} steps, not {count}")
        return times

    async def time_trips(self, form: Form, count: int, cpus: set[int]) -> list[float]:
        if form not in self._echoes:
            self._echoes[form] = await self._manager.start(self._made(self.ECHO[form]))
        echo = self._echoes[form]
        procfs.pin(echo.pid, cpus)
        times: list[float] = []
        for number in range(count):
            began = time.monotonic()
            await echo.send(number)
            if await echo.receive() != number:
                raise WrongWork("the echo sent back something else")
            times.append(time.monotonic() - began)
        return times

    async def aclose(self) -> None:
        for echo in self._echoes.values():
            await echo.send(None)
            await echo
        await super().aclose()


class ThreadLoops(_Loops):
    """Children in threads of the manager's process; one that awaits has a loop of asyncio's, whatever the manager's is."""

    EMPTY = {"plain": ours.EmptyThread, "async": ours.EmptyAsyncThread}
    WORKING = {"sleep": ours.SleepingThread, "busy": ours.BusyThread, "rest": ours.RestingThread}


class CoroutineLoops(_Loops):
    """Children on the manager's own loop."""

    forms = ("async",)
    works = ("rest",)
    EMPTY = {"async": ours.EmptyCoroutine}
    WORKING = {"rest": ours.RestingCoroutine}


@contextmanager
def _ears() -> Iterator[Callable[[], int]]:
    """Count what children tell this process: bytes that come over channels, calls of those that live here."""
    heard = 0
    feed = FrameReader.feed
    calls = {name: getattr(Incarnation, name) for name in _TOLD}

    def feed_counted(reader: FrameReader, data: bytes) -> list[tuple[int, bytes]]:
        nonlocal heard
        heard += len(data)
        return feed(reader, data)

    def counted(call: Callable[..., object]) -> Callable[..., object]:
        def called(*args: Any) -> object:
            nonlocal heard
            heard += 1
            return call(*args)

        return called

    try:
        setattr(FrameReader, "feed", feed_counted)
        for name, call in calls.items():
            setattr(Incarnation, name, counted(call))
        yield lambda: heard
    finally:
        setattr(FrameReader, "feed", feed)
        for name, call in calls.items():
            setattr(Incarnation, name, call)
