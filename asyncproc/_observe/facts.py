"""What is told of a tree that is watched: facts, in the order in which they came. Whoever shows them decides how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from asyncproc._core.snapshot import Snapshot
    from asyncproc._core.transition import Transition


@dataclass(frozen=True, slots=True)
class Output:
    """Bytes that a node wrote, or (without a path) the program itself. stream: ``stdout`` or ``stderr``. at: when."""

    path: str
    stream: str
    data: bytes
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Dropped:
    """What did not fit while the writer was stuck: bytes of output of one node, or facts (then without a path)."""

    path: str
    count: int


@dataclass(frozen=True, slots=True)
class Moved:
    """A node has moved.

    Attributes:
        at: when, seconds of the epoch, as in all facts.
        kind: of the node, e.g. ``process``. pid: of its process, if it has one. round: which pass through the tree.
    """

    transition: Transition
    kind: str = ""
    pid: int | None = None
    round: int = 0
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Picture:
    """How a tree stands. tree: which one, when several are watched. taken: when, ``time.monotonic()``."""

    tree: int
    snapshot: Snapshot
    taken: float


@dataclass(frozen=True, slots=True)
class Signalled:
    """The program was asked to end.

    Attributes:
        name: of the signal. count: 1 stops, 2 kills. waiting: paths of what is being waited for.
    """

    name: str
    count: int
    waiting: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the whole run ended.

    Attributes:
        code: exit code of the command. text: one line. duration: seconds. signalled: whether a signal asked for the end.
        ended: how many nodes ended, of leaves alone. failed, skipped: explanations by path.
        values: results by path, of those that are plain data.
    """

    code: int
    text: str
    duration: float = 0.0
    signalled: bool = False
    ended: int = 0
    failed: Mapping[str, str] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, object] = field(default_factory=dict)


Fact: TypeAlias = Output | Dropped | Moved | Picture | Signalled | Outcome
