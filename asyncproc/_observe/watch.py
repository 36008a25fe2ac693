"""Watches every tree that is opened in a context, for as long as a program runs: all of it becomes facts for one writer.

On the loop it does next to nothing: a fact for each move and each piece of output, and (for a view that draws) a snapshot, at
most four times a second and never more than a twentieth of the loop's time.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from asyncproc._core.exit import Exit, Reason
from asyncproc._core.options import GROUPS
from asyncproc._core.supervision.state import State
from asyncproc._observe.facts import Moved, Picture, Signalled
from asyncproc._observe.render import waiting_for
from asyncproc._supervision.picture import snapshot_of

if TYPE_CHECKING:
    import asyncio

    from asyncproc._core.transition import Transition
    from asyncproc._observe.writer import Writer
    from asyncproc._root import Root

INTERVAL = 0.25
"""Seconds between two pictures at least."""
FIRST = 0.1
"""Seconds before the first: a tree that begins looks another way a moment later."""
SHARE = 20
"""A picture that takes t seconds is not followed by another for so many times t."""


class Watch:
    """A :class:`asyncproc._root.Show` for all trees of a program.

    Args:
        writer: where the facts go.
        pictures: whether to take pictures, for a view that draws.

    Attributes:
        exits: how each leaf last ended, by path. failures: of any node that failed at any time. killed: whether something
            had to be killed, or was given up, since the first signal.
    """

    shows_all = True

    def __init__(self, writer: Writer, *, pictures: bool) -> None:
        self._writer = writer
        self._pictures = pictures
        self._views: dict[Root, View] = {}
        self._signalled = False
        self.exits: dict[str, Exit] = {}
        self.failures: dict[str, Exit] = {}
        self.killed = False

    def opened(self, root: Root) -> None:
        view = self._views[root] = View(self, root, len(self._views))
        root.supervisor.subscribers.append(view.moved)

    def on_line(self, path: str, stream: str, data: bytes) -> None:
        self._writer.output(path, stream, data)

    async def closed(self, root: Root) -> None:
        self._views[root].close()

    def hang_up(self) -> None:
        """The writer is the program's, and ends with it."""

    def tell(self, moved: Moved) -> None:
        """Note a move, and hand it on."""
        transition = moved.transition
        exit = transition.exit
        if exit is not None:
            if moved.kind not in GROUPS:
                self.exits[transition.path] = exit
            if transition.after is State.BACKOFF:
                self._comes_back(transition.path)
            elif exit.failed:
                self.failures[transition.path] = exit
            self.killed = self.killed or (self._signalled and exit.killed)
        self._writer.fact(moved)

    def _comes_back(self, path: str) -> None:
        """It is taken care of, with all that has failed in it."""
        for failed in [each for each in self.failures if each == path or each.startswith(f"{path}/")]:
            del self.failures[failed]

    def picture(self, picture: Picture) -> None:
        """Hand on a picture, if it is wanted."""
        self._writer.fact(picture)

    @property
    def draws(self) -> bool:
        return self._pictures

    def signalled(self, name: str, count: int) -> None:
        """The program was asked to end."""
        self._signalled = True
        waiting = [path for root in self._views if not root.closed for path in waiting_for(snapshot_of(root.supervisor))]
        self._writer.fact(Signalled(name, count, tuple(waiting)))

    @property
    def skipped(self) -> dict[str, str]:
        """Why they never ran, by path."""
        return {path: exit.asked_by or "" for path, exit in self.exits.items() if exit.reason is Reason.SKIPPED}


class View:
    """One tree of a watch. Everything happens on the tree's own loop."""

    def __init__(self, watch: Watch, root: Root, number: int) -> None:
        self._watch = watch
        self._root = root
        self._number = number
        self._timer: asyncio.TimerHandle | None = None
        self._next = time.monotonic() + FIRST

    def moved(self, transition: Transition) -> None:
        """A subscriber of the tree."""
        supervisor = self._root.supervisor
        place = supervisor.by_path[transition.path]
        if place is supervisor.root and self._root.tree is not place:  # it only holds what is started
            return
        self._watch.tell(Moved(transition, place.spec._asyncproc.kind, place.view.pid, place.view.round, time.time()))
        if self._watch.draws and self._timer is None:
            self._timer = self._root.loop.call_later(max(0.0, self._next - time.monotonic()), self._take)

    def _take(self) -> None:
        self._timer = None
        begun = time.monotonic()
        snapshot = snapshot_of(self._root.supervisor)
        self._watch.picture(Picture(self._number, snapshot, begun))
        took = time.monotonic() - begun
        self._next = begun + max(INTERVAL, SHARE * took)

    def close(self) -> None:
        """The tree is closed: the last picture."""
        if self._timer is not None:
            self._timer.cancel()
        if self._watch.draws:
            self._take()
