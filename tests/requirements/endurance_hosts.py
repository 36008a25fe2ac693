"""Hosts that hold many, or go round often, and tell in JSON what it cost: ``python endurance_hosts.py NAME COUNT [portable]``.

Programs of their own: memory and descriptors are those of a manager, and of nothing else.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import signal
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from asyncproc import Backoff, Command, Concurrent, Coroutine, Handle, Manager, Process, State, Supervisor, current
from asyncproc._supervision.below import ENDED_KEPT
from asyncproc.testing import hostile
from tests import portable
from tests.faults.harness import helpers_of
from tests.requirements.core_selection import answer
from tests.requirements.embedding_hosts import say

COUNT = int(sys.argv[2]) if len(sys.argv) > 2 else 0
IDLE_SECONDS = 1.0


def pages_of(pid: int | str) -> int:
    """Bytes that are a process's own."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(line.split()[1]) << 10 for line in text.splitlines() if line.startswith(("Private_Dirty", "Private_Clean")))


def trimmed(pid: int | str = "self") -> int:
    """The same of this process, less what it has given back already, as far as the allocator knows."""
    gc.collect()
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    return pages_of(pid)


def fds(pid: int | str = "self") -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def helpers() -> list[int]:
    return [pid for pids in helpers_of(os.getpid()).values() for pid in pids]


def cpu_of(*pids: int) -> float:
    return sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in pids) / 1e9


# --- R80 ---------------------------------------------------------------------------------------------------------------


async def holds_in_supervisor() -> None:
    await _hold(Supervisor, {"limit": None})


async def holds_in_concurrent() -> None:
    await _hold(Concurrent, {})


async def _hold(group: Any, options: dict[str, Any]) -> None:
    """Start, hold and stop so many commands; first ten of them, for all that is loaded and made once."""
    async with Manager(spares=0) as warm:
        handle = await warm.start(_tree(group, 10, options))
        await handle.stop()
    async with Manager(spares=0) as manager:
        await manager.run(Command("true"))
        own, open_before = trimmed(), fds()
        begun = time.perf_counter()
        tree = await manager.start(_tree(group, COUNT, options))
        started = time.perf_counter() - begun
        assert isinstance(tree, Handle)
        pids = {child.pid for child in tree.children}  # type: ignore[attr-defined]  # it is a group
        cost, opened = trimmed() - own, fds() - open_before
        watched = [os.getpid(), *helpers()]
        before = cpu_of(*watched)
        await asyncio.sleep(IDLE_SECONDS)
        idle = (cpu_of(*watched) - before) / IDLE_SECONDS
        bound = manager.stop_bound
        begun = time.perf_counter()
        report = await manager.stop()
        say(
            "done", children=len(pids), start=started, stop=time.perf_counter() - begun, bound=bound, idle=idle,
            fds=opened / COUNT, memory=cost / COUNT, left=len(report.left), fds_after=fds() - open_before,
        )  # fmt: skip


def _tree(group: Any, count: int, options: dict[str, Any]) -> Any:
    return group(*(Command("sleep", "1000", name=f"c{number}") for number in range(count)), grace=5.0, **options)


# --- R81 ---------------------------------------------------------------------------------------------------------------


class Trace:
    """What a manager and its helpers have, to be compared."""

    def __init__(self) -> None:
        self.helpers = helpers()
        gc.collect()
        self.facts: dict[str, Any] = {
            "fds": fds(),
            "tasks": len(asyncio.all_tasks()),
            "threads": threading.active_count(),
            "zombies": _zombies(os.getpid(), *self.helpers),
            "shared memory": sorted(os.listdir("/dev/shm")),
            "fds of helpers": [fds(pid) for pid in self.helpers],
            "helpers": self.helpers,
        }
        self.memory = trimmed()
        self.memory_of_helpers = [pages_of(pid) for pid in self.helpers]

    def growth(self, before: Trace) -> dict[str, Any]:
        changed = {name: [before.facts[name], value] for name, value in self.facts.items() if before.facts[name] != value}
        of_helpers = [now - then for now, then in zip(self.memory_of_helpers, before.memory_of_helpers, strict=True)]
        return {"changed": changed, "memory": self.memory - before.memory, "of_helpers": of_helpers}


def _zombies(*parents: int) -> int:
    found = 0
    for parent in parents:
        for file in Path(f"/proc/{parent}/task").glob("*/children"):
            for pid in file.read_text().split():
                with suppress(OSError):
                    found += Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return found


def fail() -> None:
    raise ValueError("its own")


async def _round(manager: Manager, number: int) -> None:
    """Ten of them: each kind, each way to end."""
    starts = [manager.run(Process(hostile.return_it, number)) for _ in range(4)]
    commands = [manager.run(Command("true")) for _ in range(2)]
    await asyncio.gather(*starts, *commands, manager.run(Coroutine(answer)))
    handle = await manager.start(Process(hostile.idle, grace=0.0))
    await handle.stop()
    with suppress(ValueError):
        await manager.run(Process(fail))
    command = await manager.start(Command("sleep", "1000"))
    await command.stop()


KEPT_ROUNDS = ENDED_KEPT // 2 + 20
"""After so many rounds a manager keeps as many ended nodes, to be asked about, as it ever will."""


async def cycles() -> None:
    forgets = COUNT // 10 < KEPT_ROUNDS
    async with Manager(spares=0) as manager:
        for number in range(20 if forgets else KEPT_ROUNDS):
            await _round(manager, number)
        if forgets:
            manager.forget_ended()
        before = Trace()
        begun = time.perf_counter()
        for number in range(COUNT // 10):
            await _round(manager, number)
            if forgets:
                manager.forget_ended()
        took = time.perf_counter() - begun
        await manager.run(Command("true"))
        say("done", seconds=took, **Trace().growth(before))


WARM = 300
"""Restarts before anything is counted: more than the exits that a limit of restarts remembers, if there is one."""


async def restarts() -> None:
    await _flap(Process(flap_until, WARM, WARM + COUNT, name="flaps", stderr="null"))


async def restarts_of_a_command() -> None:
    file = tempfile.NamedTemporaryFile(suffix=".flaps")
    counts = (
        f"echo >> {file.name}; n=$(wc -l < {file.name}); [ $n = {WARM} ] || [ $n = {WARM + COUNT} ] || exit 3; exec sleep 1000"
    )
    await _flap(Command("sh", "-c", counts, name="flaps"))


def flap_until(*stays: int) -> None:
    """End badly at once, but for these incarnations."""
    if current().incarnation not in stays:
        os._exit(3)
    hostile.tell_and_idle()


async def _flap(spec: Any) -> None:
    import logging

    logging.getLogger("asyncproc").setLevel(logging.CRITICAL)
    async with Manager(Supervisor(spec, backoff=Backoff(0.0), intensity=None, grace=0.3), spares=0) as manager:
        flaps = manager.find("flaps")
        await flaps.wait_for(incarnation=WARM, state=State.RUNNING)
        before = Trace()
        begun = time.perf_counter()
        os.kill(flaps.pid or 0, signal.SIGKILL)
        await flaps.wait_for(incarnation=WARM + COUNT, state=State.RUNNING)
        took = time.perf_counter() - begun
        say("done", seconds=took, incarnation=flaps.incarnation, **Trace().growth(before))


HOSTS = {host.__name__: host for host in (holds_in_supervisor, holds_in_concurrent, cycles, restarts, restarts_of_a_command)}

if __name__ == "__main__":
    if "portable" in sys.argv:
        portable.make_default()
    asyncio.run(HOSTS[sys.argv[1]]())
