"""Decides when each node of a tree starts and ends; a driver does it.

One machine holds a manager's whole tree, to any depth. Here is what each event means; what follows from it for the
nodes is in :mod:`asyncproc._core.supervision.life`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncproc._core.exit import Exit, Reason
from asyncproc._core.supervision.bound import stop_bound
from asyncproc._core.supervision.cause import Cause, asked
from asyncproc._core.supervision.event import (
    Acknowledged,
    Added,
    Condemned,
    Due,
    Exited,
    Forgotten,
    Judged,
    KillAsked,
    LimitSet,
    NodeId,
    PauseAsked,
    Readied,
    Released,
    RestartAsked,
    ResumeAsked,
    RunAsked,
    Spawned,
    StopAsked,
    Timer,
    TimerFired,
    Unreadied,
)
from asyncproc._core.supervision.life import Life
from asyncproc._core.supervision.order import enlist, starts_alone, turn
from asyncproc._core.supervision.pausing import pause, unpause
from asyncproc._core.supervision.plan import Kind, Ladder
from asyncproc._core.supervision.record import Course, Group, Leaf, Supervised
from asyncproc._core.supervision.restart import judged, resume
from asyncproc._core.supervision.rhythm import due, wake
from asyncproc._core.supervision.state import State
from asyncproc._core.supervision.stopping import climb, condemn, join, renew
from asyncproc._core.supervision.tokens import Tokens
from asyncproc.errors import Fault, InternalError, SpecError, StateError, UnknownNode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from asyncproc._core.supervision.action import Action
    from asyncproc._core.supervision.event import Event
    from asyncproc._core.supervision.plan import Plan
    from asyncproc._core.supervision.record import Node
    from asyncproc._core.supervision.view import NodeView


class TreeMachine:
    """The tree: facts in, wishes out. :meth:`handle` is the only method that changes anything.

    Args:
        resources: what there is of each, see :class:`~asyncproc._core.supervision.tokens.Tokens`.
    """

    def __init__(self, resources: Mapping[str, float] | None = None) -> None:
        self._nodes: dict[NodeId, Node] = {}
        self._root: Node | None = None
        self._tokens = Tokens(resources or {})
        self._life = Life(self._tokens)

    def handle(self, event: Event, now: float) -> list[Action]:
        """Take in one fact.

        Args:
            event: what has happened.
            now: when, seconds of a clock that never goes back.

        Returns:
            What is to be done, in this order; empty for an event about what is no more.

        Raises:
            StateError: the state of the node does not allow what is asked for; nothing was changed.
            SpecError: a RunAsked that makes no sense for this node; nothing was changed.
            InternalError: a bug of the machine or of its driver.
        """
        if self._is_stale(event):
            return []
        self._life.now, self._life.actions = now, []
        self._life.events += 1
        match event:
            case Added():
                self._added(event)
            case RunAsked():
                self._run_asked(event)
            case RestartAsked():
                self._restart_asked(event)
            case StopAsked():
                self._life.stop(self._known(event.node), asked(event.by, event.grace), Reason.STOPPED)
            case KillAsked():
                self._life.stop(self._known(event.node), asked(event.by, 0.0), Reason.STOPPED)
            case TimerFired():
                self._timer_fired(event)
            case PauseAsked():
                self._pause_asked(self._known(event.node))
            case ResumeAsked():
                unpause(self._life, self._known(event.node))
            case LimitSet():
                self._limit_set(event)
            case Judged():
                judged(self._life, self._known(event.node), event.again)
            case Due():
                self._due(event)
            case Forgotten():
                self._forgotten(event)
            case _:
                self._reported(self._leaf(event.node), event)
        self._life.hand_on()
        return self._life.actions

    @property
    def root(self) -> NodeId | None:
        """The top of the tree."""
        return None if self._root is None else self._root.id

    def node(self, id: NodeId) -> NodeView:
        """The node, as it is now and will be: the view follows it.

        Raises:
            UnknownNode: there is none, or it was forgotten.
        """
        return self._known(id)

    def path(self, id: NodeId) -> str:
        """Names from the root on, e.g. ``app/build/index``; O(depth)."""
        return self._known(id).path

    def stop_bound(self, id: NodeId) -> float | None:
        """Seconds that a stop of the subtree takes at most; None without end."""
        return stop_bound(self._known(id))

    def missed_by(self, id: NodeId) -> tuple[str, ...]:
        """The resources that a node waits for, by name; empty when it waits for none."""
        return self._tokens.missed_by(self._known(id))

    def subtree(self, id: NodeId) -> Iterator[NodeView]:
        """The node and all below it, parents first. To be used up before the next event."""
        return self._known(id).everything()

    def __contains__(self, id: NodeId) -> bool:
        return id in self._nodes

    def __len__(self) -> int:
        return len(self._nodes)

    def _is_stale(self, event: Event) -> bool:
        node = self._nodes.get(event.node)
        match event:
            case Added() | RunAsked() | RestartAsked():
                return False
            case StopAsked() | KillAsked() | PauseAsked() | ResumeAsked() | LimitSet() | Forgotten():
                return node is None
            case Due():
                return node is None or node.rhythm is None or node.rhythm.ticket != event.ticket
            case Judged() | TimerFired(timer=Timer.BACKOFF):
                return node is None or node.state is not State.BACKOFF or event.incarnation != node.incarnation
            case _:
                return node is None or not node.live or event.incarnation != node.incarnation

    def _known(self, id: NodeId) -> Node:
        try:
            return self._nodes[id]
        except KeyError:
            raise UnknownNode(f"node {id}: there is none, or it was forgotten") from None

    def _leaf(self, id: NodeId) -> Leaf:
        node = self._known(id)
        if not isinstance(node, Leaf):
            raise InternalError(f"node {node.path}: an event that only a leaf can have")
        return node

    def _added(self, event: Added) -> None:
        if event.parent is not None:
            self._add_below(self._known(event.parent), event)
        elif self._root is None:
            self._root = self._make(event.node, event.plan, None)
        else:
            raise StateError(f"node {event.plan.name}: the tree has a root already, {self._root.name}")

    def _add_below(self, parent: Node, event: Added) -> None:
        if event.joins and not isinstance(parent, Supervised):
            raise StateError(f"node {parent.path}: is a {parent.plan.kind.value}; only a supervisor can be joined")
        node = self._make(event.node, event.plan, parent)
        node.rank = len(parent.plan.members)
        if event.joins and isinstance(parent, Supervised):
            parent.join(node)
            return
        if parent.added is None:
            parent.added = {}
        parent.added[event.node] = node

    def _make(self, id: NodeId, plan: Plan, above: Node | None) -> Node:
        if plan.kind is Kind.LEAF:
            self._nodes[id] = leaf = Leaf(id, plan, above)
            return leaf
        supervises = plan.kind is Kind.SUPERVISOR
        self._nodes[id] = group = Supervised(id, plan, above) if supervises else Group(id, plan, above)
        number = id + 1
        for member in plan.members:
            group.join(self._make(NodeId(number), member, group))
            number += member.size
        return group

    def _run_asked(self, event: RunAsked) -> None:
        node = self._known(event.node)
        _check_run(node, event)
        self._check_resources(node)
        if isinstance(node.above, Supervised) and not node.is_added and node.above.live:
            self._join_in(node, node.above)
            return
        _enrol(node, Course(node, event.rounds) if event.binding else Course(node, 1))
        if not event.binding:
            for member in node.members:
                _enrol(member, Course(member, event.rounds, node.course))
        if node.above is not None and node.above.added is not None and node.is_added:
            node.above.added[node.id] = node.above.added.pop(node.id)  # they stand there in order of start
        if event.rounds == 0:
            self._run_nothing(node)
        else:
            self._life.admit(node)

    def _check_resources(self, node: Node) -> None:
        holders = [each for each in node.planned() if each.plan.resources]
        faults = [
            Fault(each.path, "resources", {lacking[0]: lacking[1]}, lacking[2])
            for each in holders
            if (lacking := self._tokens.lacks(each.plan.resources)) is not None
        ]
        for each in holders:
            # Who holds some and waits for others, which somebody holds who waits for those: that could last for ever.
            above = next((group for group in each.ancestors() if group.plan.resources), None)
            if above is not None:
                rule = f"cannot be had in addition to those of {above.path}: ask there for what all in it need"
                faults.append(Fault(each.path, "resources", dict(each.plan.resources), rule))
        if faults:
            raise SpecError(faults)

    def _join_in(self, member: Node, supervisor: Supervised) -> None:
        """It takes part, again or for the first time, in what its supervisor does."""
        assert supervisor.course is not None
        if member.course is not supervisor.course:
            _enrol(member, supervisor.course)
        self._life.take_in(member)
        _enrol(member, supervisor.course)  # all below it too: it may have been stopped with them
        if starts_alone(supervisor, member):
            self._life.admit(member)
        else:
            enlist(self._life, supervisor, member)
            turn(self._life, supervisor)

    def _restart_asked(self, event: RestartAsked) -> None:
        node = self._known(event.node)
        _check_groups(node)
        if node.live:
            renew(self._life, node, event.by)
            return
        if node.state is State.BACKOFF:
            resume(self._life, node)
            return
        if node.state is not State.WAITING:
            self._run_asked(RunAsked(node.id))
        if node.rhythm is not None and node.rhythm.asleep:
            wake(self._life, node, node.rhythm)

    def _due(self, event: Due) -> None:
        node = self._known(event.node)
        assert node.rhythm is not None
        due(self._life, node, node.rhythm)

    def _pause_asked(self, node: Node) -> None:
        if node.state not in (State.RUNNING, State.PAUSED):
            raise StateError(f"node {node.path}: is {node.state.value}; only what runs can be paused")
        if isinstance(node, Leaf) and node.plan.ladder is Ladder.TASK:
            raise StateError(f"node {node.path}: is a thread or a coroutine of this process, which cannot be paused")
        pause(self._life, node)

    def _limit_set(self, event: LimitSet) -> None:
        node = self._known(event.node)
        if not isinstance(node, Group) or node.plan.kind is Kind.SEQUENTIAL:
            raise StateError(f"node {node.path}: is a {node.plan.kind.value}, which has no limit")
        node.door.limit = event.limit
        self._life.fill(node.door)

    def _run_nothing(self, node: Node) -> None:
        self._life.await_turn(node)
        for each in node.planned():
            exit = Exit(each.path, 0, Reason.SKIPPED, asked_by="rounds=0")
            if each is node:
                exit = Exit(each.path, 0, Reason.FINISHED)
            self._life.move(each, State.ENDED, exit)
            self._life.finish(each)

    def _timer_fired(self, event: TimerFired) -> None:
        node = self._known(event.node)
        match event.timer:
            case Timer.START:
                if node.state is State.STARTING:
                    condemn(self._life, node, Cause(Reason.TIMED_OUT))
            case Timer.OVERDUE:
                if node.state is not State.STOPPING:
                    condemn(self._life, node, Cause(Reason.TIMED_OUT))
            case Timer.TIMEOUT | Timer.JOIN if not _is_over(node, event.timer, self._life.now):
                pass  # it was paused since this timer was set
            case Timer.TIMEOUT:
                if node.state is not State.STOPPING:
                    condemn(self._life, node, Cause(Reason.TIMED_OUT))
            case Timer.BACKOFF:
                if node.serial == event.serial:
                    resume(self._life, node)
            case Timer.JOIN:
                if node.state is not State.STOPPING:
                    join(self._life, self._leaf(event.node))
            case _:
                leaf = self._leaf(event.node)
                if leaf.descent is not None and leaf.descent.serial == event.serial:
                    climb(self._life, leaf, max(self._life.now, leaf.descent.due))

    def _reported(
        self, leaf: Leaf, event: Spawned | Released | Readied | Unreadied | Acknowledged | Condemned | Exited
    ) -> None:
        match event:
            case Spawned():
                leaf.spawned, leaf.pid = True, event.pid
                climb(self._life, leaf, self._life.now)  # what was asked of it while it was being made
            case Released():
                self._life.release(leaf)
            case Readied():
                self._life.ready(leaf)
            case Unreadied():
                leaf.ready = leaf.ready and leaf.state is not State.RUNNING
            case Acknowledged():
                if leaf.descent is not None:
                    leaf.descent.acknowledge()
                    climb(self._life, leaf, self._life.now)
            case Condemned():
                if leaf.state is not State.STOPPING:
                    condemn(self._life, leaf, Cause(event.reason, event.why))
            case _:
                self._life.leave(leaf, event.exit)

    def _forgotten(self, event: Forgotten) -> None:
        node = self._known(event.node)
        gone = list(node.everything())
        _check_forget(node, gone)
        for each in gone:
            del self._nodes[each.id]
        if node.above is None:
            self._root = None
        elif node.above.added is not None and node.is_added:
            del node.above.added[node.id]
        else:
            assert isinstance(node.above, Group)
            node.above.part(node)
            if isinstance(node.above, Supervised):
                self._life.count_out(node.above, node)
                turn(self._life, node.above)  # nobody waits any more for one that was given up


def _is_over(node: Node, timer: Timer, now: float) -> bool:
    """Whether a timer of one that was paused stands for its present limit; clocks may wake a little early."""
    return node.state is not State.PAUSED and (not node.stood or now + 0.01 >= dict(node.limits())[timer])


def _check_run(node: Node, event: RunAsked) -> None:
    if not event.binding and node.plan.kind is not Kind.CONCURRENT:
        raise SpecError([Fault(node.path, "binding", False, "can be given up only for the members of a Concurrent")])
    if event.rounds is not None and event.rounds < 0:
        raise SpecError([Fault(node.path, "rounds", event.rounds, "must be >= 0 or None")])
    for each in node.planned():
        if not each.idle:
            raise StateError(f"node {each.path}: is {each.state.value}; it runs already")
    _check_groups(node)
    if (
        isinstance(node.above, Supervised)
        and not node.is_added
        and node.above.live
        and (event.rounds != 1 or not event.binding)
    ):
        raise SpecError([Fault(node.path, "rounds", event.rounds, "must be 1 for a member of a supervisor")])


def _check_groups(node: Node) -> None:
    for above in node.ancestors():
        if above.ending:
            raise StateError(f"node {node.path}: {above.path}, which it is in, is stopping")


def _check_forget(node: Node, gone: list[Node]) -> None:
    for each in gone:
        if not each.finished:
            raise StateError(f"node {each.path}: is {each.state.value}; only what has ended for good can be forgotten")
    for group in node.groups():
        if isinstance(group, Supervised):  # it can do without
            break
        if group.live:  # its end is made of theirs
            raise StateError(f"node {node.path}: its group {group.path} is {group.state.value}")


def _enrol(node: Node, course: Course) -> None:
    for each in node.planned():
        each.course = course
        each.out, each.finished, each.proven = False, False, False
        each.failures, each.history, each.spent = 0, (), ()
