"""The root of a tree: one owned task, a local engine and a supervisor. A manager stands on one.

No scope of ours stays open in the user's task: opening and closing may happen in different tasks, and closing in a cancelled
one. The owned task waits for the close and carries it through; whoever calls ``aclose`` only waits for it.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
import warnings
import weakref
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Protocol

from asyncproc._core.exit import Exit
from asyncproc._core.options import GROUPS
from asyncproc._core.stop_report import StopReport
from asyncproc._core.supervision.event import OWN, KillAsked, RunAsked, StopAsked
from asyncproc._core.supervision.state import State
from asyncproc._engines.choice import engine_for
from asyncproc._spec.group import Concurrent
from asyncproc._supervision.bounded import carry_through, end_place

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from asyncproc._spec.base import Spec
    from asyncproc._spec.current import Line
    from asyncproc._supervision.below import Below
    from asyncproc._supervision.place import Place
    from asyncproc._supervision.supervisor import Supervisor

log = logging.getLogger("asyncproc")


_open: weakref.WeakSet[Root] = weakref.WeakSet()


def open_roots(loop: asyncio.AbstractEventLoop) -> list[Root]:
    """The trees that are open on this loop."""
    return [root for root in _open if not root.closed and root.loop is loop]


EXIT_LIMIT = 1.0
"""Seconds that the end of the program waits for a loop that still runs to let go of a manager that was forgotten on it."""


def _end_forgotten() -> None:
    """The program ends, and nobody has closed them: nothing can be awaited any more, and no finaliser may ever come."""
    for root in list(_open):
        if not root.closed and root.pid == os.getpid():
            try:
                warnings.warn(f"manager {root.name!r} was not closed before its program ended", ResourceWarning, stacklevel=1)
            except ResourceWarning as error:  # warnings are errors here
                log.error("%s", error)
            root.abandon_from_elsewhere()


# With this module, so that whoever closes managers at the end, and is registered later, has done so by then.
atexit.register(_end_forgotten)


class Show(Protocol):
    """Who shows what children write. Calls come on the loop of the root that they are about, and must not wait."""

    shows_all: bool
    """Whether it wants every captured stream, not only those that are to be teed."""

    def opened(self, root: Root) -> None: ...
    def on_line(self, path: str, stream: str, data: bytes) -> None: ...
    async def closed(self, root: Root) -> None:
        """Nothing more will come: show what waits, within a second."""

    def hang_up(self) -> None:
        """The same without waiting, for when there is no loop any more."""


shown_by: ContextVar[Show | None] = ContextVar("asyncproc.shown_by", default=None)
"""Who shows the trees that are opened in this context; None: each manager tees on its own."""


class Root:
    """An open tree, from :meth:`aopen` to the end of :meth:`aclose`.

    Args:
        name: first part of every path. tree: what the owner runs; None for a root that only holds what is started.
        grace: for nodes that do not say their own.
        resources: what nodes can hold, by name. show: who shows what children write; None: nobody.
        engine: options of the engine, and ``launcher``, which says what engine it is.
    """

    def __init__(
        self,
        name: str,
        tree: Spec[Any] | None,
        grace: float | None,
        *,
        resources: Mapping[str, float] | None = None,
        show: Show | None = None,
        **engine: Any,
    ) -> None:
        self._resources = resources
        self.loop = asyncio.get_running_loop()
        self._show = show
        if show is not None:
            engine = {"on_line": show.on_line, "shows_all": show.shows_all, **engine}
        self.engine = engine_for(engine.pop("launcher", "auto"), self.loop, **engine)
        self.engine.on_lost = lambda: log.warning("%s: its helper processes were lost; the next start gets new ones", name)
        self._closing = asyncio.Event()
        self._planted: tuple[Supervisor, Place | None, Below] | None = None
        self._spec = tree
        self._grace = grace
        self._begun_early = False
        self._ending: asyncio.Task[StopReport] | None = None  # while somebody stops all of it
        self._doomed: dict[Place, int] = {}  # who lived when that began, and in which incarnation
        self.closed = False
        self.closes_with_loop = False  # nobody else will close it: the end of the loop is no mistake
        self._on_closed: Callable[[], object] = int
        self.name = name
        self.pid = os.getpid()
        _open.add(self)
        self._task = self.loop.create_task(self._live(), name=f"asyncproc {name}")
        if show is not None:
            show.opened(self)

    def _plant(self) -> tuple[Supervisor, Place | None, Below]:
        """Made when first needed: what a supervisor is made of is loaded while the helpers of the first child start."""
        from asyncproc._runtime.clock import LoopClock
        from asyncproc._supervision.below import Below
        from asyncproc._supervision.supervisor import Supervisor

        spec = self._spec
        own = spec is not None and spec._asyncproc.kind in GROUPS
        root = spec if own and spec is not None else Concurrent(on_failure="continue")
        supervisor = Supervisor(self.loop, self.engine, LoopClock(self.loop), self.name, root, self._grace, self._resources)
        tree = supervisor.root if own else None
        if spec is not None and not own:
            tree = supervisor.add(spec, supervisor.root, spec._asyncproc.options.get("name", spec.made_name))
        return supervisor, tree, Below(supervisor, supervisor.root, planned=tree)

    @property
    def _planting(self) -> tuple[Supervisor, Place | None, Below]:
        # By hand: a cached_property has one lock for all, which a fork of the host would find closed for ever.
        if self._planted is None:
            self._planted = self._plant()
        return self._planted

    @property
    def supervisor(self) -> Supervisor:
        """Who runs the tree."""
        return self._planting[0]

    @property
    def tree(self) -> Place | None:
        """What the owner runs; None when this root only holds what is started."""
        return self._planting[1]

    # --- running --------------------------------------------------------------------------------------------------------

    async def run(self, place: Place, rounds: int | None, binding: bool, by: str) -> Exit:
        """Run a place and wait for its end; a cancellation ends the place first, within its bound."""
        self.begin(place, rounds, binding)
        return await self.ended(place, by)

    def begin(self, place: Place, rounds: int | None = 1, binding: bool = True) -> None:
        self.supervisor.demand(RunAsked(place.id, rounds, binding))

    def begin_tree(self, tree: Place) -> None:
        """Begin the tree with the opening, before anybody has called for it to run."""
        self._begun_early = True
        self.begin(tree)

    def took_over(self) -> bool:
        """Whether the tree runs already, for whoever calls for it first."""
        early, self._begun_early = self._begun_early, False
        return early

    async def ended(self, place: Place, by: str) -> Exit:
        place.awaited = True
        try:
            await self.supervisor.until(place, lambda: place.view.finished)
        except asyncio.CancelledError:
            await end_place(self.supervisor, place, by)
            raise
        assert place.view.exit is not None
        return place.view.exit

    @property
    def below(self) -> Below:
        """What was started below the root."""
        return self._planting[2]

    # --- ending ---------------------------------------------------------------------------------------------------------

    def _live_places(self) -> list[Place]:
        return [place for place in self.supervisor.places.values() if place.child is not None]

    async def stop(self, grace: float | None, by: str) -> StopReport:
        """Ask everybody to end, and wait until they have; carried through when cancelled. Cancelled once more, it kills."""
        return await self._end_all(StopAsked(self.supervisor.root.id, grace, by))

    async def kill(self, by: str) -> StopReport:
        """End everybody now, and wait until they have."""
        return await self._end_all(KillAsked(self.supervisor.root.id, by))

    async def _end_all(self, event: StopAsked | KillAsked) -> StopReport:
        """Whoever wants this while it is under way waits for the same end, and gets the same report."""
        begun = self.loop.time()
        self._doomed |= {place: place.view.incarnation for place in self._live_places()}
        self.supervisor.post(event)
        if self._ending is None:
            self._ending = self.loop.create_task(self._all_ended(begun), name=f"asyncproc {self.name} stops")
        ending = self._ending
        try:
            return await asyncio.shield(ending)
        except asyncio.CancelledError:
            await carry_through(ending, lambda: self._hurry("a cancelled stop"))
            raise

    async def _all_ended(self, begun: float) -> StopReport:
        tops = {top: top.view.incarnation for top in (self.tree, *self.below.places) if top is not None}
        try:
            # Somebody may have started one of them again meanwhile: that is no part of this.
            while living := [(place, number) for place, number in self._doomed.items() if place.lives_in(number)]:
                for place, number in living:
                    await self._until_dead(place, number)
            for top, number in tops.items():
                if top.view.state not in (State.CREATED, State.ENDED):
                    await self._until_gone(top, number)
            return self._report(list(self._doomed), self.loop.time() - begun)
        finally:
            self._ending = None
            self._doomed = {}

    async def _until_dead(self, place: Place, number: int) -> None:
        await self.supervisor.until(place, lambda: not place.lives_in(number))

    async def _until_gone(self, top: Place, number: int) -> None:
        await self.supervisor.until(top, lambda: top.view.finished or top.view.incarnation > number)

    def _hurry(self, by: str) -> None:
        """Whoever wanted the end does not wait for it any more."""
        self.supervisor.post(KillAsked(self.supervisor.root.id, by))
        self.supervisor.chores.hurry()

    def _report(self, places: list[Place], duration: float) -> StopReport:
        left = tuple(place.path for place in places if place.left)
        killed = tuple(place.path for place in places if not place.left and place.view.exit and place.view.exit.killed)
        ended = tuple(place.path for place in places if place.path not in left and place.path not in killed)
        return StopReport(ended, killed, left, duration)

    @property
    def stop_bound(self) -> float | None:
        """Seconds that a stop takes at most, from the graces and the order of what is there; None without end.

        In a child that has been asked to end it is no more than what that child has left.
        """
        bound = self.supervisor.machine.stop_bound(self.supervisor.root.id)
        left = self.supervisor.owner_ends - self.supervisor.clock.now()
        return bound if left == inf else max(0.0, left) if bound is None else min(bound, max(0.0, left))

    def end_with(self, line: Line) -> None:
        """Be told of the end of the child that this tree is in."""
        line.hear_end(self._end_within)
        self._on_closed = partial(line.forget_end, self._end_within)

    def _end_within(self, seconds: float) -> None:
        """Everything is gone in so many seconds, in order. On any thread."""
        with suppress(RuntimeError):  # its loop is closed
            self.loop.call_soon_threadsafe(lambda: None if self.closed else self.supervisor.end_within(seconds))

    async def aclose(self) -> None:
        """End everything. Any task may call it, any number of times; a cancelled one too: then it is carried through first."""
        self._closing.set()
        try:
            await asyncio.shield(self._task)
        except asyncio.CancelledError:
            if self._task.cancelled():  # the loop is being shut down
                return
            await carry_through(self._task, lambda: self._hurry("a cancelled close"))
            raise

    async def _live(self) -> None:
        try:
            await self._wanted_end()
            self.supervisor.closing = True
            await self.stop(OWN, "leaving the manager")
            await self.supervisor.aclose()
            await self.engine.aclose()
            if self._show is not None:
                await self._show.closed(self)
        except asyncio.CancelledError:
            if not self._closing.is_set():
                warnings.warn(f"manager {self.name!r} was not closed before its loop", ResourceWarning, stacklevel=1)
            self.supervisor.post(KillAsked(self.supervisor.root.id, "the end of the loop"))
            raise
        finally:
            self.closed = True
            with suppress(RuntimeError):
                self.engine.hang_up()
            if self._show is not None:
                self._show.hang_up()
            for wake in list(self.supervisor.on_close):  # one that ends takes itself off
                wake()
            self._on_closed()

    async def _wanted_end(self) -> None:
        try:
            await self._closing.wait()
        except asyncio.CancelledError:  # the loop ends, and waits for this task
            if not self.closes_with_loop:
                raise
            self._closing.set()

    def abandon(self) -> None:
        """The last resort, without a loop: the helpers end everybody."""
        if not self.closed:
            self.closed = True
            self.engine.hang_up()
            if self._show is not None:
                self._show.hang_up()

    def abandon_from_elsewhere(self) -> None:
        """The same on any thread: a loop that still runs, on a daemon thread, has its readers and timers to itself."""
        over = threading.Event()

        def here() -> None:
            self.abandon()
            over.set()

        if self.loop.is_running():
            self.loop.call_soon_threadsafe(here)
            over.wait(EXIT_LIMIT)  # one that is blocked lets go of nothing; the helpers see the end of the program
        else:
            self.abandon()
