"""A manager whose children and whose clock do what the test says: for rules, where no real child can be made to keep time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from asyncproc import Manager, Reason, Supervisor
from asyncproc._core.supervision.action import Rung
from asyncproc.testing import FakeClock, ScriptedChild, ScriptedEngine


class Obedient(ScriptedChild):
    """Ends when it is asked to."""

    log: list[str]

    def take_rung(self, rung: Rung) -> None:
        super().take_rung(rung)
        self.log.append(f"{rung.value} {self.order.name}")
        if not self.ended:
            self.end(Reason.FINISHED)


class Stage(ScriptedEngine):
    """The engine and the clock of every manager that is opened while it stands.

    Attributes:
        log: what managers wished, in words. clock: advance it by hand.
        fails: names whose next starts fail, how often. silent: names that come up, but do not say that they are ready.
    """

    on_lost: Callable[[], None]

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.log: list[str] = []
        self.fails: dict[str, int] = {}
        self.silent: set[str] = set()
        self._managers: list[Manager[Any]] = []
        monkeypatch.setattr("asyncproc._root.engine_for", lambda *_, **__: self)
        monkeypatch.setattr("asyncproc._runtime.clock.LoopClock", lambda loop: self.clock)

    async def opened(self, *members: Any, **options: Any) -> Manager[Any]:
        """A manager whose tree is a Supervisor of these members."""
        manager: Manager[Any] = Manager(Supervisor(*members, **options))
        self._managers.append(manager)
        return await manager.aopen()

    async def cleared(self) -> None:
        """Whatever is still open is closed: its children end by themselves, or are given up as time passes."""
        closing = [asyncio.create_task(manager.aclose()) for manager in self._managers if manager._root is not None]
        while not all(task.done() for task in closing):
            await settled()
            self.clock.advance(10.0)

    def start(self, spec: Any, order: Any, watcher: Any) -> ScriptedChild:
        child = Obedient(spec, order, watcher)
        child.log = self.log
        self.children.append(child)
        self.log.append(f"start {order.name}")
        if self.fails.get(order.name):
            self.fails[order.name] -= 1
            child.end(Reason.CRASHED, error=RuntimeError(f"{order.name} does not come up"))
        elif order.name in self.silent:
            child.spawn()
        else:
            child.ready()
        return child

    def warm_up(self, kinds: set[str]) -> None:
        """Nothing is to be prepared."""

    def hang_up(self) -> None:
        """Nobody is to be left."""

    def crash(self, name: str, error: BaseException | None = None) -> list[str]:
        """Its last incarnation fails; what followed from that."""
        return self.end(name, Reason.CRASHED, error or ValueError("boom"))

    def end(self, name: str, reason: Reason = Reason.FINISHED, error: BaseException | None = None) -> list[str]:
        """Its last incarnation ends; what followed from that."""
        before = len(self.log)
        self.named(name).end(reason, error=error)
        return self.log[before:]

    def advance(self, seconds: float) -> list[str]:
        """Time passes; what followed from that."""
        before = len(self.log)
        self.clock.advance(seconds)
        return self.log[before:]

    def told(self) -> list[str]:
        """What was wished since it was last asked for."""
        said, self.log[:] = list(self.log), []
        return said


async def settled() -> None:
    """Let whoever was woken run."""
    for _ in range(10):
        await asyncio.sleep(0)
