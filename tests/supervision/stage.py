"""A supervisor with scripted children and a clock that goes when the test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from asyncproc import Concurrent, Spec
from asyncproc._core.supervision.event import OWN, RunAsked, StopAsked
from asyncproc._supervision.place import Place
from asyncproc._supervision.supervisor import Supervisor
from asyncproc.testing import FakeClock, ScriptedChild, ScriptedEngine


class Stage:
    """A supervisor in a world that only the test moves."""

    def __init__(self, on_start: Callable[[ScriptedChild], None] | None = None) -> None:
        loop = asyncio.get_running_loop()
        self.clock = FakeClock()
        self.engine = ScriptedEngine(on_start)
        self.supervisor = Supervisor(loop, self.engine, self.clock, "app", Concurrent(on_failure="continue"), 5.0)

    def run(self, spec: Spec[Any], name: str = "x", rounds: int = 1) -> Place:
        place = self.supervisor.add(spec, self.supervisor.root, name)
        self.supervisor.demand(RunAsked(place.id, rounds))
        return place

    def stop(self, place: Place, grace: float | None = OWN) -> None:
        self.supervisor.post(StopAsked(place.id, grace, "the test"))
