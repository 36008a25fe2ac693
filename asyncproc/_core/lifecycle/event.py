"""Facts that the lifecycle machine is told, in the past tense. None carries anything: each is one object.

Every child imports this, so there is neither ``enum`` nor ``dataclasses`` here: those cost a fresh process 10 ms.
"""

from __future__ import annotations


class Event:
    """One fact."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


BEGUN = Event("BEGUN")
"""The child is there, and nothing of it has run."""
RETURNED = Event("RETURNED")
"""What was wished has been done, and well."""
FAILED = Event("FAILED")
"""It ended by an exception, or by its limit: what a retry is for."""
CUT = Event("CUT")
"""It ended by what is no failure of its own: a cancellation, a stop, an exit."""
FORCED = Event("FORCED")
"""It called ``force_finish()``."""
CLOSE_ASKED = Event("CLOSE_ASKED")
"""Somebody wants the child to end after its present loop: ``rejoin()``, ``stop(grace=None)``, ``join_in``."""
STOP_ASKED = Event("STOP_ASKED")
"""Somebody wants the child to end: after its present loop if it loops, else at once."""
TIME_UP = Event("TIME_UP")
"""The limit of the phase that runs has passed."""

DISMISSED = Event("DISMISSED")
"""Its parent, who held it before a loop or before all, has let it go to its end."""

EVENTS = (BEGUN, RETURNED, FAILED, CUT, FORCED, CLOSE_ASKED, STOP_ASKED, TIME_UP, DISMISSED)
