"""The first code of ours in a fresh interpreter: makes of it what a fork of a template is, then goes the same way."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C half of signal, as the bootstrap has it
import _thread
import faulthandler
import os
import select
import sys

from asyncproc._runtime import kernel
from asyncproc._runtime.bootstrap import become_child

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Never

WATCHES = not kernel.HAS_PRCTL
"""Whether a child has to watch for the manager's end itself."""


def begin(channel: int, parent: int, stamp: int, preload: tuple[str, ...], watches: bool) -> Never:
    """Run as the target of the process that multiprocessing has spawned; does not return.

    Args:
        parent: the manager's process. stamp: 0 for none. preload: modules that the target finds imported.
        watches: whether a thread watches for the end of the channel, where the system has no signal for a parent's death.
    """
    _signal.pthread_sigmask(_signal.SIG_SETMASK, [])
    _forget_multiprocessing()
    faulthandler.enable(2)  # as in a template

    def prepare(loop: bool, channel: int) -> None:
        if watches:
            _thread.start_new_thread(_die_with_channel, (channel,))
        for name in (*(("uvloop",) if loop and sys.platform != "win32" else ()), *preload):
            _load(name)

    become_child(parent, channel, stamp, prepare)


def _forget_multiprocessing() -> None:
    """Target code that uses multiprocessing finds it as in a program that was started by hand."""
    import multiprocessing
    from multiprocessing import process

    multiprocessing.set_start_method(None, force=True)  # back to the system's own
    process._parent_process = None  # type: ignore[attr-defined]  # its pipe is closed soon: whoever asked it would be misled


def _die_with_channel(fd: int) -> None:
    """End with the manager, and take the own session along; says nothing while only messages come."""
    poll = select.poll()
    poll.register(fd, 0)  # nothing but the end
    poll.poll()
    os.killpg(0, _signal.SIGKILL)


def _load(name: str) -> None:
    try:
        __import__(name)
    except Exception as error:  # whoever needs it gets the same error, with a name to it
        if name != "uvloop":
            print(f"asyncproc: cannot preload {name}: {error!r}", file=sys.stderr)
