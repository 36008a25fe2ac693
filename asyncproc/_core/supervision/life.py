"""How a node begins, is ready and ends, and whom else that concerns.

It rests on five ideas:

* A **course** is rounds of one subtree. A run is a course; what was added below a node runs on its own course and is no
  concern of the node's, except that it shares its limit and is stopped with it.
* A **gate** says how many children of a group may live at once. A sequence is a group whose gate lets one in: its order
  is the order of the line, and needs no code of its own.
* An **ending** is one for a whole subtree: what runs goes down its ladder, what does not will never start. Stops,
  failures and timeouts differ only in what they say. The first cause stays; later ones only hurry.
* A **return** is decided where an incarnation ends, before anybody is told: who comes back does not leave its gate, its group
  does not notice, and nobody who awaits it is woken (:mod:`asyncproc._core.supervision.restart`). Among the members of a
  supervisor it is a matter of **turns** who starts and who ends next (:mod:`asyncproc._core.supervision.order`).
* A group **counts**: members that have not ended, members that are not ready. Whoever walks over its members holds one
  count himself, so that the group cannot end, or begin its next round, under the walk. No exit rescans the siblings.

A node is *finished* when it has ended for good in its run; each run finishes each of its nodes once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncproc._core.exit import Exit, Reason
from asyncproc._core.supervision.action import Finish, Move, Ready, Start, Wait
from asyncproc._core.supervision.cause import Cause, classed, failure_of, shutdown_by
from asyncproc._core.supervision.event import Timer
from asyncproc._core.supervision.order import departed, enlist, may_begin, may_enter, turn
from asyncproc._core.supervision.pausing import pause
from asyncproc._core.supervision.plan import AtLimit, Kind
from asyncproc._core.supervision.record import Group, Leaf, Supervised
from asyncproc._core.supervision.restart import comes_back
from asyncproc._core.supervision.restart import verdict as verdict_of
from asyncproc._core.supervision.rhythm import keep_time, rests_first
from asyncproc._core.supervision.state import MOVES, State
from asyncproc._core.supervision.stopping import stop, stop_all
from asyncproc._core.value import replaced
from asyncproc.errors import InternalError

if TYPE_CHECKING:
    from asyncproc._core.supervision.action import Action, Slots
    from asyncproc._core.supervision.cause import Ending
    from asyncproc._core.supervision.record import Course, Gate, Node
    from asyncproc._core.supervision.tokens import Tokens


class Life:
    """All changes of nodes. What they make necessary is gathered in *actions*.

    Attributes:
        now: the time of the present event. events: how many there were. tickets: how many due times were asked for.
        actions: what it has led to so far, in order.
    """

    __slots__ = ("actions", "events", "now", "tickets", "tokens")

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens
        self.now = 0.0
        self.events = 0
        self.tickets = 0
        self.actions: list[Action] = []

    # Beginning.

    def admit(self, node: Node) -> bool:
        """Let it begin, or wait in line or for its time; whether it has begun."""
        return not rests_first(self, node) and self.enter(node)

    def enter(self, node: Node) -> bool:
        """The same when its time has come."""
        gate = _gate_of(node)
        if gate is None or (gate.open and not gate.waiting):
            self._begin(node, gate)
            return node.state is not State.WAITING  # it may have to wait once more, for what it needs
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
        node.finished = False
        if isinstance(node, Group):
            for member in node.taking_part():
                self.await_turn(member)

    def fill(self, gate: Gate) -> None:
        """Let in who waits. One that ends at once comes back here: the loop goes on, and not deeper."""
        if gate.held:
            return
        gate.held = True
        while gate.waiting and gate.open and may_enter(next(iter(gate.waiting.values()))):
            _, node = gate.waiting.popitem(last=False)
            self._begin(node, gate)
        gate.held = False

    def _begin(self, node: Node, gate: Gate | None) -> None:
        node.gate = gate
        if gate is not None:
            gate.inside += 1
        self.begin_again(node)

    def begin_again(self, node: Node) -> None:
        """A new incarnation of one that is past its gate; when there is not what it needs, as soon as there is."""
        if node.plan.resources and not self.tokens.grant(node):
            self.await_turn(node)
            self.settle(node)
        else:
            self._start_incarnation(node)

    def _start_incarnation(self, node: Node) -> None:
        node.incarnation += 1
        node.round = _course(node).round
        node.begun, node.born, node.stood = self.now, self.events, 0.0
        node.ready, node.finished, node.cause, node.spent = False, False, None, ()
        self.move(node, State.STARTING)
        if node.rhythm is not None and not node.rhythm.ticket:
            keep_time(self, node, node.rhythm)
        for timer, at in node.limits():
            self.wait(node, timer, at)
        if isinstance(node, Group):
            self._open(node)
        else:
            self._start(node)

    def _start(self, leaf: Node) -> None:
        self.actions.append(Start(leaf.id, leaf.incarnation, leaf.round, self._slots_of(leaf)))
        if not leaf.plan.held:
            self.release(leaf)

    def _slots_of(self, leaf: Node) -> Slots:
        """Of what it holds, and the groups that it is in."""
        if not self.tokens.in_use:
            return ()
        held = [slots for node in (leaf, *leaf.ancestors()) for slots in self.tokens.held_by(node)]
        return tuple({name: (name, amount, numbers) for name, amount, numbers in reversed(held)}.values())

    def release(self, leaf: Node) -> None:
        """Its start takes its own time now, and nobody else's."""
        if leaf.plan.start_timeout is not None and leaf.state is State.STARTING:
            self.wait(leaf, Timer.START, self.now + leaf.plan.start_timeout)

    def _open(self, group: Group) -> None:
        members = group.taking_part()
        group.pending = len(members) + 1  # the one is this opening
        group.unready = 1
        for member in members:
            if member.course is not group.course and member.course is not None:
                member.course.round, member.course.closing = 1, False  # its rounds begin with the group's incarnation
            member.awaited, member.proven, member.failures, member.history = True, False, 0, ()
        if isinstance(group, Supervised):
            self._line_up(group, members)
        else:
            for member in members:
                group.unready += 1
                if not self.admit(member):
                    self.settle(member)
        self._one_readier(group)
        self.one_less(group)

    def _line_up(self, supervisor: Supervised, members: list[Node]) -> None:
        """All are to be ready before it is, each in its turn."""
        supervisor.history, supervisor.culprit = (), None
        supervisor.kept = set() if members else {supervisor.id}
        supervisor.pending += len(supervisor.kept)
        supervisor.unready += len(members)
        for member in members:
            enlist(self, supervisor, member)
        turn(self, supervisor)

    def start_in_turn(self, member: Node) -> None:
        """Its turn has come in its supervisor; one that comes back has its place there already."""
        if member.gate is None:
            self.admit(member)
        else:
            self.begin_again(member)

    def take_in(self, member: Node) -> None:
        """Count a member of a running supervisor again that had ended for good."""
        supervisor = member.supervisor
        assert supervisor is not None
        if member.id in supervisor.kept:
            supervisor.kept.remove(member.id)  # it was never counted out
        else:
            supervisor.pending += 1
        member.awaited, member.proven, member.out, member.finished = False, False, False, False
        member.failures, member.spent = 0, ()

    # Being ready.

    def ready(self, node: Node) -> None:
        """It can do its work, or can do it again. One that is being stopped is not ready, whatever it says."""
        if node.ready or node.state not in (State.STARTING, State.RUNNING):
            return
        node.ready = node.proven = True
        begins = node.state is State.STARTING
        if begins:
            self.move(node, State.RUNNING)
        self.actions.append(Ready(node.id, node.incarnation))
        if begins:
            self.settle(node)
            if any(above.state is State.PAUSED for above in node.ancestors()):
                pause(self, node)
        above = node.above
        if isinstance(above, Supervised) and (above.line.pop(node.id, None) is not None or above.line):
            turn(self, above)  # one that runs by itself may be needed, too

    def settle(self, member: Node) -> None:
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
        stop(self, node, ending, unrun)

    def leave(self, leaf: Leaf, raw: Exit) -> None:
        """The leaf is gone."""
        exit = classed(self._completed(leaf, raw), leaf.cause, leaf.descent, leaf.plan.ladder)
        leaf.pid, leaf.spawned = None, False  # whatever follows from what follows: no rung is taken any more
        if exit.reason is Reason.FINISHED and not leaf.unsaid:
            self.ready(leaf)  # ending well counts as ready
        leaf.descent = None
        self._end(leaf, exit)

    def _end(self, node: Node, exit: Exit) -> None:
        """Its incarnation has ended."""
        if node.plan.resources:
            self.tokens.release(node)
        if not comes_back(self, node, exit):
            self.end_for_good(node, exit)

    def hand_on(self) -> None:
        """Give what has become free to those who wait for it; when all is done that has made it free."""
        while (node := self.tokens.grant_next(may_begin)) is not None:
            self._start_incarnation(node)

    def end_for_good(self, node: Node, exit: Exit) -> None:
        """It has ended in this round. This concerns its gate, then its course or its group, then who waits in line."""
        self.move(node, State.ENDED, exit)
        if node.rhythm is not None:
            node.rhythm.clear()
        if node.plan.resources:
            self.tokens.release(node)
        gate, node.gate = node.gate, None
        if gate is not None:
            gate.leave(node)
        verdict = _verdict(node)
        if verdict is not None:
            node.awaited = False  # its group will never be ready
        else:
            self.settle(node)
        if node.course is None:
            self.finish(node)  # stopped before it was ever to run
        elif node.course.top is node:
            self._round_over(node.course)
        else:
            self._part_over(node, node.course, verdict)
        if isinstance(node.above, Supervised):
            departed(self, node.above, node)
        if gate is not None:
            self.fill(gate)

    def _round_over(self, course: Course) -> None:
        if course.goes_on and self.has_taken_time(course.top):
            course.round += 1
            self.admit(course.top)
            return
        outer = course.outer
        if outer is None or outer.top.cause is None or not _may_come_back(outer.top):
            for each in course.top.planned():
                if each.course is not None and course in (each.course, each.course.outer):
                    self.finish(each)
        if course.outer is not None:
            self._tell_group(course.top, _verdict(course.top))

    def _part_over(self, node: Node, course: Course, verdict: Cause | None) -> None:
        course.closing = course.closing or course.ends_by(node)
        if node.out or (course.last and not _ends_with_group(node, verdict)):
            self.finish(node)
            self._finish_below(node, course)
        self._tell_group(node, verdict)

    def _finish_below(self, node: Node, course: Course) -> None:
        """What ended with it might have come back with it."""
        for each in node.planned() if isinstance(node, Group) else ():
            if each.state is State.ENDED and each.course is course and (node.out or each.out or course.last):
                self.finish(each)

    def _tell_group(self, member: Node, verdict: Cause | None) -> None:
        group = member.above
        if not isinstance(group, Group) or not group.live:
            return  # a group that never began is skipped members first
        if verdict is not None:
            self._fall(group, member, verdict)
        if isinstance(group, Supervised) and _stays(group, member):
            group.kept.add(member.id)
        else:
            self.one_less(group)

    def count_out(self, supervisor: Supervised, member: Node) -> None:
        """One is forgotten that may have stayed."""
        if member.id in supervisor.kept:
            supervisor.kept.remove(member.id)
            self.one_less(supervisor)

    def _fall(self, group: Group, culprit: Node, cause: Cause) -> None:
        """It ends because of a member's end. The culprit still counts as one: the group cannot end in here."""
        group.cause = cause
        if isinstance(group, Supervised):
            group.culprit = culprit.id
            group.keep_nobody()
        if group.pending > 1:
            self.move(group, State.STOPPING)
        # Those too that end already: nobody is to end before they have who need it.
        part = group.present() if isinstance(group, Supervised) else group.taking_part()
        others = [member for member in part if member.state is not State.ENDED]
        stop_all(self, group, others, failure_of(culprit.path) if culprit.failed else shutdown_by(culprit.path))

    def one_less(self, group: Group) -> None:
        group.pending -= 1
        if group.pending == 0:
            cause = group.cause or Cause(Reason.FINISHED)
            exit = Exit(group.path, group.incarnation, cause.reason, error=cause.error, asked_by=cause.by)
            self._end(group, self._completed(group, exit))

    def has_taken_time(self, node: Node) -> bool:
        """Whether its incarnation did not end as it began: what has nothing to do would come back for ever."""
        return node.born != self.events

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
        if State.BACKOFF in (before, after) and node.supervisor is not None:
            node.supervisor.resting += 1 if after is State.BACKOFF else -1
        node.enter(after, self.now)
        if exit is not None:
            node.exit = exit
        self.actions.append(Move(node.id, node.incarnation, before, after, self.now, exit))

    def wait(self, node: Node, timer: Timer, at: float, latest: float | None = None) -> int:
        """Have it told when the time has come."""
        node.serial += 1
        self.actions.append(Wait(node.id, node.incarnation, timer, node.serial, at, latest))
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
    if isinstance(group, Supervised) and node.rank < len(group.plan.members):
        return None  # its limit is for those that joined
    if group.plan.kind is Kind.SEQUENTIAL and node.course is not group.course:
        return None
    return group.door


def _course(node: Node) -> Course:
    """Its course; called only for what is in a run."""
    if node.course is None:
        raise InternalError(f"node {node.path}: is not in a run")
    return node.course


def _verdict(node: Node) -> Cause | None:
    """What its end makes of its group; None: that goes on, or ends already."""
    supervisor = node.supervisor
    if supervisor is not None:
        return verdict_of(supervisor, node)
    group = node.above
    return Cause(Reason.CRASHED) if group is not None and node.fails_group and group.cause is None else None


def _ends_with_group(node: Node, verdict: Cause | None) -> bool:
    """Whether it ends with a group that may be started again, and it with that."""
    groups = list(node.groups(_course(node).top))
    if verdict is None and all(group.cause is None for group in groups):
        return False
    return any(map(_may_come_back, groups))


def _stays(supervisor: Supervised, member: Node) -> bool:
    """Whether it was given up, and its supervisor goes on for it as if it had not ended."""
    if not member.spent or supervisor.plan.at_limit is not AtLimit.STAY:
        return False
    return supervisor.live and supervisor.cause is None


def _may_come_back(group: Node) -> bool:
    return (group.renew or group.recurs) and not group.out
