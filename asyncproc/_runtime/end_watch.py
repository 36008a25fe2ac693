"""The end of one process, told on a loop; nothing is reaped here, and nothing is polled.

By its pidfd where there is one: also right when the host ignores SIGCHLD or has reaped the process itself, and whoever still
holds its pipes. Elsewhere by one waiting thread per process.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol


class EndWatch(Protocol):
    """A watch on a process that this one has started."""

    def send(self, number: int) -> None:
        """Send it a signal, unless it has ended."""

    def wait(self, timeout: float) -> bool:
        """Wait for the end, blocking."""

    def close(self) -> None:
        """Watch no more."""


def watch_end(loop: asyncio.AbstractEventLoop, pid: int, on_end: Callable[[], None]) -> EndWatch:
    """Call *on_end* on *loop* when process *pid* has ended, also when it has already.

    Raises:
        OSError: no descriptors are left.
    """
    if hasattr(os, "pidfd_open"):
        with suppress(ProcessLookupError):  # ended, and reaped by somebody else
            return PidfdWatch(loop, pid, on_end)
    return ThreadWatch(loop, pid, on_end)


class PidfdWatch:
    """A watch by descriptor."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pid: int, on_end: Callable[[], None]) -> None:
        self._loop = loop
        self._fd = os.pidfd_open(pid)
        loop.add_reader(self._fd, on_end)

    def send(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(self._fd, number)

    def wait(self, timeout: float) -> bool:
        return bool(select.select([self._fd], [], [], timeout)[0])

    def close(self) -> None:
        if self._fd >= 0:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1


class ThreadWatch:
    """A watch by a thread, which ends with the process."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pid: int, on_end: Callable[[], None]) -> None:
        self._loop = loop
        self._pid = pid
        self._on_end: Callable[[], None] | None = on_end
        self._thread = threading.Thread(target=self._wait, name=f"asyncproc end of {pid}", daemon=True)
        self._thread.start()

    def _wait(self) -> None:
        with suppress(ChildProcessError):  # reaped by somebody else
            os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOWAIT)
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        if self._on_end is not None:
            self._on_end()

    def send(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(self._pid, number)  # nobody but us reaps it: the pid is its own until we do

    def wait(self, timeout: float) -> bool:
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def close(self) -> None:
        self._on_end = None
