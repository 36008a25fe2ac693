"""A thread of the manager's process, as a child. It can be asked to end, not killed: what does not listen is given up.

Daemonic: one that was given up never holds up the end of the program.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

from asyncproc._core.exit import Reason
from asyncproc._core.supervision.action import Rung
from asyncproc._runtime.lifecycle import run_on_loop, run_plain
from asyncproc._runtime.local import LocalLife, LoopLimit

if TYPE_CHECKING:
    from asyncproc._runtime.lifecycle import Calls
    from asyncproc._runtime.loop_beat import LoopBeat
    from asyncproc._spec.leaf import Body
    from asyncproc.abc import Order, Usage, Watcher


class ThreadChild(LocalLife):
    """One thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, spec: Body[Any], order: Order, watcher: Watcher) -> None:
        super().__init__(loop, spec, order, watcher)
        self._needs_loop = spec.needs_loop
        self._inner: tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]] | None = None
        self._cut = False
        self.life.on_ready = lambda: self.on_manager_loop(self._on_ready)
        self.life.interrupt = self._interrupt
        self._limit = PlainLimit(self)
        heartbeat = spec._asyncproc.options.get("heartbeat")
        self.vitals = self._beat = None if heartbeat is None else _beat_within(heartbeat)
        self.life.arm = self._limit
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
        if (left := self._limit.end()) is not None:  # of a phase that had begun plain
            self.life.arm(max(left, 1e-6))
        self._inner = loop, task
        if self._beat is not None:
            self._beat.follow(loop)
        if self._cut or self.life.reason is not None:  # asked before there was anything to cancel
            self._cancel()
        try:
            return await run_on_loop(self.life, play, value)
        finally:
            self._inner = None
            if self._beat is not None:
                self._beat.leave()

    def _interrupt(self) -> None:
        """From its own loop, the manager's, or a background thread. Plain code ends where it next can."""
        reason = self.life.reason
        if self._inner is not None:
            self._on_inner_loop(self._cut_by, reason)
        elif reason is not None:
            self.life.defer(reason)

    def _on_inner_loop(self, call: Callable[..., object], *args: Any) -> None:
        """What is to be interrupted is looked at, and cancelled, on its own loop: it meets what waits there now."""
        if (inner := self._inner) is not None:
            try:
                inner[0].call_soon_threadsafe(call, *args)
            except RuntimeError:  # it has just ended
                pass

    def _cut_by(self, reason: BaseException | None) -> None:
        if self.life.reason is reason:  # else it has been heard already
            self._cancel()

    def _cancel(self) -> None:
        if self._inner is not None:
            self.life.cancelled = True
            self._inner[1].cancel("asked to end")

    def take_rung(self, rung: Rung) -> None:
        self.line.ask_to_stop()
        cut, kill = rung is Rung.ASK and self.cancels, rung in (Rung.TERM, Rung.KILL)
        if self._inner is None and (self.life.asked(cut) or kill):
            self._cut = True  # before looking: the thread looks after it has shown its task
        self._on_inner_loop(self._asked, cut, kill)
        self.acknowledged()

    def usage(self) -> Usage:
        from asyncproc._runtime.usage import thread_cpu
        from asyncproc.abc import Usage

        threads = 1 + len(self.life.thread_idents)
        return Usage(thread_cpu(self._thread.native_id), None, threads, self.life.machine.number)

    async def stacks(self) -> str:
        from asyncproc._runtime.stacks import cut, texts_of_tasks, texts_of_threads

        inner = self._inner
        parts = [
            *texts_of_threads([self._thread.ident, *self.life.thread_idents]),
            *texts_of_tasks(None if inner is None else inner[0]),
        ]
        return cut("\n".join(parts))

    def abandon(self) -> None:
        """It did not end in its time; code that awaits is cut: its clean-up may still run, but nobody waits for it."""
        self._on_inner_loop(self._asked, False, True)
        super().abandon()

    def _asked(self, cut: bool, kill: bool) -> None:
        if self.life.asked(cut) or kill:
            self._cancel()

    def _joined(self, reason: Reason, result: Any, error: BaseException | None) -> None:
        self._limit.close()
        self._thread.join()  # it has said its last word: this takes no time, and leaves no thread behind
        self.settle(reason, result, error)


def _beat_within(limit: float) -> LoopBeat:
    from asyncproc._core.supervision.heartbeat import BEATS
    from asyncproc._runtime.loop_beat import LoopBeat

    return LoopBeat(limit / BEATS)


class PlainLimit:
    """The limit of a phase whose code is plain, in a thread: its interpreter raises there, when it next runs Python code.

    A thread that is stuck in C, or waits, is not reached before that returns. It is raised only while the user's code runs
    there. One timer serves all limits of the child: most are kept, and armed again a moment later.
    """

    def __init__(self, child: ThreadChild) -> None:
        self._child = child
        self._lock = threading.Lock()
        self._due: float | None = None  # when the limit passes
        self._serial = 0
        self._wakes: float | None = None  # when the timer looks
        self._timer: asyncio.TimerHandle | None = None

    def __call__(self, seconds: float) -> None:
        """On the child's thread."""
        with self._lock:
            self._serial += 1
            self._due = monotonic() + seconds if seconds else None
            self._thread = threading.get_ident()
            if self._due is None or (self._wakes is not None and self._wakes <= self._due):
                return
            self._wakes = self._due
        self._child.on_manager_loop(self._wait)

    def end(self) -> float | None:
        """End it; how many seconds were left, None without one."""
        with self._lock:
            due, self._due = self._due, None
        return None if due is None else due - monotonic()

    def close(self) -> None:
        """On the manager's loop: the child has ended."""
        if self._timer is not None:
            self._timer.cancel()

    def _wait(self) -> None:
        with self._lock:
            self._sleep()

    def _sleep(self) -> None:
        self.close()
        if self._wakes is not None:
            self._timer = self._child.loop.call_later(max(0.0, self._wakes - monotonic()), self._look)

    def _look(self) -> None:
        with self._lock:
            self._wakes = self._due
            if self._due is None or self._due > monotonic():
                self._sleep()
                return
            self._wakes = None
            self._child.life.time_up()
            self._raise(self._serial, self._thread)

    def _raise(self, serial: int, thread: int) -> None:
        """Between two calls nothing of the user's runs: it comes a moment later."""
        if serial != self._serial or self._due is None:
            return
        life = self._child.life
        raise_in, number, what = _raising()
        ident = number(thread)
        if life.inside:  # and between this and that no other thread can run
            raise_in(ident, what)
        else:
            self._timer = self._child.loop.call_later(0.001, self._raise_again, serial, thread)

    def _raise_again(self, serial: int, thread: int) -> None:
        with self._lock:
            self._raise(serial, thread)


class LimitPassed(BaseException):
    """Raised in a thread whose phase took too long; its PhaseTimeout stands in its place."""


def _raising() -> tuple[Any, Any, Any]:
    """What raises it in a thread: loaded for the first limit that passes."""
    import ctypes

    return ctypes.pythonapi.PyThreadState_SetAsyncExc, ctypes.c_ulong, ctypes.py_object(LimitPassed)
