"""How one child, or the owner, gets at the state: its line, its mirror, and which of its tasks and threads are inside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asyncproc._ipc.frame import NAMESPACE
from asyncproc._shared.here import here, runs_a_loop
from asyncproc._shared.mirror import Mirror
from asyncproc._shared.shape import shape_of
from asyncproc.errors import ChannelBroken, Fault, SpecError, StateError, TimedOut

if TYPE_CHECKING:
    from asyncproc._shared.reading import Asks

PATIENCE = 3600.0
"""Seconds that plain code waits for an answer that is sure to come, before it takes the manager for lost. Who waits without any
limit is interrupted by a stop, which a change that is on its way must not be."""


class Access:
    """Shared by every :class:`~asyncproc._shared.namespace.Namespace` of one child."""

    def __init__(self, line: Asks) -> None:
        self.line = line
        self._mirror: Mirror | None = None
        self._inside: set[object] = set()

    # --- opening ----------------------------------------------------------------------------------------------------------

    def mirror(self) -> Mirror:
        """The copy of the state; the first call asks the manager for it, on the spot."""
        return self._mirror or self._open(self.line.ask_at_once(NAMESPACE, ("open",)))

    async def mirror_async(self) -> Mirror:
        """The same; the first call awaits the manager."""
        return self._mirror or self._open(await self.line.ask(NAMESPACE, ("open",)))

    def _open(self, found: Any) -> Mirror:
        board, kind, names, node = found
        if self._mirror is None:
            self._mirror = Mirror(self.line, shape_of(kind, names, node), board)
        return self._mirror

    # --- asking -----------------------------------------------------------------------------------------------------------

    async def ask(self, word: str, token: int, *rest: Any) -> Any:
        """Ask under a token; whatever ends the wait gives it up."""
        try:
            return await self.line.ask(NAMESPACE, (word, token, *rest))
        except BaseException:
            self.tell("give_up", token)
            raise

    def ask_blocking(self, word: str, token: int, *rest: Any, timeout: float | None = None) -> Any:
        """The same without a loop. A stop interrupts a wait without limit, but not what is done after it was heard."""
        if timeout is None and self.line.stopping:
            timeout = PATIENCE
        try:
            return self.line.ask_blocking(NAMESPACE, (word, token, *rest), timeout)
        except BaseException:
            self.tell("give_up", token)
            raise

    def tell(self, word: str, token: int) -> None:
        """Say that something is over; nobody waits."""
        try:
            self.line.ask_nowait(NAMESPACE, (word, token))
        except ChannelBroken:  # and with the manager all that it holds for us
            pass

    def timed_out(self, timeout: float | None) -> TimedOut:
        node = "?" if self._mirror is None else self._mirror.shape.node
        return TimedOut(f"namespace of {node}: another transaction was open for {timeout} s", "namespace")

    # --- who is inside ----------------------------------------------------------------------------------------------------

    def refuse_inside(self) -> None:
        """Raise StateError where this task or thread would wait for itself."""
        if here() in self._inside:
            raise StateError("a transaction of this namespace is open here already: change its state, or leave it first")

    def enter(self) -> object:
        """Note that this task or thread has a transaction; returns what :meth:`leave` needs."""
        self.refuse_inside()
        where = here()
        self._inside.add(where)
        return where

    def leave(self, where: object) -> None:
        self._inside.discard(where)


def check_timeout(timeout: float | None) -> float | None:
    """The same; raises SpecError for what is no number of seconds."""
    good = timeout is None or (isinstance(timeout, int | float) and not isinstance(timeout, bool) and timeout >= 0)
    if not good:
        raise SpecError([Fault("namespace", "timeout", timeout, "must be seconds >= 0, or None")])
    return timeout


def refuse_on_a_loop() -> None:
    """Raise StateError where a blocking call would stop a loop."""
    if runs_a_loop():
        raise StateError("namespace.sync blocks, and this thread runs an event loop: use the same call without .sync")
