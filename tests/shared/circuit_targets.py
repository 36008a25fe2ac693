"""What the children of the tests of circuits run."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from asyncproc import Circuit, CircuitOpen, Manager, Process, Thread, blocking, current


class NoRoute(ConnectionError):
    """What these dependencies fail with."""


def call(circuit: Circuit) -> str:
    """Called by plain code; how that went."""
    try:
        with circuit.sync:
            return "let in"
    except CircuitOpen as refused:
        return f"refused {refused.name}"


async def call_async(circuit: Circuit) -> str:
    try:
        async with circuit:
            return "let in"
    except CircuitOpen as refused:
        return f"refused {refused.name}"


def fail(circuit: Circuit, times: int = 1) -> tuple[str, int, int]:
    """So many calls fail; what this child sees then."""
    for _ in range(times):
        try:
            with circuit.sync:
                raise NoRoute("down")
        except (NoRoute, CircuitOpen):
            pass
    return circuit.state.value, circuit.failures, circuit.trips


async def fail_async(circuit: Circuit, times: int = 1) -> tuple[str, int, int]:
    for _ in range(times):
        try:
            async with circuit:
                raise NoRoute("down")
        except (NoRoute, CircuitOpen):
            pass
    return circuit.state.value, circuit.failures, circuit.trips


def hold(circuit: Circuit) -> None:
    """Be let in, say so, and stay until told otherwise."""
    with circuit.sync:
        current().sync.send("inside")
        current().sync.receive()


async def hold_async(circuit: Circuit) -> None:
    async with circuit:
        await current().send("inside")
        await current().receive()


def die_inside(circuit: Circuit) -> None:
    with circuit.sync:
        os.kill(os.getpid(), signal.SIGKILL)


async def race(circuit: Circuit) -> str:
    """Try when told to, and leave when told to."""
    await current().send("ready")
    await current().receive()
    try:
        async with circuit:
            await current().send("let in")
            await current().receive()
    except CircuitOpen:
        await current().send("refused")
    return "through"


async def wait(circuit: Circuit) -> str:
    await current().send("waits")
    await circuit.wait_permitted()
    return await call_async(circuit)


def wait_blocking(circuit: Circuit) -> str:
    current().sync.send("waits")
    circuit.sync.wait_permitted(timeout=20.0)
    return call(circuit)


def wait_in_vain(circuit: Circuit) -> str:
    try:
        circuit.sync.wait_permitted(timeout=0.05)
    except TimeoutError as error:
        return str(error)
    return "permitted"


def by_hand(circuit: Circuit) -> list[tuple[str, int, float | None]]:
    """What each wish does, as this child sees it."""
    seen = []
    for wish in (circuit.fail, circuit.trip, circuit.reset):
        wish()
        seen.append((circuit.state.value, circuit.trips, circuit.retry_in))
    return seen


def same(circuit: Circuit, other: Circuit) -> bool:
    return circuit is other


def call_from_thread(circuit: Circuit) -> list[str]:
    """Of a coroutine's child, a thread of its own."""
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(call(circuit)))
    thread.start()
    thread.join()
    return found


async def call_from_own_thread(circuit: Circuit) -> list[str]:
    return await asyncio.to_thread(call_from_thread, circuit)


async def call_from_own_loop(circuit: Circuit) -> str:
    """On a loop of a thread of its own, beside the child's."""
    return await asyncio.to_thread(lambda: asyncio.run(call_async(circuit)))


async def cut_off(circuit: Circuit) -> str:
    """Cancelled while the answer is on its way, and once more before anything was asked; then called again."""
    for steps in (1, 0):
        task = asyncio.create_task(call_async(circuit))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return await call_async(circuit)


async def cut_off_unheard(circuit: Circuit, go: str, done: str) -> str:
    """The same while whoever would answer stands still, in pipes that only open when both ends do."""
    with open(go):
        pass
    task = asyncio.create_task(call_async(circuit))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    with open(done, "w"):
        pass
    return await call_async(circuit)


async def hammer(circuit: Circuit) -> int:
    """Ask until the end; how often that went well is told by nobody."""
    await current().send("begun")
    count = 0
    while True:
        async with circuit:
            count += 1


def hammer_blocking(circuit: Circuit) -> int:
    current().sync.send("begun")
    count = 0
    while not current().stopping:
        with circuit.sync:
            count += 1
    with circuit.sync:  # in its clean-up too
        return count


# --- children of children ---------------------------------------------------------------------------------------------------


async def hand_on(circuit: Circuit, target: Callable[..., Any], *args: Any) -> Any:
    """Run it in a child of this child."""
    async with Manager(name="inner") as manager:
        return await manager.run(Process(target, circuit, *args))


async def hand_on_to_thread(circuit: Circuit, target: Callable[..., Any]) -> Any:
    async with Manager(name="inner") as manager:
        return await manager.run(Thread(target, circuit))


def hand_on_blocking(circuit: Circuit, target: Callable[..., Any]) -> Any:
    with blocking.Manager(name="inner") as manager:
        return manager.run(Process(target, circuit))


async def hold_below(circuit: Circuit) -> None:
    """A child of this child is inside, until it is told to go on; "kill" kills it instead."""
    async with Manager(name="inner") as manager:
        handle = await manager.start(Process(hold, circuit))
        assert await handle.receive() == "inside"
        await current().send("inside")
        if await current().receive() == "kill":
            await handle.kill()
            await handle.wait()
            await current().send("killed")
            await current().receive()


async def hammer_below(circuit: Circuit) -> None:
    """A child of this child asks until the end, and another waits."""
    async with Manager(name="inner") as manager:
        for target in (hammer, wait):
            await (await manager.start(Process(target, circuit))).receive()
        await current().send("begun")
        await current().wait_stopping()


async def hand_on_own(target: Callable[..., Any]) -> tuple[Any, int]:
    """With a circuit of this child's own."""
    circuit = Circuit("own", threshold=2)
    async with Manager(name="inner") as manager:
        found = await manager.run(Process(target, circuit, 2))
    return found, circuit.trips


def make() -> Circuit:
    return Circuit("made-below")
