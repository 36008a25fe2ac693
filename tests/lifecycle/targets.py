"""What the lifecycle tests run in children: kinds of bodies in the class form, plain and async, and setups for functions.

What a child did is told by its result, or by what it sends.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from asyncproc import Coroutine, Current, Process, Setup, Thread, current


class Trace:
    """Notes what happens in order; a mixin for the class form of every kind."""

    def on_start(self) -> dict[str, Any]:
        self.seen: list[Any] = ["on_start"]
        return {"always": "s"}

    def before_loop(self) -> dict[str, Any]:
        self.seen.append(f"before {current().current_loop}")
        return {"this": current().current_loop}

    def loop(self, always: str, this: int) -> int:
        self.seen.append(f"loop {always}{this}")
        return this * 10

    def after_loop(self, result: int) -> None:
        self.seen.append(f"after {result}")

    def on_finish(self) -> list[Any]:
        return [*self.seen, "on_finish"]


class AsyncTrace(Trace):
    """The same with a loop that awaits, and plain hooks around it."""

    async def loop(self, always: str, this: int) -> int:  # type: ignore[override]
        await asyncio.sleep(0)
        return Trace.loop(self, always, this)


class ProcessTrace(Trace, Process[Any]): ...


class AsyncProcessTrace(AsyncTrace, Process[Any]): ...


class ThreadTrace(Trace, Thread[Any]): ...


class AsyncThreadTrace(AsyncTrace, Thread[Any]): ...


class CoroutineTrace(AsyncTrace, Coroutine[Any]): ...


TRACES = [ProcessTrace, AsyncProcessTrace, ThreadTrace, AsyncThreadTrace, CoroutineTrace]
TWO_LOOPS = [
    "on_start", "before 1", "loop s1", "after 10", "before 2", "loop s2", "after 20", "on_finish",
]  # fmt: skip

setup = Setup()
"""The same for functions, with everything that a setup can be given."""


@setup.on_start
def resources(child: Current) -> Iterator[dict[str, Any]]:
    child.vars.seen = ["enter resources"]
    try:
        yield {"always": "s"}
    finally:
        child.vars.seen.append("leave resources")
        child.vars.told = True


@setup.on_start()
def more(child: Current) -> dict[str, Any]:
    child.vars.seen.append("more")
    return {"extra": 1}


@setup.before_loop
def label(child: Current) -> Iterator[dict[str, Any]]:
    child.vars.seen.append(f"enter {child.current_loop}")
    yield {"this": child.current_loop}
    child.vars.seen.append(f"leave {child.current_loop}")


@setup.after_loop(add_for_next=True)
def keep(child: Current, result: Any) -> dict[str, Any]:
    child.vars.seen.append(f"after {result}")
    return {"previous": result}


@setup.after_loop
def drop(child: Current, result: Any) -> dict[str, Any]:
    return {"previous": "dropped"}


@setup.on_finish
def report(child: Current) -> list[Any]:
    child.vars.seen.append(f"finish {child.error!r} {child.last_result}")
    return child.vars.seen


def body(always: str, this: int, extra: int, previous: int | None = None) -> int:
    seen = current().vars.seen
    seen.append(f"loop {always}{this}{extra} {previous}")
    return this * 10


async def body_async(always: str, this: int, extra: int, previous: int | None = None) -> int:
    await asyncio.sleep(0)
    return body(always, this, extra, previous)


SETUP_TRACE = [
    "enter resources", "more",
    "enter 1", "loop s11 None", "after 10", "leave 1",
    "enter 2", "loop s21 10", "after 20", "leave 2",
    "finish None 20", "leave resources",
]  # fmt: skip

async_setup = Setup()


@async_setup.on_start
async def async_resources(child: Current) -> AsyncIterator[dict[str, Any]]:
    child.vars.seen = ["enter"]
    try:
        yield {"value": 1}
    except BaseException as error:
        child.vars.seen.append(type(error).__name__)
        raise
    finally:
        await asyncio.sleep(0)
        child.vars.seen.append("leave")
        await child.send(child.vars.seen)


def plain_value(value: int) -> int:
    return value


# --- errors, by the phase in which they are raised --------------------------------------------------------------------


class Raises(Process[Any]):
    """Raises in one phase of one loop; sends what was left, and with which error."""

    def __init__(self, phase: str, error: str = "ValueError", **options: Any) -> None:
        super().__init__(**options)
        self.wrong = phase
        self.error_name = error

    def fail(self, phase: str) -> None:
        if self.wrong == phase:
            raise {"ValueError": ValueError, "KeyboardInterrupt": KeyboardInterrupt}[self.error_name](f"in {phase}")

    def on_start(self) -> None:
        self.fail("on_start")

    def before_loop(self) -> None:
        if self.current_loop == 2:
            self.fail("before_loop")

    def loop(self) -> int:
        if self.current_loop == 2:
            self.fail("loop")
        return self.current_loop

    def after_loop(self, result: int) -> None:
        if self.current_loop == 2:
            self.fail("after_loop")

    def on_finish(self) -> None:
        self.sync.send(repr(current().error))
        self.fail("on_finish")


def fails_twice() -> str:
    """Retries: the state is kept, and so is the number of the loop."""
    found = current()
    found.vars.tries = getattr(found.vars, "tries", 0) + 1
    if found.vars.tries < 3:
        raise ValueError(f"try {found.vars.tries} of loop {found.current_loop}")
    return f"try {found.vars.tries} of loop {found.current_loop}"


class Endless(Process[int], loops=None):
    """Counts loops; says when it has begun."""

    def loop(self) -> int:
        if self.current_loop == 1:
            self.sync.send("up")
        time.sleep(0.001)
        return self.current_loop

    def on_finish(self) -> str:
        return f"{current().error!r} {self.current_loop == current().last_result}"


class EndlessAsync(Process[int], loops=None):
    async def loop(self) -> int:
        if self.current_loop == 1:
            await self.send("up")
        return self.current_loop

    def on_finish(self) -> str:
        return f"{current().error!r} {self.current_loop == current().last_result}"


class EndlessThread(Thread[int], loops=None):
    def loop(self) -> int:
        if self.current_loop == 1:
            self.sync.send("up")
        time.sleep(0.001)
        return self.current_loop

    def on_finish(self) -> str:
        return f"{current().error!r} {self.current_loop == current().last_result}"


class EndlessCoroutine(Coroutine[int], loops=None):
    async def loop(self) -> int:
        if self.current_loop == 1:
            await self.send("up")
        return self.current_loop

    def on_finish(self) -> str:
        return f"{current().error!r} {self.current_loop == current().last_result}"


ENDLESS = [Endless, EndlessAsync, EndlessThread, EndlessCoroutine]


class SlowLoop(Process[int], loops=None):
    """A loop that takes longer than a child has to acknowledge a stop."""

    def loop(self) -> int:
        self.sync.send("up")
        time.sleep(0.8)
        return self.current_loop


class Stuck(Process[str], loops=None):
    """A loop that never ends by itself."""

    def loop(self) -> None:
        self.sync.send("up")
        time.sleep(1000)

    def on_finish(self) -> str:
        self.sync.send(type(current().error).__name__)
        return "cleaned up"


class Decides(Process[Any], loops=5):
    """Ends itself in one phase, in one way."""

    def __init__(self, how: str, phase: str, **options: Any) -> None:
        super().__init__(**options)
        self.how = how
        self.wanted = phase
        self.seen: list[str] = []

    def decide(self, phase: str) -> None:
        self.seen.append(phase)
        if phase == self.wanted and (self.current_loop == 2 or phase in ("on_start", "on_finish")):
            getattr(self, self.how)()
            self.seen.append("went on")

    def on_start(self) -> None:
        self.decide("on_start")

    def before_loop(self) -> None:
        self.decide("before_loop")

    def loop(self) -> int:
        self.decide("loop")
        return self.current_loop

    def after_loop(self, result: int) -> None:
        self.decide("after_loop")

    def on_finish(self) -> None:
        self.sync.send([*self.seen, "on_finish"])
        self.decide("on_finish")


# --- limits -----------------------------------------------------------------------------------------------------------


class Slow(Process[Any]):
    """Takes for ever in one phase."""

    def __init__(self, phase: str, **options: Any) -> None:
        super().__init__(**options)
        self.slow = phase

    def wait(self, phase: str) -> None:
        if phase == self.slow:
            time.sleep(1000)

    def on_start(self) -> None:
        self.wait("on_start")

    def before_loop(self) -> None:
        self.wait("before_loop")

    def loop(self) -> int:
        self.wait("loop")
        return 1

    def after_loop(self, result: int) -> None:
        self.wait("after_loop")

    def on_finish(self) -> None:
        self.wait("on_finish")


async def wait_for_ever() -> None:
    await asyncio.sleep(1000)


async def block_for_ever() -> None:
    time.sleep(1000)


def spin_for_ever() -> None:
    while True:
        pass


def quick() -> int:
    return current().current_loop


# --- background threads -----------------------------------------------------------------------------------------------


def fail_in_background(started: threading.Event) -> None:
    started.wait()
    raise LookupError("in the background")


def with_failing_thread() -> None:
    started = threading.Event()
    current().background(fail_in_background, started, name="bus")
    started.set()
    time.sleep(1000)


async def with_failing_thread_async() -> None:
    started = threading.Event()
    current().background(fail_in_background, started, name="bus")
    started.set()
    await asyncio.sleep(1000)


class Ticks(Process[bool]):
    """A background thread that loops until its child ends, which waits for its last pass."""

    def on_start(self) -> None:
        self.began = threading.Event()
        self.thread = self.background(self.tick, loops=None)

    def tick(self) -> None:
        self.began.set()
        time.sleep(0.001)

    def loop(self) -> bool:
        return self.began.wait(10)

    def on_finish(self) -> tuple[bool, str, bool]:
        return self.thread.is_alive(), self.thread.name, self.thread.daemon


def with_endless_thread() -> str:
    """A thread that calls once, and never returns, does not hold up the end."""
    current().background(time.sleep, 1000)
    return "done"


class Listens(Process[int], loops=None):
    """Receives, and then ends its loop only when it has been asked to end, without looking itself."""

    def loop(self) -> int:
        value: int = current().sync.receive()
        while not self.is_last_loop:
            time.sleep(0.001)
        return value


# --- what a child knows -----------------------------------------------------------------------------------------------


class Knows(Process[Any], loops=2, metadata={"kind": "test"}):
    """Tells what it knows of itself in each phase."""

    def on_start(self) -> None:
        self.told: list[Any] = [(self.current_loop, self.is_last_loop, self.last_loop_time)]

    def loop(self) -> int:
        self.told.append((self.current_loop, self.is_last_loop, self.last_loop_time is None))
        return self.current_loop

    def after_loop(self, result: int) -> None:
        assert self.last_loop_time is not None
        self.told.append((self.name, self.pid == os.getpid(), self.loops, self.metadata["current_loop"], self.metadata["kind"]))

    def on_finish(self) -> Any:
        report = self.loop_report()
        own = self.loop_report("custom")
        return [*self.told, (report.name, report.count, own.name, self.metadata["remove_on_process_join"])]


def ready_when_told() -> str:
    found = current()
    assert found.sync.receive() == "be ready"
    found.ready()
    return str(found.sync.receive())


def never_ready() -> int:
    return 3
