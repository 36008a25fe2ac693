"""One call into the portal: work for its loop, and the thread that waits for the end of it.

A raw lock carries the end from the loop to the thread: it is the cheapest hand-over there is, and a signal interrupts the
waiting. Whether the end has come is written down before the lock is opened, because a signal may raise in the moment after the
waiting is over: who waits again must not wait for ever.
"""

from __future__ import annotations

import asyncio
import time
from _thread import allocate_lock
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import Any, Generic, TypeVar

from asyncproc.errors import StateError

R = TypeVar("R")

FIRST_LOOK = 0.05
"""Seconds after which a waiting thread looks for signals, then after twice as long, and so on: one that came in the moment
between Python's own look and the sleep does not wake it. Waiting an hour takes seventeen looks."""


class Call(Generic[R]):
    """Work that is to run on a loop.

    Args:
        work: makes the coroutine; called on the loop, in the context of the thread that calls.
        then: called on the loop once it has ended, before the waiting thread hears of it.

    Attributes:
        cut: whether it has no outcome, because the loop ended and nobody had given it up.
    """

    __slots__ = ("_context", "_end", "_error", "_given_up", "_over", "_task", "_then", "_value", "_work", "cut")

    def __init__(self, work: Callable[[], Any], then: Callable[[], object] | None = None) -> None:
        self._work = work
        self._then = then
        self._context = copy_context()
        self._task: asyncio.Task[None] | None = None
        self._value: Any = None
        self._error: BaseException | None = None
        self._given_up = False
        self._over = False
        self.cut = False
        self._end = allocate_lock()
        self._end.acquire()

    # --- on the loop ----------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Begin the work, unless it was given up before."""
        if not self._over:
            self._task = asyncio.get_running_loop().create_task(self._carry(), context=self._context)

    async def _carry(self) -> None:
        try:
            self._value = await self._work()
        except BaseException as error:  # whatever it is, it belongs to the thread that called
            self._error = error
            self.cut = isinstance(error, asyncio.CancelledError) and not self._given_up
        self._finish()

    def cancel(self) -> None:
        """Give it up; once more: give up what it still does to end what it began."""
        if self._over:
            return
        self._given_up = True
        if self._task is not None:  # not before its first step: what need not wait comes through
            asyncio.get_running_loop().call_soon(self._task.cancel)
        else:
            self._error = asyncio.CancelledError()
            self._finish()

    def _finish(self) -> None:
        if self._over:
            return
        if self._then is not None:
            self._then()
        self._over = True
        self._end.release()

    def let_go(self) -> None:
        """The loop has ended without it."""
        if not self._over:
            self.cut = not self._given_up
            self._error = asyncio.CancelledError()
            self._over = True
            with suppress(RuntimeError):  # both the loop's thread and the calling one may see that it has ended
                self._end.release()

    # --- on the thread that called --------------------------------------------------------------------------------------

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for its end; False after *timeout* seconds."""
        begun, pause = time.monotonic(), FIRST_LOOK
        while not self._over:
            left = pause if timeout is None else min(pause, begun + timeout - time.monotonic())
            if self._end.acquire(timeout=max(left, 0.0)):
                return True
            if timeout is not None and left < pause:
                return self._over
            pause *= 2
        return True

    @property
    def came_through(self) -> bool:
        """Whether it has ended by itself, well or not."""
        return self._over and not isinstance(self._error, asyncio.CancelledError)

    def outcome(self) -> R:
        """What it gave; what it raised is raised here."""
        error, self._error = self._error, None
        if error is None:
            value: R = self._value
            return value
        try:
            raise error
        finally:
            del error, self  # its traceback holds this frame


class Question(Call[R]):
    """A call that waits for nothing on the loop: a plain function, run between two steps of everything else."""

    __slots__ = ()

    def begin(self) -> None:
        if self._over:
            return
        try:
            self._value = self._context.run(self._work)
        except BaseException as error:  # as above
            self._error = error
        self._finish()


def alone(loop: asyncio.AbstractEventLoop | None, work: Callable[[], Coroutine[Any, Any, R]]) -> R:
    """Do the work of a call whose loop has ended, on this thread: nothing runs any more that it could wait for.

    Raises:
        StateError: it waits all the same.
    """
    coroutine = work()
    try:
        answer(loop, partial(coroutine.send, None))
    except StopIteration as done:
        value: R = done.value
        return value
    finally:
        coroutine.close()
    raise StateError("the manager is closed, and what this call waits for will not come any more")


def answer(loop: asyncio.AbstractEventLoop | None, ask: Callable[[], R]) -> R:
    """Call a plain function as if *loop*, which has ended, still ran here: what belongs to a loop looks where it is used."""
    asyncio._set_running_loop(loop)
    try:
        return ask()
    finally:
        asyncio._set_running_loop(None)
