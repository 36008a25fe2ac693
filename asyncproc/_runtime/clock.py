"""The clock of a manager: monotonic seconds of its loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any


class LoopClock:
    """The loop's own time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.now = loop.time

    def wall(self) -> float:
        """What clocks on the wall show."""
        return time.time()

    def call_at(self, when: float, call: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        """Call *call* at *when*."""
        return self._loop.call_at(when, call, *args)
