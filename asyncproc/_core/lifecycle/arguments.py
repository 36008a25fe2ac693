"""The keyword arguments of a child's loops: who may add to them, for how long, and who wins.

Later wins: what the spec gave < OnStart < AfterLoop (for the next loop) < BeforeLoop < a gate of the parent's.
"""

from __future__ import annotations

from asyncproc._core.lifecycle.action import AFTER_LOOP, BEFORE_LOOP, ON_START

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class Arguments:
    """What the loops are called with.

    Args:
        given: what the spec says.
    """

    __slots__ = ("_carried", "_fresh", "_gated", "_gated_next", "_gated_now", "_lasting")

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._lasting = dict(given)
        self._fresh: dict[str, Any] = {}  # from AfterLoop and BeforeLoop, for this loop
        self._carried: dict[str, Any] = {}  # from AfterLoop, for the next
        self._gated: dict[str, Any] = {}  # from the gate of OnStart, for every loop
        self._gated_now: dict[str, Any] = {}  # from gates, for this loop
        self._gated_next: dict[str, Any] = {}

    def add(self, phase: str, values: Mapping[str, Any]) -> None:
        """Take what a hook of *phase* gave; of AfterLoop, what is for the next loop."""
        if phase == ON_START:
            self._lasting.update(values)
        elif phase == BEFORE_LOOP:
            self._fresh.update(values)
        elif phase == AFTER_LOOP:
            self._carried.update(values)

    def add_from_gate(self, phase: str, values: Mapping[str, Any]) -> None:
        """Take what the parent gave at the gate of *phase*; of AfterLoop, what is for the next loop."""
        if phase == ON_START:
            self._gated.update(values)
        elif phase == BEFORE_LOOP:
            self._gated_now.update(values)
        elif phase == AFTER_LOOP:
            self._gated_next.update(values)

    def begin_loop(self) -> None:
        """What was for the last loop is over, what was carried over is this one's. Not for a loop that is repeated."""
        if self._fresh or self._carried:
            self._fresh, self._carried = self._carried, {}
        if self._gated_now or self._gated_next:
            self._gated_now, self._gated_next = self._gated_next, {}

    def now(self) -> dict[str, Any]:
        """What the present loop is called with. Not to be changed."""
        if not (self._fresh or self._gated or self._gated_now):
            return self._lasting
        return {**self._lasting, **self._fresh, **self._gated, **self._gated_now}
