"""The state of `namespace`, and what asyncproc's children do with it. Preloaded, see `asyncproc_lives`."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic

from asyncproc import Namespace, current
from benchmarks.harness.contract import Deed


@dataclass
class State:
    """A number that is raised, and something beside it that is not."""

    counter: int = 0
    label: str = "a state of three fields"
    numbers: list[int] = field(default_factory=lambda: list(range(16)))


def shared() -> Namespace[State]:
    return Namespace.of(State)


def time_plain(deed: Deed, count: int) -> list[float]:
    """Seconds of each deed, by plain code."""
    namespace = shared()
    times = []
    for _ in range(count):
        if deed == "fresh":
            namespace.sync.add("counter")
        began = monotonic()
        if deed == "transaction":
            with namespace.sync.transaction() as state:
                state.counter += 1
        elif deed == "add":
            namespace.sync.add("counter")
        else:
            _ = namespace.view.counter
        times.append(monotonic() - began)
    return times


async def time_async(deed: Deed, count: int) -> list[float]:
    """The same on a loop."""
    namespace = shared()
    times = []
    for _ in range(count):
        if deed == "fresh":
            await namespace.add("counter")
        began = monotonic()
        if deed == "transaction":
            async with namespace.transaction() as state:
                state.counter += 1
        elif deed == "add":
            await namespace.add("counter")
        else:
            _ = namespace.view.counter
        times.append(monotonic() - began)
    return times


def write_plain(deed: Deed, count: int) -> tuple[float, float]:
    """Deeds from a sign on: when they began and ended."""
    current().sync.send("ready")
    current().sync.receive()
    began = monotonic()
    time_plain(deed, count)
    return began, monotonic()


async def write_async(deed: Deed, count: int) -> tuple[float, float]:
    """The same on a loop."""
    await current().send("ready")
    await current().receive()
    began = monotonic()
    await time_async(deed, count)
    return began, monotonic()
