"""A place in the tree as the driver holds it: its spec, the incarnation that runs there, and who waits for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from asyncproc._core.supervision.event import Acknowledged, Exited, NodeId, Readied, Spawned, Timer
from asyncproc._core.supervision.plan import Kind
from asyncproc._ipc.everywhere import everywhere
from asyncproc._ipc.frame import NAMESPACE
from asyncproc._supervision.mail import Mail
from asyncproc.errors import StateError

if TYPE_CHECKING:
    from weakref import WeakSet

    from asyncproc._core.exit import Exit
    from asyncproc._core.lifecycle.loop_times import LoopReport
    from asyncproc._core.ring import Output
    from asyncproc._core.supervision.plan import Plan
    from asyncproc._core.supervision.view import NodeView
    from asyncproc._spec.base import Spec
    from asyncproc._supervision.below import Below
    from asyncproc._supervision.gate import Hold
    from asyncproc._supervision.health import Health
    from asyncproc._supervision.reader import Reader
    from asyncproc._supervision.supervisor import Supervisor
    from asyncproc.abc import Alarm, Child, Question, Streams


KEPT_AFTER_END = 1 << 16
"""Bytes of each stream of an ended child that are kept for who reads them later."""


class Place:
    """One node."""

    __slots__ = (
        "awaited", "below", "callbacks", "child", "health", "hold", "id", "joined", "left", "level", "mail", "member_of",
        "members", "output", "parent", "path", "readers", "report", "restart_at", "result", "spec", "starting", "timers",
        "view", "waiting",
    )  # fmt: skip

    def __init__(self, id: NodeId, spec: Spec[Any], path: str, level: int, view: NodeView, parent: Place | None) -> None:
        self.id = id
        self.spec = spec
        self.path = path
        self.level = level
        self.view = view
        self.parent = parent
        self.members: list[Place] = []
        self.member_of: Place | None = None  # its parent, unless it was only added there
        self.callbacks: dict[str, Callable[..., Any]] | None = None
        self.child: Child | None = None
        self.health: Health | None = None  # the probes of its last incarnation, if it has any
        self.result: Any = None
        self.awaited = False  # somebody has asked, or will be told, how it ended
        self.starting = False  # somebody will be told if it ends before it is ready
        self.left = False  # its last incarnation could not be ended, and was given up
        self.mail: Mail | None = None
        self.output: Output | None = None  # what is kept of its present or last incarnation's
        self.readers: WeakSet[Reader] | None = None  # of its output, from the first on
        self.hold: Hold | None = None  # of one that its parent holds at each phase
        self.report: LoopReport | None = None  # the last that its child has told
        self.below: Below | None = None  # what was started below it, once something was
        self.joined = False  # it became a member of its supervisor when that ran
        self.restart_at: float | None = None  # when it will be started again, the manager's clock; while it is in BACKOFF
        self.timers: dict[Timer, Alarm] = {}
        self.waiting: list[Callable[[], bool]] = []

    @property
    def limits(self) -> Plan:
        """Whose limit its restarts count for: its supervisor's, or its own."""
        group = self.member_of
        return self.view.plan if group is None or group.view.plan.kind is not Kind.SUPERVISOR else group.view.plan

    def member(self, id: NodeId | None) -> Place | None:
        """One of its members; None when it was forgotten."""
        return next((member for member in self.members if member.id == id), None)

    def mailbox(self) -> Mail:
        """Its mail, made on first use."""
        if self.mail is None:
            self.mail = Mail()
            if self.child is not None:
                self.mail.connect(self.child)
            elif self.view.exit is not None and self.view.finished:
                self.mail.end(self.view.exit)
        return self.mail

    def begin_output(self) -> None:
        """A new incarnation writes from now on; what the last one has written is for those who read it already."""
        streams: Streams | None = getattr(self.child, "streams", None)
        output = self.output = None if streams is None else streams.output
        if output is None:
            return
        for reader in self.readers or ():
            reader.follow(output)
        output.on_end.append(partial(self._end_output, output))

    def _end_output(self, output: Output) -> None:
        """All is written: who reads it has it, who comes later need not find all of it."""
        if self.output is output:
            self.output = output.shortened(KEPT_AFTER_END)

    def wake_readers(self) -> None:
        """Let everyone look again who waits for output."""
        for reader in self.readers or ():
            reader.wake()

    def lives_in(self, incarnation: int) -> bool:
        """Whether that incarnation still lives."""
        return self.child is not None and self.view.incarnation == incarnation

    def cancel_timers(self) -> None:
        for timer in self.timers.values():
            timer.cancel()
        self.timers.clear()


class Incarnation:
    """What the engine tells of one child, as events about its node."""

    __slots__ = ("_ended", "_number", "_supervisor", "health", "place")

    def __init__(self, supervisor: Supervisor, place: Place, number: int) -> None:
        self._supervisor = supervisor
        self.place = place
        self._number = number
        self._ended = False
        self.health: Health | None = None

    def on_spawned(self, pid: int | None) -> None:
        self._supervisor.post(Spawned(self.place.id, self._number, pid))
        if self.health is not None:
            self.health.begin()

    def on_ready(self) -> None:
        if self.health is None or not self.health.says_ready:
            self.readied()

    def readied(self) -> None:
        """It is ready, as its spec means it. What comes when it is being ended, or has ended, is too late."""
        self._supervisor.post(Readied(self.place.id, self._number))

    def on_acknowledged(self) -> None:
        self._supervisor.post(Acknowledged(self.place.id, self._number))

    def on_value(self, take: Callable[[], Any], size: int) -> None:
        if self.place.view.incarnation == self._number:
            self.place.mailbox().arrived(take, size)

    def on_credit(self, count: int) -> None:
        if self.place.mail is not None and self.place.view.incarnation == self._number:
            self.place.mail.credited(count)

    def on_report(self, report: LoopReport) -> None:
        if self.place.view.incarnation == self._number:
            self.place.report = report
            self._supervisor.wake(self.place)

    def on_question(self, question: Question) -> None:
        if self._ended or self.place.view.incarnation != self._number:  # a thread that was given up
            question.refuse(StateError(f"node {self.place.path}: incarnation {self._number} has ended"))
            return
        service = self._supervisor.services.get(question.service) or everywhere.get(question.service)
        if service is None:
            lacks = _LACKS.get(question.service, f"has no service {question.service}")
            question.refuse(StateError(f"node {self.place.path}: its manager {lacks}"))
        else:
            service.asked(self, question)

    def time_left(self) -> float:
        return min(self.place.view.deadline, self._supervisor.deadline) - self._supervisor.clock.now()

    def on_exit(self, exit: Exit, result: Any) -> None:
        place = self.place
        self._ended = True
        for service in (*self._supervisor.services.values(), *everywhere.values()):
            service.gone(self)
        if place.view.incarnation == self._number:
            place.result = result
        if exit.error is not None:
            _tell_where(exit)
        if self._supervisor.heartbeats is not None:
            exit = self._supervisor.heartbeats.ended(place, exit)
        exited = Exited(place.id, self._number, exit)
        if self.health is None:
            self._supervisor.post(exited)
        else:
            self.health.close(lambda: self._supervisor.post(exited))


_LACKS = {NAMESPACE: "was given no namespace: Manager(namespace=State())"}


def _tell_where(exit: Exit) -> None:
    """Note on an exception which node raised it, once."""
    where = [f"node {exit.path}"]
    if exit.phase is not None:
        where.append(f"phase {exit.phase.value}")
    if exit.loop is not None:
        where.append(f"loop {exit.loop}")
    note = ", ".join([*where, f"incarnation {exit.incarnation}"])
    if exit.error is not None and note not in getattr(exit.error, "__notes__", ()):
        exit.error.add_note(note)
