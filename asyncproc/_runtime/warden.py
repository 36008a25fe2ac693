"""Starts the helper processes: a warden, by ``posix_spawn``. The first thing that a cold program does, so it loads little.

The host is never forked, and its signal settings do not reach the helpers.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from asyncproc._runtime.pairs import own_pair

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
START = "import sys;sys.path.insert(0,sys.argv[1]);from asyncproc._runtime.warden_main import main;main(*map(int,sys.argv[2:]))"
RUN_VARIABLE = "ASYNCPROC_RUN"


class Warden:
    """A warden that is on its way.

    Attributes:
        pid: its process. lifeline: it and all below it end with this socket. requests: the launcher's socket.
        env: the environment that all helpers have, and children by default.
    """

    def __init__(self) -> None:
        self.env = {**os.environ, RUN_VARIABLE: run_token()}
        with ExitStack() as on_failure, ExitStack() as theirs:
            self.lifeline, lifeline = own_pair()
            on_failure.callback(self.lifeline.close)
            theirs.callback(lifeline.close)
            self.requests, requests = own_pair(socket.SOCK_SEQPACKET)
            on_failure.callback(self.requests.close)
            theirs.callback(requests.close)
            self.pid = _spawn(lifeline, requests, self.env)
            on_failure.pop_all()

    def close(self) -> None:
        """Let it go: it ends."""
        self.lifeline.close()
        self.requests.close()


def run_token() -> str:
    """What people and tests find our processes by; a nested manager's is appended. It identifies, and authorises nothing."""
    outer = os.environ.get(RUN_VARIABLE)
    own = os.urandom(16).hex()
    return f"{outer}:{own}" if outer else own


def _spawn(lifeline: socket.socket, requests: socket.socket, env: dict[str, str]) -> int:
    held: list[int] = []
    try:
        return _spawn_with(held, lifeline, requests, env)
    finally:
        for fd in held:
            os.close(fd)


def _spawn_with(held: list[int], lifeline: socket.socket, requests: socket.socket, env: dict[str, str]) -> int:
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        held.extend(map(above, (null, lifeline.fileno(), requests.fileno())))  # none stands where another one goes
    finally:
        os.close(null)
    quiet = (0, 1) if os.environ.get("ASYNCPROC_DEBUG") else (0, 1, 2)
    places = [*((held[0], fd) for fd in quiet), (held[1], 3), (held[2], 4)]
    argv = [python(), "-I", "-S", "-c", START, ROOT, "3", "4", str(os.getpid()), str(limit_for_children())]
    return os.posix_spawn(
        argv[0],
        argv,
        env,
        file_actions=[(os.POSIX_SPAWN_DUP2, source, target) for source, target in places],
        setpgroup=0,
        setsigmask=[],
        setsigdef=[signal.SIGCHLD, signal.SIGPIPE],
    )


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


def raised_limit() -> tuple[int, int] | None:
    """The limits of open files that children are to find, when this program has raised its own."""
    return None if _raised_from is None else (_raised_from, resource.getrlimit(resource.RLIMIT_NOFILE)[1])


def limit_for_children() -> int:
    """The soft limit of open files that children are to find."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0] if _raised_from is None else _raised_from


def above(fd: int) -> int:
    """A duplicate that stands in nobody's way."""
    import fcntl

    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10)


def python() -> str:
    """A Python interpreter for the helpers; ``sys.executable`` is none in an embedded one."""
    for candidate in (getattr(sys, "_base_executable", ""), sys.executable, f"{sys.base_exec_prefix}/bin/python3"):
        if candidate and "python" in os.path.basename(candidate).lower() and os.access(candidate, os.X_OK):
            return candidate
    raise FileNotFoundError("no Python interpreter found to start helpers with")
