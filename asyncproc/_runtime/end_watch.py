"""The end of one process, told on a loop; nothing is reaped here, and nothing is polled.

By its pidfd where there is one: also right when the host ignores SIGCHLD or has reaped the process itself, and whoever still
holds its pipes. Elsewhere by one waiting thread per process.
"""

from __future__ import annotations

import asyncio
import errno
import os
import select
import signal
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

TO_GROUP = 1 << 2
"""PIDFD_SIGNAL_PROCESS_GROUP, Linux 6.9."""
GET_INFO = 3 << 30 | 64 << 16 | 0xFF << 8 | 11
"""PIDFD_GET_INFO, with the size that it had first."""
INFO = struct.Struct("=QQ11Ii")
"""What that answers: what of it is there, a control group, eleven numbers of processes and users, the wait status."""
HAS_STATUS = 1 << 3
"""PIDFD_INFO_EXIT, Linux 6.15: the status stays readable for who has held a pidfd when the process was reaped."""
REAPED_WITHIN = 100
"""Milliseconds that whoever else reaps an ended process may take for it."""


class EndWatch(Protocol):
    """A watch on a process that this one has started."""

    def send(self, number: int) -> None:
        """Send it a signal, unless it has ended."""

    def send_to_group(self, number: int) -> None:
        """Send a signal to whoever is in the process group that it leads, also when it has ended; to nobody else, ever."""

    def status(self) -> int | None:
        """The wait status of a process that somebody else has reaped; None when the system does not tell."""

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
        self._pid = pid
        self._fd = os.pidfd_open(pid)
        loop.add_reader(self._fd, on_end)

    def send(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(self._fd, number)

    def send_to_group(self, number: int) -> None:
        signal_group(self._fd, self._pid, number)

    def status(self) -> int | None:
        import fcntl

        poll = select.poll()
        poll.register(self._fd, 0)  # hung up: it has been reaped, which comes after its end
        poll.poll(REAPED_WITHIN)
        try:
            answer = fcntl.ioctl(self._fd, GET_INFO, INFO.pack(HAS_STATUS, *[0] * 13))
        except OSError:  # an older kernel
            return None
        mask, *_, status = INFO.unpack(answer)
        return status if mask & HAS_STATUS else None

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

    def send_to_group(self, number: int) -> None:
        _signal_group(self._pid, number)

    def status(self) -> int | None:
        return None

    def wait(self, timeout: float) -> bool:
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def close(self) -> None:
        self._on_end = None


def signal_group(pidfd: int, pid: int, number: int) -> None:
    """Send a signal to whoever is in the process group that a child of ours leads, or led; to nobody else, ever."""
    try:
        signal.pidfd_send_signal(pidfd, number, None, TO_GROUP)
    except OSError as error:
        if error.errno == errno.EINVAL:  # an older kernel
            _signal_group(pid, number)


def _signal_group(pid: int, number: int) -> None:
    """By number: as long as it is ours to reap, the number is its own, and so is that of its group."""
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:  # somebody else has reaped it: the number may be anybody's by now
        return
    with suppress(ProcessLookupError, PermissionError):  # not yet its leader, or nobody of ours in it
        os.killpg(pid, number)
