"""A thread of the manager's process, as a child. It can be asked to end, not killed: what does not listen is given up.

Daemonic: one that was given up never holds up the end of the program.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import TYPE_CHECKING, Any

from asyncproc._core.exit import Reason
from asyncproc._core.supervision.action import Rung
from asyncproc._runtime.lifecycle import run_on_loop, run_plain
from asyncproc._runtime.local import LocalLife, LoopLimit

if TYPE_CHECKING:
    from asyncproc._runtime.lifecycle import Calls
    from asyncproc._spec.leaf import Body
    from asyncproc.abc import Order, Watcher


class ThreadChild(LocalLife):
    """One thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, spec: Body[Any], order: Order, watcher: Watcher) -> None:
        super().__init__(loop, spec, order, watcher)
        self._needs_loop = spec.needs_loop
        self._inner: tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]] | None = None
        self._cut = False
        self.life.on_ready = lambda: self.on_manager_loop(self._on_ready)
        self.life.interrupt = self._interrupt
        self.life.arm = PlainLimit(self)
        context = contextvars.copy_context()
        context.run(self.set_current)
        self._thread = threading.Thread(target=context.run, args=(self._work,), name=order.path, daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:  # no more threads to be had
            self.settle(Reason.CRASHED, error=error)
        else:
            watcher.on_spawned(None)

    def _work(self) -> None:
        try:
            result = self._play_on_loop(None, None) if self._needs_loop else run_plain(self.life, self._play_on_loop)
        except BaseException as error:
            self.on_manager_loop(self._joined, Reason.CRASHED, None, error)
        else:
            self.on_manager_loop(self._joined, Reason.FINISHED, result, None)

    def _play_on_loop(self, play: Calls | None, value: Any) -> Any:
        return asyncio.run(self._hold(play, value))

    async def _hold(self, play: Calls | None, value: Any) -> Any:
        task = asyncio.current_task()
        assert task is not None
        loop = asyncio.get_running_loop()
        self.life.arm = LoopLimit(loop, self.life.time_up)
        self._inner = loop, task
        if self._cut:  # asked before there was anything to cancel
            task.cancel()
        try:
            return await run_on_loop(self.life, play, value)
        finally:
            self._inner = None

    def _interrupt(self) -> None:
        """From its own loop, the manager's, or a background thread. Plain code ends where it next can."""
        if self._inner is not None:
            self.life.cancelled = True
            self._cancel()
        elif self.life.reason is not None:
            self.life.defer(self.life.reason)

    def _cancel(self) -> None:
        if self._inner is not None:
            loop, task = self._inner
            try:
                loop.call_soon_threadsafe(task.cancel)
            except RuntimeError:  # it has just ended
                pass

    def take_rung(self, rung: Rung) -> None:
        self.line.ask_to_stop()
        cut = self.life.asked(rung is Rung.ASK and self.cancels)
        self.acknowledged()
        if cut or rung is Rung.KILL:
            self._cut = True  # before looking: the thread looks after it has shown its task
            self._cancel()

    def _joined(self, reason: Reason, result: Any, error: BaseException | None) -> None:
        self._thread.join()  # it has said its last word: this takes no time, and leaves no thread behind
        self.settle(reason, result, error)


class PlainLimit:
    """The limit of a phase whose code is plain, in a thread: its interpreter raises there, when it next runs Python code.

    A thread that is stuck in C, or waits, is not reached before that returns. The lock keeps an exception from being raised
    when the phase is over.
    """

    def __init__(self, child: ThreadChild) -> None:
        self._child = child
        self._lock = threading.Lock()
        self._serial = 0
        self._fired = False

    def __call__(self, seconds: float) -> None:
        with self._lock:
            self._serial += 1
            if self._fired and not seconds:  # raised already, or about to be: not any more
                _raise_in(threading.get_ident(), None)
            self._fired = False
        if seconds:
            self._child.on_manager_loop(self._wait, seconds, self._serial, threading.get_ident())

    def _wait(self, seconds: float, serial: int, thread: int) -> None:
        self._child.loop.call_later(seconds, self._fire, serial, thread)

    def _fire(self, serial: int, thread: int) -> None:
        with self._lock:
            if serial != self._serial:
                return
            self._child.life.time_up()
            self._fired = True
            _raise_in(thread, LimitPassed)


class LimitPassed(BaseException):
    """Raised in a thread whose phase took too long; its PhaseTimeout stands in its place."""


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    import ctypes

    raised = None if error is None else ctypes.py_object(error)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), raised)
