"""What one node takes, and how often it was restarted: a reading of now."""

from __future__ import annotations

from asyncproc._core.value import Value


class Stats(Value):
    """A reading of one node; None where something is not known, or where the node does not run.

    Attributes:
        cpu: user and system seconds of its process and of what that has reaped; of a thread its own.
        memory: bytes of its process, what it shares with others counted in part (PSS); resident bytes where that is not told.
        threads: of its process; of a thread itself and those that it has in the background.
        uptime: seconds since its present incarnation began; 0.0 when none runs.
        restarts: how often it was started again.
        restart_at: when it will be, monotonic seconds; None when nothing is planned.
        current_loop: the loop that it is in, from 1; of a process it is known when it has a heartbeat (as of its last beat) or
            is held by its parent.
        misses: how often its present incarnation was found late with a beat, by more than half of its ``heartbeat``.
    """

    cpu: float | None = None
    memory: int | None = None
    threads: int | None = None
    uptime: float = 0.0
    restarts: int = 0
    restart_at: float | None = None
    current_loop: int | None = None
    misses: int = 0
