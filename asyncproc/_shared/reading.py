"""The reader's end of a board in another process; its theory is told in :mod:`asyncproc._shared.board`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeAlias

from asyncproc._core.fields import Fields
from asyncproc._ipc.frame import NAMESPACE

if TYPE_CHECKING:
    from typing import Protocol

    class Asks(Protocol):
        """The part of a line that this package needs; see :class:`asyncproc._spec.current.Line`."""

        @property
        def stopping(self) -> bool: ...
        async def ask(self, service: int, question: object) -> Any: ...
        def ask_blocking(self, service: int, question: object, timeout: float | None) -> Any: ...
        def ask_at_once(self, service: int, question: object) -> Any: ...
        def ask_nowait(self, service: int, question: object) -> None: ...


Where: TypeAlias = tuple[str, int]
"""The path of the memory, and its inode: a descriptor's number may be somebody else's by now."""


def find_board(where: Where | None) -> MappedBoard | None:
    """The board that a manager has told of; None where it cannot be opened (another user's process, no memory)."""
    if where is None:
        return None
    try:
        return MappedBoard(where)
    except OSError:
        return None


class MappedBoard:
    """Shared memory. Looking whether something has changed is one load from it; only what has changed is read."""

    def __init__(self, where: Where) -> None:
        import mmap

        path, inode = where
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if os.fstat(self._fd).st_ino != inode:
                raise FileNotFoundError(f"{path} is another file by now")
            self._words = memoryview(mmap.mmap(self._fd, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ)).cast("Q")
        except BaseException:
            os.close(self._fd)
            raise

    def read(self, known: Fields | None) -> Fields | None:
        """The picture of now; *known* itself while nothing has changed; None when there is nothing to be read any more."""
        words = self._words
        while version := words[0]:
            if known is not None and version == known.version:
                return known
            found = self._read(version, known)
            if found is not None:
                return found
        return None

    def _read(self, version: int, known: Fields | None) -> Fields | None:
        """The picture of one version; None when it was overwritten meanwhile."""
        import marshal

        slot = version & 1
        raw = self._bytes(self._words[2 + 2 * slot], self._words[3 + 2 * slot])
        if self._words[1] > version + 1:
            return None
        before: Any = {} if known is None else known.table
        table: dict[str, tuple[int, bytes]] = {}
        for name, (changed, offset, length) in marshal.loads(raw).items():
            old = before.get(name)
            table[name] = old if old is not None and old[0] == changed else (changed, self._bytes(offset, length))
        return None if self._words[1] > version + 1 else Fields(version, table)

    def _bytes(self, offset: int, length: int) -> bytes:
        data = os.pread(self._fd, length, offset)
        while len(data) < length and (more := os.pread(self._fd, length - len(data), offset + len(data))):
            data += more
        return data


class AskedBoard:
    """No memory: every look is a question."""

    def __init__(self, line: Asks) -> None:
        self._line = line

    def read(self, known: Fields | None) -> Fields:
        """The picture of now; *known* itself while nothing has changed."""
        before: Any = {} if known is None else known.table
        question = ("read", {name: version for name, (version, _) in before.items()})
        version, found = self._line.ask_at_once(NAMESPACE, question)
        if known is not None and version == known.version:
            return known
        return Fields(version, {name: before[name] if data is None else (at, data) for name, (at, data) in found.items()})
