"""The truth of a circuit, in the process that made it: the rules, a lock, a clock, and who waits to be let in.

Nobody works for it: an open circuit becomes half-open by being asked, and whoever waits has a timer of his own.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any

from asyncproc._core.backoff import Backoff
from asyncproc._core.circuit import (
    Admit,
    Asked,
    CircuitMachine,
    Event,
    Failed,
    GaveUp,
    Refuse,
    Reported,
    Reset,
    Rules,
    Succeeded,
    Tell,
    Tripped,
)
from asyncproc._core.names import name_fault
from asyncproc.errors import Fault, InternalError

if TYPE_CHECKING:
    from asyncproc._shared.circuit import Answer, Reading

LEAST = 0.001
"""Seconds of the shortest timer: what is shorter some loops spend spinning."""


class Home:
    """One circuit.

    Attributes:
        id: names it to other processes; not to be guessed.
    """

    def __init__(self, rules: Rules) -> None:
        self.id = os.urandom(12).hex()
        self._machine = CircuitMachine(rules)
        self._lock = threading.Lock()
        self._waiting: set[Callable[[], object]] = set()

    # --- calls ------------------------------------------------------------------------------------------------------------

    def admit_now(self, token: int) -> Answer:
        """Let a call in, or not; in any thread."""
        with self._lock:
            now = time.monotonic()
            (action,) = self._machine.handle(Asked(token), now)
        match action:
            case Admit(era, trial):
                return era, trial
            case Refuse(retry_at):
                return retry_at - now
            case _:
                raise InternalError(f"circuit: {action!r} is no answer to a call")

    async def admit(self, token: int) -> Answer:
        return self.admit_now(token)

    def admit_blocking(self, token: int) -> Answer:
        return self.admit_now(token)

    def tell(self, word: str, token: int = 0, era: int = 0) -> None:
        """Take in what became of a call, or a wish; in any thread."""
        with self._lock:
            actions = self._machine.handle(_event(word, token, era), time.monotonic(), random.random())
            waiting: list[Callable[[], object]] = []
            if Tell() in actions:
                waiting = list(self._waiting)
                self._waiting.clear()
        for wake in waiting:
            wake()

    def look(self) -> Reading:
        with self._lock:
            now = time.monotonic()
            machine = self._machine
            return machine.state(now).value, machine.failures(now), machine.trips, machine.patience(now)

    # --- waiting ----------------------------------------------------------------------------------------------------------

    async def wait(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            changed: asyncio.Future[None] = loop.create_future()
            wake = _waker(loop, changed)
            left = self._wait_with(wake)
            if left <= 0:
                return
            alarm = loop.call_later(max(left, LEAST), _settle, changed) if left < inf else None
            try:
                await changed
            finally:
                self._forget(wake)
                if alarm is not None:
                    alarm.cancel()

    def wait_blocking(self, timeout: float | None) -> None:
        deadline = inf if timeout is None else time.monotonic() + timeout
        while True:
            changed = threading.Event()
            left = self._wait_with(changed.set)
            if left <= 0:
                return
            rest = deadline - time.monotonic()
            if rest <= 0:
                self._forget(changed.set)
                raise TimeoutError(f"circuit: nobody was let in for {timeout} s")
            try:
                changed.wait(None if min(left, rest) == inf else min(left, rest))
            finally:
                self._forget(changed.set)

    def _wait_with(self, wake: Callable[[], object]) -> float:
        """Seconds until a call would be let in; *wake* is called once if that changes before."""
        with self._lock:
            left = self._machine.patience(time.monotonic())
            if left > 0:
                self._waiting.add(wake)
            return left

    def _forget(self, wake: Callable[[], object]) -> None:
        with self._lock:
            self._waiting.discard(wake)


def _waker(loop: asyncio.AbstractEventLoop, future: asyncio.Future[None]) -> Callable[[], None]:
    def wake() -> None:
        try:
            loop.call_soon_threadsafe(_settle, future)
        except RuntimeError:  # that loop has been closed: nobody is left to be told
            pass

    return wake


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _event(word: str, token: int, era: int) -> Event:
    match word:
        case "succeeded":
            return Succeeded(token, era)
        case "failed":
            return Failed(token, era)
        case "gave_up":
            return GaveUp(token)
        case "fail":
            return Reported()
        case "trip":
            return Tripped()
        case "reset":
            return Reset()
        case _:
            raise InternalError(f"circuit: nobody can be told {word!r}")


# --- what a circuit is given ------------------------------------------------------------------------------------------------


def circuit_faults(name: Any, threshold: Any, period: Any, backoff: Any, trials: Any, counts: Any) -> list[Fault]:
    """All that is wrong."""
    path = str(name)
    rules = [
        ("name", name, name_fault(name)),
        ("threshold", threshold, _number_fault(threshold)),
        ("period", period, None if _is_positive(period) else "must be seconds > 0, or inf"),
        ("backoff", backoff, _backoff_fault(backoff)),
        ("trials", trials, _number_fault(trials)),
        ("counts", counts, _classes_fault(counts)),
    ]
    return [Fault(path, field, value, rule) for field, value, rule in rules if rule is not None]


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _number_fault(value: Any) -> str | None:
    good = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    return None if good else "must be an int >= 1"


def _backoff_fault(backoff: Any) -> str | None:
    from asyncproc._core.options import HONOURED

    if backoff is None:
        return None
    if not isinstance(backoff, Backoff):
        return "must be a Backoff, or None"
    if (rule := HONOURED["backoff"][1](backoff)) is not None:
        return rule
    return None if backoff.first > 0 and backoff.cap > 0 else "must have first > 0 and cap > 0: else it would never be open"


def _classes_fault(counts: Any) -> str | None:
    classes = counts if isinstance(counts, tuple) else (counts,)
    good = bool(classes) and all(isinstance(each, type) and issubclass(each, Exception) for each in classes)
    return None if good else "must be a class of exceptions, or a tuple of them: subclasses of Exception"
