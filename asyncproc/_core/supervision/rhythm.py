"""When a node with a schedule runs: once at each due time, and in between it rests in WAITING.

The machine knows no times of day. It asks for the next due time by :class:`~asyncproc._core.supervision.action.AwaitDue`, and
one :class:`~asyncproc._core.supervision.event.Due` answers. From its first turn to its end for good exactly one question is
open: what a due time finds is decided here, when it comes.

A rest stands where an end for good would: what has to be started again for another reason is, as without a schedule, and only
what would be over rests instead. So a failure concerns nobody else, and an end that somebody asked for is for good. Who rests
holds no place in a gate and no resources, and nobody waits for it to be ready.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncproc._core.supervision.action import AwaitDue
from asyncproc._core.supervision.order import departed, enlist, starts_alone
from asyncproc._core.supervision.plan import Overlap
from asyncproc._core.supervision.state import State
from asyncproc._core.supervision.stopping import replace

if TYPE_CHECKING:
    from asyncproc._core.exit import Exit
    from asyncproc._core.supervision.life import Life
    from asyncproc._core.supervision.record import Node, Rhythm


_LEFT_ALONE = frozenset({State.PAUSED, State.STOPPING})
"""Somebody has other plans with what is there."""


def rests_first(life: Life, node: Node) -> bool:
    """Whether the node, whose turn has come, waits for its first due time; all that this takes is done."""
    rhythm = node.rhythm
    if rhythm is None or rhythm.ticket or node.plan.at_once:
        return False
    life.await_turn(node)
    keep_time(life, node, rhythm)
    _fall_asleep(life, node, rhythm)
    return True


def keep_time(life: Life, node: Node, rhythm: Rhythm) -> None:
    """Have it told of its next due time."""
    life.tickets += 1
    rhythm.ticket = life.tickets
    life.actions.append(AwaitDue(node.id, rhythm.ticket))


def rests(life: Life, node: Node, exit: Exit) -> bool:
    """Whether the node, which nothing else brings back after *exit*, runs at its next due time; all that this takes is done."""
    rhythm = node.rhythm
    if rhythm is None or not _goes_on(node):
        return False
    life.move(node, State.ENDED, exit)
    node.failures, node.spent = 0, ()  # a run that was given up: the next one has all its chances
    rhythm.ran = True
    if rhythm.queued:
        rhythm.queued = False
        _start(life, node)
        return True
    life.move(node, State.WAITING)
    _fall_asleep(life, node, rhythm)
    return True


def _goes_on(node: Node) -> bool:
    """Whether nobody has asked for its end, nor for that of a group around it."""
    if node.course is None or node.out or (node.cause is not None and node.cause.asked):
        return False
    return not any(above.ending for above in node.ancestors())


def _fall_asleep(life: Life, node: Node, rhythm: Rhythm) -> None:
    rhythm.asleep = True
    gate, node.gate = node.gate, None
    if gate is not None:
        gate.leave(node)
    life.settle(node)
    supervisor = node.supervisor
    if supervisor is not None:
        supervisor.line.pop(node.id, None)
        departed(life, supervisor, node)
    if gate is not None:
        life.fill(gate)


def due(life: Life, node: Node, rhythm: Rhythm) -> None:
    """A due time has come, whatever the node does meanwhile. One that waits for its turn or for a slot runs soon anyway."""
    keep_time(life, node, rhythm)
    if rhythm.asleep:
        wake(life, node, rhythm)
        return
    if node.plan.overlap is Overlap.QUEUE:
        rhythm.queued = node.live or node.state is State.BACKOFF
    elif node.plan.overlap is Overlap.RESTART and node.live and node.state not in _LEFT_ALONE and _goes_on(node):
        replace(life, node, "its schedule")
    elif node.plan.overlap is Overlap.RESTART and node.state is State.BACKOFF:
        _start(life, node)


def wake(life: Life, node: Node, rhythm: Rhythm) -> None:
    """Its rest is over."""
    rhythm.asleep = False
    _start(life, node)


def _start(life: Life, node: Node) -> None:
    supervisor = node.supervisor
    if supervisor is not None and not starts_alone(supervisor, node):
        enlist(life, supervisor, node)
        departed(life, supervisor, node)
    elif node.gate is None:
        life.enter(node)
    else:
        life.begin_again(node)
