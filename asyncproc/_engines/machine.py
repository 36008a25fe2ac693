"""What all engines of this machine have in common: threads and coroutines, shown output, and a start that never raises."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from asyncproc._core.exit import Exit, Reason
from asyncproc._core.options import COMMAND, COROUTINE, PROCESS, THREAD
from asyncproc._spec.base import Spec
from asyncproc.errors import Fault, SpecError

if TYPE_CHECKING:
    from asyncproc._runtime.stdio import Streams
    from asyncproc._spec.leaf import Body
    from asyncproc.abc import Child, Order, Watcher


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

    def warm_up(self, kinds: set[str]) -> None:
        """Start what children of these kinds will need, ahead of them."""

    async def aclose(self) -> None:
        """End whatever is left of this engine's processes, and return when nothing is."""

    def hang_up(self) -> None:
        """The same without waiting, for when there is no loop any more."""

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
            return Stillborn(order, watcher, error)

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

    # --- output that is shown -------------------------------------------------------------------------------------------

    def _shown(self, options: Mapping[str, Any], stream: str, default: str) -> Any:
        wanted = options.get(stream, default)
        return "tee" if self._shows_all and wanted in ("capture", "inherit") and stream not in options else wanted

    def _shower(self, order: Order) -> Callable[[str, bytes], None] | None:
        on_line = self._on_line
        if on_line is None:
            return None
        path = order.path
        return lambda stream, data: on_line(path, stream, data)


class Stillborn:
    """A child that could not be made: it has ended before it began."""

    pid: int | None = None

    def __init__(self, order: Order, watcher: Watcher, error: BaseException) -> None:
        watcher.on_exit(Exit(order.path, order.incarnation, Reason.CRASHED, error=error), None)

    def take_rung(self, rung: object) -> None:
        """It has ended."""

    def signal(self, number: int) -> None:
        """It has ended."""

    def abandon(self) -> None:
        """It has ended."""

    def ask_for_report(self) -> None:
        """It has ended."""

    def send_value(self, value: object) -> int:
        return 0

    def send_credit(self, count: int) -> None:
        """It has ended."""
