"""How much memory children use, each with all that comes from it.

Who belongs to a child is told by its stamp, and by descent from the helper that the child came from: two managers of one
process hand out the same stamps. A look costs one system call for each process of this machine, and for those of the child in
question a read of its resident pages. Their sum counts what they share several times, so it is an upper bound; only where it
passes the limit are the shares asked for (PSS), for which the kernel walks through all pages.

The supervisor decides when to look.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Sequence
from typing import NamedTuple

from asyncproc._runtime import kernel

PAGE = resource.getpagesize()
DEEPEST = 1000
"""Generations between a process and the helper above it, at most."""
RENEWED_AFTER = 64
"""Looks after which it is forgotten who is a stranger: a number may be given again."""


class Tree(NamedTuple):
    """A child and all that comes from it.

    Attributes:
        mark: the index of its stamp; 0: it has none, and only the process itself is seen. above: the processes that what
            belongs to it may come from, itself included. limit: bytes up to which an upper bound will do.
    """

    pid: int
    mark: int
    above: frozenset[int]
    limit: int


class Meter:
    """Reads the memory of trees."""

    def __init__(self) -> None:
        self._top, self._width = kernel.own_interval()
        self._strangers: set[int] = set()
        self._looks = 0

    def read(self, trees: Sequence[Tree]) -> list[int]:
        """Bytes that each of *trees* uses: an upper bound up to its limit, and its proportional share beyond."""
        members = self._members({tree.mark for tree in trees}) if self._width else {}
        return [_used(self._of(tree, members.get(tree.mark, ())), tree.limit) for tree in trees]

    def _of(self, tree: Tree, marked: Sequence[int]) -> list[int]:
        return [pid for pid in marked if _comes_from(pid, tree)] or [tree.pid]

    def _members(self, indices: set[int]) -> dict[int, list[int]]:
        """Who bears one of these stamps, or one that a manager among them has handed out."""
        self._looks += 1
        if self._looks % RENEWED_AFTER == 0:
            self._strangers.clear()
        found: dict[int, list[int]] = {}
        pids = {int(name) for name in os.listdir("/proc") if name.isdigit()}
        self._strangers &= pids
        for pid in pids - self._strangers:
            stamp = self._stamp_of(pid)
            if stamp >= 0 and (index := (self._top - stamp) // self._width) in indices:
                found.setdefault(index, []).append(pid)
        return found

    def _stamp_of(self, pid: int) -> int:
        """Another user's process takes long to be looked at: once. It was stamped before it became another's, if it ever is."""
        try:
            soft = resource.prlimit(pid, kernel.RLIMIT_LOCKS)[0]
        except ProcessLookupError:
            return -1
        except PermissionError:
            stamp = kernel.stamp_of(pid)
            if stamp < 0:
                self._strangers.add(pid)
            return stamp
        return -1 if soft == resource.RLIM_INFINITY else soft


def _comes_from(pid: int, tree: Tree) -> bool:
    if pid == tree.pid:
        return True
    if pid in tree.above:  # a launcher bears the stamp of a command while it starts it
        return False
    for _ in range(DEEPEST):
        pid = kernel.parent_of(pid)
        if pid in tree.above:
            return True
        if pid <= 1:
            break
    return False


def _used(pids: Sequence[int], limit: int) -> int:
    resident = sum(_pages(pid)[0] for pid in pids) * PAGE
    return resident if resident <= limit else sum(map(_share, pids))


def _pages(pid: int) -> tuple[int, int]:
    """Resident pages of a process, and how many of them others may have as well."""
    try:
        with open(f"/proc/{pid}/statm", "rb", buffering=0) as file:
            _, resident, shared, *_ = file.read().split()
    except OSError:  # it has ended
        return 0, 0
    return int(resident), int(shared)


def _share(pid: int) -> int:
    """Bytes of a process's proportional share; where that is not to be read, of what is surely its own."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb", buffering=0) as file:
            for line in file.read().splitlines():
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    except OSError:  # it has ended, or is another user's
        pass
    resident, shared = _pages(pid)
    return (resident - shared) * PAGE
