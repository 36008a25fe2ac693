"""An external command, as the manager holds it: its streams, its signals, and how it ended."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Any

from asyncproc._core.completed import Completed
from asyncproc._core.exit import Exit, Reason
from asyncproc._core.supervision.action import Rung
from asyncproc._spec.command import signal_number
from asyncproc.errors import EncodeError

if TYPE_CHECKING:
    from asyncproc._runtime.keeper_link import Launching, Reach
    from asyncproc._runtime.stdio import Streams
    from asyncproc._spec.command import Command
    from asyncproc.abc import Order, Usage, Watcher


class CommandChild:
    """A command, from the request for it to its exit."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        chain: Launching,
        spec: Command,
        order: Order,
        watcher: Watcher,
        streams: Streams,
        number: int,
        index: int,
    ) -> None:
        options = spec._asyncproc.options
        self.pid: int | None = None
        self._loop = loop
        self._chain = chain
        self._link: Reach = chain.launcher
        self._spec = spec
        self._order = order
        self._watcher: Watcher | None = watcher
        self.streams = streams
        self._number = number
        self._index = index
        self._group: str | None = None
        self._asked = False
        self._stop_signal = signal_number(options.get("stop_signal", "SIGTERM"))
        self._ok_codes = frozenset(options.get("ok_codes", (0,)))
        self._encoding: str | None = options.get("encoding", "utf-8")
        self._started = loop.time()
        self._link.children[number] = self

    def live_in(self, group: str) -> None:
        """It will be in this control group."""
        self._group = group

    @property
    def origin(self) -> tuple[int, frozenset[int]]:
        """The index of its stamp, and the processes that whatever comes from it descends from."""
        return self._index, frozenset((self.pid or 0, *self._chain.keepers))

    # --- what its keeper tells ------------------------------------------------------------------------------------------

    def on_spawned(self, pid: int) -> None:
        self.pid = pid
        if self._watcher is not None:
            self._watcher.on_spawned(pid)
            self._watcher.on_ready()

    def on_start_failed(self, step: str, errno: int) -> None:
        options = self._spec._asyncproc.options
        about = {"exec": self._spec.argv[0], "cwd": options.get("cwd"), "user": options.get("user")}.get(step)
        error = OSError(errno, os.strerror(errno), about) if about is not None else OSError(errno, os.strerror(errno))
        error.add_note(f"step: {step}")
        self.streams.close()  # nothing was written
        self._settle(Reason.CRASHED, error=error)

    def on_process_ended(self, status: int, cpu: float, peak_memory: int) -> None:
        killed_by = signal.Signals(os.WTERMSIG(status)) if os.WIFSIGNALED(status) else None
        code = None if killed_by else os.WEXITSTATUS(status)
        reason = Reason.FINISHED if code in self._ok_codes else Reason.CRASHED
        self._settle(reason, code=code, signal=killed_by, cpu=cpu, peak_memory=peak_memory)

    def on_lost(self) -> None:
        self._settle(Reason.LOST)

    # --- what the manager wants -----------------------------------------------------------------------------------------

    def take_rung(self, rung: Rung) -> None:
        if rung is Rung.FINISH:
            return
        if not self._asked:
            self._asked = True
            self._link.request("ending", self._number, self._group, owes=True)
        if rung is Rung.KILL:
            self._link.request("kill", self._number, self._group)
        else:
            number = self._stop_signal if rung is Rung.ASK else signal.SIGTERM
            self._link.request("signal", self._number, int(number), True)
            self._link.request("signal", self._number, int(signal.SIGCONT), True)

    def signal(self, number: int) -> None:
        self._link.request("signal", self._number, int(number), False)

    def pause(self) -> None:
        self._link.request("signal", self._number, int(signal.SIGSTOP), True)

    def resume(self) -> None:
        self._link.request("signal", self._number, int(signal.SIGCONT), True)

    def abandon(self) -> None:
        if self.pid is None:  # it was never there to be killed: it is when it comes
            self._link.request("kill", self._number, self._group)
        self._link.children.pop(self._number, None)
        self._settle(Reason.LOST, killed=True)

    vitals = None

    def usage(self) -> Usage:
        from asyncproc._runtime.usage import usage_of
        from asyncproc.abc import Usage

        return Usage() if self.pid is None else usage_of(self.pid)

    async def stacks(self) -> str:
        return "a command shows no stacks"

    def ask_for_report(self) -> None:
        """A command has no loops."""

    def send_value(self, value: object) -> int:
        raise EncodeError(f"{self._order.path} is a command: it has no channel to send a {type(value).__name__} on")

    def send_credit(self, count: int) -> None:
        """A command sends no values."""

    # --- the end --------------------------------------------------------------------------------------------------------

    def _settle(self, reason: Reason, **facts: Any) -> None:
        watcher, self._watcher = self._watcher, None
        if watcher is None:
            return
        if self._group is not None:
            self._chain.free_leaf(self._group)
        self._chain.free_index(self._index)
        self.streams.wind_down()
        duration = self._loop.time() - self._started
        exit = Exit(
            self._order.path,
            self._order.incarnation,
            reason,
            pid=self.pid,
            duration=duration,
            stderr_tail=self.streams.stderr_tail(),
            **facts,
        )
        completed = self._completed(exit) if exit.error is None and reason is not Reason.LOST else None
        watcher.on_exit(exit, completed)

    def _completed(self, exit: Exit) -> Completed[Any]:
        stdout, stderr = (self._text(self.streams.held(stream)) for stream in ("stdout", "stderr"))
        truncated = bool(self.streams.dropped)
        code = exit.code if exit.code is not None else -int(exit.signal or 0)
        return Completed(self._spec.argv, code, stdout, stderr, exit.duration, exit.cpu, exit.peak_memory, truncated)

    def _text(self, data: bytes) -> Any:
        return data if self._encoding is None else data.decode(self._encoding, "backslashreplace")
