"""The manager's side of the helper processes: starts a chain of warden, launcher and templates, and talks to it.

A :class:`Chain` belongs to one loop. Whoever forks reports, over its own socket: a :class:`KeeperLink` is such a socket, and
hands each record to the child that it is about. Nothing here blocks: requests that a socket does not take wait in a queue.

Losing a helper loses nobody: a template's children die with it, what a launcher leaves falls to the warden, which kills it and
ends; without a warden the launcher goes on with what it has, and new children get a new chain.
"""

from __future__ import annotations

import asyncio
import marshal
import os
import resource
import signal
import socket
import sys
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from asyncproc._runtime import kernel
from asyncproc._runtime.keeper import EXITED, FAILED, PACKET, READY, RECORD, SPAWNED, STEPS, WARDEN_LOST

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
START = "import sys;sys.path.insert(0,sys.argv[1]);from asyncproc._runtime.warden_main import main;main(*map(int,sys.argv[2:]))"
RUN_VARIABLE = "ASYNCPROC_RUN"
CHILDREN_PER_TEMPLATE = 1000
OWES_TOO_LONG = 1.0
"""Seconds without any answer after which a helper that owes one is continued, and after as many again killed."""


class Listener(Protocol):
    """What a started child hears of its keeper."""

    def on_spawned(self, pid: int) -> None: ...
    def on_start_failed(self, step: str, errno: int) -> None: ...
    def on_process_ended(self, status: int, cpu: float, peak_memory: int) -> None: ...
    def on_lost(self) -> None: ...


_ours: weakref.WeakSet[socket.socket] = weakref.WeakSet()


def _forget_in_fork() -> None:
    """A forked copy of the host must not keep our ends open: the helpers wait for their end."""
    for sock in list(_ours):
        with suppress(OSError):
            sock.close()


os.register_at_fork(after_in_child=_forget_in_fork)


def own_pair(kind: int = socket.SOCK_STREAM) -> tuple[socket.socket, socket.socket]:
    """A socket pair whose first end is the manager's alone: closed in a forked copy of the host."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    _ours.add(ours)
    return ours, theirs


class KeeperLink:
    """The socket to one launcher or template."""

    def __init__(self, chain: Chain, sock: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        self.chain = chain
        self.children: dict[int, Listener] = {}
        self.pid: int | None = None
        self.number = 0
        self.on_helper: Callable[[int, int, int, int], None] | None = None
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
                self.chain.link_lost(self)
                return
            self._answered = True
            for record in RECORD.iter_unpack(data):
                self._handle(*record)

    def _handle(self, kind: int, step: int, errno: int, number: int, pid: int, status: int, cpu: float, peak: int) -> None:
        if kind in (READY, WARDEN_LOST) or (child := self.children.get(number)) is None:
            if kind == READY:
                self.pid = pid
            self.chain.helper_reported(kind, number)
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


class Chain:
    """One warden with its launcher and templates.

    Args:
        loop: the manager's loop.
        preload: modules that every template imports.
        on_gone: called when this chain can take no new children: with True when the old ones are lost as well.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        preload: tuple[str, ...] = (),
        on_gone: Callable[[Chain, bool], None] | None = None,
    ) -> None:
        self._loop = loop
        self._preload = preload
        self._on_gone = on_gone
        self._next = 0
        self._indices: set[int] = set()
        self._ended: asyncio.Future[None] = loop.create_future()
        self.templates: list[KeeperLink] = []
        self.lost = False
        self.base_env = {**os.environ, RUN_VARIABLE: _run_token()}
        self.base_path = host_path()
        self.base_argv = list(sys.argv)
        self._lifeline, lifeline = own_pair()
        ours, requests = own_pair(socket.SOCK_SEQPACKET)
        try:
            self.warden = _spawn_warden(lifeline, requests, self.base_env)
        except BaseException:
            self._lifeline.close()
            ours.close()
            raise
        finally:
            lifeline.close()
            requests.close()
        self.launcher = KeeperLink(self, ours, loop)
        self._pidfd = os.pidfd_open(self.warden)
        loop.add_reader(self._pidfd, self._warden_ended)

    # --- numbers and links --------------------------------------------------------------------------------------------

    def next_number(self) -> tuple[int, int]:
        """A number for a new child, and the index of its stamp."""
        self._next += 1
        index = self._next % (kernel.COUNT - 1) + 1
        while index in self._indices:
            index = index % (kernel.COUNT - 1) + 1
        self._indices.add(index)
        return self._next, index

    def free_index(self, index: int) -> None:
        self._indices.discard(index)

    def template(self) -> KeeperLink:
        """The template that a new child is to be forked from; started when there is none with room."""
        for link in reversed(self.templates):
            if link.alive and len(link.children) < CHILDREN_PER_TEMPLATE:
                return link
        return self._start_template()

    def _start_template(self) -> KeeperLink:
        ours, theirs = own_pair(socket.SOCK_SEQPACKET)
        link = KeeperLink(self, ours, self._loop)
        link.number = self.next_number()[0]
        self.launcher.request("template", link.number, fds=[theirs.fileno()], keep=theirs)
        link.request("prepare", 0, self.base_path, self.base_argv, self._preload)
        self.templates.append(link)
        return link

    def helper_reported(self, kind: int, number: int) -> None:
        """A record that is about no child: a template came, failed or went. Its own socket tells what matters."""
        if kind == FAILED:
            for link in self.templates:
                if link.number == number:
                    link.close()
                    self.link_lost(link)

    # --- losses -------------------------------------------------------------------------------------------------------

    def link_lost(self, link: KeeperLink) -> None:
        if link is not self.launcher:
            self.templates.remove(link)
            _settle_as_lost(link)
        elif not self._ended.done():
            self._retire()  # the warden ends what is left, and then itself; until then nobody is settled
            if self._warden_is_gone():
                self._all_lost()

    def _warden_ended(self) -> None:
        self._loop.remove_reader(self._pidfd)
        self._reap_warden()
        if not self._ended.done():
            self._ended.set_result(None)
        self.launcher.read()  # whichever of the two ended first is to be seen first
        if self.launcher.alive:
            self._retire()
        else:
            self._all_lost()

    def _warden_is_gone(self) -> bool:
        return self._ended.done()

    def _retire(self) -> None:
        if not self.lost:
            self.lost = True
            if self._on_gone is not None:
                self._on_gone(self, False)

    def _all_lost(self) -> None:
        for link in [self.launcher, *self.templates]:
            link.close()
            _settle_as_lost(link)
        self.templates.clear()
        self._retire()
        if self._on_gone is not None:
            self._on_gone(self, True)

    def _reap_warden(self) -> None:
        with suppress(ChildProcessError):  # the host ignores SIGCHLD, or waits for everybody
            os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG)

    @property
    def busy(self) -> bool:
        """Whether any child of it is still there."""
        return bool(self.launcher.children) or any(link.children for link in self.templates)

    # --- the end --------------------------------------------------------------------------------------------------------

    def hang_up(self) -> None:
        """Begin the end of this chain and of everybody below it. Synchronous: the last resort of a manager without a loop."""
        self._lifeline.close()
        for link in [self.launcher, *self.templates]:
            link.close()

    async def aclose(self) -> None:
        """End everybody below, and return when nobody is left: the warden's own end is the proof."""
        self._on_gone = None
        self.hang_up()
        await self._ended
        os.close(self._pidfd)


def _settle_as_lost(link: KeeperLink) -> None:
    children, link.children = link.children, {}
    for child in children.values():
        child.on_lost()


def host_path() -> list[str]:
    """Where the host imports from; the empty entry means its working directory, which is not the helpers'."""
    return [entry or os.getcwd() for entry in sys.path]


def _run_token() -> str:
    """What people and tests find our processes by; a nested manager's is appended. It identifies, and authorises nothing."""
    outer = os.environ.get(RUN_VARIABLE)
    own = os.urandom(16).hex()
    return f"{outer}:{own}" if outer else own


def _spawn_warden(lifeline: socket.socket, requests: socket.socket, env: dict[str, str]) -> int:
    """Start the warden by ``posix_spawn``: the host is never forked, and its signal settings do not reach the chain."""
    null = os.open(os.devnull, os.O_RDWR)
    held = [_above(fd) for fd in (null, lifeline.fileno(), requests.fileno())]  # none stands where another one goes
    quiet = (0, 1) if os.environ.get("ASYNCPROC_DEBUG") else (0, 1, 2)
    places = [*((held[0], fd) for fd in quiet), (held[1], 3), (held[2], 4)]
    argv = [python(), "-I", "-S", "-c", START, ROOT, "3", "4", str(os.getpid()), str(_limit_for_children())]
    try:
        return os.posix_spawn(
            argv[0],
            argv,
            env,
            file_actions=[(os.POSIX_SPAWN_DUP2, source, target) for source, target in places],
            setsigmask=[],
            setsigdef=[signal.SIGCHLD, signal.SIGPIPE],
        )
    finally:
        for fd in (null, *held):
            os.close(fd)


_raised_from: int | None = None


@contextmanager
def more_open_files() -> Iterator[None]:
    """Let this program open as many files as it may; children find the limit that stood before. For programs that are ours."""
    global _raised_from
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _raised_from is not None or soft == hard:
        yield
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    _raised_from = soft
    try:
        yield
    finally:
        _raised_from = None
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _limit_for_children() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0] if _raised_from is None else _raised_from


def _above(fd: int) -> int:
    import fcntl

    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10)


def python() -> str:
    """A Python interpreter for the helpers; ``sys.executable`` is none in an embedded one."""
    for candidate in (getattr(sys, "_base_executable", ""), sys.executable, f"{sys.base_exec_prefix}/bin/python3"):
        if candidate and "python" in os.path.basename(candidate).lower() and os.access(candidate, os.X_OK):
            return candidate
    raise FileNotFoundError("no Python interpreter found to start helpers with")
