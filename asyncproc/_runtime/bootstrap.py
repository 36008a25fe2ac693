"""From a fork of a template to a child that starts clean. Runs once, in the child, and never returns.

The order matters and is the design's: signals, descriptors, session, stamp, parent-death signal, and only then anything
that was handed over. Nothing of the template or of a sibling may be reachable when the target runs.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C half of signal: loading that one costs 3 ms
import _socket
import marshal
import os
import resource
import sys

from asyncproc._ipc.frame import SPAWN, FrameReader
from asyncproc._runtime import kernel
from asyncproc._runtime.keeper import CALMED
from asyncproc._runtime.limits import apply_limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Never

CHANNEL = 3
"""The descriptor of the channel in every child."""


def become_child(template: int, channel: int, stamp: int) -> Never:
    """Turn this fresh fork into a child of the manager on the other end of *channel*."""
    code = 70
    try:
        _reset_signals()
        os.dup2(channel, CHANNEL, False)
        kernel.close_all_but((0, 1, 2, CHANNEL))
        os.setsid()
        if stamp:
            resource.setrlimit(kernel.RLIMIT_LOCKS, (stamp, stamp))
        kernel.die_with(template)
        sock = _socket.socket(fileno=CHANNEL)
        spawn, frames = _receive(sock, template)
        __import__(spawn["entry"])
        code = sys.modules[spawn["entry"]].main(sock, spawn, frames)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def _reset_signals() -> None:
    _signal.set_wakeup_fd(-1)
    for number in (*CALMED, _signal.SIGCHLD):
        _signal.signal(number, _signal.SIG_DFL)
    _signal.signal(_signal.SIGPIPE, _signal.SIG_IGN)  # as in every Python program
    _signal.signal(_signal.SIGINT, _signal.default_int_handler)


def _receive(sock: _socket.socket, template: int) -> tuple[dict[str, Any], FrameReader]:
    """Wait for what this child is to be; apply what must be in place before any of its code is imported."""
    reader = FrameReader()
    fds: list[int] = []
    frames: list[tuple[int, bytes]] = []
    while True:
        data, ancillary, _, _ = sock.recvmsg(1 << 16, 256)
        if not data:  # the manager is gone, or does not need this spare
            os._exit(0)
        for _, _, words in ancillary:
            fds += [int.from_bytes(words[i : i + 4], sys.byteorder) for i in range(0, len(words) - 3, 4)]
        frames += reader.feed(data)
        if any(kind == SPAWN for kind, _ in frames):
            break
    spawn: dict[str, Any] = marshal.loads(next(body for kind, body in frames if kind == SPAWN))
    spawn["early"] = [frame for frame in frames if frame[0] != SPAWN]
    _connect_streams(spawn["streams"], fds)
    try:
        _apply(spawn, template)
    except (OSError, ValueError) as error:
        spawn["refused"] = error
    return spawn, reader


def _connect_streams(streams: tuple[int, int, int], fds: list[int]) -> None:
    """Put the streams in place: an index into *fds*, -1 for the null device, -2 for "where stdout goes"."""
    null = os.open(os.devnull, os.O_RDWR)
    for target, source in enumerate(streams):
        os.dup2(null if source == -1 else 1 if source == -2 else fds[source], target)
    for fd in {null, *fds}:
        os.close(fd)


def _apply(spawn: dict[str, Any], template: int) -> None:
    spawn["step"] = "cwd"
    os.chdir(spawn["cwd"])
    options = spawn["options"]
    if options:
        spawn["step"] = "limits"
        apply_limits(options)
        if "uid" in options:  # a change of uid clears it
            kernel.die_with(template)
    unset, extended = spawn["env"]
    for name in unset:
        os.environ.pop(name, None)
    os.environ.update(extended)
    if spawn["sys_path"] is not None:
        sys.path[:] = spawn["sys_path"]
    sys.argv[:] = spawn["argv"]
