"""A coroutine on the manager's own loop, as a child: an owned task, cancelled when it is asked to end."""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, Any

from asyncproc._core.exit import Exit, Phase, Reason
from asyncproc._core.supervision.action import Rung
from asyncproc._runtime.local_line import LocalLine
from asyncproc._spec.current import Current, set_current

if TYPE_CHECKING:
    from asyncproc._spec.leaf import Body
    from asyncproc.abc import Order, Watcher


class CoroutineChild:
    """One task."""

    def __init__(self, loop: asyncio.AbstractEventLoop, spec: Body[Any], order: Order, watcher: Watcher) -> None:
        self.pid: int | None = None
        self._loop = loop
        self._order = order
        self._watcher: Watcher | None = watcher
        self._cancels = spec._asyncproc.options.get("on_stop", "cancel") == "cancel"
        self._line = LocalLine(loop, watcher)
        self._started = loop.time()
        metadata = dict(spec._asyncproc.options.get("metadata", {}))
        view = Current(self._line, order.path, order.incarnation, order.round, order.level, metadata)
        context = contextvars.copy_context()
        context.run(set_current, view)
        described = spec._asyncproc
        self._task = loop.create_task(_call(spec.work, described.args, described.kwargs), name=order.path, context=context)
        self._task.add_done_callback(self._done)
        watcher.on_spawned(None)
        watcher.on_ready()

    def take_rung(self, rung: Rung) -> None:
        self._line.ask_to_stop()
        if self._watcher is not None:
            self._watcher.on_acknowledged()
        if rung is Rung.KILL or (rung is Rung.ASK and self._cancels):
            self._task.cancel("asked to end")

    def signal(self, number: int) -> None:
        """A coroutine has no process of its own."""

    def abandon(self) -> None:
        self._settle(Reason.LOST, killed=True)

    def send_value(self, value: object) -> int:
        return self._line.put(value)

    def send_credit(self, count: int) -> None:
        self._line.credit(count)

    def _done(self, task: asyncio.Task[Any]) -> None:
        if task.cancelled():
            self._settle(Reason.CRASHED, error=asyncio.CancelledError())
        elif (error := task.exception()) is not None:
            self._settle(Reason.CRASHED, error=error.error if isinstance(error, Carried) else error)
        else:
            self._settle(Reason.FINISHED, task.result())

    def _settle(self, reason: Reason, result: Any = None, error: BaseException | None = None, killed: bool = False) -> None:
        watcher, self._watcher = self._watcher, None
        if watcher is None:  # it was given up before
            return
        phase = Phase.LOOP if error is not None else None
        duration = self._loop.time() - self._started
        order = self._order
        watcher.on_exit(
            Exit(order.path, order.incarnation, reason, error=error, killed=killed, phase=phase, duration=duration), result
        )


async def _call(target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    try:
        return await target(*args, **kwargs)
    except (KeyboardInterrupt, SystemExit) as error:  # would unwind the host's loop
        raise Carried(error) from None


class Carried(Exception):  # a wrapper, opened in the exit
    def __init__(self, error: BaseException) -> None:
        self.error = error
