"""A fault in a coroutine, at one of its awaits: it is cancelled there, or whatever else the test wants happens there.

What :mod:`asyncproc.testing.faults` is to the processes of a start, this is to the caller. With each number in turn, until
nothing happens any more, a test walks over every place where the code that it tests really waits.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")


class AwaitPoint:
    """Acts when a coroutine waits for the *number*-th time; 0 is when it begins.

    Args:
        numbers: at which of its awaits; several, if it is to happen again.
        act: what is done there; None: the coroutine is cancelled. What it raises is raised at that await.

    Attributes:
        trail: where the coroutine has waited so far, each as the functions that were under way and their lines.
        happened: how often the fault has.
    """

    def __init__(self, *numbers: int, act: Callable[[], object] | None = None) -> None:
        self._numbers = frozenset(numbers)
        self._act = act
        self._task: asyncio.Task[Any] | None = None
        self.trail: list[str] = []
        self.happened = 0

    async def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run it in a task of its own, and return or raise what it does."""
        self._task = task = asyncio.ensure_future(self._walked(coroutine))
        return await task

    async def _walked(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return await self._walk(coroutine)

    @types.coroutine
    def _walk(self, coroutine: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
        step: Callable[[], Any] = partial(coroutine.send, None)
        if 0 in self._numbers and (error := self._happens()) is not None:
            step = partial(coroutine.throw, error)
        while True:
            try:
                awaited = step()
            except StopIteration as end:
                result: T = end.value
                return result
            self.trail.append(_place_of(coroutine))
            if len(self.trail) in self._numbers and (error := self._happens()) is not None:
                step = partial(coroutine.throw, error)
                continue
            try:
                value = yield awaited
            except BaseException as error:
                step = partial(coroutine.throw, error)
            else:
                step = partial(coroutine.send, value)

    def _happens(self) -> BaseException | None:
        """What is to be raised there; None: nothing, or a cancellation that is on its way."""
        self.happened += 1
        assert self._task is not None
        try:
            if self._act is None:
                self._task.cancel()
            else:
                self._act()
        except BaseException as error:
            return error
        return None


def _place_of(coroutine: Any) -> str:
    names = []
    while (frame := getattr(coroutine, "cr_frame", None)) is not None:
        names.append(f"{coroutine.__qualname__}:{frame.f_lineno}")
        coroutine = coroutine.cr_await
    return " > ".join(names)
