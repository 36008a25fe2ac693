"""The small interface that every contender implements, one protocol for each thing that is measured."""

from dataclasses import dataclass
from typing import Protocol

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


class RunsPrograms(Protocol):
    """Runs a whole program."""

    def run_program(self) -> float:
        """Run it once to its end and check its output; the seconds that count."""
        ...
