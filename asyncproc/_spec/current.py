"""What a child knows of itself: ``current()``.

The same object in a process, a thread and a coroutine. What differs, how a value travels and how a stop is heard, is the
:class:`Line` that the runtime hands over. Imported in every child, so it loads nothing heavy.
"""

from __future__ import annotations

import os
import sys
from _contextvars import ContextVar
from _thread import allocate_lock

from asyncproc.errors import Fault, SpecError, StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    import threading
    from collections.abc import Callable
    from typing import Any, Never, Protocol, TypeVarTuple, Unpack

    from asyncproc._core.lifecycle.arguments import Arguments
    from asyncproc._core.lifecycle.loop_times import LoopReport
    from asyncproc._core.lifecycle.machine import LifecycleMachine

    Ts = TypeVarTuple("Ts")

    class Player(Protocol):
        """Who has a life, or makes one for whoever asks: most children never do."""

        @property
        def life(self) -> Life: ...

    class Life(Protocol):
        """The way of a child through its phases; see :mod:`asyncproc._runtime.lifecycle`."""

        machine: LifecycleMachine
        arguments: Arguments
        last_result: Any
        error: BaseException | None

        def rejoin(self) -> None: ...
        def ready(self) -> None: ...
        def background(
            self, target: Callable[..., Any], args: tuple[Any, ...], name: str | None, loops: int | None
        ) -> threading.Thread: ...

    from asyncproc._shared.namespace import BlockingNamespace, Namespace

    class Line(Protocol):
        """A child's connection to its manager."""

        @property
        def stopping(self) -> bool: ...
        def hear_end(self, call: Callable[[float], object]) -> None:
            """Tell *call*, on some thread, in how many seconds this child is killed, as soon as it is asked to end."""

        def forget_end(self, call: Callable[[float], object]) -> None: ...

        async def wait_stopping(self) -> None: ...
        async def send(self, value: object) -> None: ...
        async def receive(self) -> Any: ...
        def send_blocking(self, value: object, timeout: float | None) -> None: ...
        def receive_blocking(self, timeout: float | None) -> Any: ...
        def wait_stopping_blocking(self, timeout: float | None) -> bool: ...
        async def ask(self, service: int, question: object) -> Any: ...
        def ask_blocking(self, service: int, question: object, timeout: float | None) -> Any: ...
        def ask_at_once(self, service: int, question: object) -> Any:
            """Ask, and wait for the answer where we stand, on a loop too: for what the manager answers at once."""

        def ask_nowait(self, service: int, question: object) -> None:
            """Ask without waiting for the answer."""


class Finishing(BaseException):
    """Raised by ``force_finish()``, where it is called."""


class Current:
    """A child's view of itself. Read-only; get it from :func:`current` inside the child.

    Attributes:
        name: the node's name. path: its path in the tree, e.g. ``app/build/index``.
        incarnation: which run of the node this is, from 1. round: which pass through the tree, from 1.
        level: depth in the tree: 0 for a single item as root, 1 in the root group.
        metadata: what the spec said, joined with name, pid, current_loop and loops.
    """

    __slots__ = ("_line", "_metadata", "_namespace", "_player", "_vars", "incarnation", "level", "name", "path", "round")

    def __init__(
        self, player: Player, line: Line, path: str, incarnation: int, round: int, level: int, metadata: dict[str, Any]
    ) -> None:
        self._player = player
        self._line = line
        self.path = path
        self.name = path.rpartition("/")[2]
        self.incarnation = incarnation
        self.round = round
        self.level = level
        self._vars: Vars | None = None
        self._namespace: Namespace[Any] | None = None
        self._metadata = metadata

    def __repr__(self) -> str:
        return f"<Current {self.path} incarnation {self.incarnation}, round {self.round}>"

    @property
    def vars(self) -> Vars:
        """An empty object for the child's own use."""
        if self._vars is None:
            self._vars = Vars()
        return self._vars

    @property
    def pid(self) -> int:
        """The process that this code runs in."""
        return os.getpid()

    @property
    def metadata(self) -> dict[str, Any]:
        """A new dict on each call."""
        own = {"name": self.name, "pid": self.pid, "current_loop": self.current_loop, "loops": self.loops}
        return {"remove_on_process_join": True, **self._metadata, **own}

    # --- its loops ------------------------------------------------------------------------------------------------------

    @property
    def current_loop(self) -> int:
        """The loop that runs, or ran last, from 1; 0 before the first."""
        return self._player.life.machine.number

    @property
    def loops(self) -> int | None:
        """How many there are to be; None until it is asked to end."""
        return self._player.life.machine.loops

    @property
    def is_last_loop(self) -> bool:
        """Whether no loop comes after this one, as far as is known now."""
        return self._player.life.machine.is_last_loop

    @property
    def last_loop_time(self) -> float | None:
        """Seconds that the loop took which was completed last; None before."""
        return self._player.life.machine.times.last

    @property
    def last_result(self) -> Any:
        """What the loop returned which was completed last; None before."""
        return self._player.life.last_result

    @property
    def kwargs(self) -> dict[str, Any]:
        """The keyword arguments of this loop, as far as they have been given by now. A new dict on each call."""
        return dict(self._player.life.arguments.now())

    @property
    def error(self) -> BaseException | None:
        """In OnFinish: what made it end; None when nothing did."""
        return self._player.life.error

    def loop_report(self, title: str | None = None) -> LoopReport:
        """How long its loops took so far.

        Args:
            title: of the report, instead of "NAME loop times report".
        """
        return self._player.life.machine.times.report(f"{self.name} loop times report" if title is None else title)

    def rejoin(self) -> None:
        """End after this loop: its AfterLoop and OnFinish still run, and the child has finished well. From any phase or thread.

        Before the first loop: none begins.
        """
        self._player.life.rejoin()

    def force_finish(self) -> Never:
        """End this phase here, without AfterLoop: OnFinish runs, and the child has finished well, with its last loop's result.

        Raises:
            BaseException: always, to leave the phase; not to be caught.
        """
        raise Finishing("force_finish() leaves the phase by this exception: let it through")

    def ready(self) -> None:
        """Say that this child is ready, if it was started with ``ready="call"``; else it is when OnStart is through."""
        self._player.life.ready()

    def background(
        self, target: Callable[[Unpack[Ts]], object], /, *args: Unpack[Ts], name: str | None = None, loops: int | None = 1
    ) -> threading.Thread:
        """Start a daemon thread that calls *target* so many times (None: until the child ends).

        Its failure is the child's failure. One with several loops is let end its present one when the child has ended, for
        up to 5 s; one that calls once is not waited for: ``join()`` it in OnFinish if its work must be done.

        Raises:
            SpecError: *target* cannot be called, or *loops* is negative.
        """
        if not callable(target) or not (loops is None or (isinstance(loops, int) and loops >= 0)):
            field, value = ("loops", loops) if callable(target) else ("target", target)
            rule = "must be an int >= 0, or None" if field == "loops" else "must be callable"
            raise SpecError([Fault(self.path, f"background {field}", value, rule)])
        thread: threading.Thread = self._player.life.background(target, args, name, loops)
        return thread

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger that bears the node's path."""
        import logging

        return logging.LoggerAdapter(logging.getLogger("asyncproc.child"), {"node": self.path})

    # --- its manager ----------------------------------------------------------------------------------------------------

    @property
    def stopping(self) -> bool:
        """Whether the manager has asked this child to end. Plain code looks at it now and then; a coroutine is cancelled."""
        return self._line.stopping

    async def wait_stopping(self) -> None:
        """Wait until the manager asks this child to end."""
        await self._line.wait_stopping()

    async def send(self, value: object) -> None:
        """Send *value* to whoever holds the handle; waits while more than 1 MiB is on its way.

        Raises:
            EncodeError: the value cannot be sent; nothing was. ChannelBroken: the manager is gone.
        """
        await self._line.send(value)

    async def receive(self) -> Any:
        """The next value that was sent by ``handle.send``.

        Raises:
            DecodeError: a value arrived that cannot be rebuilt here. ChannelBroken: the manager is gone.
        """
        return await self._line.receive()

    @property
    def namespace(self) -> Namespace[Any]:
        """The state that the manager was given, shared with all its children; ``Namespace.of(State)`` is the same, typed."""
        if self._namespace is None:
            with _making:
                self._namespace = self._namespace or _namespace_of(self._line)
        return self._namespace

    @property
    def sync(self) -> BlockingCurrent:
        """The blocking face, for plain functions."""
        return BlockingCurrent(self._line, self)


class BlockingCurrent:
    """``current().sync``: what awaits, for code without a loop."""

    __slots__ = ("_line", "_view")

    def __init__(self, line: Line, view: Current) -> None:
        self._line = line
        self._view = view

    @property
    def namespace(self) -> BlockingNamespace[Any]:
        """As ``current().namespace``, without awaiting."""
        return self._view.namespace.sync

    def send(self, value: object, *, timeout: float | None = None) -> None:
        """Send *value* to whoever holds the handle; TimeoutError after *timeout* seconds without room."""
        _refuse_on_a_loop()
        self._line.send_blocking(value, timeout)

    def receive(self, *, timeout: float | None = None) -> Any:
        """The next value that was sent by ``handle.send``; TimeoutError after *timeout* seconds."""
        _refuse_on_a_loop()
        return self._line.receive_blocking(timeout)

    def wait_stopping(self, *, timeout: float | None = None) -> bool:
        """Wait until the manager asks this child to end; False after *timeout* seconds."""
        _refuse_on_a_loop()
        return self._line.wait_stopping_blocking(timeout)


def _namespace_of(line: Line) -> Namespace[Any]:
    # By name: it stands above this module, and only a child that asks for it pays for it.
    found: Namespace[Any] = __import__("asyncproc._shared.namespace", fromlist=["*"]).namespace_of(line)
    return found


class Vars:
    """An empty object for a child's own use."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...
        def __setattr__(self, name: str, value: Any) -> None: ...


def _refuse_on_a_loop() -> None:
    asyncio = sys.modules.get("_asyncio")  # without it no thread runs a loop
    if asyncio is not None and asyncio._get_running_loop() is not None:
        raise StateError("current().sync blocks, and this thread runs an event loop: await the same call without .sync")


_of_context: ContextVar[Current | None] = ContextVar("asyncproc.current", default=None)
_of_process: Current | Callable[[], Current] | None = None


def current() -> Current:
    """The child that this code runs in.

    Raises:
        StateError: this code runs in no child.
    """
    found = _of_context.get() or current_of_process()
    if found is None:
        raise StateError("current() is for code that runs in a child: this code runs in none")
    return found


def current_of_process() -> Current | None:
    """The child that this whole process is; None: it is none. Threads and coroutines may be other children in it."""
    found = _of_process
    if found is None or isinstance(found, Current):
        return found
    with _making:
        if not isinstance(_of_process, Current):
            set_current_of_process(found())
        assert isinstance(_of_process, Current)
        return _of_process


_making = allocate_lock()


def set_current(view: Current) -> None:
    """Make *view* what :func:`current` gives in this context."""
    _of_context.set(view)


def set_current_of_process(view: Current | Callable[[], Current]) -> None:
    """Make *view*, or what it returns when it is first asked for, what :func:`current` gives everywhere in this process."""
    global _of_process
    _of_process = view
