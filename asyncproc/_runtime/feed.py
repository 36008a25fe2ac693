"""A child's standard input as a pipe that the manager writes to: a child that does not read makes the writer wait."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress


class Feed:
    """The pipe of one child.

    Args:
        loop: the manager's loop. path: the child's node, for errors.
    """

    __slots__ = ("_fd", "_loop", "_path", "_room", "_turn")

    def __init__(self, loop: asyncio.AbstractEventLoop, path: str) -> None:
        self._loop = loop
        self._path = path
        self._fd: int | None = None
        self._turn = asyncio.Lock()
        self._room: asyncio.Future[None] | None = None

    def open(self) -> int:
        """Make the pipe; returns the end that is the child's, to be closed by the caller."""
        theirs, self._fd = os.pipe()
        os.set_blocking(self._fd, False)
        return theirs

    async def write(self, data: bytes) -> None:
        """Hand over all of it, after what others write; waits while the pipe is full.

        Raises:
            BrokenPipeError: nobody will read it: the child has closed its input, or has ended.
        """
        left = memoryview(data)
        async with self._turn:
            while left:
                if not (size := self._write(left)):
                    await self._wait_room()
                left = left[size:]
                await asyncio.sleep(0)  # a child that reads fast must not keep all others waiting

    def _write(self, data: memoryview) -> int:
        if self._fd is None:
            raise BrokenPipeError(f"node {self._path}: its standard input is closed")
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            return 0
        except OSError as error:
            self.close()
            raise BrokenPipeError(error.errno, f"node {self._path}: nobody reads its standard input any more") from None

    async def _wait_room(self) -> None:
        assert self._fd is not None
        fd = self._fd
        self._room = room = self._loop.create_future()
        self._loop.add_writer(fd, _wake, room)
        try:
            await room
        finally:
            if self._fd == fd:
                self._loop.remove_writer(fd)
            self._room = None

    async def write_eof(self) -> None:
        """Let the child come to the end of its input, after what was written before."""
        async with self._turn:
            self.close()

    def close(self) -> None:
        """End it now; who waits to write gets BrokenPipeError."""
        if self._fd is None:
            return
        with suppress(RuntimeError):  # the loop is closed
            self._loop.remove_writer(self._fd)
        os.close(self._fd)
        self._fd = None
        if self._room is not None:
            _wake(self._room)


def _wake(room: asyncio.Future[None]) -> None:
    if not room.done():
        room.set_result(None)
