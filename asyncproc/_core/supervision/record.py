"""What the tree machine knows of each node. Only the machine writes here; everybody else sees a :class:`NodeView`."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, ClassVar, Protocol

from asyncproc._core.supervision.plan import Kind
from asyncproc._core.supervision.state import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asyncproc._core.exit import Exit
    from asyncproc._core.supervision.cause import Cause
    from asyncproc._core.supervision.event import NodeId
    from asyncproc._core.supervision.ladder import Descent
    from asyncproc._core.supervision.plan import Plan

LIVE = frozenset({State.STARTING, State.RUNNING, State.STOPPING})
"""The states in which a node has an incarnation."""

_TRAIL = 6


class NodeView(Protocol):
    """A node as others may see it: always the present, never to be written."""

    @property
    def id(self) -> NodeId: ...
    @property
    def plan(self) -> Plan: ...
    @property
    def name(self) -> str:
        """The last part of its path."""

    @property
    def parent(self) -> NodeId | None: ...
    @property
    def children(self) -> tuple[NodeId, ...]:
        """The plan's members in its order, then what was added, in order of start. Made anew at each reading."""

    @property
    def state(self) -> State: ...
    @property
    def since(self) -> float:
        """When it came into this state, the machine's clock; 0.0 while CREATED."""

    @property
    def begun(self) -> float:
        """When its last incarnation began, the machine's clock; 0.0 before the first."""

    @property
    def incarnation(self) -> int:
        """Of its last incarnation, from 1; 0 before the first."""

    @property
    def round(self) -> int:
        """The round that it is in, waits for or has ended, from 1; 0 before the first."""

    @property
    def ready(self) -> bool:
        """Whether this incarnation has been ready."""

    @property
    def pid(self) -> int | None:
        """While it lives; None for what has no process."""

    @property
    def exit(self) -> Exit | None:
        """How it last ended (or was skipped); None before."""

    @property
    def idle(self) -> bool:
        """Whether a new run may have it."""

    @property
    def finished(self) -> bool:
        """Whether it has ended for good: only another RunAsked brings it back."""


class Course:
    """Rounds of one subtree, one after the other.

    A run is one course. A run whose rounds do not bind is one for its top, with one round, and one for each member.

    Attributes:
        top: the node whose end ends a round.
        rounds: how many, None until stopped.
        round: the present one, from 1.
        closing: whether something has happened that rules out a further round.
        outer: the course of the parent, if *top* is a member of a run whose rounds do not bind.
    """

    __slots__ = ("closing", "outer", "round", "rounds", "top")

    def __init__(self, top: Node, rounds: int | None, outer: Course | None = None) -> None:
        self.top = top
        self.rounds = rounds
        self.round = 1
        self.closing = False
        self.outer = outer

    @property
    def last(self) -> bool:
        """Whether no further round can come."""
        return self.closing or (self.rounds is not None and self.round >= self.rounds)

    @property
    def goes_on(self) -> bool:
        """Whether the next round comes, now that *top* has ended. Rounds without a leaf would never end: they do not."""
        if self.last or (self.top.failed and not self._outlives_failure):
            return False
        return any(isinstance(node, Leaf) and node.course is self and not node.out for node in self.top.planned())

    def ends_by(self, node: Node) -> bool:
        """Whether the end of *node*, below *top*, is a failure that will reach *top*: then no further round can come."""
        if not node.failed or self._outlives_failure:
            return False
        return not any(group.plan.continues for group in node.groups(self.top))

    @property
    def _outlives_failure(self) -> bool:
        return self.outer is not None and self.outer.top.plan.continues


class Gate:
    """How many children of a group may live at once, and who waits for that, in order.

    Attributes:
        limit: None for all.
        inside: how many live.
        waiting: an ordered dict, not a deque: one that is stopped leaves the middle of the line.
        held: whether somebody walks over the children, so that nobody may be let in.
    """

    __slots__ = ("held", "inside", "limit", "waiting")

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.inside = 0
        self.waiting: OrderedDict[NodeId, Node] = OrderedDict()
        self.held = False

    @property
    def open(self) -> bool:
        """Whether one more may live."""
        return self.limit is None or self.inside < self.limit

    def leave(self, node: Node) -> None:
        """It has ended, or waits no longer."""
        if self.waiting.pop(node.id, None) is None:
            self.inside -= 1


class Node:
    """One node.

    Attributes (those of NodeView aside):
        above: its parent.
        added: what was added below it, in order of start; the members of its plan are in *members*.
        course: the rounds that it takes part in, or last took part in.
        gate: the gate that it has passed or waits at.
        cause: why its present incarnation is being ended.
        out: whether somebody asked for its end in this run: it takes no part in later rounds.
        awaited: whether its group is not ready without it.
        serial: of its last timer.
        trail: the last states, oldest first, for the message of a bug.
    """

    __slots__ = (
        "above", "added", "awaited", "begun", "cause", "course", "exit", "finished", "gate", "id", "incarnation",
        "out", "plan", "ready", "round", "serial", "since", "state", "trail",
    )  # fmt: skip

    members: list[Node]
    pid: int | None

    def __init__(self, id: NodeId, plan: Plan, above: Node | None) -> None:
        self.id = id
        self.plan = plan
        self.above = above
        self.added: dict[NodeId, Node] | None = None
        self.state = State.CREATED
        self.trail: tuple[State, ...] = (State.CREATED,)
        self.since = 0.0
        self.begun = 0.0
        self.incarnation = 0
        self.round = 0
        self.serial = 0
        self.ready = False
        self.awaited = False
        self.out = False
        self.finished = False
        self.exit: Exit | None = None
        self.cause: Cause | None = None
        self.course: Course | None = None
        self.gate: Gate | None = None

    @property
    def name(self) -> str:
        return self.plan.name

    @property
    def parent(self) -> NodeId | None:
        return None if self.above is None else self.above.id

    @property
    def children(self) -> tuple[NodeId, ...]:
        return tuple(child.id for child in self.below())

    @property
    def live(self) -> bool:
        """Whether it has an incarnation."""
        return self.state in LIVE

    @property
    def idle(self) -> bool:
        """Whether a new run may have it."""
        return self.finished or self.state is State.CREATED

    @property
    def failed(self) -> bool:
        """Whether its last end was a failure."""
        return self.exit is not None and self.exit.failed

    @property
    def fails_group(self) -> bool:
        """Whether its last end was a failure that its parent does not put up with."""
        return self.failed and self.above is not None and not self.above.plan.continues

    @property
    def path(self) -> str:
        """Made when asked for: most nodes never need it."""
        names = []
        node: Node | None = self
        while node is not None:
            names.append(node.plan.name)
            node = node.above
        return "/".join(reversed(names))

    @property
    def is_added(self) -> bool:
        """Whether it was added below its parent, rather than being a member of its plan."""
        return self.above is not None and self.above.added is not None and self.id in self.above.added

    def groups(self, top: Node | None = None) -> Iterator[Node]:
        """The groups whose runs it is part of by their plans, innermost first, up to *top*."""
        node = self
        while node is not top and node.above is not None and not node.is_added:
            node = node.above
            yield node

    def enter(self, state: State, now: float) -> None:
        """Note that it is in *state* now."""
        self.state = state
        self.since = now
        self.trail = (*self.trail[1 - _TRAIL :], state)

    def below(self) -> list[Node]:
        """All its children."""
        return [*self.members, *(self.added or {}).values()]

    def planned(self) -> Iterator[Node]:
        """It and all below it by its plan, children before parents."""
        for member in self.members:
            yield from member.planned()
        yield self

    def everything(self) -> Iterator[Node]:
        """It and all below it, parents before children."""
        yield self
        for child in self.below():
            yield from child.everything()


class Leaf(Node):
    """A node where something runs.

    Attributes:
        spawned: whether this incarnation exists yet.
        descent: its way down the ladder, once it is asked to end.
    """

    __slots__ = ("descent", "pid", "spawned")

    members: ClassVar[list[Node]] = []  # type: ignore[misc]  # shared, and stays empty

    def __init__(self, id: NodeId, plan: Plan, above: Node | None) -> None:
        super().__init__(id, plan, above)
        self.pid = None
        self.spawned = False
        self.descent: Descent | None = None


class Group(Node):
    """A node that has members.

    Attributes:
        door: where its children wait for one another. In a sequence one lives at a time: that is all its order.
        pending: members that have not ended in this round.
        unready: members that started at once and are not ready.
    """

    __slots__ = ("door", "members", "pending", "unready")

    pid = None

    def __init__(self, id: NodeId, plan: Plan, above: Node | None) -> None:
        super().__init__(id, plan, above)
        self.members: list[Node] = []
        self.door = Gate(1 if plan.kind is Kind.SEQUENTIAL else plan.limit)
        self.pending = 0
        self.unready = 0

    def taking_part(self) -> list[Node]:
        """The members that this group's present course is about."""
        return [member for member in self.members if not member.out and self._shares_course(member)]

    def _shares_course(self, member: Node) -> bool:
        course = member.course
        return course is not None and (course is self.course or course.outer is self.course)
