"""A tree of the machine, played by hand: each call tells one fact and gives back what is to be done."""

from __future__ import annotations

from signal import SIGTERM
from typing import TYPE_CHECKING

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
    Start,
    Stop,
    Wait,
)
from asyncproc._core.supervision.event import (
    OWN,
    Acknowledged,
    Added,
    Due,
    Exited,
    Forgotten,
    Judged,
    KillAsked,
    NodeId,
    PauseAsked,
    Readied,
    RestartAsked,
    ResumeAsked,
    RunAsked,
    Spawned,
    StopAsked,
    Timer,
    TimerFired,
)
from asyncproc._core.supervision.machine import TreeMachine
from asyncproc._core.supervision.plan import Kind, Plan
from asyncproc._core.supervision.state import State

if TYPE_CHECKING:
    from asyncproc._core.supervision.action import Action
    from asyncproc._core.supervision.event import Event
    from asyncproc._core.supervision.view import NodeView


def leaf(name: str, **options: object) -> Plan:
    return Plan(name, **options)  # type: ignore[arg-type]  # the tests' own shorthand


def sequential(name: str, *members: Plan, **options: object) -> Plan:
    return Plan(name, Kind.SEQUENTIAL, members, **options)  # type: ignore[arg-type]  # as above


def concurrent(name: str, *members: Plan, **options: object) -> Plan:
    return Plan(name, Kind.CONCURRENT, members, **options)  # type: ignore[arg-type]  # as above


def supervisor(name: str, *members: Plan, **options: object) -> Plan:
    return Plan(name, Kind.SUPERVISOR, members, continues=True, **options)  # type: ignore[arg-type]  # as above


class Tree:
    """A machine with a clock that is set by hand; nodes are named by their last names."""

    def __init__(self, plan: Plan, resources: dict[str, float] | None = None) -> None:
        self.machine = TreeMachine(resources)
        self.now = 0.0
        self.ids: dict[str, NodeId] = {}
        self.tickets: dict[str, int] = {}
        self.actions: list[Action] = []
        self.add(plan, None)

    def add(self, plan: Plan, parent: str | None = "app", *, joins: bool = False) -> list[str]:
        id = NodeId(len(self.ids))
        said = self.tell(Added(id, None if parent is None else self.ids[parent], plan, joins))
        for view in self.machine.subtree(id):
            self.ids[view.name] = view.id
        return said

    def tell(self, event: Event) -> list[str]:
        """What is to be done, in words; moves and waits are in *moves* and *waits*."""
        self.actions = self.machine.handle(event, self.now)
        return [text for action in self.actions if (text := self.say(action))]

    def say(self, action: Action) -> str:
        name = self[action.node].name
        match action:
            case Start():
                held = "".join(f" {resource}{list(numbers)}" for resource, _, numbers in action.slots)
                return f"start {name}{held}"
            case Stop():
                return f"{action.rung.value} {name}"
            case Abandon():
                return f"abandon {name}"
            case Ready():
                return f"ready {name}"
            case Finish():
                return f"finish {name} {action.exit.reason.value}"
            case Judge():
                return f"judge {name}"
            case AwaitDue():
                self.tickets[name] = action.ticket
                return ""
            case Pause():
                return f"pause {name}"
            case Resume():
                return f"resume {name}"
            case Move() | Wait():
                return ""

    @property
    def moves(self) -> list[str]:
        """Of the last event."""
        return [f"{self[m.node].name} {m.before.value} {m.after.value}" for m in self.actions if isinstance(m, Move)]

    @property
    def waits(self) -> list[tuple[str, str, float]]:
        """Of the last event."""
        return [(self[w.node].name, w.timer.value, w.at) for w in self.actions if isinstance(w, Wait)]

    @property
    def latest(self) -> list[float | None]:
        """Of the last event: until when a wait may be drawn."""
        return [w.latest for w in self.actions if isinstance(w, Wait)]

    def __getitem__(self, name: str | NodeId) -> NodeView:
        return self.machine.node(self.ids[name] if isinstance(name, str) else name)

    def state(self, name: str) -> State:
        return self[name].state

    def exit(self, name: str) -> Exit:
        exit = self[name].exit
        assert exit is not None
        return exit

    def run(self, name: str = "app", rounds: int | None = 1, *, binding: bool = True) -> list[str]:
        return self.tell(RunAsked(self.ids[name], rounds, binding))

    def stop(self, name: str = "app", grace: float | None = OWN, by: str = "me") -> list[str]:
        return self.tell(StopAsked(self.ids[name], grace, by))

    def kill(self, name: str = "app", by: str = "me") -> list[str]:
        return self.tell(KillAsked(self.ids[name], by))

    def spawn(self, name: str, pid: int | None = 42) -> list[str]:
        return self.tell(Spawned(self.ids[name], self[name].incarnation, pid))

    def ready(self, name: str) -> list[str]:
        return self.tell(Readied(self.ids[name], self[name].incarnation))

    def up(self, *names: str) -> list[str]:
        return [said for name in names for said in (*self.spawn(name), *self.ready(name))]

    def heard(self, name: str) -> list[str]:
        return self.tell(Acknowledged(self.ids[name], self[name].incarnation))

    def exited(self, name: str, reason: Reason = Reason.FINISHED, **facts: object) -> list[str]:
        return self.tell(Exited(self.ids[name], self[name].incarnation, Exit("?", 0, reason, **facts)))  # type: ignore[arg-type]

    def fails(self, name: str) -> list[str]:
        return self.exited(name, Reason.CRASHED, error=ValueError("boom"))

    def cut(self, name: str) -> list[str]:
        return self.exited(name, Reason.CRASHED, signal=SIGTERM)

    def fires(self, name: str, timer: Timer, now: float | None = None) -> list[str]:
        """The last timer of this kind that was set fires, at *now*."""
        self.now = self.now if now is None else now
        node = self.machine.node(self.ids[name])
        serial: int = node.serial  # type: ignore[attr-defined]  # the timer that was set last
        return self.tell(TimerFired(node.id, node.incarnation, timer, serial))

    def pause(self, name: str) -> list[str]:
        return self.tell(PauseAsked(self.ids[name]))

    def resume(self, name: str) -> list[str]:
        return self.tell(ResumeAsked(self.ids[name]))

    def judge(self, name: str, again: bool) -> list[str]:
        return self.tell(Judged(self.ids[name], self[name].incarnation, again))

    def due(self, name: str) -> list[str]:
        """The last due time that it asked for comes."""
        return self.tell(Due(self.ids[name], self.tickets[name]))

    def restart(self, name: str) -> list[str]:
        return self.tell(RestartAsked(self.ids[name], "me"))

    def join(self, plan: Plan, parent: str = "app") -> list[str]:
        return self.add(plan, parent, joins=True) + self.run(plan.name)

    def forget(self, name: str) -> list[str]:
        return self.tell(Forgotten(self.ids[name]))
