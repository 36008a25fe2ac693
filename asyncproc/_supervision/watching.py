"""Restarts nodes when files change that they watch: one thread sees it for all of them, here is decided what follows."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from asyncproc._core.supervision.event import RestartAsked
from asyncproc._core.supervision.record import LIVE
from asyncproc._core.supervision.state import State
from asyncproc._spec.watch import absolute
from asyncproc._supervision.file_changes import FileChanges
from asyncproc.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from asyncproc._supervision.place import Place
    from asyncproc._supervision.supervisor import Supervisor
    from asyncproc.abc import Alarm

log = logging.getLogger("asyncproc")

QUIET = 0.2
"""Seconds without a change after which a node is restarted."""
LONGEST = 2.0
"""Seconds after the first change in which it is restarted at the latest."""
END_LIMIT = 2.0
"""Seconds that the end of the thread is waited for."""

_LEFT_ALONE = frozenset({State.CREATED, State.PAUSED, State.STOPPING})
"""Somebody has other plans with it; what stops to be started anew sees the change when it starts."""


class Watching:
    """All nodes of one tree that watch files, while they run and after a failure; made with the first.

    Args:
        supervisor: whose tree it is.

    Attributes:
        seen: the paths of which changes are seen by now.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._roots: dict[Place, frozenset[str]] = {}
        self._waiting: dict[Place, Change] = {}
        self._changes: FileChanges | None = None
        self._ending: dict[FileChanges, asyncio.Future[None]] = {}
        self._closed = False
        self.seen: frozenset[str] = frozenset()
        supervisor.on_close.append(self.close)

    def moved(self, place: Place) -> None:
        """A node that watches has moved; it is looked at from its start on."""
        if place not in self._roots and self._is_on(place):
            watched = place.spec._asyncproc.options["watch"]
            self._roots[place] = frozenset(map(absolute, watched))
            self._look()
        self.refresh()

    def refresh(self) -> None:
        """Some node has ended, or was forgotten: look no longer for those that it concerns."""
        gone = [place for place in self._roots if not self._is_on(place)]
        for place in gone:
            del self._roots[place]
            self._drop(place)
        if gone:
            self._look()

    def _is_on(self, place: Place) -> bool:
        """Whether a change would restart it: it takes part in a run, or has failed in one that may still have it."""
        view = place.view
        if (
            self._closed
            or self._supervisor.closing
            or self._supervisor.places.get(place.id) is not place
            or view.state is State.CREATED
        ):
            return False
        if not view.finished:
            return True
        alone = place.parent is None or place not in place.parent.members
        failed = view.exit is not None and view.exit.failed and not view.out
        return failed and (alone or (place.parent is not None and place.parent.view.state in LIVE))

    def _look(self) -> None:
        roots = frozenset[str]().union(*self._roots.values())
        if not roots:
            if self._changes is not None:
                self._changes.stop()
                self._changes = None
            return
        if self._changes is None:
            self._changes = self._begin()
        self._changes.watch(roots)

    def _begin(self) -> FileChanges:
        loop = self._supervisor.loop

        def on_loop(call: Callable[..., object], *args: object) -> None:
            with suppress(RuntimeError):  # the loop was closed before its manager
                loop.call_soon_threadsafe(call, *args)

        changes = FileChanges(
            partial(on_loop, self._changed), partial(on_loop, self._looks), lambda: on_loop(self._ended, changes)
        )
        self._ending[changes] = loop.create_future()
        return changes

    def _looks(self, roots: frozenset[str]) -> None:
        self.seen = roots
        for place in self._roots:
            self._supervisor.wake(place)

    def _ended(self, changes: FileChanges) -> None:
        changes.thread.join()  # this was its last deed
        self._ending.pop(changes).set_result(None)

    # --- what follows from a change ---------------------------------------------------------------------------------------

    def _changed(self, changed: dict[str, str]) -> None:
        for place, roots in self._roots.items():
            for root in roots & changed.keys():
                self._wait(place, changed[root])

    def _wait(self, place: Place, path: str) -> None:
        clock = self._supervisor.clock
        now = clock.now()
        change = self._waiting.get(place)
        if change is None:
            change = self._waiting[place] = Change(path, now + LONGEST)
        elif change.alarm is not None:
            change.alarm.cancel()
        change.alarm = clock.call_at(min(now + QUIET, change.latest), self._restart, place)

    def _drop(self, place: Place) -> None:
        change = self._waiting.pop(place, None)
        if change is not None and change.alarm is not None:
            change.alarm.cancel()

    def _restart(self, place: Place) -> None:
        change = self._waiting.pop(place)
        above = list(_above(place))
        if any(group in self._waiting for group in above):
            return  # it comes anew with that one
        for other in [other for other in self._waiting if place in _above(other)]:
            self._drop(other)
        if not self._is_on(place) or place.view.state in _LEFT_ALONE or any(group.view.ending for group in above):
            return
        log.info("%s: is restarted, as %s has changed", place.path, change.path)
        with suppress(StateError):  # whatever it is part of goes on by itself
            self._supervisor.demand(RestartAsked(place.id, f"change of {change.path}"))

    # --- ending -----------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """From now on no change starts anything."""
        self._closed = True
        self.refresh()

    async def aclose(self) -> None:
        """Wait until the thread has ended; one that the file system holds up is not waited for, it ends by itself."""
        self.close()
        if self._ending:
            await asyncio.wait(self._ending.values(), timeout=END_LIMIT)


class Change:
    """What has changed first for a node that is to be restarted for it.

    Attributes:
        path: a file. latest: when it is restarted at the latest, the manager's clock.
    """

    __slots__ = ("alarm", "latest", "path")

    def __init__(self, path: str, latest: float) -> None:
        self.path = path
        self.latest = latest
        self.alarm: Alarm | None = None


def _above(place: Place) -> Iterator[Place]:
    while place.parent is not None:
        place = place.parent
        yield place
