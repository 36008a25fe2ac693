"""What a child in the manager's own process is made of, be it a thread or a coroutine: its life, its line, its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter  # uvloop's own time has whole milliseconds
from typing import TYPE_CHECKING, Any

from asyncproc._core.exit import Exit, Phase, Reason
from asyncproc._runtime.lifecycle import Life, hooks_of, terms_of
from asyncproc._runtime.local_line import LocalLine
from asyncproc._spec.current import Current, set_current

if TYPE_CHECKING:
    from asyncproc._spec.leaf import Body
    from asyncproc.abc import Order, Usage, Vitals, Watcher


class LocalLife:
    """A child whose values pass as they are.

    Attributes:
        cancels: whether a stop ends one that does not loop at once.
    """

    pid: int | None = None
    vitals: Vitals | None = None

    def __init__(self, loop: asyncio.AbstractEventLoop, spec: Body[Any], order: Order, watcher: Watcher) -> None:
        described = spec._asyncproc
        options = described.options
        self.loop = loop
        self.line = LocalLine(loop, watcher)
        self.cancels = options.get("on_stop", "cancel") == "cancel"
        self._order = order
        self._watcher: Watcher | None = watcher
        self._started = loop.time()
        self.life = Life(terms_of(spec, order.held), order.path, perf_counter)
        self.life.load(spec.work, described.args, described.kwargs, hooks_of(spec))
        place = order.path, order.incarnation, order.round, order.level
        self._view = Current(self, self.line, *place, dict(options.get("metadata", {})))
        self.life.child = lambda: self._view
        self.life.line = lambda: self.line
        self.life.on_ready = self._on_ready

    def set_current(self) -> None:
        """Let ``current()`` give this child, in the present context."""
        set_current(self._view)

    def on_manager_loop(self, call: Callable[..., object], *args: Any) -> None:
        """Call it on the manager's loop, if that still runs."""
        try:
            self.loop.call_soon_threadsafe(call, *args)
        except RuntimeError:  # given up, and its manager's loop is closed
            pass

    def _on_ready(self) -> None:
        if self._watcher is not None:
            self._watcher.on_ready()

    def acknowledged(self) -> None:
        if self._watcher is not None:
            self._watcher.on_acknowledged()

    def signal(self, number: int) -> None:
        """It has no process of its own."""

    def pause(self) -> None:
        """It cannot stand still: the machine does not ask it to."""

    def resume(self) -> None:
        """It never stood still."""

    def abandon(self) -> None:
        self.settle(Reason.LOST, killed=True)

    def send_value(self, value: object) -> int:
        return self.line.put(value)

    def send_credit(self, count: int) -> None:
        self.line.credit(count)

    def ask_for_report(self) -> None:
        if self._watcher is not None:
            self._watcher.on_report(self._view.loop_report())

    def usage(self) -> Usage:
        """Of a task nothing is counted for itself."""
        from asyncproc.abc import Usage

        return Usage(current_loop=self.life.machine.number)

    def settle(self, reason: Reason, result: Any = None, error: BaseException | None = None, killed: bool = False) -> None:
        """It has ended, or is given up: tell it, once."""
        watcher, self._watcher = self._watcher, None
        if watcher is None:  # it was given up before
            return
        life, order = self.life, self._order
        watcher.on_report(self._view.loop_report())
        fell = error is not None and life.error is error
        exit = Exit(
            order.path,
            order.incarnation,
            reason,
            error=error,
            killed=killed,
            phase=Phase(life.error_phase) if fell else None,
            loop=life.error_loop or None if fell else None,
            duration=self.loop.time() - self._started,
        )
        watcher.on_exit(exit, result)


class LoopLimit:
    """The limit of a phase whose code can be cancelled: a timer of its loop. Called with 0, it ends the limit."""

    def __init__(self, loop: asyncio.AbstractEventLoop, time_up: Callable[[], object]) -> None:
        self._loop = loop
        self._time_up = time_up
        self._timer: asyncio.TimerHandle | None = None

    def __call__(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._time_up) if seconds else None
