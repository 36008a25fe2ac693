"""State that children share: asyncproc's namespace, multiprocessing's Manager with two kinds of lock, a shared Value."""

import multiprocessing
import time
from multiprocessing.connection import Connection
from typing import Any, Literal

from benchmarks.harness.contract import Contender, Deed, Unavailable, WrongWork

_FIELDS = {"counter": 0, "label": "a state of three fields", "numbers": list(range(16))}
_CONTEXT: Any = multiprocessing.get_context("fork")


class AsyncprocState(Contender):
    """`manager.namespace` from children.

    Args:
        form: "plain": by `.sync` of plain functions; "async": awaited on a child's own loop.
    """

    def __init__(self, form: Literal["plain", "async"] = "plain") -> None:
        try:
            import asyncproc
            from benchmarks import asyncproc_states as states
        except ImportError as error:
            raise Unavailable(f"asyncproc cannot be imported: {error}") from error
        self._process = asyncproc.Process
        self._manager = asyncproc.Manager(
            namespace=states.State(), preload=["benchmarks.asyncproc_states", "asyncproc._shared.namespace"]
        )
        self._time: Any = states.time_plain if form == "plain" else states.time_async
        self._write: Any = states.write_plain if form == "plain" else states.write_async

    async def aopen(self) -> None:
        await self._manager.aopen()

    async def aclose(self) -> None:
        await self._manager.aclose()

    async def time_deeds(self, deed: Deed, count: int) -> list[float]:
        times: list[float] = await self._manager.run(self._process(self._time, deed, count))
        return times

    async def write_at_once(self, deed: Deed, writers: int, count: int) -> float:
        handles = [
            await self._manager.start(self._process(self._write, deed, count, name=f"writer-{number}"))
            for number in range(writers)
        ]
        for handle in handles:
            await handle.receive()
        for handle in handles:
            await handle.send("go")
        return _span([await handle for handle in handles])

    async def counter(self) -> int:
        return self._manager.namespace.view.counter


class _Forked(Contender):
    """Deeds in forked children of multiprocessing."""

    async def time_deeds(self, deed: Deed, count: int) -> list[float]:
        process, pipe = self._start(_time, deed, count)
        times: list[float] = pipe.recv()
        _end(process, pipe)
        return times

    async def write_at_once(self, deed: Deed, writers: int, count: int) -> float:
        line = _CONTEXT.Barrier(writers)
        children = [self._start(_write, deed, count, line) for _ in range(writers)]
        spans = [pipe.recv() for _, pipe in children]
        for child in children:
            _end(*child)
        return _span(spans)

    def _start(self, target: Any, *args: Any) -> "tuple[Any, Connection[Any, Any]]":
        ours, theirs = _CONTEXT.Pipe(False)
        process = _CONTEXT.Process(target=target, args=(theirs, self, *args))
        process.start()
        theirs.close()
        return process, ours

    def do(self, deed: Deed) -> None:
        """One deed, in a child."""
        raise NotImplementedError


class ManagerState(_Forked):
    """A Namespace of a multiprocessing.Manager; a write is a read and a write under a lock.

    Args:
        lock: "manager": `manager.Lock()`, a proxy; "mp": `multiprocessing.Lock()`, a semaphore in shared memory.
    """

    def __init__(self, lock: Literal["manager", "mp"]) -> None:
        self._kind = lock

    async def aopen(self) -> None:
        self._manager = _CONTEXT.Manager()
        self._lock = self._manager.Lock() if self._kind == "manager" else _CONTEXT.Lock()
        self._state = self._manager.Namespace(**_FIELDS)

    async def aclose(self) -> None:
        self._manager.shutdown()

    def do(self, deed: Deed) -> None:
        if deed in ("view", "fresh"):
            _ = self._state.counter
            return
        with self._lock:
            self._state.counter += 1

    async def counter(self) -> int:
        return int(self._state.counter)


class ValueState(_Forked):
    """One number in shared memory under its own lock: the least that excludes others."""

    async def aopen(self) -> None:
        self._value = _CONTEXT.Value("q", 0)

    def do(self, deed: Deed) -> None:
        if deed in ("view", "fresh"):
            _ = self._value.value
            return
        with self._value.get_lock():
            self._value.value += 1

    async def counter(self) -> int:
        return int(self._value.value)


def _times(state: _Forked, deed: Deed, count: int) -> list[float]:
    times = []
    for _ in range(count):
        if deed == "fresh":
            state.do("add")
        began = time.monotonic()
        state.do(deed)
        times.append(time.monotonic() - began)
    return times


def _time(pipe: Any, state: _Forked, deed: Deed, count: int) -> None:
    pipe.send(_times(state, deed, count))


def _write(pipe: Any, state: _Forked, deed: Deed, count: int, line: Any) -> None:
    state.do("view")  # each has its connection before they begin
    line.wait()
    began = time.monotonic()
    _times(state, deed, count)
    pipe.send((began, time.monotonic()))


def _span(spans: list[tuple[float, float]]) -> float:
    return max(ended for _, ended in spans) - min(began for began, _ in spans)


def _end(process: Any, pipe: "Connection[Any, Any]") -> None:
    process.join()
    pipe.close()
    if process.exitcode != 0:
        raise WrongWork(f"a child of multiprocessing ended with {process.exitcode}")
    process.close()
