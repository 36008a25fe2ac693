"""How a node ended, as data.

An :class:`Exit` is a value: it is raised (as one of :mod:`asyncproc.errors`) only where somebody awaits the node.
"""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import TYPE_CHECKING

from asyncproc._core.value import Value

if TYPE_CHECKING:
    from signal import Signals


class Reason(Enum):
    """Why a node ended, classed by intent: what was asked for is *stopped*, everything unasked is not."""

    FINISHED = "finished"
    STOPPED = "stopped"
    CRASHED = "crashed"
    LOST = "lost"
    TIMED_OUT = "timed_out"
    UNHEALTHY = "unhealthy"
    OUT_OF_MEMORY = "out_of_memory"
    SKIPPED = "skipped"


class Phase(StrEnum):
    """Where in its life a child's code stands."""

    ON_START = "on_start"
    BEFORE_LOOP = "before_loop"
    LOOP = "loop"
    AFTER_LOOP = "after_loop"
    ON_FINISH = "on_finish"


class Exit(Value):
    """How one incarnation of a node ended.

    Attributes:
        path: the node's path, e.g. ``app/build/index``.
        incarnation: which run of the node this was, from 1; 0 when it never ran.
        reason: why it ended.
        pid: its process, None for what has none.
        code: exit code of the process; None when a signal ended it or there was no process.
        signal: the signal that ended the process, or None.
        killed: True when we had to end it by SIGKILL (or gave it up, for a thread).
        error: the exception that ended it, already rebuilt here; None without one.
        phase: the phase in which *error* was raised.
        loop: the loop in which *error* was raised, from 1.
        duration: seconds from start to end.
        cpu: user and system seconds of the process and its reaped children.
        peak_memory: bytes of resident memory at the peak.
        stderr_tail: the last lines of its standard error, if they were captured.
        stacks: where its threads and tasks stood when it was found unhealthy, as far as that could be seen.
        asked_by: who asked for the end, e.g. ``"manager.stop()"``, or what was found amiss; None when nobody did.
    """

    path: str
    incarnation: int
    reason: Reason
    pid: int | None = None
    code: int | None = None
    signal: Signals | None = None
    killed: bool = False
    error: BaseException | None = None
    phase: Phase | None = None
    loop: int | None = None
    duration: float = 0.0
    cpu: float = 0.0
    peak_memory: int = 0
    stderr_tail: str = ""
    asked_by: str | None = None
    stacks: str = ""

    @property
    def ok(self) -> bool:
        """Whether it finished, or was stopped without having been cut off."""
        if self.reason is Reason.FINISHED:
            return True
        return self.reason is Reason.STOPPED and not self.cut_off

    @property
    def cut_off(self) -> bool:
        """Whether it ended before its work did: killed, ended by a signal, or by an exception."""
        return self.killed or self.signal is not None or self.error is not None

    @property
    def failed(self) -> bool:
        """Whether this end is a failure of the node: neither well, nor asked for, nor skipped."""
        return self.reason not in (Reason.FINISHED, Reason.STOPPED, Reason.SKIPPED)

    def explain(self) -> str:
        """One line that answers "why did it end": cause, signal or exception, last stderr line, peak memory."""
        parts = [f"{self.path} {_VERB[self.reason]}"]
        if self.asked_by:
            parts.append(f"{_BY.get(self.reason, '')}{self.asked_by}")
        if self.killed:
            parts.append("had to be killed")
        # How a child obeys that is asked to end is no news: a cancellation, a code of its own.
        obeyed = self.reason is Reason.STOPPED and not self.killed and type(self.error).__name__ in ("NoneType", *_OBEYED)
        if self.signal is not None:
            parts.append(f"by signal {self.signal.name}")
        elif self.code is not None and (self.code or self.failed) and not obeyed:
            parts.append(f"with code {self.code}")
        if self.error is not None and not obeyed:
            parts.append(f"{type(self.error).__name__}: {_first_line(self.error)}".rstrip(": "))
        if self.phase is not None and self.phase is not Phase.LOOP:
            parts.append(f"in {self.phase.value}")
        if self.loop is not None and self.loop > 1:
            parts.append(f"in loop {self.loop}")
        last = _last_line(self.stderr_tail)
        if last and self.failed and self.error is None:
            parts.append(f"last words: {last}")
        if self.incarnation:
            parts.append(f"after {self.duration:.2f} s")
        if self.peak_memory:
            parts.append(f"peak {self.peak_memory / 2**20:.0f} MiB")
        return ", ".join(parts)


_VERB = {
    Reason.FINISHED: "finished",
    Reason.STOPPED: "was stopped",
    Reason.CRASHED: "crashed",
    Reason.LOST: "was lost",
    Reason.TIMED_OUT: "ran out of time",
    Reason.UNHEALTHY: "was unhealthy",
    Reason.OUT_OF_MEMORY: "ran out of memory",
    Reason.SKIPPED: "was skipped",
}


_BY = {Reason.STOPPED: "asked by ", Reason.SKIPPED: "because of "}
"""What stands before ``asked_by``; for what we found amiss ourselves it says by itself what that was."""

_OBEYED = ("CancelledError", "Stopping")


def _first_line(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:  # a user's __str__ may raise; explaining an end must not
        return ""
    return text.strip().split("\n", 1)[0][:200]


def _last_line(text: str) -> str:
    lines = text.rstrip().split("\n")
    fatal = [line for line in lines if line.startswith("Fatal Python error: ")]  # of the interpreter; its stack follows
    return (fatal or lines)[-1].strip()[:200]
