"""What a user holds of a node that runs: awaitable by many tasks, before and after its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator, Sequence
from typing import TYPE_CHECKING, Any, Generic, Self, cast

from asyncproc._core import options as kinds
from asyncproc._core.exit import Exit, Phase
from asyncproc._core.lifecycle.loop_times import LoopReport
from asyncproc._core.supervision.event import OWN, KillAsked, PauseAsked, RestartAsked, ResumeAsked, StopAsked
from asyncproc._core.supervision.record import LIVE
from asyncproc._core.supervision.state import State
from asyncproc._core.transition import Transition
from asyncproc._spec.base import Spec
from asyncproc._supervision.bounded import end_place
from asyncproc._supervision.events import Events
from asyncproc._supervision.gate import BeforeLoop, hold_of, next_step
from asyncproc._supervision.outcome import error_of, results_of
from asyncproc._supervision.start_failure import raise_start_failure
from asyncproc.errors import ChildStopped, Fault, SpecError, StateError

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    from asyncproc._core.stats import Stats
    from asyncproc._core.supervision.view import NodeView
    from asyncproc._supervision.mail import Mail
    from asyncproc._supervision.place import Place
    from asyncproc._supervision.reader import Lines, Pieces
    from asyncproc._supervision.supervisor import Supervisor
    from asyncproc.abc import Inlet, Streams

    T_co = TypeVar("T_co", default=Any, covariant=True)
else:
    from typing import TypeVar

    T_co = TypeVar("T_co", covariant=True)


class Handle(Generic[T_co]):
    """A node that runs, has run or will run.

    ``await handle`` gives its result or raises what ended it; any number of tasks may await it, also after the end.
    Cancelling the await ends the waiting only. ``async with handle`` stops it on leaving.
    """

    __slots__ = ("_place", "_supervisor")

    def __init__(self, supervisor: Supervisor, place: Place) -> None:
        self._supervisor = supervisor
        self._place = place

    def __repr__(self) -> str:
        pid = f", pid {self.pid}" if self.pid is not None else ""
        return f"<{type(self).__name__} {self.path} {self.state.value}{pid}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Handle) and other._place is self._place

    def __hash__(self) -> int:
        return hash(id(self._place))

    # --- what it is -----------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self._place.view.name

    @property
    def path(self) -> str:
        """Names from the manager's on, joined by ``/``."""
        return self._place.path

    @property
    def state(self) -> State:
        """Where it is in its life."""
        return self._place.view.state

    @property
    def phase(self) -> Phase | None:
        """The phase that it is known to be in; None for a group, a command, and what does not run.

        Children do not tell each phase. Of one that is held it is where it stands or stood last; of any other OnStart until it
        is ready, and then the loop.
        """
        place = self._place
        if place.spec._asyncproc.kind not in kinds.LOOPED or place.child is None:
            return None
        if place.hold is not None and place.hold.phase:
            return Phase(place.hold.phase)
        return Phase.LOOP if place.view.ready or place.view.state is State.RUNNING else Phase.ON_START

    @property
    def ready(self) -> bool:
        """Whether the present incarnation is, or was, ready; of one that is asked ``again``, whether it was when last asked."""
        return self._place.view.ready

    @property
    def pid(self) -> int | None:
        """The process of the present or last incarnation; None without one."""
        view = self._place.view
        return view.pid if view.pid is not None or view.exit is None else view.exit.pid

    @property
    def incarnation(self) -> int:
        """Which run of the node this is, from 1; 0 before the first."""
        return self._place.view.incarnation

    @property
    def round(self) -> int:
        """Which pass through the tree this is, from 1; 0 before the first."""
        return self._place.view.round

    @property
    def exit(self) -> Exit | None:
        """How the last incarnation ended; None before."""
        return self._place.view.exit

    @property
    def failures(self) -> Sequence[Exit]:
        """Of a node that was given up because it reached the limit of its restarts: the failures that counted, oldest first."""
        return self._place.view.spent

    @property
    def missed(self) -> Sequence[str]:
        """The names of the resources that it waits for, in state WAITING; empty when it waits for none."""
        return self._supervisor.machine.missed_by(self._place.id) if self._place.id in self._supervisor.machine else ()

    @property
    def restart_at(self) -> float | None:
        """When it will be started again, the loop's clock (seconds); None when it does not wait for that."""
        return self._place.restart_at

    @property
    def spec(self) -> Spec[T_co]:
        """What it was made from."""
        return cast("Spec[T_co]", self._place.spec)

    # --- waiting --------------------------------------------------------------------------------------------------------

    def __await__(self) -> Generator[Any, None, T_co]:
        return self._outcome().__await__()

    async def _outcome(self) -> T_co:
        exit = await self.wait()
        error = error_of(self._place, exit)
        if error is not None:
            raise error
        return cast(T_co, results_of(self._place) if self._place.spec._asyncproc.kind in kinds.GROUPS else self._place.result)

    async def wait(self) -> Exit:
        """How it ended for good, when it has; never raises for that."""
        place = self._place
        self._require_loop()
        place.awaited = True
        if place.hold is not None and place.hold.lenient:
            place.hold.let_go()
        await self._supervisor.until(place, lambda: place.view.finished)
        assert place.view.exit is not None
        return place.view.exit

    async def wait_ready(self) -> None:
        """Wait until it is ready; ending well before counts, and so does waiting for its time by its ``schedule``.

        Raises:
            StartFailed: it ended badly before; ``__cause__`` is its exception. ChildStopped: it was asked to end before.
        """
        place = self._place
        self._require_loop()
        place.starting = True
        try:
            await self._supervisor.until(place, lambda: place.view.ready or place.view.asleep or place.view.finished)
        finally:
            place.starting = False
        if place.view.plan.overlap is None or place.view.finished:  # a run that has failed is not the last one
            raise_start_failure(place)

    async def wait_for(self, *, state: State | None = None, incarnation: int | None = None) -> None:
        """Wait until the node has come to this state, or this incarnation.

        Raises:
            StateError: it has ended for good, and will not come there any more.
        """
        self._require_loop()
        view = self._place.view

        def there() -> bool:
            return (state is None or view.state is state) and (incarnation is None or view.incarnation >= incarnation)

        await self._supervisor.until(self._place, lambda: there() or view.finished)
        if not there():
            wanted = state.value if state is not None else f"incarnation {incarnation}"
            raise StateError(f"node {self.path}: has ended for good and will not come to {wanted}")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    # --- ending ---------------------------------------------------------------------------------------------------------

    async def stop(self, grace: float | None = OWN) -> Exit:
        """Ask it to end, with the ladder of its kind, and wait until it has.

        Args:
            grace: seconds between asking and killing, instead of its own; 0 kills at once, None waits for its current work.
        """
        self._require_loop()
        self._supervisor.post(StopAsked(self._place.id, check_grace(self.path, grace), "handle.stop()"))
        return await self._gone()

    async def kill(self) -> Exit:
        """End it now; returns when it has really ended."""
        self._require_loop()
        self._supervisor.post(KillAsked(self._place.id, "handle.kill()"))
        return await self._gone()

    async def _gone(self) -> Exit:
        self._place.awaited = True
        return await self.wait()

    def rejoin(self) -> None:
        """Ask it to end after its present loop, however long that takes, and not to come back; does not wait.

        Its AfterLoop and OnFinish run; its exit is *stopped*, and awaiting it gives its result.
        """
        self._require_loop()
        self._supervisor.post(StopAsked(self._place.id, None, "handle.rejoin()"))

    async def restart(self) -> None:
        """Start it (again): one that runs is stopped first, one that rests does not wait. Returns when the new one is ready.

        It counts for no limit, and whatever else is under way with the node gives way to it.

        Raises:
            StartFailed: it ended badly before it was ready. ChildStopped: somebody wanted its end meanwhile.
            StateError: its group does not run, or ends.
        """
        self._require_loop()
        place, view = self._place, self._place.view
        if place.hold is not None:
            await self._end_held()
            place.hold.begin()
        before = view.incarnation
        self._supervisor.demand(RestartAsked(place.id, "handle.restart()"))
        place.starting = True
        try:
            await self._supervisor.until(place, lambda: (view.incarnation > before and _has_come_far(view)) or view.finished)
        finally:
            place.starting = False
        if view.incarnation == before and view.exit is not None:
            raise ChildStopped(f"{view.exit.explain()}; it was not started again", view.exit)
        raise_start_failure(place)

    async def _end_held(self) -> None:
        if not self._place.view.idle:
            await self.stop()

    async def pause(self) -> None:
        """Let it stand still, with the processes of its group; a group: all processes and commands in it that run.

        Its state is PAUSED, and the time counts for none of its limits. What starts below a paused group meanwhile is paused
        once it is ready; threads and coroutines go on.

        Raises:
            StateError: it does not run, or is a thread or a coroutine.
        """
        self._require_loop()
        self._supervisor.demand(PauseAsked(self._place.id))

    async def resume(self) -> None:
        """Let it go on after :meth:`pause`; nothing happens when it is not paused."""
        self._require_loop()
        self._supervisor.demand(ResumeAsked(self._place.id))

    def signal(self, number: str | int) -> None:
        """Send a signal to its process.

        Raises:
            StateError: it has no process now. SpecError: there is no such signal.
        """
        child = self._place.child
        if child is None or child.pid is None:
            raise StateError(f"node {self.path}: has no process to send a signal to, it is {self.state.value}")
        from asyncproc._spec.command import signal_number

        try:
            found = signal_number(number)
        except (KeyError, ValueError):
            raise SpecError([Fault(self.path, "number", number, "must be a signal's name or number")]) from None
        child.signal(found)

    # --- messages -------------------------------------------------------------------------------------------------------

    async def send(self, value: object) -> None:
        """Send *value* to the child, which takes it by ``current().receive()``; waits while more than 1 MiB is on its way.

        Raises:
            EncodeError: it cannot be sent; nothing was. EndOfChannel, ChannelBroken: the child has ended, well or not.
            StateError: it is a command or a group, which has no channel.
        """
        await self._mail().send(value, self.path)

    async def receive(self) -> Any:
        """The next value that the child has sent.

        Raises:
            DecodeError: this value cannot be rebuilt here. EndOfChannel, ChannelBroken: the child has ended, well or not.
            StateError: it is a command or a group, which has no channel.
        """
        return await self._mail().receive(self.path)

    def _mail(self) -> Mail:
        self._require_loop()
        kind = self._place.spec._asyncproc.kind
        if kind not in kinds.LOOPED:
            raise StateError(f"node {self.path}: is a {kind}, which has no channel to send or receive values on")
        return self._place.mailbox()

    # --- its streams ----------------------------------------------------------------------------------------------------

    def output(self) -> Lines:
        """Lines of what its process writes to captured streams, of both in order of arrival, until it has ended for good.

        Begins with what is still held: 1 MiB of each stream (``max_output``) of one that runs, 64 KiB of one that has ended.
        Any number may read at once; none holds up the child: who is too slow loses the oldest, and ``dropped`` counts bytes.

        Raises:
            StateError: neither of its streams is captured.
        """
        from asyncproc._supervision.reader import Lines

        return Lines(self._supervisor.loop, self._captured())

    def output_bytes(self) -> Pieces:
        """The same as bytes, exactly as they came.

        Raises:
            StateError: neither of its streams is captured.
        """
        from asyncproc._supervision.reader import Pieces

        return Pieces(self._supervisor.loop, self._captured())

    def _captured(self) -> Place:
        from asyncproc._supervision.reader import uncaptured

        place = self._place
        rule = uncaptured(place.spec)
        if rule is not None and (place.output is None or not place.output.rings):
            raise StateError(f"node {self.path}: {rule}")
        return place

    async def write(self, data: bytes | str) -> None:
        """Write to the standard input of a command with ``stdin="pipe"``; waits while the command does not read.

        Text goes in the command's encoding. Cancelled, a part of it may have been written.

        Raises:
            BrokenPipeError: the command has closed its input, or has ended.
            StateError: its input is no pipe, or it has not started.
        """
        inlet = self._inlet()
        if isinstance(data, str):
            data = data.encode(self._place.spec._asyncproc.options.get("encoding") or "utf-8")
        await inlet.write(data)

    async def write_eof(self) -> None:
        """Let the command come to the end of its standard input.

        Raises:
            StateError: its input is no pipe, or it has not started.
        """
        await self._inlet().write_eof()

    def _inlet(self) -> Inlet:
        self._require_loop()
        place = self._place
        if place.spec._asyncproc.options.get("stdin") != "pipe":
            raise StateError(f"node {self.path}: its standard input is no pipe: that needs stdin='pipe'")
        streams: Streams | None = getattr(place.child, "streams", None)
        if streams is not None and streams.stdin is not None:
            return streams.stdin
        if place.view.exit is None:
            raise StateError(f"node {self.path}: has not started, it is {self.state.value}")
        raise BrokenPipeError(f"node {self.path}: has ended, nobody reads its standard input: {place.view.exit.explain()}")

    # --- its loops ------------------------------------------------------------------------------------------------------

    def steps(self) -> AsyncIterator[BeforeLoop]:
        """Step a held child loop by loop: gives the gate before each, and asking for the next one lets it run.

        Ends when no further loop comes; then the child is held before OnFinish until its gate was entered, or somebody waits
        for its end.

        Raises:
            StateError: it is not held, or has not been started by its OnStart gate.
        """
        hold_of(self, "steps()")
        return self._steps()

    async def _steps(self) -> AsyncIterator[BeforeLoop]:
        gate: BeforeLoop | None = None
        try:
            while (gate := await next_step(self, gate)) is not None:
                yield gate
        finally:
            if gate is not None:
                hold_of(self, "steps()").abandon(gate)

    async def loop_report(self) -> LoopReport:
        """How long its loops took so far, or in its last incarnation.

        A plain function that is one loop answers only when it asks for something itself; any other child at once.

        Raises:
            StateError: it is a command or a group, or has not run.
        """
        self._require_loop()
        place = self._place
        if place.spec._asyncproc.kind not in kinds.LOOPED:
            raise StateError(f"node {self.path}: is a {place.spec._asyncproc.kind}, which has no loops")
        if place.child is not None:
            place.report = None
            place.child.ask_for_report()
            await self._supervisor.until(place, lambda: place.report is not None or place.child is None)
        if place.report is not None:
            return place.report
        if place.view.exit is None:
            raise StateError(f"node {self.path}: has not run, it is {self.state.value}")
        return LoopReport(f"{self.name} loop times report", 0, 0.0, 0.0, 0.0, 0.0, 0.0)

    # --- looking --------------------------------------------------------------------------------------------------------

    def statistics(self) -> Stats:
        """What it takes now; cheap, but not free: memory is counted by the system at each call."""
        from asyncproc._core.stats import Stats

        place, supervisor = self._place, self._supervisor
        view, child, hold = place.view, place.child, place.hold
        restarts = max(view.incarnation - 1, 0)
        restart_at = place.restart_at
        uptime = supervisor.clock.now() - view.begun if view.state in LIVE else 0.0
        if child is None:
            return Stats(restarts=restarts, restart_at=restart_at, uptime=uptime)
        usage = child.usage()
        return Stats(
            cpu=usage.cpu,
            memory=usage.memory,
            threads=usage.threads,
            uptime=uptime,
            restarts=restarts,
            restart_at=restart_at,
            current_loop=(hold.number if hold is not None else usage.current_loop) or None,
            misses=supervisor.heartbeats.misses(place) if supervisor.heartbeats is not None else 0,
        )

    async def stacks(self) -> str:
        """Where its threads and tasks stand now, innermost call last.

        A process is asked by a signal, and answers when its main thread next runs Python code; of one that has a ``heartbeat``
        the threads' stacks are seen also when it does not, e.g. while C code holds the interpreter. Takes no more than about a
        second, and says what could not be had. A stopped process stays stopped.

        Raises:
            StateError: it is a command or a group, or does not run.
        """
        self._require_loop()
        kind = self._place.spec._asyncproc.kind
        if kind not in kinds.LOOPED:
            raise StateError(f"node {self.path}: is a {kind}, which has no stacks to show")
        if self._place.child is None:
            raise StateError(f"node {self.path}: has no stacks to show, it is {self.state.value}")
        return await self._place.child.stacks()

    def events(self) -> AsyncIterator[Transition]:
        """Transitions of this node and of all below it, from now on, until it has ended for good."""
        prefix = f"{self.path}/"
        path = self.path
        view = self._place.view
        return Events(
            self._supervisor, lambda moved: moved.path == path or moved.path.startswith(prefix), lambda: view.finished
        )

    def _require_loop(self) -> None:
        require_loop(self._supervisor.loop, f"node {self.path}")


def require_loop(loop: asyncio.AbstractEventLoop, what: str) -> None:
    """Raise StateError where another loop runs than the one that this belongs to."""
    if asyncio.get_running_loop() is not loop:
        raise StateError(f"{what}: belongs to another event loop than this code runs on")


def check_grace(path: str, grace: float | None) -> float | None:
    """A grace as it was given, checked."""
    # By identity: a -1.0 of the user's is a mistake.
    if (
        grace is not None
        and grace is not OWN
        and (not isinstance(grace, int | float) or isinstance(grace, bool) or not grace >= 0)
    ):
        raise SpecError([Fault(path, "grace", grace, "must be >= 0 seconds, or None")])
    return grace


def _has_come_far(view: NodeView) -> bool:
    """Whether the present start has come to something: it is ready, or has failed."""
    return view.ready or view.asleep or view.state in (State.BACKOFF, State.ENDED)


async def started(handle: Handle[Any]) -> None:
    """Wait until what was begun is ready; a cancellation ends it first."""
    try:
        await handle.wait_ready()
    except asyncio.CancelledError:
        handle._place.awaited = True
        await end_place(handle._supervisor, handle._place, "a cancelled start()")
        raise
