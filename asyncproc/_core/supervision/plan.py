"""What the tree machine must know of a spec: shape, order, limits and how each part is stopped; nothing of its work."""

from __future__ import annotations

from enum import Enum

from asyncproc._core.backoff import Backoff
from asyncproc._core.value import Value


class Kind(Enum):
    """The shape of a node."""

    LEAF = "leaf"
    SEQUENTIAL = "sequential"
    CONCURRENT = "concurrent"
    SUPERVISOR = "supervisor"


class Restart(Enum):
    """After which ends a node is started again. An end that somebody asked for is none of them."""

    PERMANENT = "permanent"  # after each
    TRANSIENT = "transient"  # after a failure
    TEMPORARY = "temporary"  # after none, not even with its group
    JUDGED = "judged"  # as the owner's predicate says of each Exit


class Strategy(Enum):
    """Which members of a supervisor are started again with one of them."""

    ONE_FOR_ONE = "one_for_one"
    ONE_FOR_ALL = "one_for_all"
    REST_FOR_ONE = "rest_for_one"  # those that need it, directly or not; without ``needs``: those that stand after it


class AtLimit(Enum):
    """What becomes of a supervisor when one member has failed too often."""

    ESCALATE = "escalate"  # it stops all, and fails
    STAY = "stay"  # the member stays ended, the others go on
    PAUSE = "pause"  # the member waits for a period, then its failures are forgotten


class AutoShutdown(Enum):
    """Which essential members must have ended for their supervisor to end."""

    ANY = "any"
    ALL = "all"


class Overlap(Enum):
    """What a due time means for a node with a schedule that runs."""

    SKIP = "skip"  # nothing
    QUEUE = "queue"  # it runs once more when it has ended, however many have come
    RESTART = "restart"  # it is ended, and runs anew


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
        says_ready: whether an end before it was ready is a failed start, however well it was; leaves only.
        held: whether its start waits for its parent, so that ``start_timeout`` begins when it is released.
        limit: members that run at once, None for all; CONCURRENT only.
        continues: whether the members go on when one has failed.
        restart: after which ends it is started again.
        backoff: how long after them; None at once.
        needs: names of the siblings that are ready before it starts, and end after it; members of a SUPERVISOR only.
        essential: whether its end for good is its supervisor's.
        resources: names and amounts of what it holds while it lives, and waits for before.
        strategy: whom else a restart concerns; SUPERVISOR only.
        intensity: failures of its members, of a member of another kind of group its own, that are followed by a restart
            within *period*; one more is the limit. None without limit.
        period: seconds; a failure that is exactly as old still counts.
        at_limit: what happens then; SUPERVISOR only.
        auto_shutdown: which essential members end it; SUPERVISOR only.
        overlap: of a node with a schedule, what a due time means while it runs; None for one without.
        at_once: whether the first run of one with a schedule is at its turn; else that waits for a due time, too.
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
    says_ready: bool = False
    held: bool = False
    restart: Restart = Restart.TEMPORARY
    backoff: Backoff | None = None
    needs: tuple[str, ...] = ()
    essential: bool = False
    resources: tuple[tuple[str, float], ...] = ()
    strategy: Strategy = Strategy.ONE_FOR_ONE
    intensity: int | None = 3
    period: float = 30.0
    at_limit: AtLimit = AtLimit.ESCALATE
    auto_shutdown: AutoShutdown = AutoShutdown.ANY
    overlap: Overlap | None = None
    at_once: bool = True

    @property
    def size(self) -> int:
        """Nodes in this subtree, itself included."""
        return 1 + sum(member.size for member in self.members)
