"""What a child asks its manager: answered or refused once, from every kind of child, plain or async."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from asyncproc import Coroutine, Manager, Process, StateError, Thread, current
from asyncproc._spec.leaf import Body
from asyncproc.abc import Question

SERVICE = 77


class Echo:
    """Answers with what was asked, refuses an exception, keeps what is None."""

    def __init__(self) -> None:
        self.kept: list[Question] = []
        self.askers: set[Any] = set()
        self.left: list[Any] = []

    def asked(self, asker: Any, question: Question) -> None:
        self.askers.add(asker)
        value = question.take()
        if isinstance(value, Exception):
            question.refuse(value)
        elif value is None:
            self.kept.append(question)
        else:
            question.answer(value)

    def gone(self, asker: Any) -> None:
        self.left.append(asker)


def plain() -> list[Any]:
    line: Any = current()._line
    found = [line.ask_blocking(SERVICE, value, None) for value in ("small", b"x" * 300_000)]
    try:
        line.ask_blocking(SERVICE, KeyError("no"), None)
    except KeyError as error:
        found.append(error.args)
    try:
        line.ask_blocking(SERVICE, None, 0.01)
    except TimeoutError:
        found.append("late")
    return [*found, line.ask_blocking(SERVICE, "again", None)]


async def loops() -> list[Any]:
    line: Any = current()._line
    found = list(await asyncio.gather(*(line.ask(SERVICE, value) for value in ("small", b"x" * 300_000))))
    try:
        await line.ask(SERVICE, KeyError("no"))
    except KeyError as error:
        found.append(error.args)
    try:
        async with asyncio.timeout(0.01):
            await line.ask(SERVICE, None)
    except TimeoutError:
        found.append("late")
    return [*found, await line.ask(SERVICE, "again")]


@pytest.mark.both_loops
@pytest.mark.parametrize("spec", [Process(plain), Process(loops), Thread(plain), Thread(loops), Coroutine(loops)])
async def test_each_kind_asks_and_is_answered(spec: Body[Any]) -> None:
    """Small and large, refused, late, and once more afterwards: a late answer is nobody else's."""
    echo = Echo()
    async with Manager() as manager:
        assert manager._root is not None
        manager._root.supervisor.services[SERVICE] = echo
        handle = await manager.start(spec)
        assert await handle == ["small", b"x" * 300_000, ("no",), "late", "again"]
        for question in echo.kept:
            question.answer("nobody listens")
    assert echo.left == list(echo.askers)


def ask_unknown() -> None:
    line: Any = current()._line
    line.ask_blocking(SERVICE, "x", None)


async def test_unknown_service_is_a_state_error() -> None:
    """It names the node and the service."""
    async with Manager() as manager:
        with pytest.raises(StateError, match=r"app/ask_unknown: .* no service 77"):
            await manager.run(Process(ask_unknown))


async def test_answer_that_cannot_be_sent_arrives_as_its_error() -> None:
    """The child is not left waiting."""

    class Lock(Echo):
        def asked(self, asker: Any, question: Question) -> None:
            import threading

            question.answer(threading.Lock())

    async with Manager() as manager:
        assert manager._root is not None
        manager._root.supervisor.services[SERVICE] = Lock()
        with pytest.raises(Exception, match=r"answer: .*lock"):
            await manager.run(Process(ask_unknown))
