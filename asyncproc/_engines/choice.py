"""Which engine a manager gets, and what it may promise there. All of it was tried on Linux alone."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncproc._engines.machine import MachineEngine

LAUNCHERS = ("auto", "portable")


def _has_chain(launcher: str) -> bool:
    return launcher == "auto" and sys.platform == "linux"


def engine_for(launcher: str, loop: asyncio.AbstractEventLoop, **options: Any) -> MachineEngine:
    """The engine of this machine.

    Args:
        launcher: "auto": a chain of helper processes on Linux; elsewhere, and for "portable", none.
        options: of the engine.
    """
    if _has_chain(launcher):
        from asyncproc._engines.local import LocalEngine

        return LocalEngine(loop, **options)
    if os.name != "posix":
        from asyncproc._engines.machine import MachineEngine

        options.pop("spares", None)
        return MachineEngine(loop, **options)  # refuses processes by name
    from asyncproc._engines.portable import PortableEngine

    return PortableEngine(loop, **options)


def guarantees(launcher: str) -> Mapping[str, bool | str]:
    """What holds here, for a manager with this launcher; looked up when it is asked. A text says under which condition."""
    if os.name != "posix":
        return MappingProxyType({"launcher": "none: there are threads and coroutines, and no processes"})
    return MappingProxyType(_of_chain() if _has_chain(launcher) else _of_portable())


def _of_chain() -> dict[str, bool | str]:
    from asyncproc._runtime import kernel
    from asyncproc._runtime.cgroup import own_group

    stamps, group = bool(kernel.own_interval()[1]), own_group()
    return {
        "launcher": "chain",
        "start of a Python child": "a fork of a template: milliseconds",
        "spares": True,
        "stamps": stamps,
        "children end with a killed manager": True,
        "descendants end with a killed manager": True,
        "daemons end with their child": stamps or "when the manager ends: this tree is too deep for stamps",
        "children outlive the thread that started them": True,
        "exit codes when the host ignores SIGCHLD": True,
        "limits, niceness and processors": True,
        "another user": _may_switch(),
        "memory limits": "of all that comes from a child" if stamps else ITSELF,
        "fork bombs of limited children end at once": group is not None and os.access(f"{group}/cgroup.procs", os.W_OK),
    }


ITSELF = "of the child's own process"


def _may_switch() -> bool | str:
    from asyncproc._engines.identity import may_switch

    return may_switch() or "no: it needs root or CAP_SETUID, CAP_SETGID and CAP_KILL"


def _of_portable() -> dict[str, bool | str]:
    from asyncproc._runtime import kernel
    from asyncproc._runtime.own_keeper import has_stamps

    linux = sys.platform == "linux"
    stamps = has_stamps() and bool(kernel.own_interval()[1])
    return {
        "launcher": "portable",
        "start of a Python child": "a fresh interpreter: 60 to 150 milliseconds",
        "spares": False,
        "stamps": stamps,
        "children end with a killed manager": linux or "Python children, as soon as they run Python code; commands do not",
        "descendants end with a killed manager": False,
        "daemons end with their child": "unless its environment is exact (inherit_env=False)" if stamps else False,
        "children outlive the thread that started them": not linux,
        "exit codes when the host ignores SIGCHLD": "from Linux 6.15 on" if linux else False,
        "limits, niceness and processors": True if hasattr(os, "sched_setaffinity") else "limits and niceness",
        "another user": _may_switch() if hasattr(os, "setresuid") else False,
        "memory limits": "of a child and what has it among its parents" if stamps else ITSELF if linux else False,
        "fork bombs of limited children end at once": False,
    }
