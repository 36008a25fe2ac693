"""What /proc says about processes: memory, switches, CPU, descriptors, threads, descendants, and whether they are gone."""

import asyncio
import os
import time
from collections.abc import Iterable
from pathlib import Path

from benchmarks.harness.contract import WrongWork


def memory(pid: int) -> tuple[int, int]:
    """(private, proportional) memory of a process in bytes."""
    sizes = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]:
        key, value = line.split()[:2]
        sizes[key] = int(value) * 1024
    return sizes["Private_Clean:"] + sizes["Private_Dirty:"], sizes["Pss:"]


def state(pid: int) -> str:
    """The state letter of a process; "" when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def is_alive(pid: int) -> bool:
    """Whether a process runs: it is there, and neither a zombie nor being reaped."""
    return state(pid) not in ("", "Z", "X")


def voluntary_switches(pid: int) -> int:
    """How often the threads of a process went to sleep of their own accord."""
    total = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        for line in status.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                total += int(line.split()[1])
    return total


def cpu_seconds(pid: int) -> float:
    """CPU time of all threads of a process, from the scheduler's own count."""
    return sum(int(file.read_text(encoding="ascii").split()[0]) for file in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def descriptors(pid: int) -> int:
    """Number of open descriptors."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def threads(pid: int) -> int:
    """Number of threads."""
    return len(os.listdir(f"/proc/{pid}/task"))


def descendants(pid: int, leave_out: Iterable[int] = ()) -> list[int]:
    """All processes below *pid*, but those in *leave_out* and what is below them."""
    skipped = set(leave_out)
    found: list[int] = []
    pending = [pid]
    while pending:
        for child in _children(pending.pop()):
            if child not in skipped:
                found.append(child)
                pending.append(child)
    return found


def pin(pid: int, cpus: set[int]) -> None:
    """Let all threads of a process run on *cpus* only."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        os.sched_setaffinity(int(thread), cpus)


async def check_gone(pids: Iterable[int], within: float = 2.0) -> None:
    """Raise WrongWork if a process is still there, even as a zombie, *within* seconds from now."""
    deadline = time.monotonic() + within
    left = [pid for pid in pids if state(pid)]
    while left and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
        left = [pid for pid in left if state(pid)]
    if left:
        raise WrongWork(f"{len(left)} children are still there after {within:g} s, such as {left[0]} in state {state(left[0])}")


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, file.read_text(encoding="ascii").split())
        except (FileNotFoundError, ProcessLookupError):
            continue  # the thread ended since it was listed
    return found
