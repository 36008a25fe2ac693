"""What the tree machine must know of a spec: shape, order, limits and how each part is stopped; nothing of its work."""

from __future__ import annotations

from enum import Enum

from asyncproc._core.value import Value


class Kind(Enum):
    """The shape of a node."""

    LEAF = "leaf"
    SEQUENTIAL = "sequential"
    CONCURRENT = "concurrent"


class Ladder(Enum):
    """How a leaf is brought to its end, rung by rung, inside its grace."""

    PYTHON = "python"  # message; TERM when it did not acknowledge in 0.5 s, else 1 s before the end (or at half); KILL
    COMMAND = "command"  # its stop signal; KILL
    TASK = "task"  # as PYTHON, but what awaits is cancelled: a thread or a coroutine cannot be killed, only given up


class Plan(Value):
    """One node and everything below it, in the machine's terms.

    Attributes:
        name: last part of its path, unique among siblings.
        grace: seconds between asking and killing; 0 kills at once, None waits for ever.
        start_timeout: seconds until ready, None without limit; leaves only.
        timeout: seconds of one incarnation, None without limit.
        join_in: seconds of one incarnation after which it is to end after its current work, None without limit; leaves only.
        held: whether its start waits for its parent, so that ``start_timeout`` begins when it is released.
        limit: members that run at once, None for all; CONCURRENT only.
        continues: whether the members go on when one has failed.
    """

    name: str
    kind: Kind = Kind.LEAF
    members: tuple[Plan, ...] = ()
    ladder: Ladder = Ladder.PYTHON
    grace: float | None = 5.0
    start_timeout: float | None = 30.0
    timeout: float | None = None
    limit: int | None = None
    continues: bool = False
    join_in: float | None = None
    held: bool = False

    @property
    def size(self) -> int:
        """Nodes in this subtree, itself included."""
        return 1 + sum(member.size for member in self.members)
