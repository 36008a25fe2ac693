"""A node of the tree machine as others may see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from asyncproc._core.exit import Exit
    from asyncproc._core.supervision.event import NodeId
    from asyncproc._core.supervision.plan import Plan
    from asyncproc._core.supervision.state import State


class NodeView(Protocol):
    """A node as others may see it: always the present, never to be written."""

    @property
    def id(self) -> NodeId: ...
    @property
    def plan(self) -> Plan: ...
    @property
    def name(self) -> str:
        """The last part of its path."""

    @property
    def parent(self) -> NodeId | None: ...
    @property
    def children(self) -> tuple[NodeId, ...]:
        """The plan's members in its order, then what was added, in order of start. Made anew at each reading."""

    @property
    def state(self) -> State: ...
    @property
    def since(self) -> float:
        """When it came into this state, the machine's clock; 0.0 while CREATED."""

    @property
    def begun(self) -> float:
        """When its last incarnation began, the machine's clock; 0.0 before the first."""

    @property
    def incarnation(self) -> int:
        """Of its last incarnation, from 1; 0 before the first."""

    @property
    def round(self) -> int:
        """The round that it is in, waits for or has ended, from 1; 0 before the first."""

    @property
    def ready(self) -> bool:
        """Whether this incarnation has been ready."""

    @property
    def pid(self) -> int | None:
        """While it lives; None for what has no process."""

    @property
    def exit(self) -> Exit | None:
        """How it last ended (or was skipped); None before."""

    @property
    def idle(self) -> bool:
        """Whether a new run may have it."""

    @property
    def ending(self) -> bool:
        """Whether it lives and is to end, though its turn to be told may not have come: nothing begins below it."""

    @property
    def finished(self) -> bool:
        """Whether it has ended for good: only another RunAsked, or a restart of its group, brings it back."""

    @property
    def asleep(self) -> bool:
        """Whether it rests until the next time at which it is to run by its schedule."""

    @property
    def out(self) -> bool:
        """Whether somebody has asked for its end in this run."""

    @property
    def deadline(self) -> float:
        """When what runs here is killed, the machine's clock; ``inf`` when it was not asked to end, or without end."""

    @property
    def limit(self) -> int | None:
        """How many of its children live at once, of a group; None for all."""

    @property
    def busy(self) -> int:
        """How many of its children have not ended and were asked to run, of a group."""

    @property
    def spent(self) -> tuple[Exit, ...]:
        """The failures, oldest first, after which it was given up because the limit was reached; empty otherwise."""

    @property
    def culprit(self) -> NodeId | None:
        """The member by whose end a supervisor ended."""
