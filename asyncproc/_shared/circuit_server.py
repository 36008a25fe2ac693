"""Answers what children of this process ask about circuits: of its own at once, of others by asking its own manager.

One for all managers of the process. The questions, as tuples; a *token* is unique in its asker:

- ``admit, id, token``: the era and whether it is a trial, or in how many seconds the next one is let in;
- ``wait, id, token``: answered when a call would be let in; ``look, id``: a reading;
- ``succeeded``, ``failed``, ``gave_up``, ``fail``, ``trip``, ``reset``, each with ``id, token, era``: nobody waits.

To the circuit every call bears a number of ours, so that no child can speak of another's. A child that dies in a trial has
failed; what it only waited for is given up. Both hold at each hop: when the one in the middle dies, the one above it says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from asyncproc._shared.circuit_home import Home
from asyncproc._shared.circuit_relay import Relay
from asyncproc._shared.tokens import next_token
from asyncproc.errors import StateError

if TYPE_CHECKING:
    from asyncproc._shared.circuit import Access, Answer
    from asyncproc.abc import Question

WISHES = ("fail", "trip", "reset")
OUTCOMES = ("succeeded", "failed", "gave_up")


class Asker:
    """One incarnation that has asked.

    Attributes:
        trials: its token, to who let it in, our number and the era. tasks: what it waits for, by its token.
    """

    __slots__ = ("tasks", "trials")

    def __init__(self) -> None:
        self.trials: dict[int, tuple[Access, int, int]] = {}
        self.tasks: dict[int, asyncio.Task[None]] = {}


class CircuitServer:
    """The service.

    Args:
        access_to: how this process gets at the circuit of an id.
    """

    def __init__(self, access_to: Callable[[str], Access]) -> None:
        self._access_to = access_to
        self._askers: dict[Any, Asker] = {}

    def asked(self, asker: Any, question: Question) -> None:
        """A child asks."""
        try:
            self._take(self._askers.setdefault(asker, Asker()), question.take(), question)
        except Exception as error:  # whatever a child asks, its manager lives on
            question.refuse(error)

    def gone(self, asker: Any) -> None:
        """A child has ended."""
        left = self._askers.pop(asker, None)
        if left is None:
            return
        for task in left.tasks.values():
            task.cancel()
        for access, own, era in left.trials.values():
            access.tell("failed", own, era)

    def _take(self, asker: Asker, request: Any, question: Question) -> None:
        match request:
            case ("admit", str() as id, int() as token):
                self._admit(asker, self._access_to(id), token, question)
            case ("wait", str() as id, int() as token):
                self._later(asker, token, _waited(self._access_to(id), question))
            case ("look", str() as id):
                access = self._access_to(id)
                if isinstance(access, Relay):
                    self._later(asker, -next_token(), _looked(access, question))
                else:
                    question.answer(access.look())
            case (str() as word, str() as id, int() as token, int() as era) if word in OUTCOMES:
                self._told(asker, self._access_to(id), word, token, era)
            case (str() as word, str() as id, int(), int()) if word in WISHES:
                self._access_to(id).tell(word)
            case _:
                raise StateError("circuits: no such question")

    def _admit(self, asker: Asker, access: Access, token: int, question: Question) -> None:
        own = next_token()
        if isinstance(access, Home):
            self._answered(asker, access, token, own, access.admit_now(own), question)
        else:
            self._later(asker, token, self._admit_from_afar(asker, access, token, own, question))

    async def _admit_from_afar(self, asker: Asker, access: Access, token: int, own: int, question: Question) -> None:
        try:
            answer = await access.admit(own)  # cancelled, it gives up there
        except Exception as error:
            question.refuse(error)
        else:
            self._answered(asker, access, token, own, answer, question)

    def _answered(self, asker: Asker, access: Access, token: int, own: int, answer: Answer, question: Question) -> None:
        if not isinstance(answer, float) and answer[1]:
            asker.trials[token] = access, own, answer[0]
        question.answer(answer)

    def _told(self, asker: Asker, access: Access, word: str, token: int, era: int) -> None:
        task = asker.tasks.pop(token, None)
        if task is not None:  # it has given up before it had its answer
            task.cancel()
        trial = asker.trials.pop(token, None)
        if trial is not None:
            access.tell(word, trial[1], trial[2])
        elif word == "failed":  # of a call that was let in like any other
            access.tell(word, 0, era)

    def _later(self, asker: Asker, token: int, work: Coroutine[Any, Any, None]) -> None:
        """Answer when that can be known; cancelled when it is not wanted any more."""
        task = asyncio.get_running_loop().create_task(work, name="asyncproc circuit")
        asker.tasks[token] = task
        task.add_done_callback(lambda _: asker.tasks.pop(token, None))


async def _waited(access: Access, question: Question) -> None:
    try:
        await access.wait()
    except Exception as error:
        question.refuse(error)
    else:
        question.answer(None)


async def _looked(access: Relay, question: Question) -> None:
    try:
        question.answer(await access.look_from_afar())
    except Exception as error:
        question.refuse(error)
