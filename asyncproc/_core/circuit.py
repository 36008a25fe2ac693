"""When calls are let through to what may fail, and when they are spared it: the rules of a circuit breaker.

Closed, every call is let in, and *threshold* failures within *period* seconds trip it. Open, every call is refused. After a
while, longer with each trip, it is half-open: *trials* calls are let in, the first success closes it, the first failure opens
it again. A call that was let in bears the *era* it was let in, which ends with each trip and each closing: what is heard of it
later says nothing of now, and is left aside.

Nothing here can hang: of trials that are never heard of again, the next is let in after as long as it was open.

The time is a number, and chance is one too: a journal of ``(event, now, chance)`` replays exactly.
"""

from __future__ import annotations

from enum import Enum
from math import inf
from typing import TypeAlias, assert_never

from asyncproc._core.backoff import Backoff
from asyncproc._core.value import Value


class CircuitState(Enum):
    """Whether calls are let in."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Rules(Value):
    """What a circuit goes by.

    Attributes:
        threshold: failures that trip it, at least 1. period: within so many seconds.
        backoff: how long it stays open; None: until it is reset.
        trials: calls that are let in at once when it is half-open, at least 1.
    """

    threshold: int
    period: float
    backoff: Backoff | None
    trials: int


class Asked(Value):
    """Somebody wants to call. *token*: unique for each call."""

    token: int


class Succeeded(Value):
    """A call that was let in has gone well."""

    token: int
    era: int


class Failed(Value):
    """A call that was let in has failed, or whoever made it has died."""

    token: int
    era: int


class GaveUp(Value):
    """A call came to no end that says anything: it was cancelled."""

    token: int


class Reported(Value):
    """Somebody has seen a failure, outside of any call."""


class Tripped(Value):
    """Somebody wants it open."""


class Reset(Value):
    """Somebody wants it closed, and all forgotten but how often it has tripped."""


Event: TypeAlias = Asked | Succeeded | Failed | GaveUp | Reported | Tripped | Reset


class Admit(Value):
    """The call is let in. *trial*: its outcome decides, so that it must not get lost."""

    era: int
    trial: bool


class Refuse(Value):
    """It is not; the next one is let in at *retry_at*, ``inf`` when nobody knows."""

    retry_at: float


class Tell(Value):
    """Whoever waits to be let in should look again."""


Action: TypeAlias = Admit | Refuse | Tell


class CircuitMachine:
    """One circuit.

    Attributes:
        trips: how often it has tripped. retry_at: when the next call is let in, unless it is closed.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self.trips = 0
        self.retry_at = -inf
        self._era = 0
        self._open = False
        self._failures: tuple[float, ...] = ()
        self._trials: set[int] = set()
        self._row = 0  # trips without a stable time between them
        self._longest = inf  # that the present trip may keep it open
        self._closed_at = -inf

    def state(self, now: float) -> CircuitState:
        """Open until a call would be let in, half-open from then on."""
        if not self._open:
            return CircuitState.CLOSED
        return CircuitState.HALF_OPEN if self._trials or now >= self.retry_at else CircuitState.OPEN

    def failures(self, now: float) -> int:
        """How many count now; while it is not closed, those that have tripped it."""
        return len(self._failures if self._open else self._recent(now))

    def patience(self, now: float) -> float:
        """Seconds until a call would be let in; 0.0: now, ``inf``: nobody knows."""
        return max(0.0, self.retry_at - now)

    def handle(self, event: Event, now: float, chance: float = 1.0) -> list[Action]:
        """Take in a fact; what follows from it.

        Args:
            now: monotonic seconds. chance: from 0 to 1, where between its bounds the time lies for which it stays open.
        """
        match event:
            case Asked(token):
                return [self._admit(token, now)]
            case Succeeded(token, era):
                return self._close(now) if self._open and self._heard(token, era) else []
            case Failed(token, era):
                return self._failed(now, chance) if self._heard(token, era) else []
            case GaveUp(token):
                return self._give_up(token, now)
            case Reported():
                return self._failed(now, chance) if self.state(now) is not CircuitState.OPEN else []
            case Tripped():  # of many who see the same outage, only the first opens it
                return self._trip(now, chance) if self.state(now) is not CircuitState.OPEN else []
            case Reset():
                self._row = 0
                return self._close(-inf)
            case _:
                assert_never(event)

    def _admit(self, token: int, now: float) -> Action:
        if now < self.retry_at:
            return Refuse(self.retry_at)
        if self._open:
            self._trials.add(token)
            if len(self._trials) >= self._rules.trials:
                self.retry_at = now + self._longest
        return Admit(self._era, self._open)

    def _heard(self, token: int, era: int) -> bool:
        """Whether the outcome of this call says something of now; it does so once."""
        if era != self._era:
            return False
        heard = not self._open or token in self._trials
        self._trials.discard(token)
        return heard

    def _give_up(self, token: int, now: float) -> list[Action]:
        if token not in self._trials:
            return []
        self._trials.remove(token)
        if len(self._trials) < self._rules.trials:
            self.retry_at = now
        return [Tell()]

    def _failed(self, now: float, chance: float) -> list[Action]:
        if self._open:
            return self._trip(now, chance)
        self._failures = (*self._recent(now), now)
        return self._trip(now, chance) if len(self._failures) >= self._rules.threshold else []

    def _recent(self, now: float) -> tuple[float, ...]:
        return tuple(at for at in self._failures if at >= now - self._rules.period)

    def _trip(self, now: float, chance: float) -> list[Action]:
        backoff = self._rules.backoff
        if backoff is None:
            self.retry_at = inf
        else:
            stable = not self._open and now - self._closed_at >= backoff.stable_after
            self._row = 1 if stable else self._row + 1
            low, self._longest = backoff.delay(self._row)
            self.retry_at = now + low + (self._longest - low) * chance
        self.trips += 1
        self._begin_era(True)
        return [Tell()]

    def _close(self, at: float) -> list[Action]:
        self._closed_at = at
        self.retry_at = -inf
        self._failures = ()
        self._begin_era(False)
        return [Tell()]

    def _begin_era(self, is_open: bool) -> None:
        self._open = is_open
        self._era += 1
        self._trials.clear()
