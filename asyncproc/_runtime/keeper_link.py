"""The manager's end of the socket to one launcher or template: requests out, records in, each to the child that it is about.

Nothing blocks: requests that the socket does not take wait in a queue. A helper that owes an answer for too long is continued,
in case somebody has stopped it, and then killed.
"""

from __future__ import annotations

import asyncio
import marshal
import os
import signal
import socket
from collections import deque
from contextlib import suppress
from typing import Any, Protocol

from asyncproc._runtime.keeper import EXITED, FAILED, PACKET, READY, RECORD, SPAWNED, STEPS, WARDEN_LOST

OWES_TOO_LONG = 1.0
"""Seconds without any answer after which a helper that owes one is continued, and after as many again killed."""


class Listener(Protocol):
    """What a started child hears of its keeper."""

    def on_spawned(self, pid: int) -> None: ...
    def on_start_failed(self, step: str, errno: int) -> None: ...
    def on_process_ended(self, status: int, cpu: float, peak_memory: int) -> None: ...
    def on_lost(self) -> None: ...


class Owner(Protocol):
    """Whose link it is."""

    def helper_reported(self, kind: int, number: int) -> None: ...
    def link_lost(self, link: KeeperLink) -> None: ...


class KeeperLink:
    """The socket to one launcher or template."""

    def __init__(self, owner: Owner, sock: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        self._owner = owner
        self.children: dict[int, Listener] = {}
        self.pid: int | None = None
        self.number = 0
        self._loop = loop
        self._socket: socket.socket | None = sock
        self._fd = sock.fileno()
        self._queue: deque[_Request] = deque()
        self._writing = False
        self._owed = 0
        self._patience: asyncio.TimerHandle | None = None
        self._answered = True
        sock.setblocking(False)
        loop.add_reader(self._fd, self.read)

    @property
    def alive(self) -> bool:
        return self._socket is not None

    def request(
        self, *words: Any, fds: tuple[int, ...] | list[int] = (), keep: socket.socket | None = None, owes: bool = False
    ) -> None:
        """Send a request, with descriptors. *keep* is closed once it has gone. *owes*: an answer must come soon."""
        request = _Request(marshal.dumps(words), list(fds), keep)
        self._queue.append(request)
        if owes:
            self._owed += 1
            if self._patience is None:
                self._answered = True
                self._patience = self._loop.call_later(OWES_TOO_LONG, self._check_patience, 0)
        if not self._writing:
            self._flush()
        request.outlive_the_call()

    def _flush(self) -> None:
        while self._queue and self._socket is not None:
            request = self._queue[0]
            try:
                if request.fds:
                    socket.send_fds(self._socket, [request.data], request.fds)
                else:
                    self._socket.send(request.data)
            except (BlockingIOError, InterruptedError):
                if not self._writing:
                    self._writing = True
                    self._loop.add_writer(self._fd, self._flush)
                return
            except OSError:  # it is gone; reading says so
                pass
            self._queue.popleft().close()
        if self._writing and self._socket is not None:
            self._writing = False
            self._loop.remove_writer(self._fd)

    def _check_patience(self, warnings: int) -> None:
        self._patience = None
        if not self._owed or self._socket is None:
            return
        if self._answered or self.pid is None:
            warnings = 0
        elif warnings == 0:
            self._signal_helper(signal.SIGCONT)
            warnings = 1
        else:
            self._signal_helper(signal.SIGKILL)
        self._answered = False
        self._patience = self._loop.call_later(OWES_TOO_LONG, self._check_patience, warnings)

    def _signal_helper(self, number: int) -> None:
        with suppress(OSError):
            os.kill(self.pid or 0, number)

    def read(self) -> None:
        """Handle every record that is there."""
        while self._socket is not None:
            try:
                data = self._socket.recv(PACKET)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                data = b""
            if not data:
                self.close()
                self._owner.link_lost(self)
                return
            self._answered = True
            for record in RECORD.iter_unpack(data):
                self._handle(*record)

    def _handle(self, kind: int, step: int, errno: int, number: int, pid: int, status: int, cpu: float, peak: int) -> None:
        if kind in (READY, WARDEN_LOST) or (child := self.children.get(number)) is None:
            if kind == READY:
                self.pid = pid
            self._owner.helper_reported(kind, number)
        elif kind == SPAWNED:
            self._owed -= 1
            child.on_spawned(pid)
        elif kind == FAILED:
            self._owed -= 1
            del self.children[number]
            child.on_start_failed(STEPS[step], errno)
        elif kind == EXITED:
            del self.children[number]
            child.on_process_ended(status, cpu, peak)

    def close(self) -> None:
        if self._socket is None:
            return
        self._loop.remove_reader(self._fd)
        if self._writing:
            self._loop.remove_writer(self._fd)
        if self._patience is not None:
            self._patience.cancel()
        self._socket.close()
        self._socket = None
        while self._queue:
            self._queue.popleft().close()


class _Request:
    """What is to be sent: its descriptors are the caller's for the call, and copies from then on."""

    __slots__ = ("closed", "copies", "data", "fds", "keep")

    def __init__(self, data: bytes, fds: list[int], keep: socket.socket | None) -> None:
        self.data = data
        self.fds = fds
        self.keep = keep
        self.copies = False
        self.closed = False

    def outlive_the_call(self) -> None:
        if not self.closed and self.fds and self.keep is None:
            self.fds = [os.dup(fd) for fd in self.fds]
            self.copies = True

    def close(self) -> None:
        self.closed = True
        if self.keep is not None:
            self.keep.close()
        if self.copies:
            for fd in self.fds:
                os.close(fd)
