"""Children that do what the test says, behind the same protocols as real ones: for rules, not for what an OS shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from asyncproc._core.exit import Exit, Reason
from asyncproc._core.supervision.action import Rung
from asyncproc.abc import Usage

if TYPE_CHECKING:
    from asyncproc.abc import Order, Vitals, Watcher


class ScriptedChild:
    """A child whose life the test tells: ``spawn``, ``ready``, ``acknowledge``, ``end``.

    Attributes:
        order: what it was started for. rungs: the rungs of the ladder that it was given, in order. sent: values sent to it.
    """

    def __init__(self, spec: Any, order: Order, watcher: Watcher) -> None:
        self.pid: int | None = None
        self.spec = spec
        self.order = order
        self.rungs: list[Rung] = []
        self.paused = False
        self.sent: list[object] = []
        self.ended = False
        self._watcher = watcher

    vitals: Vitals | None = None
    """Set by a test that tells of beats."""

    def usage(self) -> Usage:
        return Usage()

    async def stacks(self) -> str:
        return "it plays a script"

    def spawn(self, pid: int = 4242) -> None:
        """It exists."""
        self.pid = pid
        self._watcher.on_spawned(pid)

    def ready(self) -> None:
        """It is ready; spawned first when it was not."""
        if self.pid is None:
            self.spawn()
        self._watcher.on_ready()

    def acknowledge(self) -> None:
        """It has heard that it should end."""
        self._watcher.on_acknowledged()

    def say(self, value: object) -> None:
        """It sends a value."""
        self._watcher.on_value(lambda: value, 1)

    def end(self, reason: Reason = Reason.FINISHED, result: Any = None, **facts: Any) -> None:
        """It has ended."""
        self.ended = True
        self._watcher.on_exit(Exit(self.order.path, self.order.incarnation, reason, pid=self.pid, **facts), result)

    def take_rung(self, rung: Rung) -> None:
        self.rungs.append(rung)

    def signal(self, number: int) -> None:
        """Nobody is there to be signalled."""

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def abandon(self) -> None:
        self.end(Reason.LOST, killed=True)

    def send_value(self, value: object) -> int:
        self.sent.append(value)
        return 1

    def send_credit(self, count: int) -> None:
        """What it sends is not counted."""


class ScriptedEngine:
    """An engine whose children wait for the test; each start appends to ``children``.

    Args:
        on_start: called with each new child, e.g. to make it ready at once.
    """

    def __init__(self, on_start: Callable[[ScriptedChild], None] | None = None) -> None:
        self.children: list[ScriptedChild] = []
        self._on_start = on_start

    def start(self, spec: Any, order: Order, watcher: Watcher) -> ScriptedChild:
        child = ScriptedChild(spec, order, watcher)
        self.children.append(child)
        if self._on_start is not None:
            self._on_start(child)
        return child

    def named(self, name: str) -> ScriptedChild:
        """The last child that was started under this name."""
        return next(child for child in reversed(self.children) if child.order.name == name)

    async def aclose(self) -> None:
        """Nothing is left."""
