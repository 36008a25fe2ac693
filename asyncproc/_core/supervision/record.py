"""What the tree machine knows of each node. Only the machine writes here; everybody else sees a :class:`NodeView`."""

from __future__ import annotations

from collections import OrderedDict
from math import inf
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from asyncproc._core.supervision.event import Timer
from asyncproc._core.supervision.plan import Kind, Restart
from asyncproc._core.supervision.state import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asyncproc._core.exit import Exit
    from asyncproc._core.supervision.cause import Cause, Ending
    from asyncproc._core.supervision.event import NodeId
    from asyncproc._core.supervision.ladder import Descent
    from asyncproc._core.supervision.plan import Plan

History: TypeAlias = "tuple[tuple[float, Exit], ...]"

LIVE = frozenset({State.STARTING, State.RUNNING, State.PAUSED, State.STOPPING})
"""The states in which a node has an incarnation."""

_TRAIL = 6


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


class Rhythm:
    """Where a node with a schedule stands.

    Attributes:
        ticket: of the Due that is to come; 0 when none is, before its first turn and after its end for good.
        asleep: whether it rests until then.
        queued: whether a due time has come while it ran, and is to be made up for.
        ran: whether it has run since its first turn.
    """

    __slots__ = ("asleep", "queued", "ran", "ticket")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """It has ended for good, or has not begun."""
        self.ticket = 0
        self.asleep = self.queued = self.ran = False


class Node:
    """One node.

    Attributes (those of NodeView aside):
        above: its parent.
        added: what was added below it, in order of start; the members of its plan are in *members*.
        course: the rounds that it takes part in, or last took part in.
        gate: the gate that it has passed or waits at.
        stood: seconds that its last incarnation was paused, up to the last resume.
        born: the number of the event in which its last incarnation began.
        cause: why its present incarnation is being ended.
        out: whether somebody asked for its end in this run: it takes no part in later rounds.
        awaited: whether its group is not ready without it.
        proven: whether it has been ready since its run, or its group, began: its starts are restarts.
        renew: whether somebody wants it to be started anew when it has ended.
        failures: its ends in a row that were followed by a restart, none of them after it was stable.
        rank: its place in the order of its supervisor.
        rhythm: where it stands between its due times; None for one without a schedule.
        history: what counts for the limit of its restarts, of a supervisor of its members': times and exits, oldest first.
        serial: of its last timer.
        trail: the last states, oldest first, for the message of a bug.
    """

    __slots__ = (
        "above", "added", "awaited", "begun", "born", "cause", "course", "exit", "failures", "finished", "gate", "history",
        "id", "incarnation", "out", "plan", "proven", "rank", "ready", "renew", "rhythm", "round", "serial", "since", "spent",
        "state", "stood", "trail",
    )  # fmt: skip

    members: list[Node]
    pid: int | None
    culprit: NodeId | None = None
    deadline: float = inf

    def __init__(self, id: NodeId, plan: Plan, above: Node | None) -> None:
        self.id = id
        self.plan = plan
        self.above = above
        self.added: dict[NodeId, Node] | None = None
        self.state = State.CREATED
        self.trail: tuple[State, ...] = (State.CREATED,)
        self.since = 0.0
        self.begun = 0.0
        self.stood = 0.0
        self.born = 0
        self.incarnation = 0
        self.round = 0
        self.serial = 0
        self.ready = False
        self.awaited = False
        self.out = False
        self.finished = False
        self.proven = False
        self.renew = False
        self.rank = 0
        self.rhythm = None if plan.overlap is None else Rhythm()
        self.failures = 0
        self.history: History = ()
        self.spent: tuple[Exit, ...] = ()
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
    def ending(self) -> bool:
        return self.live and (self.state is State.STOPPING or self.cause is not None)

    @property
    def idle(self) -> bool:
        """Whether a new run may have it."""
        return self.finished or self.state is State.CREATED

    @property
    def asleep(self) -> bool:
        """Whether it rests until its next due time."""
        return self.rhythm is not None and self.rhythm.asleep

    @property
    def recurs(self) -> bool:
        """Whether it may run again in the same round."""
        return self.plan.restart is not Restart.TEMPORARY or self.rhythm is not None

    @property
    def failed(self) -> bool:
        """Whether its last end was a failure."""
        return self.exit is not None and self.exit.failed

    @property
    def unsaid(self) -> bool:
        """Whether it was to say when it is ready, and has not: to end well is not enough."""
        return False

    @property
    def limit(self) -> int | None:
        """How many of its children live at once; None for all."""
        return None

    @property
    def busy(self) -> int:
        """How many of its children have not ended and were asked to run."""
        return sum(child.state not in (State.CREATED, State.ENDED) and not child.asleep for child in self.below())

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
    def supervisor(self) -> Supervised | None:
        """The supervisor whose member it is, in the present run of both."""
        above = self.above
        return above if isinstance(above, Supervised) and self.course is above.course is not None else None

    @property
    def is_added(self) -> bool:
        """Whether it was added below its parent, rather than being a member of its plan."""
        return self.above is not None and self.above.added is not None and self.id in self.above.added

    @property
    def by_itself(self) -> bool:
        """Whether it runs on a course of its own, which is no concern of what is above it."""
        return self.course is not None and self.course.top is self and self.course.outer is None

    def groups(self, top: Node | None = None) -> Iterator[Node]:
        """The groups whose runs it is part of by their plans, innermost first, up to *top*."""
        node = self
        while node is not top and node.above is not None and not node.is_added:
            node = node.above
            yield node

    def limits(self) -> Iterator[tuple[Timer, float]]:
        """When its present incarnation will have run too long, or long enough, as long as it is not paused."""
        if self.plan.timeout is not None:
            yield Timer.TIMEOUT, self.begun + self.stood + self.plan.timeout
        if self.plan.join_in is not None:
            yield Timer.JOIN, self.begun + self.stood + self.plan.join_in

    def ancestors(self) -> Iterator[Node]:
        """All above it, innermost first."""
        node = self.above
        while node is not None:
            yield node
            node = node.above

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

    @property
    def deadline(self) -> float:  # type: ignore[override]  # it is for nobody to set
        return inf if self.descent is None else self.descent.deadline

    @property
    def unsaid(self) -> bool:
        return self.plan.says_ready and not self.ready


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

    @property
    def limit(self) -> int | None:
        return self.door.limit

    @property
    def busy(self) -> int:
        if self.plan.kind is not Kind.CONCURRENT:
            return super().busy
        return self.door.inside + len(self.door.waiting)  # all pass it; there may be many

    def join(self, member: Node) -> None:
        """Take in one more member."""
        self.members.append(member)

    def part(self, member: Node) -> None:
        """Let one go that has ended."""
        self.members.remove(member)

    def taking_part(self) -> list[Node]:
        """The members that this group's present course is about."""
        return [member for member in self.members if not member.out and self._shares_course(member)]

    def _shares_course(self, member: Node) -> bool:
        course = member.course
        return course is not None and (course is self.course or course.outer is self.course)


class Supervised(Group):
    """A supervisor: members that start in order, end in reverse, and come back.

    It is *chained* when none of its planned members names what it needs: then each needs the one before it. Members that joined
    later come after all of them, and need nobody that they do not name.

    Attributes:
        culprit: the member by whose end it ended.
        line: members that are to start or are not up yet.
        leaving: what is to end before anybody starts again: members, and at the end of all what was added below it.
        due: of those, who is to be told now.
        endings: what they are told, one after the other. told: how many of these each of them has been told.
        resting: how many members are in BACKOFF.
        kept: whom it goes on for although they have ended: those that stay, and itself if it began with no members.
        turning: whether somebody lets members start or end: one that ends at once does not do so in turn.
        dependents: by name, the members that need that one.
    """

    __slots__ = (
        "by_name", "chained", "culprit", "dependents", "due", "endings", "kept", "leaving", "line", "resting", "tiers",
        "told", "turning",
    )  # fmt: skip

    def __init__(self, id: NodeId, plan: Plan, above: Node | None) -> None:
        super().__init__(id, plan, above)
        self.chained = not any(member.needs for member in plan.members)
        self.culprit: NodeId | None = None
        self.line: dict[NodeId, Node] = {}
        self.leaving: dict[NodeId, Node] = {}
        self.tiers: dict[int, int] = {}
        self.due: list[Node] = []
        self.endings: list[Ending] = []
        self.told: dict[NodeId, int] = {}
        self.resting = 0
        self.kept: set[NodeId] = set()
        self.turning = False
        self.by_name: dict[str, Node] = {}
        self.dependents: dict[str, list[Node]] = {}

    def keep_nobody(self) -> None:
        """It goes on for nobody any more: it is to end, or does when those have that live."""
        self.pending -= len(self.kept)
        self.kept.clear()

    def join(self, member: Node) -> None:
        """Take in one more member; those of its plan first, in order."""
        if member.rank < len(self.plan.members):
            member.rank = len(self.members)
        super().join(member)
        self.by_name[member.name] = member
        for name in member.plan.needs:
            self.dependents.setdefault(name, []).append(member)

    def part(self, member: Node) -> None:
        """Let one go that has ended."""
        super().part(member)
        del self.by_name[member.name]
        for name in member.plan.needs:
            self.dependents[name].remove(member)

    def present(self) -> list[Node]:
        """The members in its present run: those too that were stopped in it, but none that runs by itself."""
        return [member for member in self.members if member.supervisor is self]

    def needs_of(self, member: Node) -> list[Node]:
        """The members that it names."""
        return [self.by_name[name] for name in member.plan.needs if name in self.by_name]

    def after(self, member: Node) -> list[Node]:
        """The members that need it, directly or not: named, or in a chain by their place."""
        if self.chained and member.rank < len(self.plan.members):
            return [other for other in self.members if other.rank > member.rank]
        found: dict[NodeId, Node] = {}
        asked = [member]
        while asked:
            for other in self.dependents.get(asked.pop().name, ()):
                if other.id not in found:
                    found[other.id] = other
                    asked.append(other)
        return list(found.values())
