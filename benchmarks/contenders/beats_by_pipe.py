"""Heartbeats as they are done by hand: forked children that write a byte to a pipe for each beat, and a loop that reads it."""

import asyncio
import os
import signal
import time

from benchmarks.harness.contract import Contender


class BeatsByPipe(Contender):
    """Children that beat: holds.

    Args:
        every: seconds between two beats.
    """

    def __init__(self, every: float) -> None:
        self._every = every
        self._children: dict[int, int] = {}
        self.beaten: dict[int, float] = {}

    async def hold(self, count: int) -> list[int]:
        loop = asyncio.get_running_loop()
        for _ in range(count):
            reader, writer = os.pipe2(os.O_CLOEXEC)
            pid = os.fork()
            if pid == 0:
                self._beat(writer)
            os.close(writer)
            self._children[pid] = reader
            loop.add_reader(reader, self._on_beat, pid, reader)
        return list(self._children)

    def _beat(self, writer: int) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        while True:
            os.write(writer, b".")
            time.sleep(self._every)

    def _on_beat(self, pid: int, reader: int) -> None:
        os.read(reader, 4096)
        self.beaten[pid] = time.monotonic()

    async def release(self) -> None:
        loop = asyncio.get_running_loop()
        for pid, reader in self._children.items():
            loop.remove_reader(reader)
            os.close(reader)
            os.kill(pid, signal.SIGTERM)
        for pid in self._children:
            os.waitpid(pid, 0)
        self._children.clear()
