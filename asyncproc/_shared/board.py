"""Where the truth can be read without asking: in this process as it is, in others as shared memory.

The theory of the memory: one writer, the manager, who never waits; any number of readers, who never block him. Word 0 is the
version that can be read, word 1 the one whose writing has begun. Every version has its table of fields at a place that words
2 and 3 (even versions) or 4 and 5 (odd ones) tell, and every field two areas which are used in turn: what is written for
version n + 1 touches nothing that version n refers to. So whoever has read version n has read well if writing n + 2 had not
begun when he was done; else he reads again. A writer that died or was stopped in the middle is noticed by nobody.

The memory is anonymous, made when the first process asks for it, and found by its descriptor below ``/proc``: children that
never look at the state are handed nothing. Where it cannot be had, a reader is told so, and asks (:class:`AskedBoard`).
"""

from __future__ import annotations

import marshal
import mmap
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from asyncproc._core.fields import Fields

if TYPE_CHECKING:
    from asyncproc._shared.reading import Where

PAGE = 4096
SMALLEST = 64
"""Bytes of the smallest area; the others are powers of two."""


class Board:
    """The picture of now, replaced as a whole by each change.

    In the manager's process it is read by any thread; pickled, it becomes the way to its shared memory.
    """

    def __init__(self, fields: Fields) -> None:
        self.fields = fields
        self._memory: Memory | None = None

    def read(self, known: Fields | None) -> Fields:
        """The picture of now; *known* itself while nothing has changed."""
        return self.fields

    def publish(self, fields: Fields) -> None:
        """Replace the picture by one that is a version newer."""
        self.fields = fields
        if self._memory is not None:
            try:
                self._memory.write(fields)
            except OSError:  # no memory left: its readers ask instead
                self.close()

    def where(self) -> Where | None:
        """How other processes find the shared memory, made if need be; None where there is none to be had."""
        if self._memory is None:
            try:
                self._memory = Memory(self.fields)
            except (OSError, AttributeError):  # no descriptors, or no Linux
                return None
        return self._memory.where

    def close(self) -> None:
        """Let go of the memory; readers that are left ask."""
        memory, self._memory = self._memory, None
        if memory is not None:
            memory.close()

    def __reduce__(self) -> tuple[object, ...]:
        from asyncproc._shared.reading import find_board

        return find_board, (self.where(),)


class Memory:
    """The writer's end of the shared memory."""

    def __init__(self, fields: Fields) -> None:
        self._fd = os.memfd_create("asyncproc namespace", os.MFD_CLOEXEC)
        try:
            os.ftruncate(self._fd, PAGE)
            self._map = mmap.mmap(self._fd, PAGE)
        except BaseException:
            os.close(self._fd)
            raise
        self._words = memoryview(self._map).cast("Q")
        self.where = (f"/proc/{os.getpid()}/fd/{self._fd}", os.fstat(self._fd).st_ino)
        self._end = PAGE
        self._free: dict[int, list[int]] = {}  # offsets, by size
        self._next_free: list[tuple[int, int]] = []  # what the present version is the last to refer to
        self._areas: dict[str, list[tuple[int, int]]] = {}  # of each field: the one in use, and the other
        self._tables = [(0, 0), (0, 0)]
        self._written: dict[str, tuple[int, int, int]] = {}
        try:
            self.write(fields)
        except BaseException:
            self.close()
            raise

    def write(self, fields: Fields) -> None:
        """Write a version, one newer than the last."""
        self._words[1] = fields.version
        for offset, size in self._next_free:
            self._free.setdefault(size, []).append(offset)
        self._next_free = []
        for name in [name for name in self._written if name not in fields.table]:
            del self._written[name]
            used, other = self._areas.pop(name)
            self._release(other)
            self._next_free.append(used)
        for name, (version, data) in fields.table.items():
            if name not in self._written or self._written[name][0] != version:
                self._write_field(name, version, data)
        slot = fields.version & 1
        table = marshal.dumps(self._written)
        self._tables[slot] = self._put(self._tables[slot], table)
        self._words[2 + 2 * slot] = self._tables[slot][0]
        self._words[3 + 2 * slot] = len(table)
        self._words[0] = fields.version

    def _write_field(self, name: str, version: int, data: bytes) -> None:
        used, other = self._areas.get(name, ((0, 0), (0, 0)))
        other = self._put(other, data)
        self._areas[name] = [other, used]
        self._written[name] = (version, other[0], len(data))

    def _put(self, area: tuple[int, int], data: bytes) -> tuple[int, int]:
        """Write into an area that nobody refers to, or into a larger one."""
        if len(data) > area[1]:
            self._release(area)
            area = self._take(max(SMALLEST, 1 << (len(data) - 1).bit_length()))
        written = 0
        while written < len(data):
            written += os.pwrite(self._fd, memoryview(data)[written:], area[0] + written)
        return area

    def _take(self, size: int) -> tuple[int, int]:
        if self._free.get(size):
            return self._free[size].pop(), size
        offset, self._end = self._end, self._end + size
        os.ftruncate(self._fd, self._end)
        return offset, size

    def _release(self, area: tuple[int, int]) -> None:
        if area[1]:
            self._free.setdefault(area[1], []).append(area[0])

    def close(self) -> None:
        self._words[0] = 0
        self._words.release()
        self._map.close()
        with suppress(OSError):
            os.close(self._fd)
