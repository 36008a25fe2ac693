"""The manager as the keeper of its own children, where there is no launcher: starts, signals, reaps and sweeps.

It is to a child's object what the link to a helper is elsewhere (:class:`~asyncproc._runtime.keeper_link.Reach`), and takes the
same requests.

*The order of an end.* The end is told by a :mod:`watch <asyncproc._runtime.end_watch>`, before anybody has reaped: the pid, and
with it the process group, is still this child's. So the group is killed first, then the process reaped, then, on Linux, who
bears its stamp is swept, and only then the exit is told.

The host's SIGCHLD is its own business. When the host ignores it, or reaps whatever ends, the end is still seen, and the
status is what the kernel keeps for who holds a pidfd. Kernels before 6.15 keep none: then the child is told as lost, unless
it has sent its outcome; no status is ever guessed. Its number may be somebody else's by then: who is signalled is found by
the pidfd alone.
"""

from __future__ import annotations

import asyncio
import marshal
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

from asyncproc._runtime import kernel
from asyncproc._runtime.end_watch import EndWatch, watch_end
from asyncproc._runtime.keeper import LEFTOVERS_AFTER, SWEEP_LIMIT
from asyncproc._runtime.memory_file import memory_file
from asyncproc._runtime.warden import ROOT, RUN_VARIABLE, above, python, run_token

if TYPE_CHECKING:
    from asyncproc._runtime.keeper_link import Listener

HANG_UP_LIMIT = 1.0
"""Seconds that a manager without a loop waits for the end of its children."""
REPORT_SIZE = 1000


def has_stamps() -> bool:
    """Whether what a child leaves behind can be found here by its stamp, however deep this process is in a tree."""
    return sys.platform == "linux" and hasattr(os, "pidfd_open")


class Kept:
    """A child of this process.

    Attributes:
        report: where a command that is on its way tells why it did not come; None when it has told. failure: what it told, as
            step and errno. marked: whether what it leaves can be found by its stamp. ending: asked to end: what it leaves
            behind goes with it.
    """

    def __init__(self, number: int, index: int, program: subprocess.Popen[bytes], marked: bool) -> None:
        self.number = number
        self.index = index
        self.program = program
        self.pid = program.pid
        self.marked = marked
        self.ending = False
        self.report: int | None = None
        self.failure: tuple[str, int] | None = None
        self.watch: EndWatch


class OwnKeeper:
    """Keeps the processes of one manager.

    Args:
        loop: the manager's loop. All calls are made on its thread; on Linux the children end with that thread.

    Attributes:
        children: who is told of each child, by number. base_env: the environment that children have by default.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.children: dict[int, Listener] = {}
        self.base_env = {**os.environ, RUN_VARIABLE: run_token()}
        self._loop = loop
        self._host = os.getpid()
        self._kept: dict[int, Kept] = {}
        self._next = 0
        self._indices: set[int] = set()
        self._top, self._width = kernel.own_interval() if has_stamps() else (0, 0)
        self._leftovers: set[int] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._idle: asyncio.Future[None] | None = None

    @property
    def launcher(self) -> OwnKeeper:
        return self

    # --- numbers --------------------------------------------------------------------------------------------------------

    def next_number(self) -> tuple[int, int]:
        """A number for a new child, and the index of its stamp: from the top, as chains of this process count from below."""
        self._next += 1
        index = kernel.COUNT - 1 - self._next % (kernel.COUNT - 1)
        while index in self._indices:
            index = (index - 1) % (kernel.COUNT - 1) + 1
        self._indices.add(index)
        return self._next, index

    def free_leaf(self, leaf: str) -> None:
        """No child has a control group here."""

    @property
    def keepers(self) -> list[int]:
        """Nobody adopts here: what comes from a child is found as long as its line of parents stands."""
        return []

    def free_index(self, index: int) -> None:
        self._indices.discard(index)

    def _stamp(self, index: int) -> int:
        return self._top - index * self._width if self._width else 0

    # --- starts ---------------------------------------------------------------------------------------------------------

    def start_python(
        self,
        number: int,
        index: int,
        name: str,
        channel: socket.socket,
        streams: tuple[int, ...],
        env: Mapping[str, str],
        preload: tuple[str, ...],
    ) -> int:
        """Start a fresh interpreter with its end of a channel; returns its pid.

        Raises:
            OSError: the system has no process, descriptor or interpreter for it.
        """
        from asyncproc._runtime.fresh_main import WATCHES, begin
        from asyncproc._runtime.portable import FreshProcess, Launch

        fd = above(channel.fileno())
        try:
            args = (fd, os.getpid(), self._stamp(index), preload, WATCHES)
            process = FreshProcess(begin, args, name, Launch(fd, streams, env))
            process.start()
        finally:
            os.close(fd)
        return self._keep(number, index, process.program, env).pid

    def start_command(
        self, number: int, index: int, description: tuple[Any, ...], streams: tuple[int, ...], env: Mapping[str, str]
    ) -> None:
        """Start a command; whether its program runs is told to the listener.

        Args:
            description: argv, programs, folder, environment and limits, as :func:`exec_main.become_program` takes them.

        Raises:
            OSError: the system has no process or descriptor for it.
        """
        from asyncproc._runtime.exec_main import START

        with ExitStack() as held:
            failure, report = os.pipe()
            held.callback(os.close, report)
            on_failure = held.enter_context(ExitStack())
            on_failure.callback(os.close, failure)
            file = memory_file(marshal.dumps(description))
            held.callback(os.close, file)
            passed = []
            for fd in (file, report, *streams[3:]):
                passed.append(above(fd))
                held.callback(os.close, passed[-1])
            numbers = [*passed[:2], os.getpid(), self._stamp(index), *passed[2:]]
            program = subprocess.Popen(
                [python(), "-I", "-S", "-c", START, ROOT, *map(str, numbers)],
                stdin=streams[0], stdout=streams[1], stderr=streams[2],
                pass_fds=passed, env=self.base_env, cwd="/", start_new_session=True,
            )  # fmt: skip
            kept = self._keep(number, index, program, env)
            kept.report = failure
            on_failure.pop_all()
        self._loop.add_reader(failure, self._read_report, kept)

    def _keep(self, number: int, index: int, program: subprocess.Popen[bytes], env: Mapping[str, str]) -> Kept:
        kept = Kept(number, index, program, bool(self._width) and RUN_VARIABLE in env)
        try:
            kept.watch = watch_end(self._loop, kept.pid, lambda: self._ended(kept))
        except OSError:  # no descriptors left: nobody would hear of its end
            program.kill()
            program.wait()
            raise
        self._kept[number] = kept
        return kept

    def _read_report(self, kept: Kept) -> None:
        """The command runs, or tells why not: then its process ends at once, and with it the start."""
        if kept.report is None:
            return
        text = os.read(kept.report, REPORT_SIZE)
        self._close_report(kept)
        if text:
            step, errno = text.split(b":")
            kept.failure = step.decode(), int(errno)
        elif (listener := self.children.get(kept.number)) is not None:
            listener.on_spawned(kept.pid)

    def _close_report(self, kept: Kept) -> None:
        if kept.report is not None:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.remove_reader(kept.report)
            os.close(kept.report)
            kept.report = None

    # --- requests -------------------------------------------------------------------------------------------------------

    def request(self, *words: Any, owes: bool = False) -> None:
        """``ending``, ``kill``, or ``signal`` with a signal and whether it is for the group; and before these a number."""
        word, number, *rest = words
        kept = self._kept.get(number)
        if kept is None:
            return
        if word == "signal":
            self._send(kept, *rest)
            return
        kept.ending = True
        if word == "kill":
            self._send(kept, signal.SIGKILL, True)
            self._send(kept, signal.SIGKILL, False)  # it may not lead its group yet

    def _send(self, kept: Kept, number: int, group: bool) -> None:
        if group:
            kept.watch.send_to_group(number)
        else:
            kept.watch.send(number)

    # --- ends -----------------------------------------------------------------------------------------------------------

    def _ended(self, kept: Kept) -> None:
        self._read_report(kept)  # that it began is told before that it ended
        if kept.ending or not kept.marked:
            kept.watch.send_to_group(signal.SIGKILL)
        status, usage = _reap(kept)
        kept.watch.close()
        del self._kept[kept.number]
        if kept.marked:
            self._look_after(kept)
        listener = self.children.pop(kept.number, None)
        if listener is not None:
            if kept.failure is not None:
                listener.on_start_failed(*kept.failure)
            elif status is None:
                listener.on_lost()
            else:
                listener.on_process_ended(status, *_used(usage))
        if self._idle is not None and not self._kept and not self._idle.done():
            self._idle.set_result(None)

    def _look_after(self, kept: Kept) -> None:
        """What it has left behind: gone at once when it was to end, a moment later when it ended by itself."""
        if kept.ending:
            self._end_marked({kept.index})
            return
        self._leftovers.add(kept.index)
        if self._sweep is None:
            self._sweep = self._loop.call_later(LEFTOVERS_AFTER, self._sweep_leftovers)

    def _sweep_leftovers(self) -> None:
        self._sweep = None
        indices, self._leftovers = self._leftovers, set()
        self._end_marked(indices)

    def _end_marked(self, indices: set[int]) -> None:
        """Kill whoever bears one of these stamps, until nobody is found, for half a second at most."""
        deadline = time.monotonic() + SWEEP_LIMIT
        try:
            while indices and kernel.kill_marked(indices, self.base_env[RUN_VARIABLE]) and time.monotonic() < deadline:
                pass
        except OSError:  # no descriptor to look with: an exit must be told all the same, and the next sweep looks again
            self._leftovers |= indices

    # --- the end of the manager -------------------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """End everybody, and return when nobody is left."""
        self._kill_all()
        if self._kept:
            self._idle = self._loop.create_future()
            await self._idle
        self._last_sweep()

    def hang_up(self) -> None:
        """The same without a loop: it blocks, for a second at most."""
        if os.getpid() != self._host:  # a forked copy: nothing here is its own
            return
        self._kill_all()
        deadline = time.monotonic() + HANG_UP_LIMIT
        for kept in self._kept.values():
            kept.watch.wait(max(0.0, deadline - time.monotonic()))
            _reap(kept)
            kept.watch.close()
            self._close_report(kept)
            self._leftovers.add(kept.index)
        self._kept.clear()
        self._last_sweep()

    def _kill_all(self) -> None:
        for number in list(self._kept):
            self.request("kill", number)

    def _last_sweep(self) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
        self._sweep_leftovers()


_RSS_UNIT = 1024 if sys.platform == "linux" else 1
"""Bytes in one unit of ru_maxrss."""


def _reap(kept: Kept) -> tuple[int | None, Any]:
    """The wait status of a process that has ended, and what it used, which nobody knows whom somebody else has reaped."""
    try:
        pid, status, usage = os.wait4(kept.pid, os.WNOHANG)
        found = status if pid else None
    except ChildProcessError:
        found, usage = kept.watch.status(), None
    kept.program.returncode = 0 if found is None else os.waitstatus_to_exitcode(found)  # subprocess need not look any more
    return found, usage


def _used(usage: Any) -> tuple[float, int]:
    return (0.0, 0) if usage is None else (usage.ru_utime + usage.ru_stime, usage.ru_maxrss * _RSS_UNIT)
