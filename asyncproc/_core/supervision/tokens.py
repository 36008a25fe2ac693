"""Named resources with a capacity: who holds how much of them, and who waits for it, in order."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from asyncproc._core.supervision.action import Slots
    from asyncproc._core.supervision.event import NodeId
    from asyncproc._core.supervision.record import Node

_EPSILON = 1e-9
"""What thirds and tenths add up to may miss a whole by so much."""


class Tokens:
    """The resources of one tree.

    A resource whose capacity is an int has numbered slots, each of which is held whole, or in parts below 1; any other is a
    mere quantity. Who waits is served in order: nobody overtakes another who asks for one of the same resources.

    Args:
        capacity: by name, what there is.

    Attributes:
        waiting: who waits, in order.
    """

    __slots__ = ("_amounts", "_capacity", "_held", "_slots", "waiting")

    def __init__(self, capacity: Mapping[str, float]) -> None:
        self._capacity = dict(capacity)
        self._amounts = {name: float(amount) for name, amount in capacity.items() if not isinstance(amount, int)}
        self._slots = {name: [1.0] * amount for name, amount in capacity.items() if isinstance(amount, int)}
        self._held: dict[NodeId, Slots] = {}
        self.waiting: OrderedDict[NodeId, Node] = OrderedDict()

    @property
    def in_use(self) -> bool:
        """Whether anybody holds anything."""
        return bool(self._held)

    def lacks(self, wanted: tuple[tuple[str, float], ...]) -> tuple[str, float, str] | None:
        """What of it could never be had: name, amount and why; None when all could."""
        for name, amount in wanted:
            if name not in self._capacity:
                return name, amount, "is of a resource that there is not"
            if amount > self._capacity[name]:
                return name, amount, f"is more than there is: {self._capacity[name]:g}"
            if name in self._slots and amount > 1 and amount != int(amount):
                return name, amount, "must be a whole number of slots, or below 1"
        return None

    def grant(self, node: Node) -> bool:
        """Give it what it needs, unless it must wait; then it waits, once."""
        if self._is_free(node.plan.resources) and not self._is_overtaking(node):
            self._give(node)
            return True
        self.waiting.setdefault(node.id, node)
        return False

    def grant_next(self, may_begin: Callable[[Node], bool]) -> Node | None:
        """The first who waits and need not any more, with what it needs. Whose turn is over for now lets the next one go."""
        asked: set[str] = set()
        for node in self.waiting.values():
            if not may_begin(node):
                continue
            names = {name for name, _ in node.plan.resources}
            if not names & asked and self._is_free(node.plan.resources):
                self._give(node)
                return node
            asked |= names
        return None

    def missed_by(self, node: Node) -> tuple[str, ...]:
        """What it waits for, by name."""
        return tuple(name for name, _ in node.plan.resources) if node.id in self.waiting else ()

    def held_by(self, node: Node) -> Slots:
        """What it has been given: name, amount and the numbers of its slots."""
        return self._held.get(node.id, ())

    def release(self, node: Node) -> None:
        """It needs nothing any more, neither what it has nor what it waits for."""
        self.waiting.pop(node.id, None)
        for name, amount, numbers in self._held.pop(node.id, ()):
            if name in self._amounts:
                self._amounts[name] += amount
            for number in numbers:
                slots = self._slots[name]
                slots[number] = min(1.0, slots[number] + min(amount, 1.0))

    def _give(self, node: Node) -> None:
        self.waiting.pop(node.id, None)
        self._held[node.id] = tuple((name, *self._take(name, amount)) for name, amount in node.plan.resources)

    def _is_overtaking(self, node: Node) -> bool:
        names = {name for name, _ in node.plan.resources}
        return any(name in names for other in self.waiting.values() for name, _ in other.plan.resources)

    def _is_free(self, wanted: tuple[tuple[str, float], ...]) -> bool:
        return all(self._has(name, amount) for name, amount in wanted)

    def _has(self, name: str, amount: float) -> bool:
        if name not in self._slots:
            return self._amounts[name] + _EPSILON >= amount
        if amount < 1:
            return any(free + _EPSILON >= amount for free in self._slots[name])
        return sum(free > 1 - _EPSILON for free in self._slots[name]) >= amount

    def _take(self, name: str, amount: float) -> tuple[float, tuple[int, ...]]:
        if name not in self._slots:
            self._amounts[name] -= amount
            return amount, ()
        slots = self._slots[name]
        if amount < 1:
            # The fullest that has room: whole slots stay whole for those who need them.
            _, number = min((free, number) for number, free in enumerate(slots) if free + _EPSILON >= amount)
            slots[number] -= amount
            return amount, (number,)
        numbers = [number for number, free in enumerate(slots) if free > 1 - _EPSILON][: int(amount)]
        for number in numbers:
            slots[number] = 0.0
        return amount, tuple(numbers)
