"""How a subtree is brought to its end: in which order who is told, and what becomes of what does not run.

An ending is passed down at once, except below a supervisor: there each member hears of it when its turn has come
(:mod:`asyncproc._core.supervision.order`), and until then only begins nothing more.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from asyncproc._core.exit import Exit, Reason
from asyncproc._core.supervision.action import Abandon, Rung, Stop
from asyncproc._core.supervision.cause import end_of, restart_asked
from asyncproc._core.supervision.event import Timer
from asyncproc._core.supervision.ladder import Descent
from asyncproc._core.supervision.order import let_go, turn
from asyncproc._core.supervision.pausing import go_on
from asyncproc._core.supervision.record import Group, Leaf, Supervised
from asyncproc._core.supervision.state import State
from asyncproc._core.value import replaced

if TYPE_CHECKING:
    from asyncproc._core.supervision.cause import Cause, Ending
    from asyncproc._core.supervision.life import Life
    from asyncproc._core.supervision.record import Node


def stop(life: Life, node: Node, ending: Ending, unrun: Reason = Reason.SKIPPED) -> None:
    """End the subtree; *unrun* is the reason of *node* itself, should it not have begun."""
    node.out = node.out or ending.cause.asked
    _close_course(life, node)
    if node.live:
        _wind_down(life, node, ending)
        return
    stop_all(life, node, node.below(), ending)
    if _comes_again(node) and node.exit is not None:  # that of the incarnation which it had
        life.end_for_good(node, replaced(node.exit, reason=Reason.STOPPED, asked_by=ending.because))
    elif node.state is not State.ENDED:
        life.end_for_good(node, Exit(node.path, 0, unrun, asked_by=ending.because))
    elif node.out:
        life.finish(node)  # it would have come back in the next round


def _close_course(life: Life, node: Node) -> None:
    """It ends with what is above it: it has no more rounds, and comes back only with a group that it is part of."""
    if node.course is not None and node.course.top is node:
        node.course.closing = True
        node.out = node.out or node.by_itself


def replace(life: Life, node: Node, by: str) -> None:
    """It lives, and a new run takes the place of this one; what was stopped in it stays so."""
    node.renew = True
    _wind_down(life, node, restart_asked(by))


def renew(life: Life, node: Node, by: str) -> None:
    """It lives, and somebody wants it anew."""
    if node.out:
        _call_off(life, node)
    node.renew = True
    _wind_down(life, node, restart_asked(by))


def _call_off(life: Life, node: Node) -> None:
    """It was to end for good, and all below it: they end, those too that are still to be told, but not for good."""
    for each in node.planned():
        each.out = each.out and each.by_itself and each is not node
        if isinstance(each, Supervised):
            each.endings = [replaced(ending, cause=replaced(ending.cause, asked=False)) for ending in each.endings]


def condemn(life: Life, node: Node, cause: Cause) -> None:
    """It has failed though it lives: its time is over, or it is not well. What is below a group ends with it."""
    node.cause = cause
    _wind_down(life, node, end_of(node.path, cause.reason))


def join(life: Life, leaf: Leaf) -> None:
    """It has run as long as it was to: it ends after its current work, and well. Within its grace, that is."""
    if leaf.descent is not None:  # told twice
        return
    leaf.descent = Descent(leaf.plan.ladder)
    climb(life, leaf, life.now)
    if leaf.plan.grace is not None:
        life.wait(leaf, Timer.OVERDUE, life.now + leaf.plan.grace)


def _wind_down(life: Life, node: Node, ending: Ending) -> None:
    node.cause = node.cause or ending.cause
    if node.state is State.PAUSED:
        go_on(life, node)  # one that stands still hears nothing
    if node.state is not State.STOPPING:
        life.move(node, State.STOPPING)
    if isinstance(node, Group):
        node.pending += 1
    if isinstance(node, Supervised):
        node.keep_nobody()
    stop_all(life, node, node.below(), ending)
    if isinstance(node, Group):
        life.one_less(node)
    if isinstance(node, Leaf):
        node.descent = node.descent or Descent(node.plan.ladder)
        node.descent.press(ending.grace, node.plan, life.now)
        climb(life, node, life.now)


def stop_all(life: Life, parent: Node, children: list[Node], ending: Ending) -> None:
    """In reverse order of start. The gate is held: who is stopped first must not let in who is stopped next."""
    if isinstance(parent, Group):
        parent.door.held = True
    if isinstance(parent, Supervised):
        parent.line.clear()
    if isinstance(parent, Supervised) and parent.live and ending.grace != 0:
        _stop_in_turn(life, parent, children, ending)
    else:
        for child in reversed(children):
            stop(life, child, ending)
    if isinstance(parent, Group):
        parent.door.held = False
        life.fill(parent.door)


def _stop_in_turn(life: Life, supervisor: Supervised, children: list[Node], ending: Ending) -> None:
    supervisor.door.held = True
    for child in reversed(children):
        if child.state is State.STOPPING or not child.live:
            stop(life, child, ending)
        else:
            _begin_no_more(life, child, ending)
            if not child.live:  # that was its end: what runs by itself below it must hear of it all the same
                stop(life, child, ending)
    supervisor.door.held = False
    let_go(supervisor, [child for child in reversed(children) if child.live], ending)
    turn(life, supervisor)


def _begin_no_more(life: Life, node: Node, ending: Ending) -> None:
    """Its turn to end will come. Until then what lives in it goes on, and what does not will not begin."""
    _close_course(life, node)
    if isinstance(node, Group):
        node.cause = node.cause or ending.cause
        node.pending += 1
        node.door.held = True
    if isinstance(node, Supervised):
        node.line.clear()
    for child in reversed(node.below()):
        if child.live:
            _begin_no_more(life, child, ending)
        else:
            stop(life, child, ending)
    if isinstance(node, Group):
        node.door.held = False
        life.one_less(node)


def _comes_again(node: Node) -> bool:
    """Whether it has ended in this run, and waits to be started once more."""
    if node.state is not State.WAITING:
        return node.state is State.BACKOFF
    return (node.supervisor is not None and node.proven) or (node.rhythm is not None and node.rhythm.ran)


def climb(life: Life, leaf: Leaf, now: float) -> None:
    """Take the rungs that are due. One that is still being made can only be given up: then this comes again."""
    descent = leaf.descent
    if descent is None:
        return
    before, taken = descent.due, descent.climb(now, leaf.spawned)
    for rung in taken:
        number = leaf.incarnation
        life.actions.append(Abandon(leaf.id, number) if rung is None else Stop(leaf.id, number, rung))
    if taken or descent.due != before:
        # The timer set before is void: told late, or twice, it must not stand for a later rung.
        descent.serial = 0
        if descent.due < inf:
            descent.serial = life.wait(leaf, Timer.REAP if descent.rung is Rung.KILL else Timer.RUNG, descent.due)
