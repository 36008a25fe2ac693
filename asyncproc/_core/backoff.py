"""How long a node waits before it is started again."""

from __future__ import annotations

from math import log
from typing import Literal

from asyncproc._core.value import Value


class Backoff(Value):
    """The delays between a node's ends and its next starts, which grow while it keeps failing.

    The n-th delay since it was last stable is ``first * factor ** (n - 1)`` seconds, at most *cap*. With full jitter it is
    drawn between 0 and that, so that what fell together does not come back together.

    Attributes:
        first: seconds of the first delay; 0 for none.
        cap: seconds that no delay exceeds.
        factor: how much longer each is than the one before, at least 1.
        jitter: "full", or None for exactly the delays above.
        stable_after: seconds of an incarnation after which delays begin with *first* again.
    """

    first: float = 0.1
    cap: float = 30.0
    factor: float = 2.0
    jitter: Literal["full"] | None = "full"
    stable_after: float = 60.0

    def delay(self, failures: int) -> tuple[float, float]:
        """The least and the greatest delay, seconds, before the start after *failures* ends in a row, from 1."""
        seconds = min(self.first, self.cap)
        if self.factor > 1 and 0 < seconds < self.cap:
            # Far out the power is more than a float holds: not beyond the one that reaches the cap.
            enough = log(self.cap / seconds) / log(self.factor)
            seconds = self.cap if failures - 1 >= enough else seconds * self.factor ** (failures - 1)
        return (0.0 if self.jitter == "full" else seconds), seconds
