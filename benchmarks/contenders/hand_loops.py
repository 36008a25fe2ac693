"""Loops written by hand: in a bare fork that looks at a byte of shared memory, and in a Process that looks at an Event.

The first is the limit: it tells nothing of errors, and its result passes through the same memory. The second is how a program
without a framework does it.
"""

import asyncio
import marshal
import mmap
import multiprocessing
import os
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from benchmarks import lives
from benchmarks.harness.contract import Contender, Ending, Pace, WrongWork
from benchmarks.lives import Form, Noted, Work

_SIZE = 1 << 16
_FLAG, _RESULT = 0, 8


class BareLoops(Contender):
    """The least: a loop in this process, and for the stops a fork, its pidfd watched on the loop."""

    forms: tuple[Form, ...] = ("plain", "async")
    works: tuple[Work, ...] = ("sleep", "busy", "rest")

    async def pace(self, form: Form, count: int) -> Pace:
        times = _plain_loops(count) if form == "plain" else await _async_loops(count)
        return Pace(times[0], times[1], 0, times[2])

    async def stop_one(self, work: Work, after: float) -> Ending:
        return await self._run(work, None, after)

    async def end_one(self, work: Work, loops: int) -> Ending:
        return await self._run(work, loops, 0.0)

    async def _run(self, work: Work, loops: int | None, after: float) -> Ending:
        shared = mmap.mmap(-1, _SIZE)
        ours, theirs = os.pipe()
        new_loop = type(asyncio.get_running_loop())
        pid = os.fork()
        if pid == 0:
            _child(work, shared, loops, theirs, new_loop)
        pidfd = os.pidfd_open(pid)
        ended = _readable(pidfd)
        try:
            os.read(ours, 1)
            await asyncio.sleep(after)
            asked = time.monotonic()
            if loops is None:
                shared[_FLAG] = 1
            await ended
            known = time.monotonic()
        finally:
            for fd in (ours, theirs, pidfd):
                os.close(fd)
        _, status = os.waitpid(pid, 0)
        if status:
            raise WrongWork(f"the forked child ended with status {status}")
        return Ending(asked, known, marshal.loads(shared[_RESULT:]))


def _readable(fd: int) -> asyncio.Future[None]:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        loop.remove_reader(fd)
        future.set_result(None)

    loop.add_reader(fd, tell)
    return future


def _child(work: Work, shared: mmap.mmap, loops: int | None, begun: int, new_loop: Any) -> None:
    code = 1
    try:
        goes_on = Remaining(loops, lambda: not shared[_FLAG])
        noted = run_work(work, goes_on, lambda: os.write(begun, b"x"), new_loop)
        data = marshal.dumps(noted)
        shared[_RESULT : _RESULT + len(data)] = data
        code = 0
    finally:
        os._exit(code)


class Remaining:
    """Whether another loop is to come: as long as *goes_on*, and no more than *loops* times."""

    def __init__(self, loops: int | None, goes_on: Callable[[], bool]) -> None:
        self._left = loops
        self._goes_on = goes_on

    def __call__(self) -> bool:
        if self._left is None:
            return self._goes_on()
        self._left -= 1
        return self._left >= 0


def run_work(work: Work, goes_on: Callable[[], bool], begun: Callable[[], object], new_loop: Any) -> Noted:
    """Loop *work* in this process, on a loop of its own if it awaits."""
    if work != "rest":
        return lives.play(work, goes_on, begun)
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(lives.play_async(work, goes_on, begun))


def _plain_loops(count: int) -> lives.Times:
    body = lives.Empty()
    body.on_start()
    for _ in range(count):
        body.before_loop()
        body.after_loop(body.loop())  # type: ignore[func-returns-value]  # passed on as the framework does
    return body.on_finish()


async def _async_loops(count: int) -> lives.Times:
    body = lives.EmptyAsync()
    await body.on_start()
    for _ in range(count):
        await body.before_loop()
        await asyncio.sleep(0)
        await body.after_loop(await body.loop())  # type: ignore[func-returns-value]  # as above
    return await body.on_finish()


class EventLoops(Contender):
    """`while not event.is_set()` in a forked multiprocessing.Process; stopped by `event.set()` and `join()`."""

    forms: tuple[Form, ...] = ("plain", "async")
    works: tuple[Work, ...] = ("sleep", "busy", "rest")

    async def pace(self, form: Form, count: int) -> Pace:
        process, pipe, _ = self._start(_pace_in_process, form, count, type(asyncio.get_running_loop()))
        seconds, cpu, on_uvloop = pipe.recv()
        _join(process, pipe)
        return Pace(seconds, cpu, 0, on_uvloop)

    async def stop_one(self, work: Work, after: float) -> Ending:
        return await self._run(work, None, after)

    async def end_one(self, work: Work, loops: int) -> Ending:
        return await self._run(work, loops, 0.0)

    async def _run(self, work: Work, loops: int | None, after: float) -> Ending:
        process, pipe, event = self._start(_work_in_process, work, loops, type(asyncio.get_running_loop()))
        pipe.recv()
        await asyncio.sleep(after)
        asked = time.monotonic()
        if loops is None:
            event.set()
        noted = pipe.recv()
        process.join()
        known = time.monotonic()
        _join(process, pipe)
        return Ending(asked, known, noted)

    def _start(self, target: Any, *args: Any) -> tuple[Any, "Connection[Any, Any]", Any]:
        context = multiprocessing.get_context("fork")
        event = context.Event()
        ours, theirs = context.Pipe()
        process = context.Process(target=target, args=(theirs, event, *args))
        process.start()
        theirs.close()
        return process, ours, event


def _join(process: Any, pipe: "Connection[Any, Any]") -> None:
    process.join()
    pipe.close()
    if process.exitcode != 0:
        raise WrongWork(f"a child of multiprocessing ended with {process.exitcode}")
    process.close()


def _pace_in_process(pipe: Any, event: Any, form: Form, count: int, new_loop: Any) -> None:
    def goes_on() -> bool:
        return not event.is_set()

    if form == "plain":
        pipe.send(lives.play_empty(goes_on, count))
        return
    with asyncio.Runner(loop_factory=new_loop) as runner:
        pipe.send(runner.run(lives.play_empty_async(goes_on, count)))


def _work_in_process(pipe: Any, event: Any, work: Work, loops: int | None, new_loop: Any) -> None:
    pipe.send(run_work(work, Remaining(loops, lambda: not event.is_set()), lambda: pipe.send("begun"), new_loop))
