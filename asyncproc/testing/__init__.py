"""Tools for testing what is built on asyncproc: an injected clock, fault points, a leak check, scripted children."""

from __future__ import annotations

from asyncproc.testing.clock import FakeClock
from asyncproc.testing.leaks import Leaks, LeaksFound
from asyncproc.testing.scripted import ScriptedChild, ScriptedEngine

__all__ = ["FakeClock", "Leaks", "LeaksFound", "ScriptedChild", "ScriptedEngine"]
