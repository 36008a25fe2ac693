"""asyncproc: one event loop owns one tree, and whatever runs (process, thread, coroutine, command) is a node of it.

Names are resolved when they are first used: ``import asyncproc`` costs next to nothing, and a child pays for nothing that its
target does not need.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncproc import abc as abc
    from asyncproc import blocking as blocking
    from asyncproc import errors as errors
    from asyncproc._core.backoff import Backoff as Backoff
    from asyncproc._core.circuit import CircuitState as CircuitState
    from asyncproc._core.completed import Completed as Completed
    from asyncproc._core.exit import Exit as Exit
    from asyncproc._core.exit import Phase as Phase
    from asyncproc._core.exit import Reason as Reason
    from asyncproc._core.lifecycle.loop_times import LoopReport as LoopReport
    from asyncproc._core.line import Line as Line
    from asyncproc._core.line import Piece as Piece
    from asyncproc._core.load import LoadChange as LoadChange
    from asyncproc._core.load import LoadLevel as LoadLevel
    from asyncproc._core.load import LoadSample as LoadSample
    from asyncproc._core.log_file import LogFile as LogFile
    from asyncproc._core.results import Results as Results
    from asyncproc._core.snapshot import Snapshot as Snapshot
    from asyncproc._core.stats import Stats as Stats
    from asyncproc._core.stop_report import StopReport as StopReport
    from asyncproc._core.supervision.state import State as State
    from asyncproc._core.transition import Transition as Transition
    from asyncproc._here import current_manager as current_manager
    from asyncproc._here import run_command as run_command
    from asyncproc._manager import Manager as Manager
    from asyncproc._program import run as run
    from asyncproc._shared.circuit import Circuit as Circuit
    from asyncproc._shared.namespace import Namespace as Namespace
    from asyncproc._spec.base import Spec as Spec
    from asyncproc._spec.command import Command as Command
    from asyncproc._spec.current import Current as Current
    from asyncproc._spec.current import current as current
    from asyncproc._spec.group import Concurrent as Concurrent
    from asyncproc._spec.group import Sequential as Sequential
    from asyncproc._spec.group import Supervisor as Supervisor
    from asyncproc._spec.leaf import Coroutine as Coroutine
    from asyncproc._spec.leaf import Process as Process
    from asyncproc._spec.leaf import Thread as Thread
    from asyncproc._spec.probes import Exec as Exec
    from asyncproc._spec.probes import Http as Http
    from asyncproc._spec.probes import LogLine as LogLine
    from asyncproc._spec.probes import Port as Port
    from asyncproc._spec.schedule import Schedule as Schedule
    from asyncproc._spec.setup import Setup as Setup
    from asyncproc._supervision.gate import AfterLoop as AfterLoop
    from asyncproc._supervision.gate import BeforeLoop as BeforeLoop
    from asyncproc._supervision.gate import OnFinish as OnFinish
    from asyncproc._supervision.gate import OnStart as OnStart
    from asyncproc._supervision.group import Group as Group
    from asyncproc._supervision.handle import Handle as Handle
    from asyncproc._supervision.load import Load as Load
    from asyncproc.errors import (
        AsyncprocError as AsyncprocError,
    )
    from asyncproc.errors import (
        ChildCrashed as ChildCrashed,
    )
    from asyncproc.errors import (
        ChildError as ChildError,
    )
    from asyncproc.errors import (
        ChildSkipped as ChildSkipped,
    )
    from asyncproc.errors import (
        ChildStopped as ChildStopped,
    )
    from asyncproc.errors import (
        ChildTimeout as ChildTimeout,
    )
    from asyncproc.errors import (
        CircuitOpen as CircuitOpen,
    )
    from asyncproc.errors import (
        CommandError as CommandError,
    )
    from asyncproc.errors import (
        NameTaken as NameTaken,
    )
    from asyncproc.errors import (
        PhaseError as PhaseError,
    )
    from asyncproc.errors import (
        PhaseTimeout as PhaseTimeout,
    )
    from asyncproc.errors import (
        RemoteError as RemoteError,
    )
    from asyncproc.errors import (
        RestartLimitReached as RestartLimitReached,
    )
    from asyncproc.errors import (
        SharedError as SharedError,
    )
    from asyncproc.errors import (
        SpecError as SpecError,
    )
    from asyncproc.errors import (
        StartFailed as StartFailed,
    )
    from asyncproc.errors import (
        StateError as StateError,
    )
    from asyncproc.errors import (
        Stopping as Stopping,
    )
    from asyncproc.errors import (
        TimedOut as TimedOut,
    )
    from asyncproc.errors import (
        UnknownField as UnknownField,
    )
    from asyncproc.errors import (
        UnknownNode as UnknownNode,
    )
    from asyncproc.errors import (
        WrongType as WrongType,
    )

__version__ = "0.1.0"

_HOMES = {
    "AfterLoop": "_supervision.gate",
    "Backoff": "_core.backoff",
    "BeforeLoop": "_supervision.gate",
    "Circuit": "_shared.circuit",
    "CircuitState": "_core.circuit",
    "Command": "_spec.command",
    "Completed": "_core.completed",
    "Concurrent": "_spec.group",
    "Coroutine": "_spec.leaf",
    "Current": "_spec.current",
    "Exec": "_spec.probes",
    "Exit": "_core.exit",
    "Group": "_supervision.group",
    "Handle": "_supervision.handle",
    "Line": "_core.line",
    "Load": "_supervision.load",
    "LoadChange": "_core.load",
    "LoadLevel": "_core.load",
    "LoadSample": "_core.load",
    "LogFile": "_core.log_file",
    "Http": "_spec.probes",
    "LogLine": "_spec.probes",
    "LoopReport": "_core.lifecycle.loop_times",
    "Manager": "_manager",
    "Namespace": "_shared.namespace",
    "OnFinish": "_supervision.gate",
    "OnStart": "_supervision.gate",
    "Phase": "_core.exit",
    "Piece": "_core.line",
    "Port": "_spec.probes",
    "Process": "_spec.leaf",
    "Reason": "_core.exit",
    "Results": "_core.results",
    "Schedule": "_spec.schedule",
    "Sequential": "_spec.group",
    "Snapshot": "_core.snapshot",
    "Setup": "_spec.setup",
    "Spec": "_spec.base",
    "State": "_core.supervision.state",
    "Stats": "_core.stats",
    "StopReport": "_core.stop_report",
    "Supervisor": "_spec.group",
    "Thread": "_spec.leaf",
    "Transition": "_core.transition",
    "current": "_spec.current",
    "current_manager": "_here",
    "run": "_program",
    "run_command": "_here",
    **dict.fromkeys(
        (
            "AsyncprocError", "ChildCrashed", "ChildError", "ChildSkipped", "ChildStopped", "ChildTimeout", "CircuitOpen",
            "CommandError", "NameTaken", "PhaseError", "PhaseTimeout", "RemoteError", "RestartLimitReached", "SharedError",
            "SpecError", "StartFailed", "StateError", "Stopping", "TimedOut", "UnknownField", "UnknownNode", "WrongType",
        ),
        "errors",
    ),
}  # fmt: skip
_MODULES = ("abc", "blocking", "errors", "testing")

__all__ = [*sorted(_HOMES), "abc", "blocking", "errors"]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None and name not in _MODULES:
        raise AttributeError(f"module 'asyncproc' has no attribute {name!r}")
    module = __import__(f"asyncproc.{home or name}", fromlist=["*"])
    found = getattr(module, name) if home else module
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
