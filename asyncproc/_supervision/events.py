"""A subscription to transitions."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from asyncproc._core.transition import Transition
    from asyncproc._supervision.supervisor import Supervisor

EVENTS_KEPT = 1000
"""Transitions that a slow reader of ``events()`` may lag behind; what is older is dropped, and counted."""


class Events:
    """A subscription to transitions: bounded, in order; a slow reader loses the oldest and is told how many.

    Attributes:
        dropped: transitions that this reader was too slow for.
    """

    def __init__(self, supervisor: Supervisor, wanted: Callable[[Transition], bool], over: Callable[[], bool]) -> None:
        self._supervisor = supervisor
        self._wanted = wanted
        self._over = over
        self._kept: deque[Transition] = deque()
        self._waiting: asyncio.Future[None] | None = None
        self._open = True
        self.dropped = 0
        supervisor.subscribers.append(self._take)

    def _take(self, transition: Transition) -> None:
        if not self._wanted(transition):
            return
        if len(self._kept) >= EVENTS_KEPT:
            self._kept.popleft()
            self.dropped += 1
        self._kept.append(transition)
        self.wake()

    def wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Transition:
        while not self._kept:
            if not self._open or self._over():
                await self.aclose()
                raise StopAsyncIteration
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        return self._kept.popleft()

    async def aclose(self) -> None:
        """End the subscription."""
        self._open = False
        if self._take in self._supervisor.subscribers:
            self._supervisor.subscribers.remove(self._take)
        self.wake()
