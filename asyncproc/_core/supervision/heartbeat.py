"""Decides from the beats of a child whether it is well: busy, blocked, stopped and hung are told apart here.

A child that has a heartbeat stamps a word whenever its loop turns, and another from a thread of its own. Whoever owns it looks
at both now and then. What counts is the time in which the owner himself was awake and saw no new stamp: no look counts for more
than the time that was planned between two looks. So a host that was blocked, stopped or suspended condemns nobody when it comes
back: its children have most of their time to beat again. And no single look condemns: it takes at least four.

How long a pass of plain code takes is not judged: that is busy, not unhealthy, and ``timeouts={"loop": seconds}`` limits it.
"""

from __future__ import annotations

from enum import Enum

BEATS = 4
"""How often a child beats, and is looked at, within the time after which it counts as unhealthy."""
SHORTEST = 0.1
"""Seconds below which a heartbeat would say more of the scheduler than of the child."""
STARVED = 3
"""How many times its limit a child that waits for a processor may be silent: to kill it would not make the machine faster."""


class Finding(Enum):
    """What a look has shown."""

    BLOCKED = "blocked"  # its thread beats, its loop does not
    SILENT = "silent"  # neither beats


class Beat:
    """One stamp, and for how long it has not been a new one."""

    __slots__ = ("stamp", "waited")

    def __init__(self) -> None:
        self.stamp = 0.0
        self.waited = 0.0

    def look(self, stamp: float, lived: float) -> None:
        if stamp != self.stamp:
            self.stamp = stamp
            self.waited = 0.0
        else:
            self.waited += lived


class Heart:
    """The beats of one child.

    Args:
        limit: seconds without a beat after which it is unhealthy.

    Attributes:
        misses: how often a beat was overdue by more than half of the limit at a look.
    """

    __slots__ = ("_loop", "_thread", "limit", "misses")

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.misses = 0
        self._loop = Beat()
        self._thread = Beat()

    def look(self, loop: float, thread: float, lived: float) -> Finding | None:
        """Take in what is seen now; None while all is well.

        Args:
            loop: the stamp of its loop; 0.0 while it has none: then its thread alone is judged.
            thread: the stamp of its thread.
            lived: seconds since the last look for which whoever looks was awake himself.
        """
        self._loop.look(loop, lived)
        self._thread.look(thread, lived)
        silent, blocked = self._thread.waited, self._loop.waited if loop else 0.0
        if max(silent, blocked) > self.limit / 2:
            self.misses += 1
        if silent > self.limit:
            return Finding.SILENT
        # Of a thread that is late as well it shows soon whether it comes back.
        return Finding.BLOCKED if blocked > self.limit and silent <= self.limit / 2 else None

    def rest(self) -> None:
        """It is not to be judged now: what it has missed so far does not count."""
        self._loop.waited = self._thread.waited = 0.0

    def why(self, finding: Finding, condition: str) -> str | None:
        """What to tell people; None when it is to be given more time.

        Args:
            condition: the letter of the thread that beats, as the system shows it; "" where there is none.
        """
        if finding is Finding.BLOCKED:
            return f"blocked: its loop has not run for {self._loop.waited:.1f} s"
        seconds = self._thread.waited
        if condition in ("T", "t"):
            return f"is stopped: no beat for {seconds:.1f} s"
        if condition in ("Z", "X"):  # its end is about to be told
            return None
        if condition == "R" and seconds <= STARVED * self.limit:  # who hangs in C code keeps its threads asleep, or running
            return None
        owners = "its loop or thread" if self._loop.stamp else "its thread"
        return f"hung: no beat of {owners} for {seconds:.1f} s"


def period_of(limits: list[float]) -> float:
    """Seconds between two looks at children with these limits."""
    return min(min(limits) / BEATS, 5.0)
