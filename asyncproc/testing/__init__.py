"""Tools for testing what is built on asyncproc: a clock, fault points, a leak check, scripted children, a test of lost updates.

Names are resolved when they are first used, so that a target which lives here costs its child nothing but itself.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncproc.testing.await_point import AwaitPoint as AwaitPoint
    from asyncproc.testing.clock import FakeClock as FakeClock
    from asyncproc.testing.faults import FaultPoint as FaultPoint
    from asyncproc.testing.leaks import Leaks as Leaks
    from asyncproc.testing.leaks import LeaksFound as LeaksFound
    from asyncproc.testing.lost_updates import LostUpdates as LostUpdates
    from asyncproc.testing.lost_updates import lost_update as lost_update
    from asyncproc.testing.scripted import ScriptedChild as ScriptedChild
    from asyncproc.testing.scripted import ScriptedEngine as ScriptedEngine

_HOMES = {
    "AwaitPoint": "await_point",
    "FakeClock": "clock",
    "FaultPoint": "faults",
    "Leaks": "leaks",
    "LeaksFound": "leaks",
    "LostUpdates": "lost_updates",
    "ScriptedChild": "scripted",
    "ScriptedEngine": "scripted",
    "lost_update": "lost_updates",
}
__all__ = [
    "AwaitPoint",
    "FakeClock",
    "FaultPoint",
    "Leaks",
    "LeaksFound",
    "LostUpdates",
    "ScriptedChild",
    "ScriptedEngine",
    "lost_update",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'asyncproc.testing' has no attribute {name!r}")
    found: object = getattr(__import__(f"asyncproc.testing.{home}", fromlist=[name]), name)
    globals()[name] = found
    return found
