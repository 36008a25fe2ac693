"""Whose turn it is: a lock with a queue, one holder at a time, in order of arrival.

The theory: a turn is named by who asks and by a number that he never uses twice. So it can be ended, given up and granted in
any order, also when two of these cross on their way, and nobody else's turn is ever touched.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TypeAlias, assert_never


@dataclass(frozen=True, slots=True)
class Turn:
    """One wish to hold the lock. *token* is unique for its *asker*."""

    asker: Hashable
    token: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """Somebody wants the lock. *waits*: he stays in the queue when it is taken."""

    turn: Turn
    waits: bool = True


@dataclass(frozen=True, slots=True)
class Ended:
    """The holder is through; of anybody else it means nothing."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class GaveUp:
    """Somebody does not want it any more, whether he holds it, waits for it, or has not been heard of yet."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class Gone:
    """An asker is dead: what he held or wanted is free."""

    asker: Hashable


Event: TypeAlias = Wanted | Ended | GaveUp | Gone


@dataclass(frozen=True, slots=True)
class Grant:
    """He holds it now."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class Refuse:
    """He will not get it."""

    turn: Turn


Action: TypeAlias = Grant | Refuse


class Turns:
    """The lock. ``holder`` has it, ``waiting`` want it, in the order in which they get it."""

    def __init__(self) -> None:
        self.holder: Turn | None = None
        self.waiting: deque[Turn] = deque()
        self._given_up: set[Turn] = set()  # before they were wanted: the two have overtaken each other

    def handle(self, event: Event) -> list[Action]:
        """Take in a fact; what follows from it, in order."""
        match event:
            case Wanted(turn, waits):
                return self._want(turn, waits)
            case Ended(turn):
                return self._pass_on() if turn == self.holder else []
            case GaveUp(turn):
                return self._give_up(turn)
            case Gone(asker):
                return self._forget(asker)
            case _:
                assert_never(event)

    def _want(self, turn: Turn, waits: bool) -> list[Action]:
        if turn in self._given_up:
            self._given_up.discard(turn)
            return [Refuse(turn)]
        if self.holder is None:
            self.holder = turn
            return [Grant(turn)]
        if not waits:
            return [Refuse(turn)]
        self.waiting.append(turn)
        return []

    def _give_up(self, turn: Turn) -> list[Action]:
        if turn == self.holder:
            return self._pass_on()
        if turn in self.waiting:
            self.waiting.remove(turn)
            return [Refuse(turn)]
        self._given_up.add(turn)
        return []

    def _forget(self, asker: Hashable) -> list[Action]:
        refused: list[Action] = [Refuse(turn) for turn in self.waiting if turn.asker == asker]
        self.waiting = deque(turn for turn in self.waiting if turn.asker != asker)
        self._given_up = {turn for turn in self._given_up if turn.asker != asker}
        if self.holder is not None and self.holder.asker == asker:
            return refused + self._pass_on()
        return refused

    def _pass_on(self) -> list[Action]:
        self.holder = self.waiting.popleft() if self.waiting else None
        return [] if self.holder is None else [Grant(self.holder)]
