"""Whose turn it is among the members of a supervisor: to start when what they need is up, to end when nobody needs them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncproc._core.supervision.cause import restart_with
from asyncproc._core.supervision.plan import Restart, Strategy
from asyncproc._core.supervision.state import State

if TYPE_CHECKING:
    from asyncproc._core.supervision.cause import Ending
    from asyncproc._core.supervision.life import Life
    from asyncproc._core.supervision.record import Node, Supervised

_BEGUN = frozenset({State.STARTING, State.RUNNING, State.PAUSED})


def turn(life: Life, supervisor: Supervised) -> None:
    """Let whoever's turn has come end, or start. One that ends at once comes back here: the loop goes on, and not deeper."""
    if supervisor.turning:
        return
    supervisor.turning = True
    while True:
        if supervisor.due:
            node = supervisor.due.pop()
            told = supervisor.told.get(node.id, 0)
            supervisor.told[node.id] = len(supervisor.endings)
            _tell(life, node, supervisor.endings[told:])
        elif (member := _next(life, supervisor)) is not None:
            life.start_in_turn(member)
        else:
            break
    supervisor.turning = False
    if supervisor.door.waiting:
        life.fill(supervisor.door)


def _tell(life: Life, node: Node, endings: list[Ending]) -> None:
    for ending in endings:
        life.stop(node, ending)


# Starting.


def enlist(life: Life, supervisor: Supervised, member: Node) -> None:
    """It is to start when its turn comes."""
    life.await_turn(member)
    supervisor.line[member.id] = member


def up(member: Node) -> bool:
    """Whether those who need it may start."""
    if member.state is State.ENDED:
        return not member.spent
    if member.asleep:
        return True
    return member.ready and member.state in (State.RUNNING, State.PAUSED, State.STOPPING)


def starts_alone(supervisor: Supervised, member: Node) -> bool:
    """Whether it need not wait for its turn: it is the only one that is to start, and what it names is up."""
    if member.id in supervisor.line or supervisor.leaving or not all(map(up, supervisor.needs_of(member))):
        return False
    return supervisor.plan.strategy is Strategy.ONE_FOR_ONE or not (supervisor.line or supervisor.resting)


def may_begin(node: Node) -> bool:
    """Whether the turn that has come to it, when it had to wait for something else, is still its own."""
    supervisor = node.supervisor
    if supervisor is None:
        return True
    if supervisor.leaving or (supervisor.resting and supervisor.plan.strategy is not Strategy.ONE_FOR_ONE):
        return False
    return all(map(up, supervisor.needs_of(node)))


def may_enter(node: Node) -> bool:
    """Whether one that waits for a slot may begin when there is one: not before those have that are to come back together."""
    supervisor = node.supervisor
    if supervisor is None or not (supervisor.leaving or supervisor.line or supervisor.resting):
        return True
    if supervisor.leaving or (supervisor.resting and supervisor.plan.strategy is not Strategy.ONE_FOR_ONE):
        return False
    return supervisor.plan.strategy is Strategy.ONE_FOR_ONE or not _before(supervisor, node)


def _before(supervisor: Supervised, node: Node) -> bool:
    return supervisor.chained and any(member.rank < node.rank for member in supervisor.line.values())


def _next(life: Life, supervisor: Supervised) -> Node | None:
    """Who may start. In a chain that is whoever stands first, together with those of the same rank."""
    if supervisor.leaving or supervisor.cause is not None or supervisor.state not in _BEGUN:
        return None
    if supervisor.resting and supervisor.plan.strategy is not Strategy.ONE_FOR_ONE:
        return None
    members = supervisor.line.values()
    first = min((member.rank for member in members), default=0) if supervisor.chained else None
    for member in members:
        if first in (None, member.rank) and _may_start(life, supervisor, member):
            return member
    return None


def _may_start(life: Life, supervisor: Supervised, member: Node) -> bool:
    if member.state is not State.WAITING or (member.gate is not None and member.id in member.gate.waiting):
        return False
    if member.id in life.tokens.waiting:  # its turn has come already
        return False
    return all(map(up, supervisor.needs_of(member)))


# Ending.


def take_along(life: Life, supervisor: Supervised, culprit: Node) -> None:
    """End those that are to come back with *culprit*, in reverse; what has ended, and is to come back, waits with them.

    One that was given up stays as it is until somebody starts it by hand.
    """
    others = supervisor.present()
    if supervisor.plan.strategy is Strategy.REST_FOR_ONE:
        after = set(supervisor.after(culprit))
        others = [other for other in others if other in after]
    leaving = [other for other in others if other.live and other is not culprit]
    for other in others:
        gone = other.out or other.spent or other.plan.restart is Restart.TEMPORARY
        if other.state is State.ENDED and not gone:
            life.take_in(other)
            enlist(life, supervisor, other)
    let_go(supervisor, leaving, restart_with(culprit.path))


def let_go(supervisor: Supervised, leaving: list[Node], ending: Ending) -> None:
    """Have those that live end in their order, each when nobody is left that needs it."""
    for node in leaving:
        if node.id not in supervisor.leaving:
            supervisor.leaving[node.id] = node
            supervisor.tiers[node.rank] = supervisor.tiers.get(node.rank, 0) + 1
    if supervisor.leaving and not any(earlier.leaves_nothing_of(ending) for earlier in supervisor.endings):
        supervisor.endings.append(ending)
    last = max(supervisor.tiers, default=0)
    supervisor.due += [node for node in leaving if _may_end(supervisor, node, last)]


def _may_end(supervisor: Supervised, node: Node, last: int) -> bool:
    if supervisor.chained and node.rank != last:
        return False
    return not any(other.id in supervisor.leaving for other in supervisor.dependents.get(node.name, ()))


def departed(life: Life, supervisor: Supervised, node: Node) -> None:
    """It has ended, for good or for now: whose turn is it?"""
    if node.state is State.ENDED:
        supervisor.line.pop(node.id, None)
    if supervisor.leaving.pop(node.id, None) is not None:
        supervisor.told.pop(node.id, None)
        for each in list(node.everything()):
            if each.live and each.by_itself:  # it was to end with this node, which may not have been told yet
                _tell(life, each, supervisor.endings)
        _close_up(supervisor, node)
    turn(life, supervisor)


def _close_up(supervisor: Supervised, gone: Node) -> None:
    if not supervisor.leaving:
        supervisor.endings.clear()
    supervisor.tiers[gone.rank] -= 1
    tier_is_over = not supervisor.tiers[gone.rank]
    if tier_is_over:
        del supervisor.tiers[gone.rank]
    last = max(supervisor.tiers, default=0)
    freed = supervisor.leaving.values() if supervisor.chained and tier_is_over else supervisor.needs_of(gone)
    supervisor.due += [node for node in freed if node.id in supervisor.leaving and _may_end(supervisor, node, last)]
