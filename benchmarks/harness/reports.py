"""A file that children write their pids to, one a line, first of all: read by the loop that measures, as they come."""

import asyncio
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

from benchmarks.harness.contract import WrongWork


class Reports:
    """A FIFO.

    Attributes:
        path: of the file. count: how many have come.
        living: pids in order of their coming; who takes one away by killing it removes it.
    """

    def __init__(self) -> None:
        self._folder = TemporaryDirectory(prefix="reports-")
        self.path = str(Path(self._folder.name, "reports"))
        os.mkfifo(self.path)
        self._fd = os.open(
            self.path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC
        )  # not read only: it would end with its first writer
        self._rest = b""
        self._waiter: asyncio.Future[None] | None = None
        self._wanted = 0
        self.count = 0
        self.living: list[int] = []
        self.at = 0.0  # when the last one came

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._on_readable)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
        self._folder.cleanup()

    async def wait_for(self, count: int, within: float = 60.0) -> None:
        """Wait until *count* in all have come."""
        self._wanted = count
        if self.count >= count:
            return
        self._waiter = self._loop.create_future()
        try:
            await asyncio.wait_for(self._waiter, within)
        except TimeoutError:
            raise WrongWork(f"{self.count} of {count} children have come within {within:g} s") from None

    def _on_readable(self) -> None:
        self.at = time.perf_counter()
        *words, self._rest = (self._rest + os.read(self._fd, 65536)).split(b"\n")
        pids = [int(word) for word in words]
        self.count += len(pids)
        self.living += pids
        if self._waiter is not None and not self._waiter.done() and self.count >= self._wanted:
            self._waiter.set_result(None)
