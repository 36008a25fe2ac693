"""How long the stop of a subtree takes at most."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncproc._core.supervision.ladder import MAKE_SECONDS, REAP_SECONDS
from asyncproc._core.supervision.record import Group, Leaf, Supervised

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asyncproc._core.supervision.record import Node

SWEEP_SECONDS = 0.5
"""So long the report of an end may wait for what the child left behind."""


def stop_bound(node: Node) -> float | None:
    """Seconds that a stop takes at most: the longest way through those that end one after the other; None without end.

    What has ended for good takes none.
    """
    if isinstance(node, Supervised):
        return _in_turn(node)
    if isinstance(node, Group):
        return _longest(stop_bound(child) for child in node.below())
    below = _longest(stop_bound(child) for child in node.below())
    if node.finished:
        return below
    making = MAKE_SECONDS if isinstance(node, Leaf) and node.live and not node.spawned else 0.0
    own = None if node.plan.grace is None else node.plan.grace + making + REAP_SECONDS + SWEEP_SECONDS
    return _longest([own, below])


def _in_turn(supervisor: Supervised) -> float | None:
    bounds = {child.id: stop_bound(child) for child in supervisor.below()}
    if None in bounds.values():
        return None
    ways: dict[int, float] = {}  # until a node has ended, from the beginning of the stop
    for child in _last_first(supervisor):
        after = supervisor.dependents.get(child.name, ())
        ways[child.id] = max((ways[other.id] for other in after), default=0.0) + (bounds[child.id] or 0.0)
    if not supervisor.chained:
        return max(ways.values(), default=0.0)
    planned = [child for child in supervisor.below() if child.rank < len(supervisor.plan.members)]
    later = [ways[child.id] for child in supervisor.below() if child.rank >= len(supervisor.plan.members)]
    return max(later, default=0.0) + sum(bounds[child.id] or 0.0 for child in planned)


def _last_first(supervisor: Supervised) -> list[Node]:
    """Its children, each after those that need it."""
    order: dict[int, Node] = {}

    def visit(child: Node) -> None:
        if child.id not in order:
            for other in supervisor.dependents.get(child.name, ()):
                visit(other)
            order[child.id] = child

    for child in supervisor.below():
        visit(child)
    return list(order.values())


def _longest(bounds: Iterable[float | None]) -> float | None:
    found = list(bounds)
    return None if None in found else max((bound for bound in found if bound is not None), default=0.0)
