"""From a fork of a template, or a fresh interpreter, to a child that starts clean. Runs once, in the child, and never returns.

The order matters and is the design's: signals, descriptors, session, stamp, parent-death signal, and only then anything
that was handed over. Nothing of the template or of a sibling may be reachable when the target runs.

Every object that is touched here is a page that this child no longer shares: hence few functions and no dicts.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C half of signal: loading that one costs 3 ms
import _socket
import gc
import marshal
import os
import resource
import sys

from asyncproc._ipc.frame import HEADER, SPAWN, FrameReader
from asyncproc._runtime import kernel
from asyncproc._runtime.keeper import CALMED
from asyncproc._runtime.limits import apply_limits, become_user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Never

    from asyncproc._ipc.spawn import Setting, Work

CHANNEL = 3
"""The descriptor of the channel in a child, unless that is to be another: then the next that is free."""
ENTRY = "asyncproc._child"
"""The module whose ``main`` goes on from here: by name, because it stands above this one."""
NEEDED_LATER = (
    *("linecache", "select", "signal", "threading", "tokenize", "traceback"),
    *("asyncproc._ipc.async_line", "asyncproc._ipc.culprit", "asyncproc._ipc.data", "asyncproc._runtime.background"),
    "asyncproc._core.lifecycle.loop_times",
)
"""What of ours a child may import under way. Another user may be unable to read it: such a child has it before."""


class Refused(Exception):
    """The system did not let this child be what it should be.

    Attributes:
        step: what failed. error: what the system said.
    """

    def __init__(self, step: str, error: Exception) -> None:
        self.step = step
        self.error = error


def become_child(parent: int, channel: int, stamp: int, prepare: Callable[[bool, int], None] | None = None) -> Never:
    """Turn this process into a child of the manager on the other end of *channel*.

    Args:
        parent: whose end is this child's. stamp: 0 when there is none.
        prepare: what a fresh interpreter still lacks, told whether the target needs a loop, and the descriptor of the channel;
            it leads its session already.
    """
    code = 70
    if not gc.isenabled():  # a template that still loads: to look through all of it would make all of it this child's own
        gc.freeze()
        gc.enable()
    try:
        _reset_signals()
        os.dup2(channel, CHANNEL, False)
        kernel.close_all_but((0, 1, 2, CHANNEL))
        if prepare is None:
            os.setsid()
        if stamp:
            resource.setrlimit(kernel.RLIMIT_LOCKS, (stamp, stamp))
        kernel.die_with(parent)
        sock = _socket.socket(fileno=CHANNEL)
        setting, work, early, fds = _receive(sock)
        page = -1 if work[9] is None else _take_page(fds.pop())
        if setting[0] is not None and len(setting[0]) > CHANNEL:  # that descriptor is to be another
            sock = _socket.socket(fileno=os.dup(sock.detach()))
        refused = _apply(setting, fds, (sock.fileno(), page))
        if prepare is not None:
            prepare(work[5], sock.fileno())
        __import__(ENTRY)
        if setting[2] is not None and "user" in setting[2] and refused is None:
            refused = _switch(setting[2]["user"], parent)
        code = sys.modules[ENTRY].main(sock, work, early, refused)
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


def _receive(sock: _socket.socket) -> tuple[Setting, Work, list[tuple[int, bytes]], list[int]]:
    """Wait for what this child is to be; ends with the channel. Control frames may overtake a large description."""
    data, ancillary, _, _ = sock.recvmsg(1 << 15, 256)
    fds: list[int] = []
    for _, _, words in ancillary:
        fds += [int.from_bytes(words[i : i + 4], sys.byteorder) for i in range(0, len(words) - 3, 4)]
    if len(data) > 5 and HEADER.unpack_from(data) == (len(data) - 5, SPAWN):
        return *marshal.loads(memoryview(data)[5:]), [], fds
    reader = FrameReader()
    frames: list[tuple[int, bytes]] = []
    while data:
        frames += reader.feed(data)
        for index, (kind, body) in enumerate(frames):
            if kind == SPAWN:
                setting, work = marshal.loads(body)
                return setting, work, frames[:index] + frames[index + 1 :], fds
        data = sock.recv(1 << 15)
    os._exit(0)  # the manager is gone, or does not need this spare


def _take_page(fd: int) -> int:
    from asyncproc._runtime.pulse import take_page

    return take_page(fd)


def _apply(setting: Setting, fds: list[int], kept: tuple[int, int]) -> Refused | None:
    streams, cwd, limits, env, path, argv = setting
    if streams is not None:
        _connect_streams(streams, fds, kept)
    step = "cwd"
    try:
        os.chdir(cwd)
        if limits is not None:
            step = "limits"
            apply_limits(limits)
    except (OSError, ValueError) as error:
        return Refused(step, error)
    if env is not None:
        if env[0] is None:
            os.environb.clear()
        else:
            for name in env[0]:
                os.environb.pop(name, None)
        os.environb.update(env[1])
    if path is not None:
        sys.path[:] = path
    if argv is not None:
        sys.argv[:] = argv
    return None


def _switch(user: tuple[int, int, list[int] | None], parent: int) -> Refused | None:
    """Become another user, last of all: everything before may need the rights that are given up here."""
    for name in NEEDED_LATER:
        __import__(name)
    try:
        become_user(user, parent)
    except OSError as error:
        return Refused("user", error)
    return None


def _connect_streams(streams: tuple[int, ...], fds: list[int], kept: tuple[int, int]) -> None:
    null = os.open("/dev/null", os.O_RDWR)
    for target, source in enumerate(streams):
        if source != -3:
            os.dup2(null if source == -1 else 1 if source == -2 else fds[source], target)
    kernel.close_all_but((*range(len(streams)), *kept))


def describe(setting: Any, work: Any) -> bytes:
    """The body of the message, as the manager sends it."""
    return marshal.dumps((setting, work))
