"""What a stop did."""

from __future__ import annotations

from asyncproc._core.value import Value


class StopReport(Value):
    """How the children that ran when somebody asked for their end have ended.

    Attributes:
        ended: paths of those that ended in time. killed: of those that had to be killed.
        left: of those that could not be ended and were given up (a thread that does not listen). duration: seconds.
    """

    ended: tuple[str, ...]
    killed: tuple[str, ...]
    left: tuple[str, ...]
    duration: float
