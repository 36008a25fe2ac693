"""A thread of the manager's process, as a child. It can be asked to end, not killed: what does not listen is given up.

Daemonic: one that was given up never holds up the end of the program.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from typing import TYPE_CHECKING, Any

from asyncproc._core.exit import Exit, Phase, Reason
from asyncproc._core.supervision.action import Rung
from asyncproc._runtime.local_line import LocalLine
from asyncproc._spec.current import Current, set_current

if TYPE_CHECKING:
    from asyncproc._spec.leaf import Body
    from asyncproc.abc import Order, Watcher


class ThreadChild:
    """One thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, spec: Body[Any], order: Order, watcher: Watcher) -> None:
        self.pid: int | None = None
        self._loop = loop
        self._order = order
        self._watcher: Watcher | None = watcher
        self._spec = spec
        self._line = LocalLine(loop, watcher)
        self._inner: tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]] | None = None
        self._cut = False
        self._cancels = spec._asyncproc.options.get("on_stop", "cancel") == "cancel"
        self._started = loop.time()
        metadata = dict(spec._asyncproc.options.get("metadata", {}))
        view = Current(self._line, order.path, order.incarnation, order.round, order.level, metadata)
        context = contextvars.copy_context()
        context.run(set_current, view)
        self._thread = threading.Thread(target=context.run, args=(self._work,), name=order.path, daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:  # no more threads to be had
            self._settle(Reason.CRASHED, None, error)
        else:
            watcher.on_spawned(None)
            watcher.on_ready()

    def _work(self) -> None:
        described = self._spec._asyncproc
        target = self._spec.work
        try:
            result = target(*described.args, **described.kwargs)
            if inspect.iscoroutine(result):
                result = asyncio.run(self._hold(result))
        except BaseException as error:
            self._tell(Reason.CRASHED, None, error)
        else:
            self._tell(Reason.FINISHED, result, None)

    async def _hold(self, work: Any) -> Any:
        task = asyncio.current_task()
        assert task is not None
        self._inner = asyncio.get_running_loop(), task
        if self._cut:  # asked before there was anything to cancel
            task.cancel()
        try:
            return await work
        finally:
            self._inner = None

    def _tell(self, reason: Reason, result: Any, error: BaseException | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._settle, reason, result, error)
        except RuntimeError:  # given up, and its manager's loop is closed
            pass

    def take_rung(self, rung: Rung) -> None:
        self._line.ask_to_stop()
        if self._watcher is not None:
            self._watcher.on_acknowledged()
        if rung is not Rung.KILL and not (rung is Rung.ASK and self._cancels):
            return
        self._cut = True  # before looking: the thread looks after it has shown its task
        if self._inner is not None:
            loop, task = self._inner
            try:
                loop.call_soon_threadsafe(task.cancel)
            except RuntimeError:  # it has just ended
                pass

    def signal(self, number: int) -> None:
        """A thread has no process of its own."""

    def abandon(self) -> None:
        self._settle(Reason.LOST, None, None, killed=True)

    def send_value(self, value: object) -> int:
        return self._line.put(value)

    def send_credit(self, count: int) -> None:
        self._line.credit(count)

    def _settle(self, reason: Reason, result: Any, error: BaseException | None, killed: bool = False) -> None:
        watcher, self._watcher = self._watcher, None
        if watcher is None:  # it was given up before
            return
        if not killed:
            self._thread.join()  # it has said its last word: this takes no time, and leaves no thread behind
        phase = Phase.LOOP if error is not None else None
        duration = self._loop.time() - self._started
        order = self._order
        watcher.on_exit(
            Exit(order.path, order.incarnation, reason, error=error, killed=killed, phase=phase, duration=duration), result
        )
