"""The engine for where there is no launcher: fresh interpreters and commands, kept by the manager itself.

Only Linux was tried. Elsewhere, what the system cannot honour is refused by the name of the option when a child starts.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from asyncproc._core.options import PROCESS
from asyncproc._engines.machine import MachineEngine
from asyncproc._engines.provision import directory, environment, identity, limits, wire
from asyncproc._engines.requests import command_message, first_message, page_of, standard
from asyncproc._runtime.own_keeper import OwnKeeper
from asyncproc._runtime.pairs import own_pair
from asyncproc._runtime.warden import raised_limit
from asyncproc.errors import Fault, SpecError

if TYPE_CHECKING:
    from asyncproc._engines.identity import Identity
    from asyncproc._runtime.process import ProcessChild
    from asyncproc._runtime.stdio import Streams
    from asyncproc._spec.command import Command
    from asyncproc._spec.leaf import Body
    from asyncproc.abc import Child, Order, Watcher


class PortableEngine(MachineEngine):
    """Children of the manager's own process.

    Args:
        spares: nobody is started ahead here: the number is for the launcher. The rest: see :class:`MachineEngine`.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, spares: int = 0, **options: Any) -> None:
        super().__init__(loop, **options)
        self._keeper = OwnKeeper(loop)

    def warm_up(self, kinds: set[str]) -> None:
        if PROCESS in kinds:
            __import__("asyncproc._runtime.portable")  # aiomultiprocess takes 50 ms, once

    async def aclose(self) -> None:
        await self._keeper.aclose()
        await super().aclose()

    def hang_up(self) -> None:
        self._keeper.hang_up()
        super().hang_up()

    # --- starts ---------------------------------------------------------------------------------------------------------

    def _start_process(self, spec: Body[Any], order: Order, watcher: Watcher) -> Child:
        options = spec._asyncproc.options
        refuse(order, options)
        other = identity(order.path, options)
        values = wire(order.path, options, other)
        env = environment(options, self._keeper.base_env, other)
        fourth = _ONE_MORE if options.get("ready") == "notify" else None
        setting = (fourth, directory(options.get("cwd")), _limits(options, other) or None, None, None, list(sys.argv))
        description, _, _ = first_message(spec, order, setting, values.is_data)
        wanted = {name: self._shown(options, name, default) for name, default in (("stdout", "inherit"), ("stderr", "tee"))}
        streams = self._streams(order, wanted)
        page = None
        try:
            page = page_of(options)
            child, pid = self._interpreter(order, streams, env)
        except BaseException:
            streams.handed_over()
            streams.close()
            if page is not None:
                page.close()
            raise
        streams.handed_over()
        self._add_descriptor(streams, watcher)  # alone: it goes with the first message
        child.on_spawned(pid)
        child.assign(order, description, streams, watcher, options.get("on_stop", "cancel") == "cancel", values, page)
        return child

    def _interpreter(self, order: Order, streams: Streams, env: Mapping[str, str]) -> tuple[ProcessChild, int]:
        """A child that has not been told yet what it is, and its pid."""
        from asyncproc._runtime.process import ProcessChild

        ours, theirs = own_pair()
        number, index = self._keeper.next_number()
        try:
            with theirs:
                pid = self._keeper.start_python(number, index, order.path, theirs, standard(streams), env, self._preload)
        except BaseException as error:
            ours.close()
            self._keeper.free_index(index)
            if isinstance(error, OSError):
                error.add_note("step: exec")
            raise
        return ProcessChild(self._loop, self._keeper, ours, number, index, self._keeper), pid

    def _start_command(self, spec: Command, order: Order, watcher: Watcher) -> Child:
        from asyncproc._runtime.command import CommandChild

        options = spec._asyncproc.options
        refuse(order, options)
        other = identity(order.path, options)
        env = environment(options, self._keeper.base_env, other)
        message = command_message(spec, env, _limits(options, other))
        wanted = {
            "stdin": options.get("stdin", "null"),
            "stdout": self._shown(options, "stdout", "capture"),
            "stderr": self._shown(options, "stderr", "capture"),
        }
        streams = self._streams(order, wanted, options.get("max_output", 1 << 20))
        self._add_descriptor(streams, watcher)
        number, index = self._keeper.next_number()
        try:
            self._keeper.start_command(number, index, message, standard(streams), env)
        except BaseException:
            self._keeper.free_index(index)
            streams.handed_over()
            streams.close()
            raise
        streams.handed_over()
        return CommandChild(self._loop, self._keeper, spec, order, watcher, streams, number, index)


_ONE_MORE = (-3, -3, -3, 0)
"""The standard streams are in place; what comes with the first message is to be descriptor 3."""


def _limits(options: Mapping[str, Any], other: Identity | None) -> dict[str, Any]:
    found = limits(options, other)
    raised = raised_limit()
    if raised is not None:  # what this program has raised for itself is not for its children
        found["rlimits"] = {resource.RLIMIT_NOFILE: raised, **found.get("rlimits", {})}
    return found


def refuse(order: Order, options: Mapping[str, Any]) -> None:
    """Raise SpecError for what this system cannot honour, all faults at once."""
    faults = []
    if "cpus" in options and not hasattr(os, "sched_setaffinity"):
        faults.append(Fault(order.path, "cpus", options["cpus"], f"cannot be honoured on {sys.platform}"))
    if options.get("max_memory") is not None and not sys.platform.startswith("linux"):
        faults.append(Fault(order.path, "max_memory", options["max_memory"], f"cannot be honoured on {sys.platform}"))
    if options.get("heartbeat") is not None and not hasattr(os, "memfd_create"):
        faults.append(Fault(order.path, "heartbeat", options["heartbeat"], f"cannot be honoured on {sys.platform}"))
    unknown = [
        name for name in options.get("rlimits", {}) if not hasattr(resource, f"RLIMIT_{name.upper().removeprefix('RLIMIT_')}")
    ]
    faults += [Fault(order.path, "rlimits", name, f"is no limit of {sys.platform}") for name in unknown]
    if not hasattr(os, "setresuid"):
        faults += [
            Fault(order.path, name, options[name], f"cannot be honoured on {sys.platform}")
            for name in ("user", "group")
            if options.get(name) is not None
        ]
    if faults:
        raise SpecError(faults)
