"""What all engines of this machine have in common: threads and coroutines, shown output, and a start that never raises."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Mapping
from errno import EAGAIN, EMFILE, ENFILE, ENOMEM
from typing import TYPE_CHECKING, Any, cast

from asyncproc._core.exit import Exit, Reason
from asyncproc._core.options import COMMAND, COROUTINE, PROCESS, THREAD
from asyncproc._spec.base import Spec
from asyncproc.abc import Usage
from asyncproc.errors import Fault, SpecError

if TYPE_CHECKING:
    from asyncproc._runtime.log_writer import LogWriter
    from asyncproc._runtime.memory import Meter
    from asyncproc._runtime.stdio import Streams
    from asyncproc._spec.leaf import Body
    from asyncproc.abc import Child, Order, Watcher


SHORT_REST = 0.05
"""Seconds for which a start rests that the system had nothing left for, before its failure is told."""
_SHORT = {EMFILE: "descriptors", ENFILE: "descriptors", EAGAIN: "fork", ENOMEM: "fork"}


class MachineEngine:
    """Children of this machine, for one manager on one loop; subclasses start its processes, itself it has none.

    Args:
        loop: the manager's loop.
        preload: modules that Python children find imported.
        on_line: told ``(path, stream, data)`` of output that is to be shown.
        shows_all: show every captured stream (the command line does).
    """

    on_lost: Callable[[], None] | None = None
    """Told when helper processes and all of their children were lost."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        preload: tuple[str, ...] = (),
        on_line: Callable[[str, str, bytes], None] | None = None,
        shows_all: bool = False,
    ) -> None:
        self._loop = loop
        self._preload = preload
        self._on_line = on_line
        self._shows_all = shows_all
        self._host = os.getpid()
        self._late: set[Streams] = set()
        self._log_writer: LogWriter | None = None
        self._meter: Meter | None = None

    def warm_up(self, kinds: set[str]) -> None:
        """Start what children of these kinds will need, ahead of them."""

    async def aclose(self) -> None:
        """End whatever is left of this engine's processes, and return when nothing is."""
        self._close_late()
        if self._log_writer is not None:
            await self._log_writer.aclose()

    def hang_up(self) -> None:
        """The same without waiting, for when there is no loop any more."""
        if os.getpid() != self._host:  # a forked copy: the loop's list of readers is not its own
            return
        self._close_late()
        if self._log_writer is not None:
            self._log_writer.hang_up()

    def _close_late(self) -> None:
        """The output of children that have ended while somebody holds it: nobody is left who could write."""
        for streams in list(self._late):
            streams.close()

    # --- starts ---------------------------------------------------------------------------------------------------------

    def start(self, spec: Spec[Any], order: Order, watcher: Watcher) -> Child:
        """Begin a child."""
        kind = spec._asyncproc.kind
        try:
            if spec._asyncproc.options.get("ready") == "notify":
                spec, watcher = self._notified(spec, watcher)
            if kind == PROCESS:
                return self._start_process(spec, order, watcher)
            if kind == COMMAND:
                return self._start_command(spec, order, watcher)
            return self._start_local(kind, spec, order, watcher)
        except Exception as error:  # of the user's values, or of a system that has nothing left
            _note_step(error)
            return Stillborn(self._loop, order, watcher, error)

    def _notified(self, spec: Spec[Any], watcher: Watcher) -> tuple[Spec[Any], Watcher]:
        """The same for a child that says itself when it is ready: where to say it stands in its environment."""
        import copy

        from asyncproc._runtime.notify import Notified
        from asyncproc._spec.base import Described

        notified = Notified(self._loop, watcher)
        old = spec._asyncproc
        options = {**old.options, "env": {**old.options.get("env", {}), **notified.env}}
        spec = copy.copy(spec)
        object.__setattr__(spec, "_asyncproc", Described(old.kind, options, old.target, old.args, old.kwargs, old.members))
        return spec, notified

    def _add_descriptor(self, streams: Streams, watcher: Watcher) -> None:
        """Where else it may be said."""
        take = getattr(watcher, "take_descriptor", None)
        if take is not None:
            streams.also(take())

    def _start_local(self, kind: str, spec: Spec[Any], order: Order, watcher: Watcher) -> Child:
        import copy

        body: Body[Any] = copy.copy(cast("Body[Any]", spec))
        if kind == THREAD:
            from asyncproc._runtime.thread import ThreadChild

            return ThreadChild(self._loop, body, order, watcher)
        assert kind == COROUTINE
        from asyncproc._runtime.coroutine import CoroutineChild

        return CoroutineChild(self._loop, body, order, watcher)

    def _start_process(self, spec: Any, order: Order, watcher: Watcher) -> Child:
        raise SpecError(
            [Fault(order.path, "launcher", "auto", f"starts no processes on {sys.platform}: it needs a POSIX system")]
        )

    _start_command = _start_process

    # --- memory ---------------------------------------------------------------------------------------------------------

    def memory_of(self, limits: Mapping[Any, int]) -> dict[Any, int]:
        """Bytes that children use with all that comes from them; of those that have a process by now.

        Args:
            limits: by child, the bytes up to which an upper bound will do.
        """
        from asyncproc._runtime.memory import Meter, Tree

        if self._meter is None:
            self._meter = Meter()
        there = [child for child in limits if child.pid is not None and hasattr(child, "origin")]
        trees = []
        for child in there:
            mark, above = child.origin
            trees.append(Tree(child.pid, mark, above, limits[child]))
        return dict(zip(there, self._meter.read(trees), strict=True))

    # --- output ---------------------------------------------------------------------------------------------------------

    def _shown(self, options: Mapping[str, Any], stream: str, default: str) -> Any:
        wanted = options.get(stream, default)
        return "tee" if self._shows_all and wanted in ("capture", "inherit") and stream not in options else wanted

    def _streams(self, order: Order, wanted: Mapping[str, Any], size: int = 1 << 20) -> Streams:
        """The streams of a child that is about to start."""
        from asyncproc._runtime.entrance import Entrance
        from asyncproc._runtime.stdio import Streams

        return Streams(self._loop, wanted, Entrance(order.path, self._on_line, self._writer), size, self._late)

    def _writer(self) -> LogWriter:
        """Who writes log files and records, for all children."""
        if self._log_writer is None:
            from asyncproc._runtime.log_writer import LogWriter

            self._log_writer = LogWriter()
        return self._log_writer


def _note_step(error: Exception) -> None:
    """Say where a start has failed that did not come as far as a helper."""
    if isinstance(error, OSError) and not any(note.startswith("step: ") for note in getattr(error, "__notes__", ())):
        step = _SHORT.get(error.errno or 0)
        if step is not None or error.filename is not None:
            error.add_note(f"step: {step or 'output'}")


class Stillborn:
    """A child that could not be made: it has ended before it began."""

    pid: int | None = None
    vitals = None

    def __init__(self, loop: asyncio.AbstractEventLoop, order: Order, watcher: Watcher, error: BaseException) -> None:
        exit = Exit(order.path, order.incarnation, Reason.CRASHED, error=error)
        # Not here: what is started again without delay would never let go of the loop, by which others give something back.
        loop.call_later(SHORT_REST if getattr(error, "errno", None) in _SHORT else 0.0, watcher.on_exit, exit, None)

    def take_rung(self, rung: object) -> None:
        """It has ended."""

    def signal(self, number: int) -> None:
        """It has ended."""

    def pause(self) -> None:
        """It has ended."""

    def resume(self) -> None:
        """It has ended."""

    def abandon(self) -> None:
        """It has ended."""

    def ask_for_report(self) -> None:
        """It has ended."""

    def usage(self) -> Usage:
        return Usage()

    async def stacks(self) -> str:
        return "it has ended"

    def send_value(self, value: object) -> int:
        return 0

    def send_credit(self, count: int) -> None:
        """It has ended."""
