"""Where a node is in its life, and the table of legal moves. The diagram in the docs is printed from the table."""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """Where a node is in its life."""

    CREATED = "created"
    WAITING = "waiting"
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    BACKOFF = "backoff"
    STOPPING = "stopping"
    ENDED = "ended"


MOVES: dict[State, frozenset[State]] = {
    # WAITING: its turn, its group's limit or the next round has not come.
    State.CREATED: frozenset({State.WAITING, State.STARTING, State.ENDED}),
    State.WAITING: frozenset({State.STARTING, State.ENDED}),
    State.STARTING: frozenset({State.RUNNING, State.STOPPING, State.BACKOFF, State.ENDED}),
    State.RUNNING: frozenset({State.PAUSED, State.STOPPING, State.BACKOFF, State.ENDED}),
    State.PAUSED: frozenset({State.RUNNING, State.STOPPING, State.BACKOFF, State.ENDED}),
    # BACKOFF: it has ended, and is to be started again.
    State.STOPPING: frozenset({State.BACKOFF, State.ENDED}),
    State.BACKOFF: frozenset({State.STARTING, State.WAITING, State.ENDED}),
    # The next round, the next run of the same tree, or a restart with its group or by hand.
    State.ENDED: frozenset({State.WAITING, State.STARTING}),
}


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    moves = [f"    {before.value} --> {after.value}" for before in State for after in State if after in MOVES[before]]
    return "\n".join(["stateDiagram-v2", "    [*] --> created", *moves])
