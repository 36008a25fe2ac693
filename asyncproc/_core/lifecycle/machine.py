"""Decides which phase of a child's life comes next; a driver runs it.

The path of a life that goes well is START, then for each loop PREPARE, RUN, SETTLE, and at last FINISH. Whatever leaves this
path leaves by the same door as it came in: what BeforeLoop entered is left in SETTLE or UNWIND_LOOP, what OnStart entered
in FINISH or UNWIND_START, exactly once, innermost first.
"""

from __future__ import annotations

from asyncproc._core.lifecycle.action import (
    END,
    FINISH,
    INTERRUPT,
    PREPARE,
    RUN,
    SETTLE,
    START,
    TELL_READY,
    UNWIND_LOOP,
    UNWIND_START,
)
from asyncproc._core.lifecycle.event import BEGUN, CLOSE_ASKED, CUT, DISMISSED, FAILED, FORCED, RETURNED, STOP_ASKED, TIME_UP
from asyncproc._core.lifecycle.loop_times import LoopTimes
from asyncproc.errors import InternalError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncproc._core.lifecycle.action import Action
    from asyncproc._core.lifecycle.event import Event

_IN_LOOP = (PREPARE, RUN, SETTLE)
_NOTHING: tuple[Action, ...] = ()
_START, _PREPARE, _RUN, _SETTLE = (START,), (PREPARE,), (RUN,), (SETTLE,)
_READY_PREPARE, _READY_FINISH = (TELL_READY, PREPARE), (TELL_READY, FINISH)
_UNWIND_LOOP, _UNWIND_START, _FINISH, _END, _INTERRUPT = (UNWIND_LOOP,), (UNWIND_START,), (FINISH,), (END,), (INTERRUPT,)


class LifecycleMachine:
    """One incarnation's life: facts in, wishes out. :meth:`handle` is the only method that changes anything.

    Args:
        loops: how many, None until it is asked to end; 0: OnStart and OnFinish alone.
        retries: how many failed loops of this incarnation may be repeated.

    Attributes:
        doing: what was wished last and has not been reported; None before the first and after END.
        number: of the loop that runs or ran last, from 1; 0 before the first.
        closing: whether no further loop comes.
        completed: how many loops have returned.
        times: how long they took.
    """

    __slots__ = ("_loop_began", "_pending", "_retries", "closing", "completed", "doing", "loops", "number", "times")

    def __init__(self, loops: int | None = 1, retries: int = 0) -> None:
        self.loops = loops
        self.doing: Action | None = None
        self.number = 0
        self.closing = False
        self.completed = 0
        self.times = LoopTimes()
        self._retries = retries
        self._pending: Event | None = None  # how the loop ended that is being unwound
        self._loop_began = 0.0

    @property
    def is_last_loop(self) -> bool:
        """Whether no loop comes after the one that runs."""
        return self.closing or (self.loops is not None and self.number >= self.loops)

    def handle(self, event: Event, now: float) -> tuple[Action, ...]:
        """Take in one fact.

        Args:
            event: what has happened.
            now: when, seconds of a clock that never goes back.

        Returns:
            What is to be done, in this order; at most one of them names a phase.

        Raises:
            InternalError: a bug of the driver: this cannot have happened now.
        """
        if event is RETURNED:
            return self._returned(now)
        if event is CLOSE_ASKED:
            self.closing = True
            return _NOTHING
        if event is STOP_ASKED:
            self.closing = True
            return _INTERRUPT if self._can_be_cut else _NOTHING
        if event is TIME_UP:
            return _NOTHING if self.doing is None else _INTERRUPT
        if event is DISMISSED and self.doing in (START, PREPARE):
            return self._dismissed()
        if event is BEGUN and self.doing is None and not self.number:
            return self._do(_START)
        if event in (FAILED, CUT, FORCED) and self.doing is not None:
            return self._raised(event)
        raise InternalError(f"lifecycle: {event} while doing {self.doing} of loop {self.number}")

    @property
    def _can_be_cut(self) -> bool:
        """Whether a stop ends what runs now: a loop of several is let end, and so is what cleans up."""
        doing = self.doing
        return doing is START or (doing in _IN_LOOP and self.loops == 1)

    def _do(self, wishes: tuple[Action, ...]) -> tuple[Action, ...]:
        self.doing = wishes[-1]
        return wishes

    def _returned(self, now: float) -> tuple[Action, ...]:
        doing = self.doing
        if doing is PREPARE:
            self._pending = None
            self._loop_began = now
            self.doing = RUN
            return _RUN
        if doing is RUN:
            self.times.add(now - self._loop_began)
            self.completed += 1
            self.doing = SETTLE
            return _SETTLE
        if doing is SETTLE:
            return self._next_loop(_PREPARE, _FINISH)
        if doing is START:
            return self._next_loop(_READY_PREPARE, _READY_FINISH)
        if doing is UNWIND_LOOP:
            return self._unwound()
        if doing is None:
            raise InternalError("lifecycle: something returned, and nothing runs")
        self.doing = None
        return _END

    def _next_loop(self, loop: tuple[Action, ...], finish: tuple[Action, ...]) -> tuple[Action, ...]:
        if self.is_last_loop:
            return self._do(finish)
        self.number += 1
        return self._do(loop)

    def _dismissed(self) -> tuple[Action, ...]:
        """Nothing of this phase has run: a loop has not begun, and of a life nothing."""
        self.closing = True
        if self.doing is START:
            self.doing = None
            return _END
        if self._pending is None:
            self.number -= 1
        return self._do(_FINISH)

    def _raised(self, event: Event) -> tuple[Action, ...]:
        doing = self.doing
        if doing is START:
            # Who ends his own life in OnStart has decided that there is nothing to do: OnStart is through.
            return self._do(_FINISH if event is FORCED else _UNWIND_START)
        if doing in _IN_LOOP:
            self._pending = event
            return self._do(_UNWIND_LOOP)
        if doing is UNWIND_LOOP:
            if event is not FAILED or self._pending is FORCED:
                self._pending = CUT  # nothing to be tried again
            return self._unwound()
        self.doing = None
        return _END

    def _unwound(self) -> tuple[Action, ...]:
        if self._pending is FAILED and self._retries and not self.closing:
            self._retries -= 1
            return self._do(_PREPARE)
        return self._do(_FINISH)
