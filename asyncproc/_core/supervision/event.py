"""Facts that the tree machine is told, in the past tense.

Every event about a leaf names its incarnation: one that speaks of an earlier incarnation is dropped in one place.
"""

from __future__ import annotations

from enum import Enum
from typing import NewType, TypeAlias

from asyncproc._core.exit import Exit, Reason
from asyncproc._core.supervision.plan import Plan
from asyncproc._core.value import Value

NodeId = NewType("NodeId", int)


class Timer(Enum):
    """What a timer is for."""

    START = "start"  # not ready in time
    TIMEOUT = "timeout"  # one incarnation took too long
    RUNG = "rung"  # the next rung of the ladder
    JOIN = "join"  # it has run as long as it was to
    OVERDUE = "overdue"  # and has not ended within its grace since
    REAP = "reap"  # killed, and still not reported as ended
    BACKOFF = "backoff"  # the next start


class Added(Value):
    """A subtree joined the tree below *parent* (None: it is the root). Its nodes are numbered from *node*, in preorder.

    Attributes:
        joins: whether it becomes a member of its parent, a SUPERVISOR, rather than a node of its own below it.
    """

    node: NodeId
    parent: NodeId | None
    plan: Plan
    joins: bool = False


class RunAsked(Value):
    """Somebody wants *node* (CREATED or ENDED) to run *rounds* times (None: until stopped).

    *binding* False: members of a CONCURRENT node begin their next round without waiting for each other.
    """

    node: NodeId
    rounds: int | None = 1
    binding: bool = True


class Spawned(Value):
    """The leaf exists."""

    node: NodeId
    incarnation: int
    pid: int | None


class Readied(Value):
    """The leaf is ready to do its work."""

    node: NodeId
    incarnation: int


class Unreadied(Value):
    """The leaf runs, but was asked again and cannot do its work now. Readied when it can."""

    node: NodeId
    incarnation: int


class Released(Value):
    """The parent has let the leaf go that it held at its first phase: from now on its start takes its own time."""

    node: NodeId
    incarnation: int


class Acknowledged(Value):
    """The leaf has heard that it should end."""

    node: NodeId
    incarnation: int


class Exited(Value):
    """The leaf is gone (or could not be made). *exit* says what was seen; the machine classes it by intent."""

    node: NodeId
    incarnation: int
    exit: Exit


class Condemned(Value):
    """The leaf lives, but not as it should: it is to be ended for *reason* (UNHEALTHY, OUT_OF_MEMORY), which is a failure.

    Attributes:
        why: what was found, for people; it becomes the exit's ``asked_by``.
    """

    node: NodeId
    incarnation: int
    reason: Reason
    why: str


class Judged(Value):
    """The owner's predicate has said whether the node, in BACKOFF, is to be started again."""

    node: NodeId
    incarnation: int
    again: bool


class Due(Value):
    """A time has come at which the node is to run by its schedule."""

    node: NodeId
    ticket: int


class RestartAsked(Value):
    """Somebody wants a new incarnation of the node: one that lives is ended first, one that waits for its time need not.

    One that rests until its next due time need not either. It counts for no limit. A node that has ended, and whose supervisor
    runs, takes part in it again; any other runs by itself.
    """

    node: NodeId
    by: str


class PauseAsked(Value):
    """Somebody wants what runs in the subtree to stand still; what starts there meanwhile does so once it is ready."""

    node: NodeId


class ResumeAsked(Value):
    """Somebody wants the paused subtree to go on."""

    node: NodeId


class LimitSet(Value):
    """From now on so many children of the group live at once, None for all; those that live go on."""

    node: NodeId
    limit: int | None


class StopAsked(Value):
    """Somebody wants the subtree to end: what runs gets the ladder, what does not run is skipped.

    Attributes:
        grace: seconds that replace each node's own; None: each ends its current work, however long; OWN: its own.
        by: who asked, for people.
    """

    node: NodeId
    grace: float | None
    by: str


OWN = -1.0
"""The *grace* of a :class:`StopAsked` that leaves every node its own."""


class KillAsked(Value):
    """Somebody wants the subtree to end now."""

    node: NodeId
    by: str


class TimerFired(Value):
    """The time of a :class:`~asyncproc._core.supervision.action.Wait` has come."""

    node: NodeId
    incarnation: int
    timer: Timer
    serial: int


class Forgotten(Value):
    """An ended subtree that nobody holds may leave the tree."""

    node: NodeId


Event: TypeAlias = (
    Added
    | RunAsked
    | RestartAsked
    | PauseAsked
    | ResumeAsked
    | LimitSet
    | StopAsked
    | KillAsked
    | Spawned
    | Released
    | Readied
    | Unreadied
    | Acknowledged
    | Condemned
    | Exited
    | Judged
    | Due
    | TimerFired
    | Forgotten
)
