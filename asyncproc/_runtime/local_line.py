"""The line of a child that lives in the manager's own process: a thread, or a coroutine on the manager's loop.

Values pass as they are, without being pickled; there may be at most 64 on their way in each direction.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any

from asyncproc._ipc.frame import WINDOW

if TYPE_CHECKING:
    from asyncproc.abc import Watcher

SIZE = WINDOW // 64
"""What one value counts as; nobody knows what it weighs."""


class LocalLine:
    """Both ends of it: the child's is used on the child's thread, the rest on the manager's loop.

    One lock guards what both see. Whoever waits on a loop is woken there; whoever waits in a thread, by the condition.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, watcher: Watcher) -> None:
        self._loop = loop
        self._watcher = watcher
        self._news = threading.Condition()
        self._values: deque[Any] = deque()
        self._sent = 0
        self._stopping = False
        self._deadline = inf
        self._hearers: tuple[Callable[[float], object], ...] = ()
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    # --- the manager's side ---------------------------------------------------------------------------------------------

    def ask_to_stop(self) -> None:
        self.change(lambda: setattr(self, "_stopping", True))
        if (left := self._watcher.time_left()) < inf:
            self._deadline = time.monotonic() + left
            for call in self._hearers:
                call(left)

    def put(self, value: object) -> int:
        self.change(lambda: self._values.append(value))
        return SIZE

    def credit(self, count: int) -> None:
        self.change(lambda: setattr(self, "_sent", self._sent - count))

    def change(self, change: Callable[[], object]) -> None:
        with self._news:
            change()
            waiting, self._waiting = self._waiting, []
            self._news.notify_all()
        for loop, future in waiting:
            _post(loop, partial(_wake, future))

    # --- the child's side -----------------------------------------------------------------------------------------------

    @property
    def stopping(self) -> bool:
        return self._stopping

    def hear_end(self, call: Callable[[float], object]) -> None:
        self._hearers = (*self._hearers, call)
        if self._deadline < inf:
            call(self._deadline - time.monotonic())

    def forget_end(self, call: Callable[[float], object]) -> None:
        self._hearers = tuple(each for each in self._hearers if each != call)

    async def wait_stopping(self) -> None:
        await self._until(lambda: self._stopping)

    async def send(self, value: object) -> None:
        await self._until(self._has_room)
        self._hand_over(value)

    async def receive(self) -> Any:
        taken: list[Any] = []
        await self._until(lambda: self._take_into(taken))
        return self._taken(taken)

    def send_blocking(self, value: object, timeout: float | None) -> None:
        with self._news:
            if not self._news.wait_for(self._has_room, timeout):
                raise TimeoutError(f"send: the manager took nothing for {timeout} s")
        self._hand_over(value)

    def receive_blocking(self, timeout: float | None) -> Any:
        taken: list[Any] = []
        with self._news:
            if not self._news.wait_for(lambda: self._take_into(taken), timeout):
                raise TimeoutError(f"receive: nothing came for {timeout} s")
        return self._taken(taken)

    def wait_stopping_blocking(self, timeout: float | None) -> bool:
        with self._news:
            return self._news.wait_for(lambda: self._stopping, timeout)

    async def ask(self, service: int, question: object) -> Any:
        asked = LocalQuestion(self, service, question)
        _post(self._loop, lambda: self._watcher.on_question(asked))
        await self._until(lambda: asked.outcome)
        return asked.opened()

    def ask_blocking(self, service: int, question: object, timeout: float | None) -> Any:
        asked = LocalQuestion(self, service, question)
        _post(self._loop, lambda: self._watcher.on_question(asked))
        with self._news:
            if not self._news.wait_for(lambda: asked.outcome, timeout):
                raise TimeoutError(f"ask: the manager did not answer for {timeout} s")
        return asked.opened()

    def ask_at_once(self, service: int, question: object) -> Any:
        if asyncio._get_running_loop() is not self._loop:
            return self.ask_blocking(service, question, None)
        asked = LocalQuestion(self, service, question)
        self._watcher.on_question(asked)
        return asked.opened()

    def ask_nowait(self, service: int, question: object) -> None:
        asked = LocalQuestion(self, service, question)
        _post(self._loop, lambda: self._watcher.on_question(asked))

    def _has_room(self) -> bool:
        return self._sent < WINDOW

    def _hand_over(self, value: object) -> None:
        with self._news:
            self._sent += SIZE
        _post(self._loop, lambda: self._watcher.on_value(lambda: value, SIZE))

    def _take_into(self, taken: list[Any]) -> bool:
        """Take a value, if there is one; with the lock held, so that of two who wait each gets its own."""
        if self._values:
            taken.append(self._values.popleft())
        return bool(taken)

    def _taken(self, taken: list[Any]) -> Any:
        _post(self._loop, lambda: self._watcher.on_credit(SIZE))
        return taken[0]

    async def _until(self, ready: Callable[[], object]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            with self._news:
                if ready():
                    return
                future: asyncio.Future[None] = loop.create_future()
                self._waiting.append((loop, future))
            await future


class LocalQuestion:
    """A question of a child in the manager's own process: values pass as they are."""

    __slots__ = ("_line", "_value", "outcome", "service")

    def __init__(self, line: LocalLine, service: int, value: object) -> None:
        self.service = service
        self._line = line
        self._value = value
        self.outcome: tuple[object, BaseException | None] | None = None

    def take(self) -> Any:
        return self._value

    def answer(self, value: object) -> None:
        self._line.change(lambda: setattr(self, "outcome", (value, None)))

    def refuse(self, error: BaseException) -> None:
        self._line.change(lambda: setattr(self, "outcome", (None, error)))

    def opened(self) -> Any:
        assert self.outcome is not None
        value, error = self.outcome
        if error is not None:
            raise error
        return value


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _post(loop: asyncio.AbstractEventLoop, call: Callable[[], object]) -> None:
    try:
        loop.call_soon_threadsafe(call)
    except RuntimeError:  # that loop has been closed: nobody is left to be told
        pass
