"""How a node begins, is ready and ends, and whom else that concerns.

It rests on four ideas:

* A **course** is rounds of one subtree. A run is a course; what was added below a node runs on its own course and is no
  concern of the node's, except that it shares its limit and is stopped with it.
* A **gate** says how many children of a group may live at once. A sequence is a group whose gate lets one in: its order
  is the order of the line, and needs no code of its own.
* An **ending** is one for a whole subtree: what runs goes down its ladder, what does not will never start. Stops,
  failures and timeouts differ only in what they say. The first cause stays; later ones only hurry.
* A group **counts**: members that have not ended, members that are not ready. Whoever walks over its members holds one
  count himself, so that the group cannot end, or begin its next round, under the walk. No exit rescans the siblings.

A node is *finished* when it has ended for good in its run; each run finishes each of its nodes once.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from asyncproc._core.exit import Exit, Reason
from asyncproc._core.supervision.action import Abandon, Finish, Move, Ready, Rung, Start, Stop, Wait
from asyncproc._core.supervision.cause import Cause, classed, end_of, failure_of
from asyncproc._core.supervision.event import Timer
from asyncproc._core.supervision.ladder import Descent
from asyncproc._core.supervision.plan import Kind
from asyncproc._core.supervision.record import Group, Leaf
from asyncproc._core.supervision.state import MOVES, State
from asyncproc._core.value import replaced
from asyncproc.errors import InternalError

if TYPE_CHECKING:
    from asyncproc._core.supervision.action import Action
    from asyncproc._core.supervision.cause import Ending
    from asyncproc._core.supervision.record import Course, Gate, Node


class Life:
    """All changes of nodes. What they make necessary is gathered in *actions*.

    Attributes:
        now: the time of the present event.
        actions: what it has led to so far, in order.
    """

    __slots__ = ("actions", "now")

    def __init__(self) -> None:
        self.now = 0.0
        self.actions: list[Action] = []

    # Beginning.

    def admit(self, node: Node) -> bool:
        """Let it begin, or wait in line; whether it has begun."""
        gate = _gate_of(node)
        if gate is None or (gate.open and not gate.waiting):
            self._begin(node, gate)
            return True
        self.await_turn(node)
        gate.waiting[node.id] = node
        node.gate = gate
        return False

    def await_turn(self, node: Node) -> None:
        """What takes part in a round shows it before it begins: an exit that it has is an earlier round's."""
        if node.state is State.WAITING:
            return
        self.move(node, State.WAITING)
        node.round = _course(node).round
        if isinstance(node, Group):
            for member in node.taking_part():
                self.await_turn(member)

    def _fill(self, gate: Gate) -> None:
        """Let in who waits. One that ends at once comes back here: the loop goes on, and not deeper."""
        if gate.held:
            return
        gate.held = True
        while gate.waiting and gate.open:
            _, node = gate.waiting.popitem(last=False)
            self._begin(node, gate)
        gate.held = False

    def _begin(self, node: Node, gate: Gate | None) -> None:
        node.gate = gate
        if gate is not None:
            gate.inside += 1
        node.incarnation += 1
        node.round = _course(node).round
        node.begun = self.now
        node.ready, node.cause = False, None
        self.move(node, State.STARTING)
        if node.plan.timeout is not None:
            self._wait(node, Timer.TIMEOUT, self.now + node.plan.timeout)
        if isinstance(node, Group):
            self._open(node)
        else:
            self._start(node)

    def _start(self, leaf: Node) -> None:
        self.actions.append(Start(leaf.id, leaf.incarnation, leaf.round))
        if leaf.plan.join_in is not None:
            self._wait(leaf, Timer.JOIN, self.now + leaf.plan.join_in)
        if not leaf.plan.held:
            self.release(leaf)

    def release(self, leaf: Node) -> None:
        """Its start takes its own time now, and nobody else's."""
        if leaf.plan.start_timeout is not None and leaf.state is State.STARTING:
            self._wait(leaf, Timer.START, self.now + leaf.plan.start_timeout)

    def _open(self, group: Group) -> None:
        members = group.taking_part()
        group.pending = len(members) + 1  # the one is this opening
        group.unready = 1
        for member in members:
            member.awaited = True
            group.unready += 1
            if not self.admit(member):
                self._settle(member)
        self._one_readier(group)
        self._one_less(group)

    # Being ready.

    def ready(self, node: Node) -> None:
        """It can do its work, or can do it again. One that is being stopped is not ready, whatever it says."""
        if node.ready or node.state not in (State.STARTING, State.RUNNING):
            return
        node.ready = True
        begins = node.state is State.STARTING
        if begins:
            self.move(node, State.RUNNING)
        self.actions.append(Ready(node.id, node.incarnation))
        if begins:
            self._settle(node)

    def _settle(self, member: Node) -> None:
        """Its group need not wait for it any more to be ready."""
        if member.awaited and isinstance(member.above, Group):
            member.awaited = False
            self._one_readier(member.above)

    def _one_readier(self, group: Group) -> None:
        group.unready -= 1
        if group.unready == 0:
            self.ready(group)

    # Being ended.

    def stop(self, node: Node, ending: Ending, unrun: Reason = Reason.SKIPPED) -> None:
        """End the subtree; *unrun* is the reason of *node* itself, should it not have begun."""
        node.out = node.out or ending.cause.asked
        if node.course is not None and node.course.top is node:
            node.course.closing = True
        if node.live:
            self._wind_down(node, ending)
            return
        self._stop_all(node, node.below(), ending)
        if node.state is not State.ENDED:
            self._end(node, Exit(node.path, 0, unrun, asked_by=ending.because))
        elif node.out:
            self.finish(node)  # it would have come back in the next round

    def condemn(self, node: Node, cause: Cause) -> None:
        """It has failed though it lives: its time is over, or it is not well. What is below a group ends with it."""
        node.cause = cause
        self._wind_down(node, end_of(node.path, cause.reason))

    def join(self, leaf: Leaf) -> None:
        """It has run as long as it was to: it ends after its current work, and well. Within its grace, that is."""
        if leaf.descent is not None:  # told twice
            return
        leaf.descent = Descent(leaf.plan.ladder)
        self.climb(leaf, self.now)
        if leaf.plan.grace is not None:
            self._wait(leaf, Timer.OVERDUE, self.now + leaf.plan.grace)

    def _wind_down(self, node: Node, ending: Ending) -> None:
        node.cause = node.cause or ending.cause
        if node.state is not State.STOPPING:
            self.move(node, State.STOPPING)
        if isinstance(node, Group):
            node.pending += 1
        self._stop_all(node, node.below(), ending)
        if isinstance(node, Group):
            self._one_less(node)
        if isinstance(node, Leaf):
            node.descent = node.descent or Descent(node.plan.ladder)
            node.descent.press(ending.grace, node.plan, self.now)
            self.climb(node, self.now)

    def _stop_all(self, parent: Node, children: list[Node], ending: Ending) -> None:
        """In reverse order of start. The gate is held: who is stopped first must not let in who is stopped next."""
        if isinstance(parent, Group):
            parent.door.held = True
        for child in reversed(children):
            self.stop(child, ending)
        if isinstance(parent, Group):
            parent.door.held = False
            self._fill(parent.door)

    def climb(self, leaf: Leaf, now: float) -> None:
        """Take the rungs that are due. A leaf that is still being made can take none: then this comes again."""
        descent = leaf.descent
        if descent is None or not leaf.spawned:
            return
        before, taken = descent.due, descent.climb(now)
        for rung in taken:
            number = leaf.incarnation
            self.actions.append(Abandon(leaf.id, number) if rung is None else Stop(leaf.id, number, rung))
        if taken or descent.due != before:
            # The timer set before is void: told late, or twice, it must not stand for a later rung.
            descent.serial = 0
            if descent.due < inf:
                descent.serial = self._wait(leaf, Timer.REAP if descent.rung is Rung.KILL else Timer.RUNG, descent.due)

    # Having ended.

    def leave(self, leaf: Leaf, raw: Exit) -> None:
        """The leaf is gone."""
        exit = classed(self._completed(leaf, raw), leaf.cause, leaf.descent, leaf.plan.ladder)
        if exit.reason is Reason.FINISHED:
            self.ready(leaf)  # ending well counts as ready
        leaf.pid, leaf.spawned, leaf.descent = None, False, None
        self._end(leaf, exit)

    def _end(self, node: Node, exit: Exit) -> None:
        """It has ended in this round. This concerns its gate, then its course or its group, then who waits in line."""
        self.move(node, State.ENDED, exit)
        gate, node.gate = node.gate, None
        if gate is not None:
            gate.leave(node)
        if node.fails_group:
            node.awaited = False  # its group will never be ready
        else:
            self._settle(node)
        if node.course is None:
            self.finish(node)  # stopped before it was ever to run
        elif node.course.top is node:
            self._round_over(node.course)
        else:
            self._part_over(node, node.course)
        if gate is not None:
            self._fill(gate)

    def _round_over(self, course: Course) -> None:
        if course.goes_on:
            course.round += 1
            self.admit(course.top)
            return
        for each in course.top.planned():
            if each.course is course:
                self.finish(each)
        if course.outer is not None:
            self._tell_group(course.top)

    def _part_over(self, node: Node, course: Course) -> None:
        course.closing = course.closing or course.ends_by(node)
        if node.out or course.last:
            self.finish(node)
        self._tell_group(node)

    def _tell_group(self, member: Node) -> None:
        group = member.above
        if not isinstance(group, Group) or not group.live:
            return  # a group that never began is skipped members first
        if member.fails_group and group.cause is None:
            self._fail(group, member)
        self._one_less(group)

    def _fail(self, group: Group, culprit: Node) -> None:
        """End the siblings. The culprit still counts as one: the group cannot end in here."""
        group.cause = Cause(Reason.CRASHED)
        if group.pending > 1:
            self.move(group, State.STOPPING)
        others = [member for member in group.taking_part() if member.state is not State.ENDED]
        self._stop_all(group, others, failure_of(culprit.path))

    def _one_less(self, group: Group) -> None:
        group.pending -= 1
        if group.pending == 0:
            cause = group.cause or Cause(Reason.FINISHED)
            exit = Exit(group.path, group.incarnation, cause.reason, asked_by=cause.by)
            self._end(group, self._completed(group, exit))

    def finish(self, node: Node) -> None:
        """It has ended for good in this run."""
        if not node.finished and node.exit is not None:
            node.finished = True
            self.actions.append(Finish(node.id, node.exit))

    # What all of it uses.

    def move(self, node: Node, after: State, exit: Exit | None = None) -> None:
        """The only way from one state to another."""
        before = node.state
        if after not in MOVES[before]:
            trail = " ".join(state.value for state in node.trail)
            raise InternalError(f"node {node.path}: no way from {before.value} to {after.value}; its last states: {trail}")
        node.enter(after, self.now)
        if exit is not None:
            node.exit = exit
        self.actions.append(Move(node.id, node.incarnation, before, after, self.now, exit))

    def _wait(self, node: Node, timer: Timer, at: float) -> int:
        node.serial += 1
        self.actions.append(Wait(node.id, node.incarnation, timer, node.serial, at))
        return node.serial

    def _completed(self, node: Node, exit: Exit) -> Exit:
        duration = exit.duration or self.now - node.begun
        pid = node.pid if exit.pid is None else exit.pid
        return replaced(exit, path=node.path, incarnation=node.incarnation, duration=duration, pid=pid)


def _gate_of(node: Node) -> Gate | None:
    """The gate that it must pass. A sequence is about its plan: what was added below it runs when it is asked to."""
    group = node.above
    if not isinstance(group, Group):
        return None
    if group.plan.kind is Kind.SEQUENTIAL and node.course is not group.course:
        return None
    return group.door


def _course(node: Node) -> Course:
    """Its course; called only for what is in a run."""
    if node.course is None:
        raise InternalError(f"node {node.path}: is not in a run")
    return node.course
