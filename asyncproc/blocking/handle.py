"""Handles for code without a loop."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Self, cast

from asyncproc._core.exit import Exit, Phase
from asyncproc._core.results import Results
from asyncproc._core.supervision.state import State
from asyncproc._spec.base import Spec
from asyncproc._supervision.group import Group as AsyncGroup
from asyncproc._supervision.handle import Handle as AsyncHandle
from asyncproc.blocking.face import Face, asked, awaited, iterated
from asyncproc.blocking.portal import Portal

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    T_co = TypeVar("T_co", default=Any, covariant=True)
else:
    from typing import TypeVar

    T_co = TypeVar("T_co", covariant=True)


class Handle(Face, Generic[T_co]):
    """A node that runs, has run or will run: :class:`asyncproc.Handle` for code without a loop.

    Any thread may use it, any number of them at once, also after the node has ended and its manager is closed. *timeout* is in
    seconds; a TimeoutError ends the waiting only, and so does Ctrl-C. ``with handle`` stops it on leaving.
    """

    __slots__ = ("_inner", "_portal")

    _NOUN = "handle"
    _inner: AsyncHandle[T_co]

    def __init__(self, inner: AsyncHandle[T_co], portal: Portal | None) -> None:
        self._inner = inner
        self._portal = portal

    def __repr__(self) -> str:
        return f"<blocking.{repr(self._inner)[1:]}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Handle) and bool(other._inner == self._inner)

    def __hash__(self) -> int:
        return hash(self._inner)

    @property
    def _where(self) -> str:
        return f"node {self.path}, {self.state.value}"

    # --- what it is: read where it stands, without a word to the loop -----------------------------------------------------

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self._inner.name

    @property
    def path(self) -> str:
        """Names from the manager's on, joined by ``/``."""
        return self._inner.path

    @property
    def state(self) -> State:
        """Where it is in its life."""
        return self._inner.state

    @property
    def phase(self) -> Phase | None:
        """The phase that it is known to be in; None for a group, a command, and what does not run."""
        return self._inner.phase

    @property
    def ready(self) -> bool:
        """Whether the present incarnation is, or was, ready."""
        return self._inner.ready

    @property
    def pid(self) -> int | None:
        """The process of the present or last incarnation; None without one."""
        return self._inner.pid

    @property
    def incarnation(self) -> int:
        """Which run of the node this is, from 1; 0 before the first."""
        return self._inner.incarnation

    @property
    def round(self) -> int:
        """Which pass through the tree this is, from 1; 0 before the first."""
        return self._inner.round

    @property
    def exit(self) -> Exit | None:
        """How the last incarnation ended; None before."""
        return self._inner.exit

    @property
    def failures(self) -> Sequence[Exit]:
        """Of a node that was given up because it reached the limit of its restarts: the failures that counted, oldest first."""
        return self._inner.failures

    @property
    def missed(self) -> Sequence[str]:
        """The names of the resources that it waits for, in state WAITING; empty when it waits for none."""
        return self._inner.missed

    @property
    def restart_at(self) -> float | None:
        """When it will be started again, the manager's clock (seconds); None when it does not wait for that."""
        return self._inner.restart_at

    @property
    def spec(self) -> Spec[T_co]:
        """What it was made from."""
        return self._inner.spec

    # --- waiting --------------------------------------------------------------------------------------------------------

    def result(self, timeout: float | None = None) -> T_co:
        """What awaiting the async handle gives: the node's result, or its own exception."""
        return self._await("result()", self._outcome, timeout=timeout, spelling="await handle")

    async def _outcome(self) -> T_co:
        return await self._inner

    def wait(self, timeout: float | None = None) -> Exit:
        """How it ended for good, when it has; never raises for that."""
        return self._await("wait()", self._inner.wait, timeout=timeout)

    def wait_ready(self, timeout: float | None = None) -> None:
        """Wait until it is ready; ending well before counts.

        Raises:
            StartFailed: it ended badly before; ``__cause__`` is its exception. ChildStopped: it was asked to end before.
        """
        self._await("wait_ready()", self._inner.wait_ready, timeout=timeout)

    def wait_for(self, *, state: State | None = None, incarnation: int | None = None, timeout: float | None = None) -> None:
        """Wait until the node has come to this state, or this incarnation.

        Raises:
            StateError: it has ended for good, and will not come there any more.
        """
        self._await("wait_for()", partial(self._inner.wait_for, state=state, incarnation=incarnation), timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if not self._is_foreign:
            self.stop()

    # --- ending ---------------------------------------------------------------------------------------------------------

    stop = awaited(AsyncHandle.stop)
    kill = awaited(AsyncHandle.kill)
    signal = asked(AsyncHandle.signal)
    rejoin = asked(AsyncHandle.rejoin)
    restart = awaited(AsyncHandle.restart)
    pause = awaited(AsyncHandle.pause)
    resume = awaited(AsyncHandle.resume)

    # --- its streams ----------------------------------------------------------------------------------------------------

    output = iterated(AsyncHandle.output)
    output_bytes = iterated(AsyncHandle.output_bytes)
    write = awaited(AsyncHandle.write)
    write_eof = awaited(AsyncHandle.write_eof)

    # --- its loops ------------------------------------------------------------------------------------------------------

    steps = iterated(AsyncHandle.steps)
    loop_report = awaited(AsyncHandle.loop_report)

    # --- messages -------------------------------------------------------------------------------------------------------

    def send(self, value: object, *, timeout: float | None = None) -> None:
        """Send *value* to the child, which takes it by ``current().sync.receive()``; after a TimeoutError nothing was sent.

        Raises:
            EncodeError: it cannot be sent; nothing was. EndOfChannel, ChannelBroken: the child has ended, well or not.
            StateError: it is a command or a group, which has no channel.
        """
        self._await("send()", partial(self._inner.send, value), timeout=timeout, ends=True)

    def receive(self, *, timeout: float | None = None) -> Any:
        """The next value that the child has sent; a TimeoutError loses none.

        Raises:
            DecodeError: this value cannot be rebuilt here. EndOfChannel, ChannelBroken: the child has ended, well or not.
            StateError: it is a command or a group, which has no channel.
        """
        return self._await("receive()", self._inner.receive, timeout=timeout, ends=True)

    # --- looking --------------------------------------------------------------------------------------------------------

    statistics = asked(AsyncHandle.statistics)
    stacks = awaited(AsyncHandle.stacks)
    events = iterated(AsyncHandle.events)


class Group(Handle[Results]):
    """A group that runs."""

    __slots__ = ()

    _inner: AsyncGroup

    @property
    def children(self) -> Sequence[Handle[Any]]:
        """The nodes directly below it, in order."""
        return [faced(child, self._portal) for child in self._ask("children", lambda: self._inner.children)]

    @property
    def running(self) -> int:
        """How many of them have not ended and have begun."""
        return self._ask("running", lambda: self._inner.running)

    @property
    def limit(self) -> int | None:
        """How many of its children live at once, of a Supervisor those that were started; None for all. It can be set."""
        return self._ask("limit", lambda: self._inner.limit)

    @limit.setter
    def limit(self, limit: int | None) -> None:
        self._ask("limit", lambda: setattr(self._inner, "limit", limit))

    def start(self, spec: Any, *, name: str | None = None, replace: bool = False, timeout: float | None = None) -> Handle[Any]:
        """Begin *spec* below this group and return when it is ready. As on the async one; a TimeoutError ends it."""
        start = partial(self._inner.start, spec, name=name, replace=replace)
        return faced(self._await("start()", start, timeout=timeout, ends=True), self._portal)

    remove = awaited(AsyncGroup.remove)
    scale = awaited(AsyncGroup.scale)
    rolling_restart = awaited(AsyncGroup.rolling_restart)
    wait_below = awaited(AsyncGroup.wait_below)
    wait_idle = awaited(AsyncGroup.wait_idle)


def faced(inner: AsyncHandle[T_co], portal: Portal | None) -> Handle[T_co]:
    """The blocking face of an async handle; equal for the same node."""
    if isinstance(inner, AsyncGroup):
        return cast("Handle[T_co]", Group(inner, portal))
    return Handle(inner, portal)
