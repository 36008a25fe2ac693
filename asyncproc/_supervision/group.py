"""What a user holds of a group that runs: its children, and how they are added, scaled, restarted and removed meanwhile."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from asyncproc._core import options as kinds
from asyncproc._core.results import Results
from asyncproc._core.supervision.event import LimitSet, StopAsked
from asyncproc._core.supervision.record import LIVE
from asyncproc._core.supervision.state import State
from asyncproc._supervision.handle import Handle, started
from asyncproc.errors import Fault, SpecError, StartFailed, StateError, UnknownNode

if TYPE_CHECKING:
    from asyncproc._supervision.below import Below
    from asyncproc._supervision.place import Place
    from asyncproc._supervision.supervisor import Supervisor


_RESTARTED = (State.RUNNING, State.STARTING, State.BACKOFF)


class Group(Handle[Results]):
    """A group that runs."""

    __slots__ = ()

    @property
    def children(self) -> Sequence[Handle[Any]]:
        """The nodes directly below it, in order."""
        places = self._supervisor.places
        return [handle_of(self._supervisor, places[id]) for id in self._place.view.children]

    @property
    def running(self) -> int:
        """How many of them have not ended and have begun."""
        return sum(child.state not in (State.CREATED, State.WAITING, State.ENDED) for child in self.children)

    @property
    def limit(self) -> int | None:
        """How many of its children live at once, of a Supervisor those that were started; None for all. It can be set."""
        return self._place.view.limit

    @limit.setter
    def limit(self, limit: int | None) -> None:
        self._require_loop()
        if (rule := kinds.HONOURED["limit"][1](limit)) is not None:
            raise SpecError([Fault(self.path, "limit", limit, rule)])
        self._supervisor.demand(LimitSet(self._place.id, limit))

    # --- its children while it runs ---------------------------------------------------------------------------------------

    @property
    def _below(self) -> Below:
        if self._place.below is None:
            from asyncproc._supervision.below import Below

            joins = self._place.spec._asyncproc.kind == kinds.SUPERVISOR
            self._place.below = Below(self._supervisor, self._place, joins=joins)
        return self._place.below

    async def start(self, spec: Any, *, name: str | None = None, replace: bool = False) -> Handle[Any]:
        """Begin *spec* below this group and return when it is ready; waits for a slot within ``limit``, in order of calls.

        Of a Supervisor that runs it becomes a member: "permanent" unless it says otherwise, started again with the others,
        ended before those that were planned. Its first start is not repeated: one that fails is no member. While the Supervisor
        itself is being started again, this waits for it.

        Args:
            name: instead of the spec's own. replace: stop a live node of this name first.

        Raises:
            StartFailed: it ended badly before it was ready; ``__cause__`` is its own exception.
            SpecError: it cannot run as it stands. NameTaken: a live node has this name. StateError: the group ends, or is a
                Supervisor that does not run.
        """
        self._require_loop()
        ran, made = self._below.checked(spec, name)
        await self._comes_up()
        place = await self._below.place(ran, made, replace)
        handle = handle_of(self._supervisor, place)
        try:
            self._below.begin(place)
        except StateError:
            self._supervisor.post(StopAsked(place.id, 0.0, f"a start below {self.path}"))
            self._supervisor.forget(place)
            raise
        try:
            await started(handle)
        except StartFailed:
            if place.joined and place.view.finished and place.id in self._supervisor.places:
                self._supervisor.forget(place)
            raise
        return handle

    async def _comes_up(self) -> None:
        """A member can join only what runs: alone, nobody would start it again."""
        view = self._place.view
        while self._below.joins and view.state not in (State.STARTING, State.RUNNING):
            if view.idle or self._supervisor.closing:
                raise StateError(f"node {self.path}: is {view.state.value}; members can be started while it runs")
            await self._supervisor.until(self._place, lambda: view.idle or view.state in (State.STARTING, State.RUNNING))

    async def remove(self, name: str) -> None:
        """Stop a child for good, with its ladder, and forget it.

        Raises:
            UnknownNode: there is none of this name. StateError: it is a planned member of a Sequential or Concurrent that runs.
        """
        self._require_loop()
        place = self._child(name)
        if place in self._place.members and not self._below.joins and self._place.view.state in LIVE:
            kind = self._place.spec._asyncproc.kind
            raise StateError(f"node {place.path}: is planned, and its group is a {kind} that runs: stop it, do not remove it")
        await handle_of(self._supervisor, place).stop()
        if place.id in self._supervisor.places:
            self._supervisor.forget(place)

    def _child(self, name: str) -> Place:
        place = self._supervisor.by_path.get(f"{self.path}/{name}")
        if place is None:
            raise UnknownNode(f"node {self.path}: has no child {name!r}")
        return place

    async def scale(self, name: str, count: int) -> None:
        """Have *count* children of one spec, named ``name-1`` … ``name-n``; the others are not touched.

        More are started together, and this returns when they are ready; of fewer the last ones are stopped.

        Raises:
            UnknownNode: there is no child ``name`` or ``name-1`` to take the spec from. SpecError: *count* is no int >= 0.
            StartFailed: a new one ended badly before it was ready (several: ExceptionGroup); the others stay.
        """
        self._require_loop()
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise SpecError([Fault(f"{self.path}/{name}", "count", count, "must be an int >= 0")])
        numbers = self._numbered(name)
        if not numbers:
            raise UnknownNode(f"node {self.path}: has no child {name!r} or '{name}-1' to take the spec from")
        spec = next(iter(numbers.values())).spec.with_options(scale=1)
        doomed = [numbers[number] for number in sorted(numbers)[count:]]
        free = [number for number in range(1, len(numbers) + count + 1) if number not in numbers]
        wanted = free[: max(0, count - len(numbers))]
        ends = [self.remove(place.view.name) for place in reversed(doomed)]
        starts = [self._start_number(spec, f"{name}-{number}") for number in wanted]
        raise_all(self.path, await asyncio.gather(*ends, *starts, return_exceptions=True))

    async def _start_number(self, spec: Any, name: str) -> None:
        """Start one more, or once more: a planned one that has ended keeps its name."""
        old = self._supervisor.by_path.get(f"{self.path}/{name}")
        if old is not None and old.view.finished and old in self._place.members:
            await handle_of(self._supervisor, old).restart()
        else:
            await self.start(spec, name=name)

    def _numbered(self, name: str) -> dict[int, Place]:
        """Children called *name* (number 1) and *name*-n that have not ended."""
        found: dict[int, Place] = {}
        for child in self.children:
            stem, dash, number = child.name.rpartition("-")
            if child.state is State.ENDED:
                continue
            if child.name == name:
                found.setdefault(1, child._place)
            elif dash and stem == name and number.isdecimal():
                found[int(number)] = child._place
        return found

    async def rolling_restart(self, *, limit: int = 1) -> None:
        """Restart every child that runs, at most *limit* at once, each when the one before it is ready again.

        One that has ended, or was removed, before its turn comes is left as it is.

        Raises:
            StartFailed: a new incarnation ended badly before it was ready; those that had not their turn yet stay as they were.
            SpecError: *limit* is no int >= 1.
        """
        self._require_loop()
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
            raise SpecError([Fault(self.path, "limit", limit, "must be an int >= 1")])
        left = deque(child for child in self.children if child.state in _RESTARTED)

        async def restart_next() -> None:
            try:
                while left:
                    child = left.popleft()
                    if child._place.id in self._supervisor.places and child.state in _RESTARTED:
                        await child.restart()
            except BaseException:
                left.clear()
                raise

        raise_all(self.path, await asyncio.gather(*[restart_next() for _ in range(limit)], return_exceptions=True))

    async def wait_below(self, count: int) -> int:
        """Wait until fewer than *count* children live or wait; returns how many do."""
        self._require_loop()
        view = self._place.view
        await self._supervisor.until(self._place, lambda: view.busy < count)
        return view.busy

    async def wait_idle(self) -> None:
        """Wait until no child lives or waits."""
        await self.wait_below(1)


def raise_all(path: str, outcomes: Sequence[Any]) -> None:
    """Raise what of several calls failed: one as it is, more as a group."""
    errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise BaseExceptionGroup(f"{path}: {len(errors)} failed", errors)


def handle_of(supervisor: Supervisor, place: Place) -> Handle[Any]:
    """The handle of a place; equal for the same node."""
    kind = Group if place.spec._asyncproc.kind in kinds.GROUPS else Handle
    return kind(supervisor, place)
