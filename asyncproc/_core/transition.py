"""What is published of every move: the one stream that logs, pictures and users hang on."""

from __future__ import annotations

from asyncproc._core.exit import Exit
from asyncproc._core.supervision.state import State
from asyncproc._core.value import Value


class Transition(Value):
    """A node has moved from one state to another.

    Attributes:
        path: the node. incarnation: which run of it, from 1; 0 before the first.
        before, after: the states. time: monotonic seconds, the loop's clock. exit: how it ended, when *after* is ENDED.
    """

    path: str
    incarnation: int
    before: State
    after: State
    time: float
    exit: Exit | None = None
