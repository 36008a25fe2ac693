"""The manager's end of a child's channel: frames over a socket, by the loop's readers and writers.

One code path on asyncio and uvloop: ``add_reader`` and ``add_writer`` on the raw descriptor, all complete frames of one read
handled together. Writing never blocks: what the socket does not take waits here, control before values.
"""

from __future__ import annotations

import marshal
import socket
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from asyncproc._ipc.frame import CONTROL, SPAWN, FrameReader, frame, split
from asyncproc.errors import DecodeError

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

READ_SIZE = 1 << 16


class Channel:
    """Ordered messages between the manager and one child.

    Args:
        loop: the manager's loop.
        sock: our end of the pair; owned by the channel.
        on_frame: called with kind and body of each frame, in order.
        on_end: called once, when the peer has gone or sent what is no frame (then with the error).
    """

    __slots__ = (
        "_control",
        "_fd",
        "_fds",
        "_loop",
        "_on_end",
        "_on_frame",
        "_reader",
        "_rest",
        "_socket",
        "_values",
        "_writing",
    )

    def __init__(
        self,
        loop: AbstractEventLoop,
        sock: socket.socket,
        on_frame: Callable[[int, bytes], None],
        on_end: Callable[[DecodeError | None], None],
    ) -> None:
        self._loop = loop
        self._socket: socket.socket | None = sock
        self._fd = sock.fileno()
        self._on_frame = on_frame
        self._on_end = on_end
        self._reader = FrameReader()
        self._control: deque[bytes] = deque()
        self._values: deque[Iterator[bytes]] = deque()
        self._rest: bytes | memoryview = b""
        self._fds: list[int] = []
        self._writing = False
        sock.setblocking(False)
        loop.add_reader(self._fd, self._on_readable)

    # --- writing ------------------------------------------------------------------------------------------------------

    def spawn(self, description: bytes, fds: list[int]) -> None:
        """Send the first message of all, with the descriptors of the child's streams, which stay the caller's."""
        self._values.append(split(SPAWN, description))
        self._fds = fds
        self._flush()

    def control(self, *message: Any) -> None:
        """Send a control message; it overtakes values that wait. The child trusts its manager, hence marshal."""
        self._control.append(frame(CONTROL, marshal.dumps(message)))
        self._flush()

    def value(self, kind: int, body: bytes) -> None:
        """Send a value, in parts when it is large."""
        self._values.append(split(kind, body))
        self._flush()

    def _flush(self) -> None:
        if self._writing or self._socket is None:
            return
        while chunk := self._next_chunk():
            try:
                sent = self._send(chunk)
            except (BlockingIOError, InterruptedError):
                self._rest = chunk
                self._writing = True
                self._loop.add_writer(self._fd, self._on_writable)
                return
            except OSError:  # the peer is gone; the reader will say so, after what is still to be read
                self._control.clear()
                self._values.clear()
                self._rest = b""
                return
            self._rest = memoryview(chunk)[sent:] if sent < len(chunk) else b""

    def _send(self, chunk: bytes | memoryview) -> int:
        assert self._socket is not None
        if not self._fds:
            return self._socket.send(chunk)
        sent = socket.send_fds(self._socket, [chunk], self._fds)
        self._fds = []
        return sent

    def _next_chunk(self) -> bytes | memoryview:
        if self._rest:
            return self._rest
        if self._control:
            return self._control.popleft()
        while self._values:
            for part in self._values[0]:
                return part
            self._values.popleft()
        return b""

    def _on_writable(self) -> None:
        self._writing = False
        self._loop.remove_writer(self._fd)
        self._flush()

    # --- reading ------------------------------------------------------------------------------------------------------

    def _on_readable(self) -> None:
        self._read()

    def drain(self) -> None:
        """Handle every complete frame that has arrived; a child that has ended will send no more."""
        while self._socket is not None and self._read():
            pass

    def _read(self) -> bool:
        """Handle one read's frames; False when nothing was there, or the end."""
        if self._socket is None:
            return False
        try:
            data = self._socket.recv(READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            data = b""
        if not data:
            self._end(None)
            return False
        try:
            frames = self._reader.feed(data)
        except DecodeError as error:
            self._end(error)
            return False
        for kind, body in frames:
            self._on_frame(kind, body)
        return True

    def _end(self, error: DecodeError | None) -> None:
        self.close()
        self._on_end(error)

    def close(self) -> None:
        """Let go of the socket; what waits to be written is dropped."""
        if self._socket is None:
            return
        self._loop.remove_reader(self._fd)
        if self._writing:
            self._loop.remove_writer(self._fd)
        self._socket.close()
        self._socket = None
