"""Wishes of the tree machine, in the imperative. Whoever performs one that takes time reports exactly one event."""

from __future__ import annotations

from enum import Enum
from typing import TypeAlias

from asyncproc._core.exit import Exit
from asyncproc._core.supervision.event import NodeId, Timer
from asyncproc._core.supervision.state import State
from asyncproc._core.value import Value


class Rung(Enum):
    """One step of the ladder."""

    FINISH = "finish"  # end your current work, however long it takes
    ASK = "ask"  # the message (Python children, threads, coroutines) or the stop signal (commands)
    TERM = "term"  # SIGTERM and SIGCONT
    KILL = "kill"  # SIGKILL to the group, then to the tree


Slots: TypeAlias = "tuple[tuple[str, float, tuple[int, ...]], ...]"
"""What a node holds of resources: name, amount, and the numbers of its slots, of those that have numbers."""


class Start(Value):
    """Make the leaf. Ends in Spawned (then Readied, Exited) or at once in Exited."""

    node: NodeId
    incarnation: int
    round: int
    slots: Slots = ()


class Stop(Value):
    """Take one rung of the ladder. Takes no time; the end shows as Exited."""

    node: NodeId
    incarnation: int
    rung: Rung


class Pause(Value):
    """Let the leaf stand still. Takes no time."""

    node: NodeId
    incarnation: int


class Resume(Value):
    """Let the leaf go on. Takes no time."""

    node: NodeId
    incarnation: int


class Abandon(Value):
    """Give the leaf up: it did not end after its ladder. Ends in Exited, at once, with ``killed`` True."""

    node: NodeId
    incarnation: int


class Wait(Value):
    """Report TimerFired at *at* (the machine's clock). Firing late or in vain does no harm.

    Attributes:
        latest: with it, any time from *at* to then, drawn by whoever performs this.
    """

    node: NodeId
    incarnation: int
    timer: Timer
    serial: int
    at: float
    latest: float | None = None


class AwaitDue(Value):
    """Tell when the next time has come at which the node is to run by its schedule. Ends in one Due, however much later.

    One with a later *ticket* takes its place; nobody waits any more once the node has ended.
    """

    node: NodeId
    ticket: int


class Judge(Value):
    """Say by the owner's predicate whether the node is to be started again after *exit*. Ends in Judged, at once."""

    node: NodeId
    incarnation: int
    exit: Exit


class Move(Value):
    """The node has moved from one state to another: to be published. *exit* when it moved to ENDED or BACKOFF."""

    node: NodeId
    incarnation: int
    before: State
    after: State
    time: float
    exit: Exit | None = None


class Ready(Value):
    """The node is ready: a leaf that said so, a group whose members that start at once are. To be told to who waits."""

    node: NodeId
    incarnation: int


class Finish(Value):
    """The node has ended for good in this run: tell everyone who awaits it."""

    node: NodeId
    exit: Exit


Action: TypeAlias = Start | Stop | Pause | Resume | Abandon | Wait | AwaitDue | Judge | Move | Ready | Finish
