"""How a subtree stands still for a while, and goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncproc._core.supervision.action import Pause, Resume
from asyncproc._core.supervision.plan import Ladder
from asyncproc._core.supervision.record import Group, Leaf
from asyncproc._core.supervision.state import State

if TYPE_CHECKING:
    from asyncproc._core.supervision.life import Life
    from asyncproc._core.supervision.record import Node


def pause(life: Life, node: Node) -> None:
    """What runs in the subtree stands still, as far as it can: a thread or a coroutine cannot."""
    stands = isinstance(node, Group) or (isinstance(node, Leaf) and node.spawned and node.plan.ladder is not Ladder.TASK)
    if node.state is State.RUNNING and stands:  # one that has just ended well is ready, and no more there
        life.move(node, State.PAUSED)
        if isinstance(node, Leaf):
            life.actions.append(Pause(node.id, node.incarnation))
    for child in node.below():
        pause(life, child)


def unpause(life: Life, node: Node) -> None:
    """It goes on; the time in which it stood still counts for none of its limits."""
    if node.state is State.PAUSED:
        node.stood += life.now - node.since
        go_on(life, node)
        life.move(node, State.RUNNING)
        for timer, at in node.limits():
            if at > life.now:  # it may have run as long as it was to before
                life.wait(node, timer, at)
    for child in node.below():
        unpause(life, child)


def go_on(life: Life, node: Node) -> None:
    """What stands still in it hears again."""
    if isinstance(node, Leaf):
        life.actions.append(Resume(node.id, node.incarnation))
