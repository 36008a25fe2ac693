"""The state of these tests, and what their children run."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import dataclass, field
from typing import Any

import msgspec

from asyncproc import Namespace, Process, StateError, TimedOut, current


@dataclass
class Shared:
    """As a user writes it."""

    counter: int = 0
    some_data: list[int] = field(default_factory=list)
    label: Any = "first"


class Strict(msgspec.Struct):
    """Checked by type."""

    counter: int = 0
    some_data: list[int] = []


class Opaque:
    """Known to the module alone; equal to nobody."""

    def __init__(self, value: int) -> None:
        self.value = value


class Added:
    """No plain number, but can be added."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __add__(self, other: int) -> Added:
        return Added(self.value + other)


def shared() -> Namespace[Shared]:
    return Namespace.of(Shared)


# --- raising a counter ---


def raise_blocking() -> None:
    with shared().sync.transaction() as state:
        state.counter += 1


async def raise_async() -> None:
    async with shared().transaction() as state:
        state.counter += 1


def add_blocking() -> None:
    shared().sync.add("counter")


async def add_async() -> None:
    await shared().add("counter")


def raise_badly() -> None:
    """Reads, and then writes what it has made of it: not atomic, on purpose. The wait lets the others in between."""
    seen = shared().view.counter
    shared().sync.set(counter=seen + 1)


# --- reading and changing ---


def append(value: int) -> list[int]:
    with current().sync.namespace.transaction() as state:
        state.some_data.append(value)
    return shared().view.some_data


async def append_async(value: int) -> list[int]:
    async with current().namespace.transaction() as state:
        state.some_data.append(value)
    return shared().view.some_data


class Appends(Process[None]):
    async def loop(self) -> None:
        async with self.namespace.transaction() as state:
            state.some_data.append(123)


class AppendsPlainly(Process[None]):
    def loop(self) -> None:
        with self.sync.namespace.transaction() as state:
            state.some_data.append(123)


def look() -> Any:
    return shared().view


async def look_async() -> Any:
    return shared().view


def cached() -> list[bool]:
    """The same object until something changes; then another, which shares what has not changed."""
    mine = shared()
    first = mine.view
    found = [mine.view is first, current().namespace.view is first]
    first.some_data.append(7)  # a copy: nobody else sees it
    mine.sync.add("counter")
    return [*found, mine.view is first, mine.view.some_data is first.some_data, mine.view.counter == first.counter + 1]


async def cached_async() -> list[bool]:
    mine = shared()
    first = mine.view
    found = [mine.view is first, current().namespace.view is first]
    await mine.add("counter")
    return [*found, mine.view is first, mine.view.some_data is first.some_data, mine.view.counter == first.counter + 1]


def fail_inside() -> None:
    with shared().sync.transaction() as state:
        state.counter = 99
        state.some_data.append(99)
        raise KeyError("inside")


async def fail_inside_async() -> None:
    async with shared().transaction() as state:
        state.counter = 99
        state.some_data.append(99)
        raise KeyError("inside")


# --- holding the lock ---


def hold() -> None:
    """Change, tell, and wait inside."""
    with shared().sync.transaction() as state:
        state.counter = 99
        state.some_data.append(99)
        current().sync.send("inside")
        current().sync.receive()


async def hold_async() -> None:
    async with shared().transaction() as state:
        state.counter = 99
        state.some_data.append(99)
        await current().send("inside")
        await current().receive()


def die_inside() -> None:
    with shared().sync.transaction() as state:
        state.counter = 99
        os.kill(os.getpid(), signal.SIGKILL)


async def wait_for_turn() -> None:
    await current().send("wants")
    async with shared().transaction() as state:
        state.counter += 1


def wait_for_turn_blocking() -> None:
    current().sync.send("wants")
    with shared().sync.transaction() as state:
        state.counter += 1


def time_out(timeout: float) -> str:
    try:
        with shared().sync.transaction(timeout=timeout):
            return "in"
    except TimedOut as error:
        return f"{error.name}: {isinstance(error, TimeoutError)}"


async def time_out_async(timeout: float) -> str:
    try:
        async with shared().transaction(timeout=timeout):
            return "in"
    except TimedOut as error:
        return f"{error.name}: {isinstance(error, TimeoutError)}"


def cross(times: int, timeout: float) -> tuple[int, int]:
    """Wait just about as long as the others hold it; how often it was had, how often not."""
    had = 0
    for _ in range(times):
        try:
            with shared().sync.transaction(timeout=timeout) as state:
                state.counter += 1
                had += 1
        except TimedOut:
            pass
    return had, times - had


async def cross_async(times: int, timeout: float) -> tuple[int, int]:
    had = 0
    for _ in range(times):
        try:
            async with shared().transaction(timeout=timeout) as state:
                state.counter += 1
                had += 1
        except TimedOut:
            pass
    return had, times - had


def nest() -> list[str]:
    """Each would wait for itself."""
    found = []
    with shared().sync.transaction():
        for call in (lambda: shared().sync.transaction().__enter__(), lambda: shared().sync.set(counter=3), add_blocking):
            try:
                call()
            except StateError as error:
                found.append(str(error))
    return found


def threads_of_a_child(count: int, times: int) -> int:
    def work() -> None:
        for _ in range(times):
            mine.sync.add("counter")
            with mine.sync.transaction() as state:
                state.counter += 1

    mine = shared()
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return mine.view.counter


async def threads_of_an_async_child(count: int, times: int) -> int:
    import asyncio

    return await asyncio.to_thread(threads_of_a_child, count, times)


async def loop_in_a_plain_child_inner() -> int:
    async with shared().transaction() as state:
        state.counter += 1
    await shared().add("counter")
    return shared().view.counter


def loop_in_a_plain_child() -> int:
    """A plain target that makes a loop of its own."""
    import asyncio

    return asyncio.run(loop_in_a_plain_child_inner())


async def sync_on_a_loop() -> list[str]:
    found = []
    face = current().sync.namespace
    for call in (lambda: face.transaction().__enter__(), lambda: face.set(counter=1), lambda: face.add("counter")):
        try:
            call()
        except StateError as error:
            found.append(str(error))
    return found


def change(name: str, value: Any) -> None:
    with current().sync.namespace.transaction() as state:
        setattr(state, name, value)


async def watch_counter(count: int) -> list[int]:
    changes = shared().watch("counter")
    await current().send("watching")
    return [(await anext(changes)).counter for _ in range(count)]


def clean_up_in_namespace() -> None:
    """What is written while ending counts too."""
    try:
        current().sync.send("waits")
        current().sync.receive()
    finally:
        with shared().sync.transaction() as state:
            state.label = "cleaned up"


async def clean_up_in_namespace_async() -> None:
    try:
        await current().send("waits")
        await current().receive()
    finally:
        async with shared().transaction() as state:
            state.label = "cleaned up"


def descriptors() -> list[str]:
    return [os.readlink(f"/proc/self/fd/{fd}") for fd in sorted(os.listdir("/proc/self/fd"), key=int)[:-1]]


def given(namespace: Namespace[Shared]) -> int:
    namespace.sync.add("counter")
    return namespace.view.counter


def of_another() -> None:
    print(Namespace.of(Strict).view)


def append_plain_struct() -> None:
    with Namespace.of(Strict).sync.transaction() as state:
        state.counter += 1
        state.some_data.append(1)


def look_untyped() -> Any:
    return current().namespace.view


class Trap:
    """Can be sent, and fails where it is rebuilt."""

    def __reduce__(self) -> tuple[Any, ...]:
        return spring, ()


def spring() -> None:
    raise RuntimeError("trap")


def store_trap() -> None:
    shared().sync.set(label=Trap())
