"""One probe, asked again and again on the supervisor's clock.

Nothing waits here: a probe is a timer between two checks, and a task while it is checked. A check is cut at its limit, which is
a failure whatever becomes of it; the next one begins when it has really ended, and what is due meanwhile is a failure too. So
runs of one probe never overlap, and one that cannot be cut does not go unnoticed.

A failure counts only when this loop was awake for it. One whose timer came much too late says something of the host, not of the
child: its answer may have lain here unread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from asyncproc._supervision.checks import in_words

if TYPE_CHECKING:
    from asyncproc._supervision.supervisor import Supervisor
    from asyncproc.abc import Alarm

LATE = 0.1
"""Seconds by which a timer may come too late, beside an eighth of the check's own limit, and the failure still counts."""
STEPS = 4
"""In so many steps the limit of a check is waited for, so that a loop that was blocked in the midst of it is found out."""

Check = Callable[[], Coroutine[Any, Any, str | None]]


class Asking:
    """Asks one probe.

    Args:
        name: of the tasks. limit: seconds that one check may take.
        told: given what is amiss (None: nothing) and whether that counts; answers in how many seconds after the beginning of
            this check the next one is due, or None. One that took longer is followed at once.

    Attributes:
        task: the check that is under way.
    """

    def __init__(
        self, supervisor: Supervisor, name: str, check: Check, limit: float, told: Callable[[str | None, bool], float | None]
    ) -> None:
        self._supervisor = supervisor
        self._clock = supervisor.clock
        self._name = name
        self._check = check
        self._limit = limit
        self._told = told
        self._alarm: Alarm | None = None
        self._begun = 0.0
        self._late = False
        self._step = 0
        self._overdue = False  # the next check is due, and the last one, which was cut, has not ended
        self._closed = False
        self.task: asyncio.Task[str | None] | None = None

    def ask_in(self, seconds: float) -> None:
        """Check in so many seconds."""
        self._set(self._clock.now() + seconds, self._ask)

    def close(self) -> None:
        """Ask no more; what is under way is cancelled."""
        self._closed = True
        self._cancel_alarm()
        if self.task is not None:
            self.task.cancel()

    def _set(self, when: float, call: Callable[[float], None]) -> None:
        self._alarm = self._clock.call_at(when, call, when)

    def _ask(self, due: float) -> None:
        self._begun = self._clock.now()
        self._late = self._is_late(due)
        if self.task is not None:
            self._overdue = True
            self._set(self._begun + self._limit, self._still)
            return
        self.task = task = self._supervisor.loop.create_task(self._check(), name=self._name)
        self._supervisor.chores.checks.add(task)
        task.add_done_callback(self._ended)
        self._step = 0
        self._wait()

    def _wait(self) -> None:
        self._step += 1
        self._set(self._begun + self._limit * self._step / STEPS, self._look)

    def _look(self, due: float) -> None:
        task = self.task
        if task is None or task.done():  # its answer is on its way here
            return
        self._late = self._late or self._is_late(due)
        if self._step < STEPS:
            self._wait()
            return
        task.remove_done_callback(self._ended)
        task.add_done_callback(self._gone)
        task.cancel()
        self._tell(f"no answer within {self._limit:g} s")

    def _still(self, due: float) -> None:
        self._late = self._late or self._is_late(due)
        self._overdue = False
        self._tell("the last check was cut, and has not ended since")

    def _is_late(self, due: float) -> bool:
        return self._clock.now() - due > LATE + self._limit / 8

    def _gone(self, task: asyncio.Task[str | None]) -> None:
        """A check that was cut has ended: what came of it is nobody's."""
        self._forget(task)
        if not task.cancelled():
            task.exception()
        if self._overdue and not self._closed:
            self._overdue = False
            self._cancel_alarm()
            self._ask(self._clock.now())

    def _ended(self, task: asyncio.Task[str | None]) -> None:
        self._forget(task)
        self._cancel_alarm()
        if task.cancelled():
            self._tell("it was cancelled")
        elif (error := task.exception()) is not None:
            self._tell(in_words(error))
        else:
            self._tell(task.result())

    def _forget(self, task: asyncio.Task[str | None]) -> None:
        self.task = None
        self._supervisor.chores.checks.discard(task)

    def _cancel_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _tell(self, trouble: str | None) -> None:
        if self._closed:
            return
        pause = self._told(trouble, not self._late)
        if pause is not None and not self._closed:
            self._set(max(self._begun + pause, self._clock.now()), self._ask)
