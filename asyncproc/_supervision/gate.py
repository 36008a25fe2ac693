"""Gates: the parent's hand on the phases of a child that it holds.

A held child asks at each phase whether it may go on, and waits for the answer. The answer is given when the gate of that
phase was entered and left, with what the parent adds to the keyword arguments. One that is asked to end is held no longer.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar, Self

from asyncproc._core import options as kinds
from asyncproc._core.exit import Phase
from asyncproc._core.lifecycle.action import AFTER_LOOP, BEFORE_LOOP, ON_FINISH, ON_START
from asyncproc._core.supervision.event import Released, RunAsked
from asyncproc._core.supervision.state import State
from asyncproc._ipc.codec import decode, encode
from asyncproc._supervision.bounded import end_place
from asyncproc.errors import DecodeError, Fault, SpecError, StateError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from asyncproc._supervision.handle import Handle
    from asyncproc._supervision.place import Incarnation, Place
    from asyncproc._supervision.supervisor import Supervisor
    from asyncproc.abc import Question

_RANK = {ON_START: 0, BEFORE_LOOP: 1, AFTER_LOOP: 1, ON_FINISH: 2}


class Hold:
    """How a held child stands with its parent.

    Attributes:
        phase: where it stood last, "" before the first. number: of the loop. kwargs, result: what it told there.
        waits: whether it waits there.
        entered: whether a gate is open for it.
        stepping: that gate, if ``steps()`` has opened it. stepped: whether they wait for its next loop.
        wanted: how many gates wait for it.
        lenient: whether it may finish as soon as somebody waits for its end (``steps()`` has come to its own).
    """

    def __init__(self, supervisor: Supervisor, place: Place) -> None:
        self._supervisor = supervisor
        self._place = place
        self._question: Question | None = None
        self._free = False
        self._dismissed = False
        self.stepping: Gate | None = None
        self.phase: str = ""
        self.number: int = 0
        self.kwargs: Mapping[str, Any] = {}
        self.result: Any = None
        self.entered = False
        self.lenient = False
        self.stepped = False
        self.wanted = 0

    @property
    def waits(self) -> bool:
        return self._question is not None

    def begin(self) -> None:
        """A new incarnation is to come."""
        self._free = self._dismissed = self.entered = self.lenient = False
        self.stepping = None
        self._question = None
        self.phase, self.number, self.kwargs, self.result = "", 0, {}, None

    def arrived(self, question: Question) -> None:
        """The child stands at a phase."""
        self.phase, self.number, told = question.take()
        self.kwargs, self.result = _opened(told)
        if self._free:
            question.answer(not self._dismissed and None)
            return
        if self.stepped and self.phase == AFTER_LOOP and not self.wanted:  # at once: to wake who steps is half of its cost
            question.answer(None)
            return
        self._question = question
        if self.lenient and self._place.awaited:
            self.let_go()
        self._supervisor.wake(self._place)

    def is_past(self, phase: str) -> bool:
        """Whether it will not come to *phase* any more."""
        if self._place.view.finished or self._free:
            return True
        here, wanted = _RANK.get(self.phase, -1), _RANK[phase]
        return here > wanted or (self.phase == phase and not self.waits and phase in (ON_START, ON_FINISH))

    def stands_at(self, *phases: str) -> bool:
        return self.waits and self.phase in phases and not self.entered

    def leave(self, values: Mapping[str, Any]) -> None:
        """Let it go on, with *values*."""
        question, self._question = self._question, None
        self._close()
        if question is not None:
            question.answer(dict(values) or None)
            if self.phase == ON_START:
                self._supervisor.post(Released(self._place.id, self._place.view.incarnation))

    def abandon(self, gate: Gate | None = None) -> None:
        """Nobody asks those steps for the next any more (those of *gate*, else all): the child stands where it stood."""
        if self.stepping is not None and gate in (None, self.stepping):
            self._close()
            self._supervisor.wake(self._place)

    def _close(self) -> None:
        self.entered, self.stepping = False, None

    def let_go(self) -> None:
        """Hold it no longer."""
        self._free = True
        self.leave({})
        self._supervisor.wake(self._place)

    def dismiss(self) -> None:
        """It has been asked to end: hold it no longer, and let no loop begin that waits for its gate."""
        self._free = self._dismissed = True
        question, self._question = self._question, None
        if question is not None:
            question.answer(False)
        self._supervisor.wake(self._place)

    def gone(self) -> None:
        self._question = None


def _opened(told: Any) -> tuple[Mapping[str, Any], Any]:
    """The keyword arguments and the result, from another process as bytes: user code makes them, and may fail here."""
    if not isinstance(told, bytes):
        kwargs, result = told
        return kwargs, result
    try:
        kwargs, result = decode(told, "gate")  # type: ignore[misc]  # the child's own pair
    except DecodeError:
        return {}, None
    return kwargs, result


class Gates:
    """The service that held children ask."""

    def asked(self, asker: Incarnation, question: Question) -> None:
        hold = asker.place.hold
        if hold is None:
            question.answer(None)
        else:
            hold.arrived(question)

    def gone(self, asker: Incarnation) -> None:
        if asker.place.hold is not None:
            asker.place.hold.gone()


class Gate:
    """A held child at one phase: ``async with OnStart(handle) as gate: gate.add(value=3)``.

    Entering waits until the child stands there, before the hooks of the phase. Leaving lets it go on; leaving by an exception
    ends it, and the exception goes on.

    Args:
        handle: of a child that was added with ``hold=True``.
        timeout: seconds until it stands there; None without limit.

    Attributes:
        number: of the loop, from 1; 0 before the first.
        kwargs: the keyword arguments of the loop so far, those that could be sent.

    Raises:
        StateError: the child is not held, or is past this phase, also while it is waited for.
        TimeoutError: it did not come in time.
    """

    PHASE: ClassVar[str]

    def __init__(self, handle: Handle[Any], timeout: float | None = None) -> None:
        rule = (
            None if timeout is None or (isinstance(timeout, int | float) and timeout >= 0) else "must be >= 0 seconds, or None"
        )
        if rule is not None:
            raise SpecError([Fault(handle.path, "timeout", timeout, rule)])
        self._handle = handle
        self._timeout = timeout
        self._values: dict[str, Any] = {}
        self._left = False
        self.number: int = 0
        self.kwargs: Mapping[str, Any] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._handle.path}, loop {self.number}>"

    @property
    def phase(self) -> Phase:
        """The phase that it belongs to."""
        return Phase(self.PHASE)

    def add(self, **values: Any) -> None:
        """Add keyword arguments: of OnStart for every loop, of BeforeLoop for this one. They win over what hooks add.

        Raises:
            EncodeError: a value cannot be sent to the child. StateError: the gate has been left.
        """
        if self._left:
            raise StateError(f"node {self._handle.path}: its {self.PHASE} gate has been left, nothing can be added to it")
        if self._handle.spec._asyncproc.kind == kinds.PROCESS:
            for name, value in values.items():
                encode(value, f"{name} of the {self.PHASE} gate of {self._handle.path}")
        self._values.update(values)

    async def __aenter__(self) -> Self:
        hold = hold_of(self._handle, type(self).__name__)
        await self._come(hold)
        hold.entered = True
        self.number, self.kwargs = hold.number, hold.kwargs
        return self

    async def _come(self, hold: Hold) -> None:
        handle, phase = self._handle, self.PHASE
        if hold.is_past(phase):
            raise self._past(hold)
        if hold.stepping is not None:
            if phase != BEFORE_LOOP:
                raise StateError(
                    f"node {handle.path}: stands before loop {hold.number} for steps(): ask that for the next first"
                )
            hold.abandon()
        if hold.stands_at(phase):
            return
        if phase == ON_START and handle.state is State.CREATED:
            hold.begin()
            handle._supervisor.demand(RunAsked(handle._place.id))
        hold.wanted += 1
        try:
            async with asyncio.timeout(self._timeout):
                while not (hold.stands_at(phase) or hold.is_past(phase)):  # again when another task was first
                    await handle._supervisor.until(handle._place, lambda: hold.stands_at(phase) or hold.is_past(phase))
        except TimeoutError:
            raise TimeoutError(f"node {handle.path}: did not come to {phase} within {self._timeout} s") from None
        except asyncio.CancelledError:
            await self._end_child()  # nobody is left who would let it go on
            raise
        finally:
            hold.wanted -= 1
        if not hold.stands_at(phase):
            raise self._past(hold)

    def _past(self, hold: Hold) -> StateError:
        place, exit = self._handle._place, self._handle.exit
        if not place.view.finished or exit is None:
            return StateError(f"node {place.path}: is past {self.PHASE}, it is in {hold.phase or self._handle.state.value}")
        place.awaited = True  # who reads this is told how it ended
        error = StateError(f"node {place.path}: is past {self.PHASE}, it has ended: {exit.explain()}")
        error.__cause__ = exit.error
        return error

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        hold = hold_of(self._handle, type(self).__name__)
        if error is None:
            hold.leave(self._leave())
        else:
            await self._end_child()

    def _leave(self) -> Mapping[str, Any]:
        """What goes on with the child."""
        self._left = True
        return self._values

    async def _end_child(self) -> None:
        await end_place(self._handle._supervisor, self._handle._place, f"its {type(self).__name__} gate, left by an exception")


class OnStart(Gate):
    """Starts a held child and holds it before OnStart; what is added joins every loop's keyword arguments."""

    PHASE = ON_START


class BeforeLoop(Gate):
    """Holds the child before a loop; what is added joins this loop's keyword arguments."""

    PHASE = BEFORE_LOOP


class AfterLoop(Gate):
    """Holds the child after a loop.

    Args:
        add_for_next: whether what is added joins the next loop's keyword arguments; else it is dropped.

    Attributes:
        result: what the loop returned.
    """

    PHASE = AFTER_LOOP

    def __init__(self, handle: Handle[Any], timeout: float | None = None, *, add_for_next: bool = False) -> None:
        super().__init__(handle, timeout)
        self._add_for_next = add_for_next
        self.result: Any = None

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self.result = hold_of(self._handle, "AfterLoop").result
        return self

    def _leave(self) -> Mapping[str, Any]:
        values = super()._leave()
        return values if self._add_for_next else {}


class OnFinish(Gate):
    """Holds the child before OnFinish."""

    PHASE = ON_FINISH


async def next_step(handle: Handle[Any], last: BeforeLoop | None) -> BeforeLoop | None:
    """Let a held child run the loop that it stands before, and wait until it stands before the next; None when none comes."""
    hold = hold_of(handle, "steps()")
    if last is None and handle.state is State.CREATED:
        raise StateError(f"node {handle.path}: has not started: enter its OnStart gate first")
    if last is not None:
        hold.leave(last._leave())
    else:
        hold.abandon()
    await _wait_for_loop(handle, hold)
    if hold.stands_at(BEFORE_LOOP):
        gate = await BeforeLoop(handle).__aenter__()
        hold.stepping = gate
        return gate
    hold.lenient = True
    if handle._place.awaited and hold.stands_at(ON_FINISH):
        hold.let_go()
    return None


async def _wait_for_loop(handle: Handle[Any], hold: Hold) -> None:
    """Wait until it stands before a loop, or none comes; AfterLoop is passed."""
    hold.stepped = True

    def arrived() -> bool:
        return hold.stands_at(BEFORE_LOOP, ON_FINISH) or hold.is_past(BEFORE_LOOP)

    try:
        while not arrived():  # a gate that waited as well may have been first, whatever has woken us
            await handle._supervisor.until(handle._place, lambda: hold.stands_at(AFTER_LOOP) or arrived())
            if hold.stands_at(AFTER_LOOP):
                hold.leave({})
    except asyncio.CancelledError:
        await BeforeLoop(handle)._end_child()  # nobody is left who would let it go on
        raise
    finally:
        hold.stepped = False


def hold_of(handle: Handle[Any], who: str) -> Hold:
    """How a child is held.

    Raises:
        StateError: it is not.
    """
    hold = handle._place.hold
    if hold is None:
        raise StateError(f"node {handle.path}: is not held, {who} needs manager.add(spec, hold=True)")
    return hold
