"""The driver: one mailbox and one loop. Take an event, ask the machine, publish what moved, perform the wishes.

It lives on the manager's loop and never waits: what takes time is begun, and ends in an event. So a stop, a start and a failure
never wait for each other. Results and handles live here; the rules live in :mod:`asyncproc._core.supervision`.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Callable, Mapping
from math import inf
from typing import TYPE_CHECKING, Any, assert_never

from asyncproc._core import options as kinds
from asyncproc._core.supervision.action import (
    Abandon,
    Action,
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
    Added,
    Event,
    Forgotten,
    Judged,
    KillAsked,
    LimitSet,
    NodeId,
    PauseAsked,
    RestartAsked,
    ResumeAsked,
    RunAsked,
    Timer,
    TimerFired,
)
from asyncproc._core.supervision.machine import TreeMachine
from asyncproc._core.supervision.record import LIVE
from asyncproc._core.supervision.restart import limit_error
from asyncproc._core.supervision.state import State
from asyncproc._core.transition import Transition
from asyncproc._ipc.frame import GATES
from asyncproc._spec.group import members_of
from asyncproc._supervision.chores import Chores
from asyncproc._supervision.crash_log import CrashLog, clean_up_failure
from asyncproc._supervision.gate import Gates, Hold
from asyncproc._supervision.place import Incarnation, Place
from asyncproc._supervision.planning import plan_of
from asyncproc.abc import Order
from asyncproc.errors import StateError

if TYPE_CHECKING:
    from asyncproc._core.backoff import Backoff
    from asyncproc._core.exit import Exit
    from asyncproc._core.supervision.action import Slots
    from asyncproc._core.supervision.plan import Plan
    from asyncproc._spec.base import Spec
    from asyncproc._supervision.heartbeat import Heartbeats
    from asyncproc._supervision.memory import MemoryWatch
    from asyncproc._supervision.schedules import Schedules
    from asyncproc._supervision.watching import Watching
    from asyncproc.abc import Alarm, Clock, Engine, Service, Subscriber
    from asyncproc.errors import RestartLimitReached

log = logging.getLogger("asyncproc")

GIVEN_UP = 1000
"""How many of those that were given up are remembered, the latest."""
LAST_SECONDS = 0.5
"""Of the time that the owner of a tree has left, what it keeps for its own end; never more than a quarter."""


class Supervisor:
    """Runs one tree.

    Args:
        loop: the manager's loop.
        engine: what makes children.
        clock: where the time comes from.
        name: of the root.
        root: the spec of the root, when the manager's tree is a group; None: the root only holds what is started.
        grace: for nodes that do not say their own.
        resources: what nodes can hold, by name.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        engine: Engine,
        clock: Clock,
        name: str,
        root: Spec[Any],
        grace: float | None,
        resources: Mapping[str, float] | None = None,
    ) -> None:
        self.loop = loop
        self.engine = engine
        self.clock = clock
        self.grace = grace
        self.machine = TreeMachine(resources)
        self.places: dict[NodeId, Place] = {}
        self.by_path: dict[str, Place] = {}
        self.subscribers: list[Subscriber] = []
        self.services: dict[int, Service] = {GATES: Gates()}
        self.journal: Callable[[Event, float], None] | None = None
        self.on_close: list[Callable[[], None]] = []
        self.closing = False  # nothing new is started any more
        self.given_up: deque[RestartLimitReached] = deque(maxlen=GIVEN_UP)
        self._mailbox: deque[Event] = deque()
        self._wishes: deque[Action] = deque()
        self._working = False
        self._next_id = 0
        self._memory: MemoryWatch | None = None
        self._schedules: Schedules | None = None
        self._watching: Watching | None = None
        self.chores = Chores(loop)
        self._crashes = CrashLog(clock, name)
        self._end: Alarm | None = None
        self.owner_ends = inf
        self.deadline = inf  # when all of it is killed, because its owner is
        self.heartbeats: Heartbeats | None = None  # made for the first child that has one
        self.root = self._add(root, None, plan_of(root, name, grace), -1)

    # --- the mailbox ----------------------------------------------------------------------------------------------------

    def post(self, event: Event) -> None:
        """Take in a fact, now or after those that came before it."""
        self._mailbox.append(event)
        self._work()

    def demand(self, event: RunAsked | RestartAsked | PauseAsked | ResumeAsked | LimitSet | Added | Forgotten) -> None:
        """Take in what a caller wants, at once: what the machine refuses is raised here, and has changed nothing."""
        if self.closing and isinstance(event, Added | RunAsked | RestartAsked):
            raise StateError(f"manager {self.root.path!r} is being closed: nothing starts in it any more")
        self._handle(event)
        self._work()

    def _work(self) -> None:
        """Do what is wished, then take the next event: deeds keep the order of the machine's wishes, whatever they cause."""
        if self._working:
            return
        self._working = True
        try:
            while self._wishes or self._mailbox:
                if self._wishes:
                    self._perform(self._wishes.popleft())
                else:
                    self._handle(self._mailbox.popleft())
        finally:
            self._working = False

    def _handle(self, event: Event) -> None:
        now = self.clock.now()
        self._wishes += self.machine.handle(event, now)
        if self.journal is not None:
            self.journal(event, now)

    # --- the tree -------------------------------------------------------------------------------------------------------

    def add(self, spec: Spec[Any], parent: Place, name: str, held: bool = False, *, joins: bool = False) -> Place:
        """Put a new subtree below *parent*.

        Args:
            held: it is a leaf whose phases wait for gates.
            joins: it becomes a member of *parent*, a supervisor, as if it had been planned.
        """
        level = 0 if parent is self.root and not joins else parent.level + 1
        grace = parent.view.plan.grace if joins else self.grace
        plan = plan_of(spec, name, grace, held=held, supervised=joins, **({"backoff": _backoff_below(parent)} if joins else {}))
        place = self._add(spec, parent, plan, level, joins=joins)
        if held:
            place.hold = Hold(self, place)
        if joins:
            place.joined = True
            place.member_of = parent
            parent.members.append(place)
        return place

    def _add(self, spec: Spec[Any], parent: Place | None, plan: Plan, level: int, *, joins: bool = False) -> Place:
        first = NodeId(self._next_id)
        self._next_id += plan.size
        self.demand(Added(first, None if parent is None else parent.id, plan, joins))
        inherited = _callbacks_below(parent) if joins else {}
        return self._settle_in(spec, first, parent, plan.name, max(level, 0), inherited)[0]

    def _settle_in(
        self, spec: Spec[Any], id: NodeId, parent: Place | None, name: str, level: int, inherited: dict[str, Any]
    ) -> tuple[Place, int]:
        """Make the places of a subtree, numbered in preorder as the machine numbers it."""
        path = name if parent is None else f"{parent.path}/{name}"
        place = Place(id, spec, path, level, self.machine.node(id), parent)
        callbacks = {word: spec._asyncproc.options[word] for word in _CALLBACKS if spec._asyncproc.options.get(word)}
        if spec._asyncproc.kind not in kinds.GROUPS:  # a group's are its members' defaults, and not its own
            place.callbacks = {**inherited, **callbacks} or None
        self.places[id] = place
        self.by_path[path] = place
        next_id = id + 1
        if spec._asyncproc.kind in kinds.GROUPS:
            handed_down = {**inherited, **callbacks}
            for member_name, member in members_of(spec):
                member_place, next_id = self._settle_in(member, NodeId(next_id), place, member_name, level + 1, handed_down)
                member_place.member_of = place
                place.members.append(member_place)
        return place, next_id

    def forget(self, place: Place) -> None:
        """Drop an ended subtree.

        Raises:
            StateError: it has not ended for good, or its group's end is made of its own; nothing was changed.
        """
        ids = [view.id for view in self.machine.subtree(place.id)]
        self._handle(Forgotten(place.id))
        for id in ids:
            gone = self.places.pop(id)
            if self.by_path.get(gone.path) is gone:
                del self.by_path[gone.path]
        if place.member_of is not None:
            place.member_of.members.remove(place)
        self._work()
        if self._watching is not None:
            self._watching.refresh()

    # --- deeds ----------------------------------------------------------------------------------------------------------

    def _perform(self, action: Action) -> None:
        place = self.places.get(action.node)
        if place is None:  # the root while it is being made
            return
        match action:
            case Start():
                self._start(place, action)
            case Stop():
                if place.child is not None:
                    place.child.take_rung(action.rung)
                    if place.hold is not None and action.rung is not Rung.KILL:
                        place.hold.dismiss()  # after it was told to end: what it does now must not be one more loop
            case Pause():
                if place.child is not None:
                    place.child.pause()
            case Resume():
                if place.child is not None:
                    place.child.resume()
            case Abandon():
                if place.child is not None:
                    place.left = True
                    place.child.abandon()
            case Wait():
                self._wait(place, action)
            case AwaitDue():
                self._timetable().await_due(place, action.ticket)
            case Judge():
                self.post(Judged(action.node, action.incarnation, _judgement(place, action.exit)))
            case Move():
                self._move(place, action)
            case Ready():
                self._cancel_timer(place, Timer.START)
                self._begin_to_look(place)
                if place.health is not None:
                    place.health.ready()
                self.wake(place)
            case Finish():
                self._finish(place)
            case _:
                assert_never(action)

    def _start(self, place: Place, action: Start) -> None:
        self._call_back(place, "starting")
        place.result = None
        place.left = False
        place.report = None
        order = Order(place.path, action.incarnation, action.round, place.level, place.hold is not None)
        incarnation = Incarnation(self, place, action.incarnation)
        if _is_probed(place.spec):
            from asyncproc._supervision.health import Health

            place.health = incarnation.health = Health(self, incarnation, order)
        spec = place.spec if not action.slots else equipped(place.spec, action.slots)
        place.child = self.engine.start(spec, order, incarnation)
        place.begin_output()
        if place.mail is not None:
            place.mail.connect(place.child)
        if (limit := place.spec._asyncproc.options.get("max_memory")) is not None:
            self._memory_watch().add(place, action.incarnation, limit)

    def _memory_watch(self) -> MemoryWatch:
        """Made for the first child that has a limit."""
        if self._memory is None:
            from asyncproc._supervision.memory import MemoryWatch

            self._memory = MemoryWatch(self)
        return self._memory

    def _timetable(self) -> Schedules:
        """Made for the first node with a schedule."""
        if self._schedules is None:
            from asyncproc._supervision.schedules import Schedules

            self._schedules = Schedules(self, _drawn)
        return self._schedules

    def _look_at_files(self, place: Place, move: Move) -> None:
        """For as long as it takes: the first node that watches brings what that needs."""
        if place.spec._asyncproc.options.get("watch"):
            if self._watching is None:
                from asyncproc._supervision.watching import Watching

                self._watching = Watching(self)
            self._watching.moved(place)
        elif self._watching is not None and move.after is State.ENDED:
            self._watching.refresh()

    def _wait(self, place: Place, action: Wait) -> None:
        self._cancel_timer(place, action.timer)
        fired = TimerFired(action.node, action.incarnation, action.timer, action.serial)
        at = action.at if action.latest is None else _drawn(action.at, action.latest)
        if action.timer is Timer.BACKOFF:
            place.restart_at = at
            self.wake(place)
        place.timers[action.timer] = self.clock.call_at(at, self.post, fired)

    def _begin_to_look(self, place: Place) -> None:
        if place.child is None or (vitals := place.child.vitals) is None:
            return
        if self.heartbeats is None:
            from asyncproc._supervision.heartbeat import Heartbeats

            self.heartbeats = Heartbeats(self)
        self.heartbeats.begin(place, place.child, vitals)

    def _cancel_timer(self, place: Place, timer: Timer) -> None:
        pending = place.timers.pop(timer, None)
        if pending is not None:
            pending.cancel()

    def _move(self, place: Place, move: Move) -> None:
        place.restart_at = None if self._schedules is None else self._schedules.moved(place)
        if place.health is not None and (move.exit is not None or move.after is State.STOPPING):
            place.health.close()
        if move.exit is not None:
            place.cancel_timers()
            place.child = None
            if self._memory is not None:
                self._memory.remove(place)
            if place.mail is not None:
                place.mail.disconnect()
        if self.subscribers:
            transition = Transition(place.path, move.incarnation, move.before, move.after, move.time, move.exit)
            for subscriber in list(self.subscribers):
                subscriber(transition)
        if move.before is State.STARTING and move.after is State.RUNNING:
            self._call_back(place, "started")
        if move.after is State.ENDED and move.exit is not None and place.view.spent:
            self._give_up(place)
        if move.exit is not None and move.before in LIVE:
            self._call_back(place, "ended")
            self._crashes.note(place, move)
            if words := clean_up_failure(move.exit):
                log.error("%s; %s", move.exit.explain(), words)
        self._look_at_files(place, move)
        self.wake(place)
        if place.parent is not None:
            self.wake(place.parent)

    def _give_up(self, place: Place) -> None:
        error = limit_error(place.path, place.limits, place.view.spent)
        self.given_up.append(error)
        log.error("%s; it is given up", error)

    def _finish(self, place: Place) -> None:
        exit = place.view.exit
        if place.mail is not None and exit is not None:
            place.mail.end(exit)
        place.wake_readers()
        told = place.awaited or (place.starting and not place.view.ready)
        if exit is not None and exit.failed and not told and self._was_started(place):
            log.error("%s", exit.explain(), exc_info=exit.error)
        self.wake(place)

    def _was_started(self, place: Place) -> bool:
        """Whether somebody started it; what a plan's member fails by comes out of the run, or the crash log has told it."""
        return place.parent is not None and place.member_of is None

    # --- who waits ------------------------------------------------------------------------------------------------------

    def wake(self, place: Place) -> None:
        """Let everyone look again who waits for something of this node."""
        if place.waiting:
            place.waiting = [still_waits for still_waits in place.waiting if still_waits()]

    async def until(self, place: Place, condition: Callable[[], bool]) -> None:
        """Wait until *condition* holds; it is asked whenever the node has moved."""
        if condition():
            return
        future: asyncio.Future[None] = self.loop.create_future()

        def still_waits() -> bool:
            if future.done():
                return False
            if condition():
                future.set_result(None)
                return False
            return True

        place.waiting.append(still_waits)
        await future

    # --- a user's callbacks ---------------------------------------------------------------------------------------------

    def _call_back(self, place: Place, word: str) -> None:
        if place.callbacks is None or word not in place.callbacks:
            return
        from asyncproc._supervision.group import handle_of

        try:
            answer = place.callbacks[word](handle_of(self, place))
            if inspect.isawaitable(answer):
                self.chores.await_hook(answer, f"{word} callback of {place.path}")
        except (KeyboardInterrupt, SystemExit) as error:  # the host's business: it unwinds the loop, and not what we do here
            self.loop.call_soon(_raise, error)
        except BaseException:  # a CancelledError is not that of whoever has led to this
            log.exception("%s: its %s callback failed", place.path, word)

    def end_within(self, seconds: float) -> None:
        """Whoever owns this tree is killed in so many seconds: what still lives shortly before is killed by us, in order."""
        ends = self.clock.now() + seconds
        if ends < self.owner_ends:
            self.owner_ends = ends
            self.deadline = deadline = ends - min(LAST_SECONDS, seconds / 4)
            if self._end is not None:
                self._end.cancel()
            self._end = self.clock.call_at(deadline, self.post, KillAsked(self.root.id, "the end of its owner"))

    async def aclose(self) -> None:
        """End what looks and tells, and wait for what is under way."""
        self._crashes.close()
        if self._watching is not None:
            await self._watching.aclose()
        if self._end is not None:
            self._end.cancel()
        await self.chores.aclose()


def equipped(spec: Spec[Any], slots: Slots) -> Spec[Any]:
    """The same for a child that has been given resources: in its ``metadata``, gpus also where CUDA looks for them."""
    described = spec._asyncproc
    given = {name: list(numbers) or amount for name, amount, numbers in slots}
    changes: dict[str, Any] = {"metadata": {**described.options.get("metadata", {}), "resources": given}}
    gpus = next((numbers for name, _, numbers in slots if name == "gpu"), ())
    if gpus and described.kind in kinds.OS:
        visible = {"CUDA_VISIBLE_DEVICES": ",".join(map(str, gpus))}
        changes["env"] = {**visible, **described.options.get("env", {})}
    return spec.with_options(**changes)


def _is_probed(spec: Spec[Any]) -> bool:
    """Whether somebody has to be asked how it is; what says so itself needs nobody."""
    options = spec._asyncproc.options
    return options.get("ready") not in (None, "call", "notify") or options.get("alive") is not None


_CALLBACKS = ("starting", "started", "ended")


def _callbacks_below(parent: Place | None) -> dict[str, Any]:
    """The defaults that a group gives its members, its own and those of the groups around it."""
    found: dict[str, Any] = {}
    while parent is not None:
        options = parent.spec._asyncproc.options
        found = {**{word: options[word] for word in _CALLBACKS if options.get(word)}, **found}
        parent = parent.parent
    return found


def _backoff_below(parent: Place) -> Backoff | None:
    """As :func:`plan_of` hands it down."""
    found: Backoff | None = parent.spec._asyncproc.options.get("backoff", parent.view.plan.backoff)
    return found


def _drawn(low: float, high: float) -> float:
    # Not the common generator: hosts that seed it alike would restart all that they have at the same times.
    from random import SystemRandom

    return SystemRandom().uniform(low, high)


def _judgement(place: Place, exit: Exit) -> bool:
    try:
        return bool(place.spec._asyncproc.options["restart"](exit))
    except Exception:
        log.exception("%s: its restart predicate failed; a failure is followed by a restart", place.path)
        return exit.failed


def _raise(error: BaseException) -> None:
    raise error
