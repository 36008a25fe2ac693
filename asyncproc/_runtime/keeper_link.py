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

from asyncproc._runtime.keeper import EXITED, FAILED, HEARD, IMPORTED, LARGE, PACKET, READY, RECORD, SPAWNED, STEPS
from asyncproc._runtime.memory_file import memory_file

OWES_TOO_LONG = 1.0
"""Seconds without any answer after which a helper that owes one is continued, and after as many again killed."""
AT_ONCE = 16
"""Records that one step of the loop handles: each may end a child and start the next."""
IMPORTS_TOO_LONG = 30
"""Seconds that a template may take for one module without an answer."""


class Listener(Protocol):
    """What a started child hears of its keeper."""

    def on_spawned(self, pid: int) -> None: ...
    def on_start_failed(self, step: str, errno: int) -> None: ...
    def on_process_ended(self, status: int, cpu: float, peak_memory: int) -> None: ...
    def on_lost(self) -> None: ...


class Numbers(Protocol):
    """Who has given a child its number."""

    @property
    def keepers(self) -> list[int]: ...
    def free_leaf(self, leaf: str) -> None: ...
    def free_index(self, index: int) -> None: ...


class Reach(Protocol):
    """How the manager's object of a child reaches whoever keeps the process: a helper's link, or the manager's own keeper."""

    @property
    def children(self) -> dict[int, Listener]: ...
    def request(self, *words: Any, owes: bool = False) -> None: ...


class Launching(Numbers, Protocol):
    """Who has given a command its number, and starts it."""

    @property
    def launcher(self) -> Reach: ...


class Owner(Protocol):
    """Whose link it is."""

    def helper_reported(self, kind: int, number: int, pid: int) -> None: ...
    def press(self, link: KeeperLink, number: int) -> None: ...
    def link_lost(self, link: KeeperLink) -> None: ...


class KeeperLink:
    """The socket to one launcher or template."""

    def __init__(self, owner: Owner, sock: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        self._owner = owner
        self.children: dict[int, Listener] = {}
        self.pid: int | None = None
        self.number = 0
        self.importing = False
        self._loop = loop
        self._socket: socket.socket | None = sock
        self._fd = sock.fileno()
        self._queue: deque[_Request] = deque()
        self._writing = False
        self._owed = 0
        self._patience: asyncio.TimerHandle | None = None
        self._answered = True
        self._rest: deque[tuple[Any, ...]] = deque()
        sock.setblocking(False)
        loop.add_reader(self._fd, self._read_packet)

    @property
    def alive(self) -> bool:
        return self._socket is not None

    def request(
        self, *words: Any, fds: tuple[int, ...] | list[int] = (), keep: socket.socket | None = None, owes: bool = False
    ) -> None:
        """Send a request, with descriptors. *keep* is closed once it has gone. *owes*: an answer must come soon."""
        request = _Request(words, list(fds), keep)
        self._queue.append(request)
        if not self._writing:
            self._flush()
        try:
            request.outlive_the_call()
        except OSError:  # no descriptors left; nothing of it has gone
            self._queue.remove(request)
            raise
        if owes:
            self._owed += 1
            if self._patience is None:
                self._answered = True
                self._patience = self._loop.call_later(OWES_TOO_LONG, self._check_patience, 0)

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
        self.read()  # this loop may have been the slow one
        if not self._owed or self._socket is None:
            return
        if self._answered:
            warnings = 0
        else:
            patience = IMPORTS_TOO_LONG if self.importing or self._is_starved() else 1
            self._owner.press(self, signal.SIGCONT if warnings < patience else signal.SIGKILL)
            warnings += 1
            if self._socket is None:  # it has ended
                return
        self._answered = False
        self._patience = self._loop.call_later(OWES_TOO_LONG, self._check_patience, warnings)

    def _is_starved(self) -> bool:
        """Whether it goes on as soon as the machine lets it: where much else is done nobody is to be killed for that.

        It wants a processor, or waits for the system: for a disk, or for a child that has not got as far as its exec.
        """
        from asyncproc._runtime.usage import state_of

        return self.pid is not None and state_of(self.pid) in ("R", "D")

    def read(self) -> None:
        """Handle every record that is there."""
        while self._read_packet():
            pass

    def _read_packet(self) -> bool:
        """Handle the records of one packet; False when there is none, or never will be."""
        if self._socket is None:
            return False
        if self._rest:
            self._handle_some()
            return True
        try:
            data = self._socket.recv(PACKET)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            data = b""
        if not data:
            self.close()
            self._owner.link_lost(self)
            return False
        self._answered = True
        self._rest.extend(RECORD.iter_unpack(data))
        self._handle_some()
        return True

    def _handle_some(self) -> None:
        """So many that it takes no longer than other steps on this loop, which has its turn before the next."""
        for _ in range(min(len(self._rest), AT_ONCE)):
            self._handle(*self._rest.popleft())
        if self._rest:
            self._loop.call_soon(self._read_packet)

    def _handle(self, kind: int, step: int, errno: int, number: int, pid: int, status: int, cpu: float, peak: int) -> None:
        if kind in (SPAWNED, FAILED, HEARD):
            self._owed -= 1
        if kind == READY:
            self.pid = pid
        elif kind == IMPORTED:
            self.importing = False
        elif (child := self.children.get(number)) is None:
            self._owner.helper_reported(kind, number, pid)
        elif kind == SPAWNED:
            child.on_spawned(pid)
        elif kind == FAILED:
            del self.children[number]
            child.on_start_failed(STEPS[step], errno)
        elif kind == EXITED:
            del self.children[number]
            child.on_process_ended(status, cpu, peak)

    def shut_down(self) -> None:
        """Send no more: the helper ends everybody, then itself, and so this link."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        if self._socket is None:
            return
        with suppress(RuntimeError):  # the loop is closed
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
        if self._patience is not None:
            self._patience.cancel()
        self._socket.close()
        self._socket = None
        while self._queue:
            self._queue.popleft().close()


class _Request:
    """What is to be sent: its descriptors are the caller's for the call, and copies from then on."""

    __slots__ = ("data", "fds", "gone", "keep", "own")

    def __init__(self, words: tuple[Any, ...], fds: list[int], keep: socket.socket | None) -> None:
        self.data = marshal.dumps(words)
        self.fds = fds
        self.keep = keep
        self.own: list[int] = []
        self.gone = False
        if len(self.data) > PACKET // 2:
            self.own = [memory_file(self.data)]
            self.fds = [*fds, *self.own]
            self.data = marshal.dumps((LARGE, words[1]))

    def outlive_the_call(self) -> None:
        if self.gone or self.keep is not None:
            return
        lent = self.fds[: len(self.fds) - len(self.own)]
        try:
            for place, fd in enumerate(lent):
                copy = os.dup(fd)
                self.own.append(copy)
                self.fds[place] = copy
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        self.gone = True
        if self.keep is not None:
            self.keep.close()
        for fd in self.own:
            os.close(fd)
        self.own.clear()
