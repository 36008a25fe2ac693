"""Wishes of the lifecycle machine, in the imperative. One that names a phase ends in RETURNED, FAILED, CUT or FORCED."""

from __future__ import annotations

ON_START, BEFORE_LOOP, LOOP, AFTER_LOOP, ON_FINISH = "on_start", "before_loop", "loop", "after_loop", "on_finish"
"""The phases, by the values of :class:`asyncproc.Phase`; that one is an enum, which a child does not pay for."""
PHASES = (ON_START, BEFORE_LOOP, LOOP, AFTER_LOOP, ON_FINISH)


class Action:
    """One wish.

    Attributes:
        phase: the phase that it belongs to; "" for none.
        unwinds: whether it only leaves what was entered, after an error.
    """

    __slots__ = ("name", "phase", "unwinds")

    def __init__(self, name: str, phase: str = "", unwinds: bool = False) -> None:
        self.name = name
        self.phase = phase
        self.unwinds = unwinds

    def __repr__(self) -> str:
        return self.name


START = Action("START", ON_START)
PREPARE = Action("PREPARE", BEFORE_LOOP)
RUN = Action("RUN", LOOP)
SETTLE = Action("SETTLE", AFTER_LOOP)
"""AfterLoop, and leave what BeforeLoop entered."""
UNWIND_LOOP = Action("UNWIND_LOOP", AFTER_LOOP, unwinds=True)
"""Leave what BeforeLoop entered, with the error."""
FINISH = Action("FINISH", ON_FINISH)
"""OnFinish, and leave what OnStart entered."""
UNWIND_START = Action("UNWIND_START", ON_FINISH, unwinds=True)
"""Leave what OnStart entered, with the error."""
TELL_READY = Action("TELL_READY")
INTERRUPT = Action("INTERRUPT")
"""Make the code that runs now end, if it can be made to."""
END = Action("END")

ACTIONS = (START, PREPARE, RUN, SETTLE, UNWIND_LOOP, FINISH, UNWIND_START, TELL_READY, INTERRUPT, END)
