"""The owner's line to his namespace: without a channel, so that it works in any thread, with or without a loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from threading import Event
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import Protocol

    from asyncproc.abc import Question

    class Answers(Protocol):
        """Who answers, in any thread."""

        def ask(self, asker: Any, request: Any, question: Question) -> None: ...


class OwnLine:
    """Asks a server of this process, on the owner's behalf."""

    stopping: bool = False

    def __init__(self, server: Answers) -> None:
        self._server = server

    async def ask(self, service: int, question: Any) -> Any:
        asked = OwnQuestion(service, question)
        self._server.ask(self, question, asked)
        if not asked.done:
            loop = asyncio.get_running_loop()
            answered: asyncio.Future[None] = loop.create_future()
            asked.call_when_done(lambda: _post(loop, answered))
            await answered
        return asked.opened()

    def ask_blocking(self, service: int, question: Any, timeout: float | None) -> Any:
        asked = OwnQuestion(service, question)
        self._server.ask(self, question, asked)
        if not asked.done:
            answered = Event()
            asked.call_when_done(answered.set)
            if not answered.wait(timeout):
                raise TimeoutError(f"ask: no answer for {timeout} s")
        return asked.opened()

    def ask_at_once(self, service: int, question: Any) -> Any:
        return self.ask_blocking(service, question, None)

    def ask_nowait(self, service: int, question: Any) -> None:
        self._server.ask(self, question, OwnQuestion(service, question))


class OwnQuestion:
    """A question of the owner; answered in any thread."""

    __slots__ = ("_outcome", "_question", "_wake", "service")

    def __init__(self, service: int, question: Any) -> None:
        self.service = service
        self._question = question
        self._outcome: tuple[Any, BaseException | None] | None = None
        self._wake: Callable[[], object] | None = None

    def take(self) -> Any:
        return self._question

    @property
    def done(self) -> bool:
        return self._outcome is not None

    def call_when_done(self, wake: Callable[[], object]) -> None:
        self._wake = wake
        if self.done:  # meanwhile; both may call it, which does no harm
            wake()

    def answer(self, value: object) -> None:
        self._settle((value, None))

    def refuse(self, error: BaseException) -> None:
        self._settle((None, error))

    def _settle(self, outcome: tuple[Any, BaseException | None]) -> None:
        self._outcome = outcome
        if self._wake is not None:
            self._wake()

    def opened(self) -> Any:
        assert self._outcome is not None
        value, error = self._outcome
        if error is not None:
            raise error
        return value


def _post(loop: asyncio.AbstractEventLoop, answered: asyncio.Future[None]) -> None:
    def wake() -> None:
        if not answered.done():
            answered.set_result(None)

    if asyncio._get_running_loop() is loop:
        wake()
        return
    try:
        loop.call_soon_threadsafe(wake)
    except RuntimeError:  # that loop has been closed: nobody is left to be told
        pass
