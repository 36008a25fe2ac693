"""The roles that parts of asyncproc play for each other, as protocols: how a lower layer reaches a higher one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from asyncproc._core.value import Value

if TYPE_CHECKING:
    from asyncproc._core.exit import Exit
    from asyncproc._core.lifecycle.loop_times import LoopReport
    from asyncproc._core.ring import Output
    from asyncproc._core.snapshot import Snapshot
    from asyncproc._core.supervision.action import Rung

__all__ = [
    "Alarm", "Child", "Clock", "Engine", "Inlet", "Order", "Question", "Service", "Snapshot", "Streams", "Subscriber", "Usage",
    "Vitals", "Watcher",
]  # fmt: skip


class Order(Value):
    """What an engine is told of the place that a child is started for.

    Attributes:
        path: the node's path, e.g. ``app/build/index``. incarnation: which run of the node, from 1.
        round: which pass through the tree, from 1. level: depth; 0 for a single item as root.
        held: whether its parent holds it at each phase.
    """

    path: str
    incarnation: int
    round: int
    level: int
    held: bool = False

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


class Usage(Value):
    """What a child takes now; None where it is not known.

    Attributes:
        cpu: seconds. memory: bytes. threads: how many. current_loop: from 1.
    """

    cpu: float | None = None
    memory: int | None = None
    threads: int | None = None
    current_loop: int | None = None


class Vitals(Protocol):
    """How it shows that a child runs."""

    def beats(self) -> tuple[float, float]:
        """When its loop and its thread showed that last, as stamps that differ; a loop's is 0.0 while there is none."""

    def condition(self) -> str:
        """How the system shows the thread that beats: R, S, D, T, t, Z, or "" for what has none of its own."""


class Watcher(Protocol):
    """Who is told what becomes of one child. Every call is made on the manager's loop, ``on_exit`` exactly once and last."""

    def on_spawned(self, pid: int | None) -> None: ...
    def on_ready(self) -> None: ...
    def on_acknowledged(self) -> None: ...
    def on_value(self, take: Callable[[], Any], size: int) -> None:
        """The child has sent a value of *size* bytes; ``take()`` gives it, or raises DecodeError."""

    def on_credit(self, count: int) -> None:
        """The child has taken *count* bytes of what was sent to it."""

    def on_report(self, report: LoopReport) -> None:
        """How long the child's loops took so far; told when it was asked for, and at the end of one that loops."""

    def on_question(self, question: Question) -> None: ...
    def time_left(self) -> float:
        """Seconds until the child is killed; ``inf`` when nobody has asked it to end, or when it may take for ever."""

    def on_exit(self, exit: Exit, result: Any) -> None: ...


class Question(Protocol):
    """What a child asks its manager. Whoever takes it answers or refuses it once, now or later, on the manager's loop.

    Attributes:
        service: which service it is for, see :mod:`asyncproc._ipc.frame`.
    """

    service: int

    def take(self) -> Any:
        """What was asked; DecodeError when it cannot be rebuilt here."""

    def answer(self, value: object) -> None:
        """Give the answer; an answer that cannot be sent arrives as its EncodeError. Of a child that has ended: dropped."""

    def refuse(self, error: BaseException) -> None:
        """Let the call raise *error* in the child."""


class Service(Protocol):
    """Who answers questions of one kind. *asker* stands for the node's present incarnation, and can be hashed."""

    def asked(self, asker: Any, question: Question) -> None: ...
    def gone(self, asker: Any) -> None:
        """The incarnation has ended: what it asked or held is free."""


class Child(Protocol):
    """One incarnation that runs (or is about to), wherever it does. Nothing in supervision knows the difference."""

    pid: int | None

    @property
    def vitals(self) -> Vitals | None:
        """Of one that has a heartbeat."""

    def usage(self) -> Usage:
        """What it takes now."""

    async def stacks(self) -> str:
        """Where its threads and tasks stand, as text; within about a second, and never an error: what cannot be had is said."""

    def take_rung(self, rung: Rung) -> None:
        """Take one step of the stop ladder; takes no time, the end shows as ``on_exit``."""

    def signal(self, number: int) -> None:
        """Send a signal to it; nothing happens when it has ended."""

    def pause(self) -> None:
        """Let it stand still; only of what has a process."""

    def resume(self) -> None:
        """Let it go on."""

    def abandon(self) -> None:
        """Give it up: ``on_exit`` comes at once, with ``killed``."""

    def ask_for_report(self) -> None:
        """Ask how long its loops took; the answer comes as ``on_report``, when the child can give one."""

    def send_value(self, value: object) -> int:
        """Send a value without blocking; returns its size in bytes.

        Raises:
            EncodeError: it cannot be sent; nothing was.
        """

    def send_credit(self, count: int) -> None:
        """Say that *count* bytes of its values have been taken."""


class Inlet(Protocol):
    """Where a child's standard input is written to."""

    async def write(self, data: bytes) -> None:
        """Hand over all of it; waits while the child does not read.

        Raises:
            BrokenPipeError: nobody will read it.
        """

    async def write_eof(self) -> None:
        """Let the child come to the end of its input."""


class Streams(Protocol):
    """The standard streams of a child that has some of its own: its attribute ``streams``."""

    @property
    def output(self) -> Output:
        """What is kept of its output."""

    @property
    def stdin(self) -> Inlet | None:
        """Its standard input, when that is a pipe."""

    def subscribe(self, stream: str, callback: Callable[[bytes], None]) -> Callable[[], None]:
        """Let *callback* be called with raw pieces of ``stdout`` or ``stderr``, first with what is held; returns what ends it.

        Raises:
            ValueError: this stream is not captured.
        """


class Engine(Protocol):
    """Where children run."""

    def start(self, spec: Any, order: Order, watcher: Watcher) -> Child:
        """Begin a child; whatever goes wrong comes as ``watcher.on_exit``, never as an exception."""

    async def aclose(self) -> None:
        """End whatever is left, and return when nothing is."""


class Alarm(Protocol):
    """A call that is to come."""

    def cancel(self) -> None:
        """Let it not come."""


class Clock(Protocol):
    """Where the time comes from: monotonic seconds, and what clocks on the wall show."""

    @property
    def now(self) -> Callable[[], float]: ...

    def wall(self) -> float:
        """Seconds since the epoch; somebody may set them."""

    def call_at(self, when: float, call: Callable[..., object], /, *args: Any) -> Alarm:
        """Call *call* with *args* at *when*, on the manager's loop."""


class Subscriber(Protocol):
    """Somebody who only looks: called with each transition, in order; must not block."""

    def __call__(self, transition: Any, /) -> None: ...
