"""The world around a tree machine, played against it: every answer may come late, twice, out of turn, or not at all.

The world is honest in two things only, because a driver is: a Start ends in an Exited, and an Abandon does so at once.
What must hold then is checked after every event; at the end everything is stopped and must come to its end.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from signal import SIGKILL, SIGTERM
from typing import TYPE_CHECKING, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from asyncproc._core import journal
from asyncproc._core.backoff import Backoff
from asyncproc._core.exit import Exit, Reason
from asyncproc._core.supervision.action import (
    Abandon,
    AwaitDue,
    Finish,
    Judge,
    Move,
    Pause,
    Ready,
    Resume,
    Rung,
    Start,
    Stop,
    Wait,
)
from asyncproc._core.supervision.event import (
    OWN,
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
from asyncproc._core.supervision.machine import TreeMachine
from asyncproc._core.supervision.plan import AtLimit, AutoShutdown, Kind, Ladder, Overlap, Plan, Restart, Strategy
from asyncproc._core.supervision.record import LIVE
from asyncproc._core.supervision.state import MOVES, State
from asyncproc._core.value import replaced
from asyncproc.errors import SpecError, StateError

if TYPE_CHECKING:
    from asyncproc._core.supervision.action import Action
    from asyncproc._core.supervision.event import Event
    from asyncproc._core.supervision.view import NodeView

T = TypeVar("T")
RUNGS = list(Rung)
LEGAL = {(before, after) for before, afters in MOVES.items() for after in afters}
REACHED: set[tuple[State, State]] = set()

OPTIONS = {
    "grace": st.sampled_from([5.0, 0.0, 0.4, None]),
    "timeout": st.sampled_from([None, None, 3.0]),
    "continues": st.booleans(),
    "restart": st.sampled_from([*Restart, Restart.TEMPORARY, Restart.TRANSIENT, Restart.PERMANENT]),
    "backoff": st.sampled_from([None, Backoff(1.0, 4.0, stable_after=3.0)]),
    "essential": st.sampled_from([False, False, False, True]),
    "intensity": st.sampled_from([0, 1, 3]),
    "overlap": st.sampled_from([*[None] * 20, *Overlap]),
    "at_once": st.booleans(),
    "resources": st.sampled_from([(), (), (), (("slot", 1),), (("slot", 0.5),), (("slot", 2), ("gallon", 1.0))]),
}
CAPACITY: dict[str, float] = {"slot": 2, "gallon": 1.5}
SUPERVISION = {
    "strategy": st.sampled_from(Strategy),
    "at_limit": st.sampled_from(AtLimit),
    "auto_shutdown": st.sampled_from(AutoShutdown),
    "limit": st.sampled_from([None, 1, 2]),
    "period": st.sampled_from([5.0, 1000.0]),
}
LEAVES = st.builds(
    Plan,
    st.just(""),
    ladder=st.sampled_from(Ladder),
    start_timeout=st.sampled_from([2.0, None]),
    join_in=st.sampled_from([None, None, 1.5]),
    held=st.sampled_from([False, False, True]),
    **OPTIONS,
)


def named(plan: Plan, name: str, needs: tuple[str, ...] = ()) -> Plan:
    """With names, and below supervisors with needs: of about half of those, some earlier siblings."""
    dag = plan.kind is Kind.SUPERVISOR and bool(plan.limit)
    members: list[Plan] = []
    for number, member in enumerate(plan.members):
        wanted = tuple(each.name for each in members if dag and (len(each.members) + number) % 2)
        if plan.kind is Kind.SEQUENTIAL:
            member = replaced(member, overlap=None)  # those after it would never begin
        # Below one that holds resources nobody can have others.
        below = without_resources(member) if plan.resources else member
        members.append(named(below, f"{name}{number}", wanted))
    return replaced(plan, name=name, members=tuple(members), needs=needs)


def without_resources(plan: Plan) -> Plan:
    return replaced(plan, resources=(), members=tuple(map(without_resources, plan.members)))


@st.composite
def groups(draw: st.DrawFn, below: st.SearchStrategy[Plan]) -> Plan:
    kind = draw(st.sampled_from([Kind.SEQUENTIAL, Kind.CONCURRENT, Kind.SUPERVISOR, Kind.SUPERVISOR]))
    own = {"limit": st.sampled_from([None, 1, 2])} if kind is Kind.CONCURRENT else {}
    if kind is Kind.SUPERVISOR:
        own = {**SUPERVISION, "continues": st.just(True)}
    members = tuple(draw(st.lists(below, max_size=3)))
    return Plan("", kind, members, **{name: draw(options) for name, options in {**OPTIONS, **own}.items()})


PLANS = LEAVES | groups(LEAVES | groups(LEAVES | groups(LEAVES)))
ASKED = (Reason.STOPPED, Reason.TIMED_OUT, Reason.UNHEALTHY, Reason.OUT_OF_MEMORY)
PICK = st.integers(0, 2**16)
ENDS = st.sampled_from(
    [
        (Reason.FINISHED, None, None),
        (Reason.FINISHED, None, None),
        (Reason.CRASHED, ValueError("boom"), None),
        (Reason.CRASHED, KeyboardInterrupt(), None),
        (Reason.CRASHED, None, SIGTERM),
        (Reason.CRASHED, None, SIGKILL),
        (Reason.CRASHED, OSError(11, "nothing left"), None),
        (Reason.LOST, None, None),
    ]
)


@dataclass
class Child:
    """One incarnation, as the world has it."""

    node: NodeId
    incarnation: int
    spawned: bool = False
    asked: bool = False
    abandoned: bool = False
    paused: bool = False
    rung: int = -1


class World(RuleBasedStateMachine):
    """The world, and what it has seen of the machine."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = TreeMachine(CAPACITY)
        self.now = 0.0
        self.count = 0
        self.broken = False
        self.journal: list[tuple[float, Event, list[Action]]] = []
        self.children: dict[NodeId, Child] = {}
        self.incarnations: dict[NodeId, int] = {}
        self.states: dict[NodeId, State] = {}
        self.exits_seen: dict[NodeId, Exit] = {}  # by moves: one event may end a round and begin, even end, the next
        self.timers: list[Wait] = []
        self.said: list[Event] = []  # by children and timers, to be said again
        self.owed: set[NodeId] = set()  # whose Finish must still come
        self.barred: set[NodeId] = set()  # stopped: they must not start before they are asked to run again
        self.alone: set[NodeId] = set()  # asked to run on their own, not with their group
        self.endless: set[NodeId] = set()  # asked to run without end
        self.once: set[NodeId] = set()  # in a run of one round: their end is for good
        self.anew: set[NodeId] = set()  # asked to be restarted with what is around them
        self.joined: set[NodeId] = set()  # members that their supervisors did not plan
        self.undecided: list[Judge] = []
        self.failures: dict[NodeId, list[float]] = {}  # by supervisor: when those were that a restart followed
        self.up: set[NodeId] = set()  # ready, as it was told
        self.fell: dict[NodeId, float] = {}  # when it came to its last rest
        self.times: dict[NodeId, AwaitDue] = {}  # the due time that each node has asked for last, and was not told of

    # What happens.

    @initialize(plan=groups(LEAVES | groups(LEAVES | groups(LEAVES))))
    def begins(self, plan: Plan) -> None:
        self.add(None, named(plan, "r"))

    @rule(pick=PICK, plan=PLANS)
    @precondition(lambda self: self.count < 40)
    def is_added(self, pick: int, plan: Plan) -> None:
        self.add(self.pick(self.nodes(), pick).id, named(plan, f"g{self.count}"))

    @rule(pick=PICK, plan=LEAVES | groups(LEAVES))
    @precondition(lambda self: self.count < 40 and self.supervisors())
    def joins(self, pick: int, plan: Plan) -> None:
        supervisor = self.pick(self.supervisors(), pick)
        id = NodeId(self.count)
        self.add(supervisor.id, named(plan, f"j{id}."), joins=True)
        self.run(self.machine.node(id), 1, True)

    @rule(pick=PICK)
    def is_asked_to_restart(self, pick: int) -> None:
        node = self.pick(self.nodes(), pick)
        event = RestartAsked(node.id, "world")
        if any(above.ending for above in self.line_up(node.parent)):
            self.refuses(event)
            return
        if node.state in LIVE | {State.BACKOFF, State.WAITING}:
            if node.id in self.barred:  # otherwise those that somebody stopped in it stay as they are
                self.barred -= {each.id for each in self.planned(node)}
            self.anew |= {each.id for each in self.planned(node)}
            self.tell(event)
        elif all(each.idle for each in self.planned(node)):
            self.asks_to_run(node, event)

    @rule(pick=PICK, running=st.booleans())
    def is_paused(self, pick: int, running: bool) -> None:
        node = self.pick([each for each in self.nodes() if each.state is State.RUNNING and running] or self.nodes(), pick)
        task = node.plan.kind is Kind.LEAF and node.plan.ladder is Ladder.TASK
        if node.state not in (State.RUNNING, State.PAUSED) or task:
            self.refuses(PauseAsked(node.id))
        else:
            self.tell(PauseAsked(node.id))

    @rule(pick=PICK)
    def is_resumed(self, pick: int) -> None:
        node = self.pick([each for each in self.nodes() if each.state is State.PAUSED] or self.nodes(), pick)
        self.tell(ResumeAsked(node.id))
        assert all(each.state is not State.PAUSED for each in self.planned(node))

    @rule(pick=PICK, limit=st.sampled_from([None, 1, 2]))
    def limit_is_set(self, pick: int, limit: int | None) -> None:
        node = self.pick(self.nodes(), pick)
        if node.plan.kind in (Kind.CONCURRENT, Kind.SUPERVISOR):
            self.tell(LimitSet(node.id, limit))
        else:
            self.refuses(LimitSet(node.id, limit))

    @rule(pick=PICK, again=st.booleans())
    @precondition(lambda self: self.undecided)
    def is_judged(self, pick: int, again: bool) -> None:
        judge = self.undecided.pop(pick % len(self.undecided))
        self.say(Judged(judge.node, judge.incarnation, again))

    @rule(pick=PICK)
    @precondition(lambda self: self.times)
    def falls_due(self, pick: int) -> None:
        time = self.times.pop(self.pick(list(self.times), pick))
        if time.node not in self.machine:
            return
        node = self.machine.node(time.node)
        rested, was = node.asleep, node.state
        self.say(Due(time.node, time.ticket))
        if rested:
            assert not node.asleep or node.incarnation == self.incarnations.get(node.id, node.incarnation)
        if was is State.STOPPING:
            assert node.state is State.STOPPING, "a due time does not hurry an end"

    @rule(pick=PICK, rounds=st.sampled_from([1, 1, 2, 3, None, 0, -1]), binding=st.sampled_from([True, True, False]))
    def is_asked_to_run(self, pick: int, rounds: int | None, binding: bool) -> None:
        self.run(self.pick(self.nodes(), pick), rounds, binding)

    @rule(rounds=st.sampled_from([1, 2, 3, None]), binding=st.booleans())
    def root_is_asked_to_run(self, rounds: int | None, binding: bool) -> None:
        self.run(self.nodes()[0], rounds, binding)

    @rule(pick=PICK)
    @precondition(lambda self: self.children)
    def is_spawned(self, pick: int) -> None:
        child = self.pick(list(self.children.values()), pick)
        child.spawned = True
        self.say(Spawned(child.node, child.incarnation, 1000 + child.node))

    @rule(pick=PICK)
    @precondition(lambda self: self.children)
    def is_ready(self, pick: int) -> None:
        child = self.pick(list(self.children.values()), pick)
        if child.spawned:
            self.say(Readied(child.node, child.incarnation))

    @rule(pick=PICK)
    @precondition(lambda self: self.children)
    def is_not_ready_now(self, pick: int) -> None:
        child = self.pick(list(self.children.values()), pick)
        if child.spawned:
            state, ready = self.states[child.node], self.machine.node(child.node).ready
            if state is State.RUNNING:
                self.up.discard(child.node)
            actions = self.tell(Unreadied(child.node, child.incarnation))
            # Who needs it lets others have what it waited for.
            assert all(action.node != child.node and not isinstance(action, Stop | Abandon) for action in actions)
            assert self.states[child.node] is state
            assert self.machine.node(child.node).ready == (ready and state is not State.RUNNING)

    @rule()
    @precondition(lambda self: self.children)
    def all_become_ready(self) -> None:
        """A quiet time, so that what runs is tried often enough, and not only what starts."""
        for _ in range(20):
            starting = [child for child in self.children.values() if self.states[child.node] is State.STARTING]
            for child in starting:
                if self.children.get(child.node) is child:
                    child.spawned = True
                    self.say(Spawned(child.node, child.incarnation, 1000 + child.node))
                    self.say(Readied(child.node, child.incarnation))
            if not starting:
                break

    @rule(pick=PICK)
    @precondition(lambda self: self.children)
    def is_released(self, pick: int) -> None:
        child = self.pick(list(self.children.values()), pick)
        if child.spawned and self.machine.node(child.node).plan.held:
            self.say(Released(child.node, child.incarnation))

    @rule(pick=PICK, end=ENDS)
    @precondition(lambda self: self.pausable())
    def exits_while_it_is_paused(self, pick: int, end: tuple[Reason, BaseException | None, object]) -> None:
        child = self.pick(self.pausable(), pick)
        self.tell(PauseAsked(child.node))
        self.exit(child, *end)

    @rule(pick=PICK)
    @precondition(lambda self: any(child.asked for child in self.children.values()))
    def acknowledges(self, pick: int) -> None:
        child = self.pick([child for child in self.children.values() if child.asked], pick)
        self.say(Acknowledged(child.node, child.incarnation))

    @rule(pick=PICK, reason=st.sampled_from([Reason.UNHEALTHY, Reason.OUT_OF_MEMORY]))
    @precondition(lambda self: self.children)
    def is_condemned(self, pick: int, reason: Reason) -> None:
        child = self.pick(list(self.children.values()), pick)
        self.say(Condemned(child.node, child.incarnation, reason, "found amiss"))

    @rule(pick=PICK, end=ENDS)
    @precondition(lambda self: self.children)
    def exits(self, pick: int, end: tuple[Reason, BaseException | None, object]) -> None:
        self.exit(self.pick(list(self.children.values()), pick), *end)

    @rule(pick=PICK)
    @precondition(lambda self: self.timers)
    def timer_fires_whenever_it_likes(self, pick: int) -> None:
        self.fire(self.pick(self.timers, pick))

    @rule()
    @precondition(lambda self: self.timers)
    def next_timer_fires(self) -> None:
        wait = min(self.timers, key=lambda wait: wait.at)
        self.now = max(self.now, wait.at)
        self.fire(wait)

    @rule(seconds=st.sampled_from([0.1, 0.5, 1.0, 10.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(pick=PICK, grace=st.sampled_from([OWN, OWN, 0.0, 1.0, 5.0, None]))
    def is_asked_to_stop(self, pick: int, grace: float | None) -> None:
        self.stop(StopAsked(self.pick(self.nodes(), pick).id, grace, "world"))

    @rule(pick=PICK)
    def is_killed(self, pick: int) -> None:
        self.stop(KillAsked(self.pick(self.nodes(), pick).id, "world"))

    @rule(pick=PICK)
    @precondition(lambda self: self.said)
    def is_said_again(self, pick: int) -> None:
        event = self.pick(self.said, pick)
        if isinstance(event, Due):
            assert self.tell(event) == [], "each due time is told once"
            return
        child = self.children.get(event.node)
        stale = child is None or child.incarnation != event.incarnation  # type: ignore[union-attr]  # all that is said has one
        actions = self.tell(event) if stale or isinstance(event, TimerFired) else []
        if stale and not isinstance(event, TimerFired | Judged):
            assert actions == []

    @rule(pick=PICK)
    def is_to_be_forgotten(self, pick: int) -> None:
        node = self.pick(self.nodes()[1:] or self.nodes(), pick)
        below = list(self.machine.subtree(node.id))
        if node.parent is None:
            return
        ends_are_theirs = takewhile(lambda group: group.plan.kind is not Kind.SUPERVISOR, self.groups(node))
        if not all(each.finished for each in below) or any(group.state in LIVE for group in ends_are_theirs):
            self.refuses(Forgotten(node.id))
            return
        gone = {each.id for each in below}
        self.tell(Forgotten(node.id))
        assert not any(id in self.machine for id in gone)
        assert self.tell(StopAsked(node.id, OWN, "nobody")) == []

    @rule()
    @precondition(lambda self: not self.endless)
    def all_ends_well(self) -> None:
        """A world in which all goes well brings every run to its end, unless it has none."""
        if any(_goes_on(node) for node in self.nodes()):
            return
        for _ in range(1000):
            if not self.children:
                break
            self.exit(next(iter(self.children.values())), Reason.FINISHED, None, None)
        # What was ended as unwell has failed, however it went, and may rest now.
        empty = [node for node in self.supervisors() if node.state is State.RUNNING and not node.busy]  # they wait for members
        assert not self.owed or empty or any(_goes_on(node) for node in self.nodes())

    def teardown(self) -> None:
        """A world that answers nothing must still come to its end: the ladder ends in giving up."""
        if self.machine.root is None or self.broken:
            return
        self.stop(StopAsked(self.machine.root, 1.0, "teardown"))
        for child in list(self.children.values()):
            if not child.spawned:
                child.spawned = True
                self.say(Spawned(child.node, child.incarnation, None))
        for _ in range(1000):
            if not self.children:
                break
            given_up = [child for child in self.children.values() if child.abandoned]
            if given_up:
                self.exit(given_up[0], Reason.LOST, None, None)
            else:
                assert self.timers, [f"{child} {self.told_of(child.node)}" for child in self.children.values()]
                self.next_timer_fires()
        assert not self.children
        assert not self.owed
        assert all(node.state is State.ENDED and node.finished for node in self.nodes())
        self.replay()

    def replay(self) -> None:
        again = TreeMachine(CAPACITY)
        for now, event, actions in self.journal:
            time, same = journal.from_record(journal.to_record(now, event))
            assert [journal.encode(action) for action in again.handle(same, time)] == [
                journal.encode(action) for action in actions
            ]

    # How it is told.

    def pick(self, choices: list[T], number: int) -> T:
        return choices[number % len(choices)]

    def nodes(self) -> list[NodeView]:
        assert self.machine.root is not None
        return list(self.machine.subtree(self.machine.root))

    def planned(self, node: NodeView) -> list[NodeView]:
        """It and all below it by its plan."""
        members = [self.machine.node(id) for id in node.children if self.belongs(id, node)]
        return [node, *(below for member in members for below in self.planned(member))]

    def groups(self, node: NodeView) -> list[NodeView]:
        """Those above it in whose plans it is."""
        above: list[NodeView] = []
        while node.parent is not None and self.belongs(node.id, self.machine.node(node.parent)):
            node = self.machine.node(node.parent)
            above.append(node)
        return above

    def members(self, node: NodeView) -> list[NodeView]:
        """The members that run with it."""
        return [self.machine.node(id) for id in node.children if self.belongs(id, node) and id not in self.alone]

    def line_up(self, id: NodeId | None) -> list[NodeView]:
        """A node and all above it."""
        nodes = []
        while id is not None:
            nodes.append(self.machine.node(id))
            id = nodes[-1].parent
        return nodes

    def told_of(self, id: NodeId) -> str:
        """A node and what is above it, for people."""
        node = self.machine.node(id)
        above = "" if node.parent is None else f" below {self.told_of(node.parent)}"
        return f"{node.name} ({node.plan.kind.value}, {node.state.value}, since {node.since}){above}"

    def belongs(self, id: NodeId, group: NodeView) -> bool:
        """Whether this child is a member."""
        return id in self.joined or id < group.id + group.plan.size

    def supervisors(self) -> list[NodeView]:
        return [node for node in self.nodes() if node.plan.kind is Kind.SUPERVISOR]

    def comes_back(self, node: NodeView) -> bool:
        """Whether it may start again with somebody else."""
        above = self.groups(node)
        if node.id in self.anew:
            return True
        beside = bool(above) and above[0].plan.kind is Kind.SUPERVISOR and above[0].plan.strategy is not Strategy.ONE_FOR_ONE
        return (
            beside
            or any(group.plan.restart is not Restart.TEMPORARY or group.plan.overlap is not None for group in above)
            or node.plan.restart is not Restart.TEMPORARY
            or node.plan.overlap is not None
        )

    def add(self, parent: NodeId | None, plan: Plan, *, joins: bool = False) -> None:
        id = NodeId(self.count)
        self.count += plan.size
        if joins:
            self.joined.add(id)
        if parent is not None and any(node.plan.resources for node in self.line_up(parent)):
            plan = without_resources(plan)
        self.tell(Added(id, parent, plan, joins))
        assert [view.id for view in self.machine.subtree(id)] == list(range(id, id + plan.size))
        assert len(self.machine) == len(self.nodes())

    def run(self, node: NodeView, rounds: int | None, binding: bool) -> None:
        event = RunAsked(node.id, rounds, binding)
        part = self.planned(node)
        makes_sense = (rounds is None or rounds >= 0) and (binding or node.plan.kind is Kind.CONCURRENT)
        idle = all(each.state is State.CREATED or each.finished for each in part)
        if not makes_sense or not idle or any(above.ending for above in self.line_up(node.parent)):
            self.refuses(event)
            return
        if self.takes_part(node) and (rounds != 1 or not binding):
            self.refuses(event)
            return
        self.asks_to_run(node, event)

    def pausable(self) -> list[Child]:
        nodes = [self.machine.node(id) for id in self.children]
        wanted = (State.RUNNING, State.PAUSED)
        return [self.children[node.id] for node in nodes if node.state in wanted and node.plan.ladder is not Ladder.TASK]

    def takes_part(self, node: NodeView) -> bool:
        """Whether it would run as a member of a supervisor that runs."""
        above = self.groups(node)
        return bool(above) and above[0].plan.kind is Kind.SUPERVISOR and above[0].state in LIVE

    def asks_to_run(self, node: NodeView, event: RunAsked | RestartAsked) -> None:
        rounds = event.rounds if isinstance(event, RunAsked) else 1
        ids = {each.id for each in self.planned(node)}
        assert not ids & self.owed
        self.owed |= ids
        self.barred -= ids
        self.alone -= ids
        if not self.takes_part(node):
            self.alone.add(node.id)
        ends = rounds == 1 and (not self.takes_part(node) or node.parent in self.once)
        self.once = self.once | ids if ends else self.once - ids
        if rounds is None:
            self.endless.add(node.id)
        self.tell(event)

    def refuses(self, event: Event) -> None:
        before = [(view.id, view.state, view.exit, view.finished) for view in self.nodes()]
        try:
            self.machine.handle(event, self.now)
        except (StateError, SpecError):
            assert before == [(view.id, view.state, view.exit, view.finished) for view in self.nodes()]
        else:
            raise AssertionError(f"{event} was not refused")

    def stop(self, event: StopAsked | KillAsked) -> None:
        below = list(self.machine.subtree(event.node))
        self.barred |= {each.id for each in below}
        self.endless -= {each.id for each in below}
        self.tell(event)
        left = [each.id for each in below if each.id in self.machine and each.state in (State.CREATED, State.WAITING)]
        assert not left, [self.told_of(id) for id in left]

    def exit(self, child: Child, reason: Reason, error: BaseException | None, signal: object) -> None:
        del self.children[child.node]
        killed = child.abandoned
        raw = Exit("?", child.incarnation, reason, error=error, signal=signal, killed=killed)  # type: ignore[arg-type]  # ENDS
        was = self.machine.node(child.node).state
        self.say(Exited(child.node, child.incarnation, raw))
        exit = next(a.exit for a in self.journal[-1][2] if isinstance(a, Move) and a.node == child.node and a.exit)
        assert exit.incarnation == child.incarnation
        if was is State.STOPPING:
            own = reason is Reason.CRASHED and isinstance(error, Exception)
            assert exit.reason in (*ASKED, *([Reason.CRASHED] if own else []))
        else:
            assert exit.reason is reason
        assert exit.killed == (killed or (child.rung == RUNGS.index(Rung.KILL) and signal is SIGKILL))

    def fire(self, wait: Wait) -> None:
        self.timers.remove(wait)
        self.say(TimerFired(wait.node, wait.incarnation, wait.timer, wait.serial))

    def say(self, event: Event) -> None:
        self.said.append(event)
        self.tell(event)

    def tell(self, event: Event) -> list[Action]:
        self.event = event
        self.broken = True  # until it is seen not to be: what has broken is not torn down, which would hide it
        actions = self.machine.handle(event, self.now)
        self.journal.append((self.now, event, actions))
        for action in actions:
            self.check(action)
        self.check_tree()
        self.broken = False
        return actions

    # What must hold.

    def check(self, action: Action) -> None:
        match action:
            case Move():
                self.check_move(action)
            case Start():
                assert action.node not in self.children, "one live incarnation per node"
                assert action.node not in self.barred, "nothing starts after a stop"
                assert action.node in self.owed, "nothing starts after its Finish"
                assert action.incarnation == self.incarnations.get(action.node, 0) + 1
                self.incarnations[action.node] = action.incarnation
                self.children[action.node] = Child(action.node, action.incarnation)
            case Stop():
                child = self.children[action.node]
                assert child.spawned and not child.abandoned and not child.paused
                assert child.incarnation == action.incarnation
                assert child.rung < RUNGS.index(action.rung), "each rung once, upwards"
                child.rung, child.asked = RUNGS.index(action.rung), True
            case Pause():
                child = self.children[action.node]
                assert child.spawned and child.incarnation == action.incarnation and not child.paused
                child.paused = True
            case Resume():
                assert self.children[action.node].paused
                self.children[action.node].paused = False
            case Abandon():
                assert not self.children[action.node].abandoned
                self.children[action.node].abandoned = True
            case AwaitDue():
                assert self.machine.node(action.node).plan.overlap is not None
                self.times[action.node] = action
            case Judge():
                assert self.states[action.node] is State.BACKOFF
                self.undecided.append(action)
            case Wait():
                assert action.at >= self.now or action.timer is Timer.RUNG
                self.timers.append(action)
            case Ready():
                assert self.states[action.node] in (State.RUNNING, State.PAUSED)
                self.up.add(action.node)
            case Finish():
                assert action.node in self.owed, "finished exactly once per run"
                assert self.states[action.node] is State.ENDED
                assert self.exits_seen[action.node] == action.exit
                self.owed.remove(action.node)
                self.endless.discard(action.node)

    def check_move(self, move: Move) -> None:
        assert move.before is self.states.get(move.node, State.CREATED)
        assert move.after in MOVES[move.before]
        REACHED.add((move.before, move.after))
        self.states[move.node] = move.after
        if move.after in (State.WAITING, State.STARTING) and move.node not in self.owed:
            assert self.comes_back(self.machine.node(move.node)), "nothing comes back that was not to"
            self.owed.add(move.node)
        if (move.before, move.after) == (State.CREATED, State.ENDED):
            self.owed.add(move.node)  # it is stopped before anybody has asked it to run: that too is said once
        node = self.machine.node(move.node)
        assert (move.exit is not None) == (move.after in (State.ENDED, State.BACKOFF))
        if move.exit is not None:
            self.exits_seen[move.node] = move.exit
            self.up.discard(move.node)
        if move.after is State.BACKOFF:
            self.fell[move.node] = self.now
        if move.after is State.STARTING:
            self.check_turn(node)
            self.failures[move.node] = []
        if move.before is State.BACKOFF and move.after is not State.ENDED:
            self.check_intensity(node)
        if move.after is State.STOPPING:
            self.check_stop_order(node)
        if move.exit is not None and node.plan.kind is not Kind.LEAF:
            self.check_group_end(node, move.exit)

    def check_turn(self, node: NodeView) -> None:
        """Nobody starts in a group that ends; in a sequence, all before it have ended."""
        if node.parent is None or node.id in self.alone:
            return
        group = self.machine.node(node.parent)
        assert self.states[group.id] in (State.STARTING, State.RUNNING, State.PAUSED)
        if group.plan.kind is Kind.SEQUENTIAL:
            assert all(self.states[member.id] is State.ENDED for member in self.members(group) if member.id < node.id)
        if group.plan.kind is Kind.SUPERVISOR:
            needed = [member for member in self.members(group) if member.name in node.plan.needs]
            # One that rests, which counts as up, may have been ended or started in the same event.
            rest = {member.id for member in needed if member.plan.overlap is not None}
            up = [
                member.id in self.up
                or self.states[member.id] is State.ENDED
                or (member.id in rest and self.states[member.id] is State.WAITING)
                for member in needed
            ]
            assert all(up), "what it needs is up"

    def check_intensity(self, node: NodeView) -> None:
        """An end that was a failure is followed by a start: within the supervisor's limit."""
        if node.parent is None or node.id in self.alone or not self.exits_seen[node.id].failed:
            return
        group = self.machine.node(node.parent)
        if group.plan.kind is not Kind.SUPERVISOR or group.plan.at_limit is AtLimit.PAUSE or group.plan.intensity is None:
            return
        if isinstance(self.event, RestartAsked | Due):
            return  # it may not have been counted yet; and its schedule starts it whatever it was
        stamps = self.failures.setdefault(group.id, [])
        stamps.append(self.fell[node.id])
        within = [stamp for stamp in stamps if stamp > self.now - group.plan.period]
        assert len(within) <= group.plan.intensity

    def check_stop_order(self, node: NodeView) -> None:
        """In a chain that ends, nobody ends before those after it have."""
        if node.parent is None or node.id in self.alone or node.id in self.joined:
            return
        group = self.machine.node(node.parent)
        chained = group.plan.kind is Kind.SUPERVISOR and not any(member.needs for member in group.plan.members)
        if not chained or self.states[group.id] is not State.STOPPING:
            return
        if isinstance(self.event, KillAsked) or getattr(self.event, "grace", None) == 0 or self.event.node == node.id:
            return
        later = [member for member in self.members(group) if member.id > node.id]
        assert not any(self.states.get(member.id) in LIVE for member in later) or self.event.node in {
            e.id for e in self.planned(node)
        }

    def check_group_end(self, group: NodeView, exit: Exit) -> None:
        members = self.members(group)
        members = [member for member in members if member.id in self.states]  # one may have come too late
        assert all(self.states[member.id] is State.ENDED for member in members), "a group ends after its members"
        failed = [member for member in members if self.exits_seen[member.id].failed]
        if exit.reason is Reason.FINISHED and exit.incarnation:
            # One that was stopped in an earlier round keeps the exit that it had.
            assert group.plan.continues or all(member.id in self.barred or member.out for member in failed)
        if exit.reason is Reason.CRASHED:
            assert failed or exit.error or group.culprit not in self.machine
            # Of one that has begun again since, in the same event, it is not told any more.
            assert not group.plan.continues or group.culprit is not None or group.state is not State.ENDED or group.exit != exit

    def check_tree(self) -> None:
        self.check_resources()
        for node in self.nodes():
            assert node.state is self.states.get(node.id, State.CREATED)
            if node.plan.kind is Kind.CONCURRENT and node.plan.limit is not None:
                live = [id for id in node.children if self.machine.node(id).state in LIVE | {State.BACKOFF}]
                assert node.limit is None or node.busy >= len(live)
                below = [self.machine.node(id) for id in node.children]
                waiting = [child.id for child in below if child.state is State.WAITING and not child.asleep]
                waiting = [id for id in waiting if not self.machine.missed_by(id)]
                # Who waits for resources is past the gate.
                inside = len(live) + sum(bool(self.machine.missed_by(id)) for id in node.children)
                full = node.limit is not None and inside >= node.limit
                assert not waiting or full or node.state not in LIVE, "nobody waits in vain"
            if node.plan.kind is Kind.SEQUENTIAL:
                assert sum(member.state in LIVE for member in self.members(node)) <= 1
            if node.plan.kind is Kind.SUPERVISOR and node.state in (State.STARTING, State.RUNNING, State.PAUSED):
                self.check_line(node)
            if node.plan.kind is Kind.LEAF:
                assert (node.state in LIVE) == (node.id in self.children)
            if node.finished:
                assert node.state is State.ENDED
            if node.asleep:
                assert node.state is State.WAITING
            if node.asleep or (node.plan.overlap is not None and node.state in LIVE):
                assert node.id in self.times, "its next due time will be told"
            if node.state is State.ENDED and node.id in self.once | self.barred and not self.comes_back(node):
                assert node.finished, "nobody waits for more than there is to come"

    def check_resources(self) -> None:
        """Nobody holds more than there is, and the first who waits waits for what is held."""
        held = dict.fromkeys(CAPACITY, 0.0)
        waits = False
        for node in self.nodes():
            waits = waits or (bool(self.machine.missed_by(node.id)) and self.is_its_turn(node))
            for name, amount in node.plan.resources if node.state in LIVE else ():
                held[name] += amount
        assert all(held[name] <= CAPACITY[name] + 1e-6 for name in held)
        assert not waits or any(held.values()), "nobody waits in vain"

    def is_its_turn(self, node: NodeView) -> bool:
        """Not while others of its supervisor end, rest or are not up that it starts with or needs."""
        above = self.groups(node)[:1]
        if not above or above[0].plan.kind is not Kind.SUPERVISOR:
            return True
        others = (member for member in self.members(above[0]) if member.id != node.id)
        done = State.ENDED
        return all(
            (other.ready if other.state is State.RUNNING else other.state is done and not other.spent) for other in others
        )

    def check_line(self, supervisor: NodeView) -> None:
        """Who waits there waits for somebody that is on its way, for a slot, or for one that cannot do its work."""
        members = self.members(supervisor)
        begun = (State.STARTING, State.STOPPING, State.BACKOFF)
        below = [self.machine.node(id) for id in supervisor.children]
        # What runs by itself may be needed, and has to end first.
        on_their_way = any(child.state in begun or self.machine.missed_by(child.id) for child in below)
        stuck = (State.RUNNING, State.PAUSED)
        given_up = any(child.spent or (child.state in stuck and not child.ready) for child in below)
        for member in members:
            slot = member.id in self.joined and supervisor.limit is not None and supervisor.busy >= supervisor.limit
            slot = slot or bool(self.machine.missed_by(member.id))
            waits = member.state is State.WAITING and not member.asleep
            in_vain = waits and not (on_their_way or given_up or slot)
            assert not in_vain, [self.told_of(each.id) for each in members]


def _goes_on(node: NodeView) -> bool:
    """Whether it has no end of its own, or rests."""
    alone = node.plan.kind is Kind.SUPERVISOR and (
        not (node.plan.members and node.children) or node.plan.at_limit is AtLimit.STAY
    )
    rests = node.state is State.BACKOFF or node.plan.overlap is not None
    return alone or rests or node.plan.restart in (Restart.PERMANENT, Restart.JUDGED)
