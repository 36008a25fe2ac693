"""Random trees of whatever there is to be stopped, most of it unwilling; and random orders of need."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable
from typing import Any

from asyncproc import Command, Concurrent, Coroutine, Process, Sequential, Spec, Supervisor, Thread
from asyncproc.testing import hostile

GRACES = (0.0, 0.02, 0.05, 0.1, 0.15)


def random_needs(chance: random.Random, count: int) -> dict[str, tuple[str, ...]]:
    """Names and what each needs, without circles, in a random order."""
    names = [f"n{number}" for number in range(count)]
    needs = {name: tuple(chance.sample(names[:at], min(at, chance.randrange(4)))) for at, name in enumerate(names)}
    chance.shuffle(names)
    return {name: needs[name] for name in names}


class Unwilling:
    """Threads and coroutines of one test that do not listen; ``release`` lets them go, as nobody can end them."""

    def __init__(self) -> None:
        self._gate = threading.Event()
        self._released = False

    def thread(self) -> None:
        self._gate.wait(20.0)

    async def coroutine(self) -> None:
        while not self._released:
            try:
                await asyncio.sleep(hostile.FOR_EVER)
            except asyncio.CancelledError:
                await asyncio.sleep(0)

    def release(self) -> None:
        self._released = True
        self._gate.set()


async def willing() -> None:
    await asyncio.sleep(hostile.FOR_EVER)


def random_tree(chance: random.Random, unwilling: Unwilling, name: str = "tree") -> Spec[Any]:
    """A group of three to five members, each of which may be a group again, three deep at most."""
    return _group(chance, unwilling, name, 2)


def _group(chance: random.Random, unwilling: Unwilling, name: str, depth: int) -> Spec[Any]:
    kinds: list[Callable[..., Spec[Any]]] = [Concurrent, Supervisor, Supervisor, Sequential]
    kind = chance.choice(kinds)
    names = [f"{name[:1]}{number}" for number in range(chance.randint(2, 3))]
    wanted: dict[str, tuple[str, ...]] = random_needs(chance, len(names)) if chance.random() < 0.5 else {}
    members = []
    for number, member in enumerate(names):
        grouped = depth and chance.random() < 0.4
        needs = [f"{name[:1]}{each[1:]}" for each in wanted.get(f"n{number}", ())]
        options: dict[str, Any] = {"needs": needs} if kind is Supervisor and needs else {}
        spec = _group(chance, unwilling, member, depth - 1) if grouped else _leaf(chance, unwilling, member)
        members.append(spec.with_options(**options))
    return kind(*members, name=name)


def _leaf(chance: random.Random, unwilling: Unwilling, name: str) -> Spec[Any]:
    options: dict[str, Any] = {"name": name, "grace": chance.choice(GRACES), "stderr": "null"}
    local: dict[str, Any] = {"name": name, "grace": options["grace"]}
    shell = "setsid -f sleep 1000; trap '' TERM; sleep 1000 & sleep 1000"
    made: list[Callable[[], Spec[Any]]] = [
        lambda: Process(hostile.ignore_term, **options),
        lambda: Process(hostile.idle, **options),
        lambda: Process(hostile.leave_daemon, **options),
        lambda: Process(hostile.stop_itself, **options),
        lambda: Process(hostile.block_loop, **options),
        lambda: Command("sleep", "1000", **options),
        lambda: Command("sh", "-c", shell, **options),
        lambda: Thread(unwilling.thread, **local),
        lambda: Coroutine(unwilling.coroutine, **local),
        lambda: Coroutine(willing, **local),
    ]
    return chance.choice(made)()
