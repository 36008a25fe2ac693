"""The small interface that every contender implements, one protocol for each thing that is measured."""

from dataclasses import dataclass
from typing import Literal, Protocol

from benchmarks.lives import Form, Noted, Work
from benchmarks.targets import Noop


class Unavailable(Exception):
    """The contender cannot run here; the message says why."""


class WrongWork(Exception):
    """The contender was fast at something else than what was asked."""


class Contender:
    """What all contenders have: an untimed beginning and end, and a check of their own."""

    async def aopen(self) -> None:
        """Bring up helpers (fork server, zygote, manager), untimed."""

    async def verify(self) -> None:
        """Check what only this contender knows of itself; raises WrongWork. Untimed, after the measurement."""

    async def aclose(self) -> None:
        """End what still runs, untimed."""


@dataclass(frozen=True, slots=True)
class NoopRun:
    """One no-op child: what it returned, and when its value was there (perf_counter, seconds)."""

    value: Noop
    result_at: float


class StartsChildren(Protocol):
    """Starts children that return a value.

    Args:
        pause: untimed seconds between two starts (a warm spare needs time to be made again).
        preloaded: the child must find the target's module imported.
    """

    pause: float
    preloaded: bool

    async def run_noops(self, count: int) -> list[NoopRun]:
        """Start *count* children at once; return when all values are there and all children have ended."""
        ...


class HoldsChildren(Protocol):
    """Keeps idle children."""

    async def hold(self, count: int) -> list[int]:
        """Start *count* children, each blocked in a receive (or asleep); their pids."""
        ...

    async def release(self) -> None:
        """Stop them all the way a user would; return when all have ended."""
        ...


class Victim(Protocol):
    """A running child that is about to be killed."""

    pid: int

    async def wait(self) -> int:
        """Wait for its end; the signal that ended it."""
        ...


class LosesChildren(Protocol):
    """Starts children whose end it awaits."""

    async def start_victim(self) -> Victim:
        """Start one child; return when it runs."""
        ...


class EchoesMessages(Protocol):
    """Exchanges messages with one child that sends back what it gets.

    Args:
        room: bytes that may be on their way to the child before `send` blocks the loop, and so for ever.
    """

    room: int

    async def connect(self) -> int:
        """Start the child; its pid."""
        ...

    async def send(self, value: bytes) -> None:
        """Send one message."""
        ...

    async def receive(self) -> bytes:
        """Await one message."""
        ...


class CallsManager(Protocol):
    """Calls a manager, each call from where its face is meant to be called; seconds of each."""

    async def time_calls(self, count: int) -> list[float]:
        """A call that need not wait: of a node that is ready, to be ready."""
        ...

    async def time_runs(self, count: int) -> list[float]:
        """A coroutine that does nothing, from its start to its result."""
        ...

    async def time_reads(self, count: int) -> list[float]:
        """A property of a handle."""
        ...

    async def calls_at_once(self, threads: int, count: int) -> float:
        """Calls per second by so many threads at once, *count* by each."""
        ...


@dataclass(frozen=True, slots=True)
class Pace:
    """Loops of a child: seconds and seconds of CPU by its own clock, and what its manager was told of it meanwhile.

    Args:
        told: bytes from another process, calls from the own one; of the whole child, from its start to its end.
        on_uvloop: whether the child's loop was uvloop's.
    """

    seconds: float
    cpu_seconds: float
    told: int
    on_uvloop: bool


@dataclass(frozen=True, slots=True)
class Ending:
    """A looping child that has ended: when that was asked, when its parent knew, and its last loops (begun, ended)."""

    asked: float
    known: float
    loops: Noted


class LoopsChildren(Protocol):
    """Runs children that loop.

    Args:
        forms: of the empty phases that it can run. works: of the loops that it can stop.
    """

    forms: tuple[Form, ...]
    works: tuple[Work, ...]

    async def pace(self, form: Form, count: int) -> Pace:
        """Run one child of *count* loops with empty phases, to its end."""
        ...

    async def stop_one(self, work: Work, after: float) -> Ending:
        """Start a child that loops, ask it to end after so many seconds, wait until it has."""
        ...

    async def end_one(self, work: Work, loops: int) -> Ending:
        """Run a child that ends by itself after so many loops."""
        ...


class HoldsAtGates(Protocol):
    """Holds a child at each of its loops."""

    async def time_gates(self, form: Form, count: int, cpus: set[int]) -> list[float]:
        """Seconds from one loop's gate to the next, of one child with empty phases, which runs on *cpus*."""
        ...

    async def time_trips(self, form: Form, count: int, cpus: set[int]) -> list[float]:
        """Seconds of a message to such a child and back."""
        ...


Deed = Literal["transaction", "add", "view", "fresh"]
"""What a child does with shared state: raise a counter in a transaction, or by a call; look, also right after a change."""


class SharesState(Protocol):
    """Lets children change one state, in which a number is counted up."""

    async def time_deeds(self, deed: Deed, count: int) -> list[float]:
        """Seconds of each deed of one child."""
        ...

    async def write_at_once(self, deed: Deed, writers: int, count: int) -> float:
        """Let so many children begin together, each with *count* deeds; seconds from the first to the last."""
        ...

    async def counter(self) -> int:
        """The number as the owner sees it."""
        ...


class RunsPrograms(Protocol):
    """Runs a whole program."""

    def run_program(self) -> float:
        """Run it once to its end and check its output; the seconds that count."""
        ...


class KeepsAlive(Protocol):
    """Supervises children: whoever is killed is replaced."""

    async def keep(self, report: str, count: int) -> None:
        """Start *count* children, each of which writes its pid and a newline to the file *report*, first of all, then waits."""
        ...

    async def prepare(self, pid: int) -> None:
        """What is not to be timed of the next replacement: nothing, of a supervisor."""
        ...

    def replace(self, pid: int) -> None:
        """Kill this child; of what is no supervisor: start another one."""
        ...


class RunsSupervisor(Protocol):
    """Runs a supervisor of commands as a program of its own."""

    def run_supervisor(self, count: int) -> int:
        """Begin; the pid of the program, below which there will be *count* times `sleep`."""
        ...


class HoldsCrowds(Protocol):
    """Keeps as many children as there can be, all of which echo."""

    async def hold(self, count: int) -> list[int]:
        """Start *count* children; their pids."""
        ...

    async def ask(self, question: bytes) -> list[bytes]:
        """Send this to all of them; what they answer."""
        ...

    async def lose(self, pids: list[int]) -> list[int]:
        """Kill these; the pids of those that have taken their places."""
        ...

    async def release(self) -> None:
        """Stop them all the way a user would; return when all have ended."""
        ...
