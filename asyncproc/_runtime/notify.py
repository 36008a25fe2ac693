"""A child that says by itself that it is ready, as services do: ``READY=1`` to ``NOTIFY_SOCKET``, or a newline on descriptor 3.

The first is systemd's protocol, the second that of s6. The socket has a name that anybody on this machine can read, so each
message is judged by its sender: the kernel says which process that was, and it must be the child, of its session, or bear its
stamp. One that has ended before its message is read belongs to nobody, as with systemd; a sender that waits for a barrier, as
``systemd-notify`` does, lives long enough.
"""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from struct import Struct
from typing import TYPE_CHECKING, Any

from asyncproc._runtime import kernel

if TYPE_CHECKING:
    from asyncproc._core.exit import Exit
    from asyncproc._core.lifecycle.loop_times import LoopReport
    from asyncproc.abc import Question, Watcher

PLACE = 3
"""The descriptor that a child may write its newline to."""
VARIABLE = "NOTIFY_SOCKET"
LONGEST = 4096
"""Bytes of one message; what is longer is cut."""
MOST_LAST_WORDS = 100
"""Messages of one that has ended that are still looked at: its descendants may go on."""
_CREDENTIALS = Struct("iII")
"""pid, uid, gid."""
_HAS_CREDENTIALS = sys.platform == "linux"


class Notified:
    """Stands between a child and its watcher: the child is ready when it has said so, and not when it runs.

    Args:
        loop: the manager's loop.
        watcher: who is told.

    Attributes:
        env: what the child must find in its environment.

    Raises:
        OSError: no descriptors are left; nothing stays open.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, watcher: Watcher) -> None:
        self._loop = loop
        self._watcher = watcher
        self._pid: int | None = None
        self._said = self._told = False
        self._folder: str | None = None
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | getattr(socket, "SOCK_NONBLOCK", 0))
        try:
            self.env = {VARIABLE: self._bind()}
            self._pipe, self._given = os.pipe()
        except BaseException:
            self._close_socket()
            raise
        for fd, read in ((self._socket.fileno(), self._read_socket), (self._pipe, self._read_pipe)):
            os.set_blocking(fd, False)
            loop.add_reader(fd, read)

    def _bind(self) -> str:
        if not _HAS_CREDENTIALS:  # who can reach it is who can look into its folder
            from tempfile import mkdtemp

            self._folder = mkdtemp(prefix="asyncproc-")
            name = os.path.join(self._folder, "notify")
            self._socket.bind(name)
            return name
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        name = f"asyncproc/{os.getpid()}/{os.urandom(16).hex()}"
        self._socket.bind(f"\0{name}")
        return f"@{name}"

    def take_descriptor(self) -> int:
        """The end of the pipe that is to be descriptor 3 of the child; from now on it is the caller's to close."""
        given, self._given = self._given, -1
        return given

    # --- what the child says --------------------------------------------------------------------------------------------

    def _read_socket(self) -> bool:
        """Take one message; False when there is none."""
        try:
            data, ancillary, _, _ = self._socket.recvmsg(LONGEST, 256)
        except OSError:
            return False
        sender = 0
        for level, kind, words in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                for start in range(0, len(words) - 3, 4):  # that they are closed is what a barrier waits for
                    os.close(int.from_bytes(words[start : start + 4], sys.byteorder))
            elif _HAS_CREDENTIALS and level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                sender = _CREDENTIALS.unpack_from(words)[0]
        # What else it may say (STATUS, STOPPING, EXTEND_TIMEOUT_USEC, ...) is no concern of its start.
        if b"READY=1" in data.split(b"\n") and (not _HAS_CREDENTIALS or self._is_ours(sender)):
            self._says_ready()
        return True

    def _is_ours(self, sender: int) -> bool:
        child = self._pid
        if sender <= 0 or child is None:  # 0 is one of another pid namespace
            return False
        if sender == child:
            return True
        with suppress(ProcessLookupError, PermissionError):
            if os.getsid(sender) == child:
                return True
        stamp = kernel.stamp_of(sender)
        return stamp not in (-1, resource.getrlimit(kernel.RLIMIT_LOCKS)[0]) and stamp == kernel.stamp_of(child)

    def _read_pipe(self) -> bool:
        """Take what has been written; False when there is nothing, or nothing will come."""
        if self._pipe < 0:
            return False
        try:
            data = os.read(self._pipe, LONGEST)
        except BlockingIOError:
            return False
        if b"\n" in data:
            self._says_ready()
        if not data:
            self._close_pipe()
        return bool(data)

    def _says_ready(self) -> None:
        self._said = True
        if self._pid is not None and not self._told:
            self._told = True
            self._watcher.on_ready()

    # --- as the watcher of the child ------------------------------------------------------------------------------------

    def on_spawned(self, pid: int | None) -> None:
        self._pid = pid
        self._watcher.on_spawned(pid)
        if self._said:
            self._says_ready()

    def on_ready(self) -> None:
        """That it runs is not what was asked for."""

    def on_acknowledged(self) -> None:
        self._watcher.on_acknowledged()

    def on_value(self, take: Callable[[], Any], size: int) -> None:
        self._watcher.on_value(take, size)

    def on_credit(self, count: int) -> None:
        self._watcher.on_credit(count)

    def on_report(self, report: LoopReport) -> None:
        self._watcher.on_report(report)

    def on_question(self, question: Question) -> None:
        self._watcher.on_question(question)

    def time_left(self) -> float:
        return self._watcher.time_left()

    def on_exit(self, exit: Exit, result: Any) -> None:
        for read in (self._read_pipe, self._read_socket):  # its last words may still lie here
            for _ in range(MOST_LAST_WORDS):
                if not read():
                    break
        self.close()
        self._watcher.on_exit(exit, result)

    # --- the end ----------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Hear nothing more."""
        self._close_pipe()
        self._close_socket()
        if self._given >= 0:  # the child was never made
            os.close(self.take_descriptor())

    def _close_pipe(self) -> None:
        if self._pipe >= 0:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.remove_reader(self._pipe)
            os.close(self._pipe)
            self._pipe = -1

    def _close_socket(self) -> None:
        fd = self._socket.fileno()
        if fd >= 0:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.remove_reader(fd)
            self._socket.close()
        if self._folder is not None:
            with suppress(OSError):
                os.unlink(os.path.join(self._folder, "notify"))
            with suppress(OSError):
                os.rmdir(self._folder)
            self._folder = None
