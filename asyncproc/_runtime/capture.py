"""A child's output as the manager keeps it: always drained, bounded, the last bytes at hand.

The child never waits for us: what does not fit into the ring pushes out what is oldest, and is counted.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable

RING = 1 << 20
READ_SIZE = 1 << 16
TAIL_LINES = 20
TAIL_BYTES = 4096


class Capture:
    """One stream of one child.

    Args:
        loop: the manager's loop.
        size: bytes that are kept; what is older is dropped and counted.
        on_data: told of each piece, as it comes.
    """

    __slots__ = ("_chunks", "_fd", "_held", "_listeners", "_loop", "_on_data", "_size", "dropped")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, size: int = RING, on_data: Callable[[bytes], None] | None = None
    ) -> None:
        self._loop = loop
        self._size = size
        self._on_data = on_data
        self._chunks: deque[bytes] = deque()
        self._held = 0
        self.dropped = 0
        self._fd: int | None = None
        self._listeners: list[Callable[[bytes], None]] | None = None

    def subscribe(self, callback: Callable[[bytes], None]) -> Callable[[], None]:
        """Call *callback* with what is kept, and then with each piece as it comes; what is returned ends that."""
        if self._listeners is None:
            self._listeners = []
        listeners = self._listeners
        listeners.append(callback)
        if self._chunks:
            callback(self.data)

        def unsubscribe() -> None:
            if callback in listeners:
                listeners.remove(callback)

        return unsubscribe

    def open(self) -> int:
        """Make the pipe; returns the end that is the child's, to be closed by the caller."""
        self._fd, theirs = os.pipe()
        os.set_blocking(self._fd, False)
        self._loop.add_reader(self._fd, self._readable)
        return theirs

    def _readable(self) -> None:
        self._read()

    def _read(self) -> bool:
        if self._fd is None:
            return False
        try:
            data = os.read(self._fd, READ_SIZE)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self.close()
            return False
        self._keep(data)
        return True

    def _keep(self, data: bytes) -> None:
        self._chunks.append(data)
        self._held += len(data)
        while self._held > self._size:
            excess = self._held - self._size
            first = self._chunks[0]
            lost = min(excess, len(first))
            if lost == len(first):
                self._chunks.popleft()
            else:
                self._chunks[0] = first[lost:]
            self._held -= lost
            self.dropped += lost
        if self._on_data is not None:
            self._on_data(data)
        for callback in list(self._listeners or ()):
            callback(data)

    def drain(self) -> None:
        """Take what is there now, at most a ring full; a grandchild may go on writing."""
        budget = max(self._size, READ_SIZE) // 4096
        while budget and self._read():
            budget -= 1

    @property
    def data(self) -> bytes:
        return b"".join(self._chunks)

    @property
    def ended(self) -> bool:
        return self._fd is None

    def tail(self) -> str:
        """The last lines, as text."""
        data = b""
        for chunk in reversed(self._chunks):
            data = chunk + data
            if len(data) >= TAIL_BYTES:
                break
        text = data[-TAIL_BYTES:].decode("utf-8", "backslashreplace")
        return "".join(text.splitlines(keepends=True)[-TAIL_LINES:])

    def close(self) -> None:
        """Stop reading; what was kept stays."""
        if self._fd is not None:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = None
