"""A shared counter: four processes raise it 10 000 times in total, and not one of them is lost.

What to see: 10 000, though all four write at once; by `add`, which is atomic by itself, and by transactions, in which a change
in place counts as well. A transaction that fails leaves nothing behind. The same thing done badly, by reading first and writing
then, loses updates, and a test of two lines finds that out.
"""

import asyncio
from dataclasses import dataclass, field

from asyncproc import Concurrent, Manager, Namespace, Process, current
from asyncproc.testing import LostUpdates, lost_update

PROCESSES, ADDED, IN_TRANSACTIONS = 4, 2000, 500


@dataclass
class State:
    """What all of them share; it may live in the main file."""

    counter: int = 0
    finished: list[str] = field(default_factory=list)


def raise_it() -> None:
    """A plain function: the blocking face of the namespace is `.sync`."""
    namespace = Namespace.of(State)  # as current().namespace, but a type checker knows the fields
    for _ in range(ADDED):
        namespace.sync.add("counter")
    for _ in range(IN_TRANSACTIONS):
        with namespace.sync.transaction() as state:
            state.counter += 1
    with namespace.sync.transaction() as state:
        state.finished.append(current().name)


async def fail_halfway() -> None:
    """A coroutine function awaits."""
    async with Namespace.of(State).transaction() as state:
        state.counter = -1
        raise RuntimeError("halfway")


def raise_it_badly() -> None:
    """Between reading and writing, others write."""
    seen = Namespace.of(State).view.counter
    Namespace.of(State).sync.set(counter=seen + 1)


async def main() -> None:
    tree = Concurrent(*(Process(raise_it, name=f"writer-{number}") for number in range(1, PROCESSES + 1)))
    async with Manager(tree, namespace=State()) as manager:
        await manager.run()
        view = manager.namespace.view  # a copy; the same one while nothing changes
        print(f"{len(view.finished)} processes have raised it to {view.counter}")

        try:
            await manager.run(fail_halfway)
        except RuntimeError as error:
            print(f"a transaction failed {error}; the counter is still {manager.namespace.view.counter}")

        try:
            await lost_update(manager, raise_it_badly, lambda: manager.namespace.view.counter)
        except LostUpdates as error:
            print(f"done badly: {error}")


asyncio.run(main())
