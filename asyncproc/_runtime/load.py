"""How loaded the machine is, as far as this process may use it: cheap readings of now, elsewhere than on Linux psutil's.

In a container the machine is not what counts. Of this process's own control group, and of each above it that can be seen, what
is limited is read as well, and the tightest decides. Both versions are read, as they stand: nothing is written, nothing asked
for. Processors that this process may not run on do not count.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

LINUX = sys.platform == "linux"
ENDLESS = 1 << 60
"""Bytes that a limit of version 1 exceeds where there is none."""

Reader: TypeAlias = Callable[[], float | None]


def readers(disk: str | None) -> dict[str, Reader]:
    """What tells the shares of processors, memory, and of the file system that holds *disk*."""
    found: dict[str, Reader] = {"cpu": Processors().share, "memory": memory_share}
    if disk is not None:
        found["disk"] = lambda: disk_share(disk)
    return found


class Groups(NamedTuple):
    """The control groups of this process for one controller, its own first, then those above. *version*: 1 or 2."""

    version: int
    folders: list[str]


def groups_of(controller: str, cgroups: str, mounts: str) -> Groups:
    """Where limits of a controller may stand.

    Args:
        cgroups, mounts: ``/proc/self/cgroup`` and ``/proc/self/mountinfo``.
    """
    paths = {
        name: path for line in cgroups.splitlines() for _, names, path in [line.split(":", 2)] for name in names.split(",")
    }
    for line in mounts.splitlines():
        mount, _, kind = line.partition(" - ")
        root, place = mount.split()[3:5]
        if kind.startswith("cgroup ") and controller in kind.split()[-1].split(",") and controller in paths:
            return Groups(1, _upwards(place, root, paths[controller]))
    for line in mounts.splitlines():
        mount, _, kind = line.partition(" - ")
        if kind.startswith("cgroup2 ") and "" in paths:
            root, place = mount.split()[3:5]
            return Groups(2, _upwards(place, root, paths[""]))
    return Groups(2, [])


def _upwards(place: str, root: str, path: str) -> list[str]:
    """The folders from a group up to where the hierarchy is mounted; of one that is not to be seen there, that mount alone."""
    if root != "/":
        path = path.removeprefix(root) if path == root or path.startswith(root + "/") else "/"
    parts = [part for part in path.split("/") if part and part != ".."]
    return ["/".join([place, *parts[:count]]) for count in range(len(parts), -1, -1)]


def own_groups(controller: str) -> Groups:
    """Those of this process; none where there are none."""
    try:
        return groups_of(controller, _text("/proc/self/cgroup"), _text("/proc/self/mountinfo"))
    except OSError:
        return Groups(2, [])


# --- memory -----------------------------------------------------------------------------------------------------------------


def memory_share() -> float | None:
    """What is taken of the memory: the machine's, or a limit's that is nearer."""
    shares = list(group_memory(own_groups("memory")))
    if LINUX:
        told = dict(_told("/proc/meminfo"))
        shares.append(1 - told["MemAvailable:"] / told["MemTotal:"])
    else:
        import psutil  # type: ignore[import-untyped]  # it has no types

        shares.append(psutil.virtual_memory().percent / 100)
    return max(shares)


def group_memory(groups: Groups) -> Iterator[float]:
    """The share of each limit that is set; pages of files that can be dropped at once do not count."""
    limit_file, used_file, dropped = (
        ("memory.max", "memory.current", "inactive_file")
        if groups.version == 2
        else ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    )
    for folder in groups.folders:
        try:
            limit = int(_text(f"{folder}/{limit_file}"))
            if 0 < limit < ENDLESS:
                free = dict(_told(f"{folder}/memory.stat")).get(dropped, 0)
                yield max(0, int(_text(f"{folder}/{used_file}")) - free) / limit
        except (OSError, ValueError):  # not there, or "max"
            pass


# --- processors -------------------------------------------------------------------------------------------------------------


class Processors:
    """Reads what was used since the last reading."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, float]] = {}
        self.share()

    def share(self) -> float | None:
        """Of the time that we could have had, how much somebody did; None when no time has passed."""
        now = {"machine": _machine_time(), **dict(group_time(own_groups("cpu"), own_groups("cpuacct"), time.monotonic()))}
        last, self._last = self._last, now
        shares = [
            (used - last[name][0]) / (had - last[name][1])
            for name, (used, had) in now.items()
            if name in last and had > last[name][1]
        ]
        return min(1.0, max(0.0, *shares)) if shares else None


def _machine_time() -> tuple[float, float]:
    """Time used, and time that there was, on those processors that this process may run on."""
    if not LINUX:
        import psutil

        times = psutil.cpu_times()
        total = sum(times)
        return total - times.idle, total
    ours = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    used = had = 0
    for line in _text("/proc/stat").splitlines():
        name, _, rest = line.partition(" ")
        if name in ours:
            user, nice, system, idle, wait, *others = map(int, rest.split()[:8])
            busy = user + nice + system + sum(others)
            used, had = used + busy, had + busy + idle + wait
    return used, had


def group_time(groups: Groups, accounts: Groups, now: float) -> Iterator[tuple[str, tuple[float, float]]]:
    """The same of each group with a quota, in seconds of processors.

    Args:
        accounts: where version 1 keeps the books. now: monotonic seconds.
    """
    for depth, folder in enumerate(groups.folders):
        try:
            if groups.version == 2:
                quota, period = _text(f"{folder}/cpu.max").split()
                used = dict(_told(f"{folder}/cpu.stat"))["usage_usec"] / 1e6
            else:
                quota, period = _text(f"{folder}/cpu.cfs_quota_us"), _text(f"{folder}/cpu.cfs_period_us")
                used = int(_text(f"{accounts.folders[depth]}/cpuacct.usage")) / 1e9
            if (share := int(quota) / int(period)) > 0:
                yield folder, (used, now * share)
        except (OSError, ValueError, KeyError, IndexError):  # not there, or "max"
            pass


# --- disk -------------------------------------------------------------------------------------------------------------------


def disk_share(path: str) -> float | None:
    """What is taken of a file system, as df tells it: of what is not kept back for root."""
    if not hasattr(os, "statvfs"):
        import psutil

        return float(psutil.disk_usage(path).percent) / 100
    try:
        found = os.statvfs(path)
    except OSError:
        return None
    used = found.f_blocks - found.f_bfree
    return used / (used + found.f_bavail) if used + found.f_bavail else None


def _text(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def _told(path: str) -> Iterator[tuple[str, int]]:
    """Names and numbers of a file that has one of each in a line."""
    for line in _text(path).splitlines():
        name, number, *_ = line.split()
        yield name, int(number)
