"""The zygote process: single-threaded, imports what asyncproc's template imports, forks on request, reaps. Nothing else.

A request is one SOCK_SEQPACKET message: a pickled target and, by SCM_RIGHTS, the child's end of its own socket pair.
"""

import asyncio  # noqa: F401  # this one, cloudpickle, msgspec and uvloop: only so that children have them
import gc
import os
import pickle
import signal
import socket
from collections.abc import Callable
from typing import Any

import cloudpickle  # type: ignore[import-untyped]  # noqa: F401  # ships no types
import msgspec  # noqa: F401
import uvloop  # noqa: F401

from benchmarks import targets
from benchmarks.contenders import frames

Target = Callable[[socket.socket], object]


def noop(channel: socket.socket) -> targets.Noop:
    """The no-op; what a child returns is sent by the zygote's code."""
    return targets.noop()


def hold(channel: socket.socket) -> None:
    """Say the own pid, then block in a receive."""
    frames.write(channel, os.getpid())
    channel.recv(1)


def echo(channel: socket.socket) -> None:
    """Send back what comes until end-of-file."""
    frames.write(channel, os.getpid())
    while True:
        try:
            frames.write(channel, frames.read(channel))
        except EOFError:
            return


def report(path: str, channel: socket.socket) -> None:
    """Write the own pid to a file, then wait to be killed."""
    targets.report_and_sleep(path)


def main(control_fd: int) -> None:
    """Serve requests until the parent closes the control socket."""
    control = socket.socket(fileno=control_fd)
    signal.signal(signal.SIGCHLD, _reap)  # recvmsg is resumed after it
    gc.collect()
    gc.freeze()
    while True:
        request, fds, _, _ = socket.recv_fds(control, 65536, 1)
        if not request:
            return
        if os.fork() == 0:
            control.close()
            _run_child(request, socket.socket(fileno=fds[0]))
        os.close(fds[0])


def _run_child(request: bytes, channel: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    target: Target = pickle.loads(request)
    value: Any = target(channel)
    if value is not None:
        frames.write(channel, value)
    os._exit(0)


def _reap(number: int, frame: object) -> None:
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
