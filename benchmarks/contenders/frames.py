"""Length-prefixed pickles on a bare socket: the floor of any channel. No errors, no back-pressure beyond the socket's own."""

import asyncio
import pickle
import socket
import struct
from collections import deque
from typing import Any

_LENGTH = struct.Struct("<I")
_scratch = bytearray(256 * 1024)  # one for all: a fresh buffer of this size is an mmap and a munmap per read


def write(channel: socket.socket, value: object) -> None:
    """Send one value, blocking."""
    body = pickle.dumps(value, 5)
    channel.sendall(_LENGTH.pack(len(body)) + body)


def read(channel: socket.socket) -> Any:
    """Receive one value, blocking; EOFError at the end."""
    (size,) = _LENGTH.unpack(_read_exactly(channel, _LENGTH.size))
    return pickle.loads(_read_exactly(channel, size))


class AsyncFrames:
    """The parent's end, on add_reader and add_writer.

    `ended` resolves at end-of-file, which is when the child has closed its end, at the latest by its death.
    """

    def __init__(self, channel: socket.socket) -> None:
        channel.setblocking(False)
        self._channel = channel
        self._loop = asyncio.get_running_loop()
        self._partial = bytearray()
        self._values: deque[Any] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._unsent = bytearray()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(channel.fileno(), self._on_readable)

    def send(self, value: object) -> None:
        """Send one value at once; what the socket does not take is kept."""
        body = pickle.dumps(value, 5)
        header = _LENGTH.pack(len(body))
        if self._unsent:
            self._unsent += header + body
            return
        try:
            sent = self._channel.sendmsg([header, body])
        except BlockingIOError:
            sent = 0
        if sent < len(header) + len(body):
            self._unsent += (header + body)[sent:]
            self._loop.add_writer(self._channel.fileno(), self._on_writable)

    async def receive(self) -> Any:
        """Await one value; EOFError at the end."""
        while not self._values:
            if self.ended.done():
                raise EOFError
            self._waiter = self._loop.create_future()
            await self._waiter
        return self._values.popleft()

    def close(self) -> None:
        """Close the socket; the child sees end-of-file."""
        if self._channel.fileno() >= 0:
            self._loop.remove_reader(self._channel.fileno())
            self._loop.remove_writer(self._channel.fileno())
            self._channel.close()

    def shut(self) -> None:
        """Let the child see end-of-file, and go on listening for its end."""
        if not self.ended.done():
            self._channel.shutdown(socket.SHUT_WR)

    def _on_readable(self) -> None:
        try:
            size = self._channel.recv_into(_scratch)
        except BlockingIOError:
            return
        except ConnectionResetError:
            size = 0
        if not size:
            self._loop.remove_reader(self._channel.fileno())
            self.ended.set_result(None)
        with memoryview(_scratch)[:size] as fresh:
            if self._partial:
                self._partial += fresh
                with memoryview(self._partial) as joined:
                    taken = self._take_frames(joined)
                del self._partial[:taken]
            else:
                self._partial += fresh[self._take_frames(fresh) :]
        if self._waiter is not None and not self._waiter.done() and (self._values or not size):
            self._waiter.set_result(None)

    def _take_frames(self, data: memoryview) -> int:
        """Decode all complete frames; the number of bytes that they took."""
        start = 0
        while len(data) - start >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(data, start)
            end = start + _LENGTH.size + size
            if len(data) < end:
                break
            with data[start + _LENGTH.size : end] as body:
                self._values.append(pickle.loads(body))
            start = end
        return start

    def _on_writable(self) -> None:
        try:
            del self._unsent[: self._channel.send(self._unsent)]
        except BlockingIOError:
            return
        if not self._unsent:
            self._loop.remove_writer(self._channel.fileno())


def _read_exactly(channel: socket.socket, size: int) -> bytes:
    data = channel.recv(size, socket.MSG_WAITALL)
    if len(data) < size:
        raise EOFError
    return data
