"""What launcher and templates have in common: reap, signal, sweep, report.

A keeper is single-threaded, serves one manager over one SOCK_SEQPACKET socket, and outlives nothing: when the manager is
gone (its pidfd says so, or the socket ends) every descendant is killed before the keeper ends itself.

Requests are marshalled tuples ``(word, number, ...)`` with descriptors beside them: the keeper trusts its manager. Answers
are fixed records, so that the manager need not trust what it reads: several in one packet, never more than a packet.

The race that shapes this file: a child's descendants fall to the keeper when their parents end. They are told apart by
their stamp (see :mod:`asyncproc._runtime.kernel`), and a sweep is over only when no orphan with the stamp is left.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C half of signal: loading that one costs 3 ms
import _socket
import gc
import marshal
import os
import select
import sys
import time
from _struct import Struct

from asyncproc._runtime import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

RECORD = Struct("<BBHIiidQ")
"""kind, step, errno, number, pid, wait status, cpu seconds, peak memory in bytes."""

SPAWNED, FAILED, EXITED, READY, IMPORTED, HEARD = range(1, 7)
LARGE = "large"
"""The word of a request that lies in a memory file, the last of its descriptors."""
STEPS = ("fork", "exec", "cwd", "limits", "descriptors", "user")
"""Where a start can fail, by number."""

PACKET = 1 << 16
MAX_FDS = 8
LEFTOVERS_AFTER = 0.1
"""Seconds that descendants of a child which ended by itself are left alone."""
SWEEP_LIMIT = 0.5
"""Seconds after which the end of a stopped child is reported although some of its descendants are still there."""

_MSG_CMSG_CLOEXEC = 0x40000000
_BYTE_ORDER = sys.byteorder
CALMED = (
    _signal.SIGINT,
    _signal.SIGQUIT,
    _signal.SIGHUP,
    _signal.SIGTERM,
    _signal.SIGTSTP,
    _signal.SIGTTIN,
    _signal.SIGTTOU,
    _signal.SIGUSR1,
    _signal.SIGUSR2,
    _signal.SIGPIPE,
)
"""What a helper process takes without effect."""


def calm_signals() -> None:
    """Start from a clean slate: nothing blocked, SIGCHLD heard, and what a terminal sends taken without effect.

    Handlers, not SIG_IGN: an ignored signal stays ignored through exec, a handled one is reset.
    """
    _signal.pthread_sigmask(_signal.SIG_SETMASK, [])
    for number in (*CALMED, _signal.SIGCHLD):
        _signal.signal(number, _heard)


def _heard(number: int, frame: object) -> None:
    """Taken, without effect."""


class Kept:
    """One child of a keeper."""

    __slots__ = ("ending", "group", "index", "number", "pid")

    def __init__(self, number: int, pid: int, index: int) -> None:
        self.number = number
        self.pid = pid
        self.index = index  # of its stamp; below 0: it bears none, and is a keeper itself
        self.group: str | None = None  # its control group, told when it is to end
        self.ending = False  # asked to end: what it leaves behind goes with it


class Keeper:
    """The event loop of a helper process. Subclasses start children in :meth:`on_request`."""

    def __init__(self, fd: int, manager: int, interval: tuple[int, int]) -> None:
        self.socket = _socket.socket(fileno=fd)
        self.socket.setblocking(False)
        self.manager = manager  # a pidfd
        self.top, self.width = interval
        self.by_pid: dict[int, Kept] = {}
        self.by_number: dict[int, Kept] = {}
        self.by_index: dict[int, Kept] = {}
        self.swept: dict[int, tuple[bytes, float]] = {}  # by index: exits that are told when the sweep is over
        self.sweep_at: float | None = None
        self.chasing = False  # the last sweep killed somebody, whose children now fall to us
        self.backlog: list[bytes] = []
        self.folder: str | None = None  # of the control groups of its children, once there are some
        self.waits = False  # the loop waits, and has nothing half done
        self.poll = select.poll()
        self.wake, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        _signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        _signal.signal(_signal.SIGCHLD, self._on_end)
        for watched in (fd, self.wake, manager):
            self.poll.register(watched, select.POLLIN)

    # --- the loop ---------------------------------------------------------------------------------------------------

    def serve(self) -> None:
        """Work until the manager is gone; does not return."""
        gc.enable()
        while self.turn(None):
            pass
        if self.folder is not None:
            kernel.kill_group(self.folder)
        kernel.end_all_children()
        self.after_the_end()
        os._exit(0)

    def after_the_end(self) -> None:
        """The manager is gone, and nobody is left below."""

    def turn(self, timeout: float | None) -> bool:
        """Handle what is there, waiting at most *timeout* seconds (None: for ever) for it; False: the manager is gone."""
        patience = self._patience(timeout)
        self.waits = True
        ready = self.poll.poll(patience)
        self.waits = False
        for fd, events in ready:
            if fd == self.manager:
                return False
            if fd == self.wake:
                self._drain_wake()
                self.reap()
            elif fd == self.socket.fileno():
                if events & select.POLLOUT:
                    self._flush()
                if events & ~select.POLLOUT and not self._receive():
                    return False
            else:
                self.on_readable(fd)
        if self.sweep_at is not None and time.monotonic() >= self.sweep_at:
            self.sweep()
        return True

    def _patience(self, timeout: float | None) -> int | None:
        if self.sweep_at is None:
            return None if timeout is None else int(timeout * 1000)
        wait = max(0.0, self.sweep_at - time.monotonic())
        return int((wait if timeout is None else min(wait, timeout)) * 1000) + 1

    def _on_end(self, number: int, frame: object) -> None:
        """SIGCHLD. One that interrupts the wait is answered here, and the loop, which it has woken, finds it done."""
        if self.waits:
            self.waits = False  # the next signal must not interrupt the answer to this one
            self.reap()

    def _drain_wake(self) -> None:
        try:
            os.read(self.wake, 4096)
        except BlockingIOError:
            pass

    def on_readable(self, fd: int) -> None:
        """Something that a subclass watches is readable."""

    # --- requests ---------------------------------------------------------------------------------------------------

    def _receive(self) -> bool:
        for _ in range(64):  # reaping must get its turn
            try:
                data, ancillary, flags, _ = self.socket.recvmsg(PACKET, MAX_FDS * 4 + 64, _MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not data:
                return False
            self._handle(data, _descriptors(ancillary), bool(flags & _socket.MSG_CTRUNC))
        return True

    def _handle(self, data: bytes, fds: list[int], truncated: bool) -> None:
        request = marshal.loads(data)
        word, number = request[0], request[1]
        if truncated:  # this process is out of descriptors: what came is closed, the request fails
            for fd in fds:
                os.close(fd)
            self.fail(number, "descriptors", 24)
            return
        if word == LARGE:
            request = _read_all(fds.pop())
            word = request[0]
        if word == "signal":
            self.signal(number, request[2], request[3])
        elif word == "kill":
            self.kill(number, request[2])
        elif word == "ending":
            self._mark_ending(number, request[2])
        elif word == "folder":
            self.folder = request[2]
        else:
            self.on_request(request, fds)

    def on_request(self, request: tuple[Any, ...], fds: list[int]) -> None:
        """Start something; ends in :meth:`started` or :meth:`fail`. The descriptors are the callee's to close."""
        raise RuntimeError(f"unknown request {request[0]!r}")

    def started(self, number: int, pid: int, index: int) -> None:
        kept = Kept(number, pid, index)
        self.by_pid[pid] = self.by_number[number] = kept
        if index:
            self.by_index[index] = kept
        self.tell(RECORD.pack(SPAWNED, 0, 0, number, pid, 0, 0.0, 0))

    def fail(self, number: int, step: str, errno: int) -> None:
        self.tell(RECORD.pack(FAILED, STEPS.index(step), errno, number, 0, 0, 0.0, 0))

    # --- signals: only to a pid that is still our child ---------------------------------------------------------------

    def signal(self, number: int, signum: int, group: bool) -> None:
        kept = self.by_number.get(number)
        if kept is not None:
            _send(kept.pid, signum, group)

    def kill(self, number: int, group: str | None) -> None:
        kept = self.by_number.get(number)
        if kept is not None:
            kept.ending = True
            kept.group = group
            if group is not None:
                kernel.kill_group(group)
            _send(kept.pid, _signal.SIGKILL, True)
            _send(kept.pid, _signal.SIGKILL, False)  # it may not lead its group yet

    def _mark_ending(self, number: int, group: str | None) -> None:
        kept = self.by_number.get(number)
        if kept is not None:
            kept.ending = True
            kept.group = group
        self.tell(RECORD.pack(HEARD, 0, 0, number, 0, 0, 0.0, 0))  # the manager learns that this keeper is not stopped

    # --- ends ---------------------------------------------------------------------------------------------------------

    def reap(self) -> None:
        """Take every exit that is there, tell those of our children, and look after what they left behind."""
        told: list[bytes] = []
        orphans = hurried = False
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            kept = self.by_pid.pop(pid, None)
            if kept is None:
                orphans = True
            else:
                self._ended(kept, status, usage, told)
            if not hurried:  # whoever waits for a first end need not wait for the look at the next; those go together
                hurried = True
                self._tell_all(told)
                told.clear()
        self._tell_all(told)
        if self.swept or (orphans and self.chasing):
            self.sweep()

    def _ended(self, kept: Kept, status: int, usage: Any, told: list[bytes]) -> None:
        del self.by_number[kept.number]
        self.by_index.pop(kept.index, None)
        cpu = usage.ru_utime + usage.ru_stime
        record = RECORD.pack(EXITED, 0, 0, kept.number, kept.pid, status, cpu, usage.ru_maxrss * 1024)
        if kept.ending and kept.index:
            if kept.group is not None:  # who forks faster than he is swept is ended with all the others
                kernel.kill_group(kept.group)
            self.swept[kept.index] = (record, time.monotonic() + SWEEP_LIMIT)
        else:
            told.append(record)
            if self.sweep_at is None:
                self.sweep_at = time.monotonic() + LEFTOVERS_AFTER

    def sweep(self) -> None:
        """Kill the orphans whose child has ended; tell the exits that waited for it."""
        self.sweep_at = None
        left = self._kill_orphans()
        now = time.monotonic()
        for index, (record, deadline) in list(self.swept.items()):
            waits = left if index < 0 else index in left  # a keeper below leaves everybody's
            if not waits or now >= deadline:
                del self.swept[index]
                self.tell(record)
        self.chasing = bool(left)
        if left:  # in case that one of them takes its time
            self.sweep_at = now + LEFTOVERS_AFTER

    def _kill_orphans(self) -> set[int]:
        left: set[int] = set()
        for pid in kernel.direct_children():
            if pid in self.by_pid:
                continue
            index = self._index_of(kernel.stamp_of(pid))
            if index not in self.by_index:
                left.add(index)
                _send(pid, _signal.SIGKILL, False)
        return left

    def _index_of(self, stamp: int) -> int:
        if stamp < 0 or not self.width:
            return 0
        return (self.top - stamp) // self.width

    # --- answers: never block, never lose ------------------------------------------------------------------------------

    def tell(self, record: bytes) -> None:
        self._tell_all([record])

    def _tell_all(self, records: list[bytes]) -> None:
        if not records:
            return
        waiting = bool(self.backlog)
        self.backlog += records
        if not waiting:
            self._flush()

    def _flush(self) -> None:
        while self.backlog:
            batch = self.backlog[: PACKET // 2 // RECORD.size]
            try:
                self.socket.send(b"".join(batch))
            except OSError as error:
                if error.errno in (11, 105):  # EAGAIN, ENOBUFS
                    self.poll.modify(self.socket.fileno(), select.POLLIN | select.POLLOUT)
                return  # anything else: the manager is gone, the next turn sees it
            del self.backlog[: len(batch)]
        self.poll.modify(self.socket.fileno(), select.POLLIN)


def _read_all(fd: int) -> tuple[Any, ...]:
    with open(fd, "rb") as file:
        file.seek(0)
        request: tuple[Any, ...] = marshal.load(file)
    return request


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    fds: list[int] = []
    for level, kind, data in ancillary:
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
            fds += [int.from_bytes(data[i : i + 4], _BYTE_ORDER) for i in range(0, len(data) - 3, 4)]
    return fds


def _send(pid: int, signum: int, group: bool) -> None:
    try:
        if group:
            os.killpg(pid, signum)
        else:
            os.kill(pid, signum)
    except (ProcessLookupError, PermissionError):  # no such group yet, or a uid that is not ours
        pass
