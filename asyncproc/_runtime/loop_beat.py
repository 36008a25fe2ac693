"""The beat of a loop in another thread of this process, as its manager sees it."""

from __future__ import annotations

import asyncio
from time import monotonic


class LoopBeat:
    """Stamped whenever the loop turns; its thread counts as alive as long as somebody can look: they share one interpreter.

    Args:
        every: seconds between two beats.
    """

    __slots__ = ("_every", "_stamp")

    def __init__(self, every: float) -> None:
        self._every = every
        self._stamp = 0.0

    def follow(self, loop: asyncio.AbstractEventLoop) -> None:
        """On the loop: beat as it turns."""
        self._stamp = monotonic()
        loop.call_later(self._every, self.follow, loop)

    def leave(self) -> None:
        """The loop comes to its end, and is not to be judged any more."""
        self._stamp = 0.0

    def beats(self) -> tuple[float, float]:
        return self._stamp, monotonic()

    def condition(self) -> str:
        """It has no process of its own."""
        return ""
