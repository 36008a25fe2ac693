"""Socket pairs to helpers and children, whose first end is the manager's alone."""

from __future__ import annotations

import os
import socket
import weakref
from contextlib import suppress

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
