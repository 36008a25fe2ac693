"""A coroutine on the manager's own loop, as a child: an owned task, cancelled when it is asked to end."""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, Any

from asyncproc._core.exit import Reason
from asyncproc._core.supervision.action import Rung
from asyncproc._runtime.lifecycle import run_on_loop
from asyncproc._runtime.local import LocalLife, LoopLimit

if TYPE_CHECKING:
    from asyncproc._spec.leaf import Body
    from asyncproc.abc import Order, Watcher


class CoroutineChild(LocalLife):
    """One task."""

    def __init__(self, loop: asyncio.AbstractEventLoop, spec: Body[Any], order: Order, watcher: Watcher) -> None:
        super().__init__(loop, spec, order, watcher)
        self.life.interrupt = self._interrupt
        self.life.arm = LoopLimit(loop, self.life.time_up)
        context = contextvars.copy_context()
        context.run(self.set_current)
        self._cut: asyncio.CancelledError | None = None
        self._task = loop.create_task(self._carried(run_on_loop(self.life)), name=order.path, context=context)
        self._task.add_done_callback(self._done)
        watcher.on_spawned(None)

    def _interrupt(self) -> None:
        """Also from a background thread. On the loop, so that it meets what waits there now."""
        self.on_manager_loop(self._cut_by, self.life.reason)

    def _cut_by(self, reason: BaseException | None) -> None:
        if self.life.reason is reason:  # else it has been heard already
            self.life.cancelled = True
            self._task.cancel("interrupted")

    def take_rung(self, rung: Rung) -> None:
        self.line.ask_to_stop()
        cut = self.life.asked(rung is Rung.ASK and self.cancels)
        self.acknowledged()
        if cut or rung in (Rung.TERM, Rung.KILL):
            self.life.cancelled = True
            self._task.cancel("asked to end")

    async def stacks(self) -> str:
        from asyncproc._runtime.stacks import cut, text_of_task, texts_of_threads

        return cut("\n".join([text_of_task(self._task), *texts_of_threads(self.life.thread_idents)]))

    def abandon(self) -> None:
        """It did not end in its time, and is cut: its clean-up may still run, but nobody waits for it."""
        self.life.cancelled = True
        self._task.cancel("given up")
        super().abandon()

    async def _carried(self, work: Any) -> Any:
        try:
            return await work
        except asyncio.CancelledError as error:  # its task forgets what else went wrong, which stands on this
            self._cut = error
            raise
        except (KeyboardInterrupt, SystemExit) as error:  # would unwind the host's loop
            raise Carried(error) from None

    def _done(self, task: asyncio.Task[Any]) -> None:
        if task.cancelled():
            self.settle(Reason.CRASHED, error=self._cut or asyncio.CancelledError())
        elif (error := task.exception()) is not None:
            self.settle(Reason.CRASHED, error=error.error if isinstance(error, Carried) else error)
        else:
            self.settle(Reason.FINISHED, task.result())


class Carried(Exception):  # a wrapper, opened in the exit
    def __init__(self, error: BaseException) -> None:
        self.error = error
