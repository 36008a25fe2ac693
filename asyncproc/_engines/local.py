"""The engine of this machine: makes each kind of child, and keeps the helper processes that Python children and commands need.

Helpers are started on first use. A start never raises: what goes wrong comes to the watcher as an exit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from asyncproc._core.exit import Exit, Reason
from asyncproc._core.options import COMMAND, COROUTINE, PROCESS, THREAD
from asyncproc._spec.base import Spec

if TYPE_CHECKING:
    from asyncproc._runtime.chain import Chain
    from asyncproc._runtime.process import ProcessChild
    from asyncproc._spec.leaf import Body
    from asyncproc.abc import Child, Order, Watcher

PLAIN, BY_VALUE, LOOP, PRELOADED = 1, 2, 3, 4
REFILL_AFTER = 0.02
"""Seconds without a start after which a warm spare is forked: never in the way of a start."""


class LocalEngine:
    """Children of this machine, for one manager on one loop.

    Args:
        loop: the manager's loop.
        preload: modules that Python children find imported.
        spares: Python children that are forked ahead.
        on_line: told ``(path, stream, data)`` of output that is to be shown.
        shows_all: show every captured stream (the command line does).
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        preload: tuple[str, ...] = (),
        spares: int = 1,
        on_line: Callable[[str, str, bytes], None] | None = None,
        shows_all: bool = False,
    ) -> None:
        self._loop = loop
        self._preload = preload
        self._wanted_spares = spares
        self._on_line = on_line
        self._shows_all = shows_all
        self._chain: Chain | None = None
        self._retired: list[Chain] = []
        self._spares: list[ProcessChild] = []
        self._refill: asyncio.TimerHandle | None = None
        self._closed = False

    # --- the helper processes -------------------------------------------------------------------------------------------

    def chain(self) -> Chain:
        """The helper processes that new children come from; started when there are none."""
        if self._chain is None:
            from asyncproc._runtime.warden import Warden

            warden = Warden()  # first: what follows is loaded while it starts
            from asyncproc._runtime.chain import Chain

            self._chain = Chain(self._loop, warden, self._preload, self._chain_gone)
        return self._chain

    def warm_up(self, kinds: set[str]) -> None:
        """Start what children of these kinds will need, ahead of them."""
        if kinds & {PROCESS, COMMAND}:
            with suppress(OSError):  # no descriptors: the start itself says so
                chain = self.chain()
                if PROCESS in kinds:
                    chain.template()

    def _chain_gone(self, chain: Chain, lost: bool) -> None:
        if chain is self._chain:
            self._chain = None
            self._retired.append(chain)
            for spare in self._spares:
                spare.dismiss()
            self._spares.clear()
        if lost:
            self._retired.remove(chain)
        if lost and self.on_lost is not None:
            self.on_lost()

    on_lost: Callable[[], None] | None = None
    """Told when a launcher and all of its children were lost."""

    @property
    def chains(self) -> list[Chain]:
        """Every chain that is not closed yet, the one for new children first."""
        return [*([self._chain] if self._chain else []), *self._retired]

    async def aclose(self) -> None:
        """End whatever is left of this engine's processes, and return when nothing is."""
        self._closed = True
        if self._refill is not None:
            self._refill.cancel()
        chains = self.chains
        self._chain = None
        self._retired = []
        self._spares.clear()
        for chain in chains:
            await chain.aclose()

    def hang_up(self) -> None:
        """The same without waiting, for when there is no loop any more."""
        self._closed = True
        for chain in self.chains:
            chain.hang_up()

    # --- starts ---------------------------------------------------------------------------------------------------------

    def start(self, spec: Spec[Any], order: Order, watcher: Watcher) -> Child:
        """Begin a child."""
        kind = spec._asyncproc.kind
        try:
            if kind == PROCESS:
                return self._start_process(spec, order, watcher)
            if kind == COMMAND:
                return self._start_command(spec, order, watcher)
            return self._start_local(kind, spec, order, watcher)
        except Exception as error:  # of the user's values, or of a system that has nothing left
            return Stillborn(order, watcher, error)

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
        chain = self.chain()  # first: it starts while the rest is loaded
        from asyncproc._engines.requests import first_message
        from asyncproc._runtime.stdio import Streams

        options = spec._asyncproc.options
        wanted = {name: self._shown(options, name, default) for name, default in (("stdout", "inherit"), ("stderr", "tee"))}
        streams = Streams(self._loop, wanted, self._shower(order))
        try:
            description, loop, by_value = first_message(spec, order, chain, streams)
            spare = self._take_spare()
            child, fork = (spare, None) if spare is not None else self._prepare(chain, self._stage(loop, by_value))
        except BaseException:
            streams.handed_over()
            streams.finish()
            raise
        # What it is to be waits in its socket when it is born: from the request on, the template has this processor.
        child.assign(order, description, streams, watcher, options.get("on_stop", "cancel") == "cancel")
        if fork is not None:
            fork()
        self._plan_refill()
        return child

    def _stage(self, loop: bool, by_value: bool) -> int:
        """How much a template must have imported before it forks this child."""
        if self._preload:
            return PRELOADED
        if loop:
            return LOOP
        return BY_VALUE if by_value else PLAIN

    def _prepare(self, chain: Chain, stage: int) -> tuple[ProcessChild, Callable[[], None]]:
        """A child that is not born yet, and the request for it."""
        from asyncproc._runtime.pairs import own_pair

        link = chain.template()  # first: a new one needs its time
        ours, theirs = own_pair()
        from asyncproc._runtime.process import ProcessChild

        number, index = chain.next_number()
        child = ProcessChild(self._loop, chain, ours, number, index, link)

        def fork() -> None:
            link.request("fork", number, index, stage, fds=[theirs.fileno()], keep=theirs, owes=True)

        return child, fork

    def _take_spare(self) -> ProcessChild | None:
        """A spare that is there; one that is not born yet stays for the next start."""
        self._spares = [spare for spare in self._spares if spare.waits]
        for index, spare in enumerate(self._spares):
            if spare.pid is not None:
                return self._spares.pop(index)
        return None

    def _plan_refill(self) -> None:
        if self._wanted_spares and not self._closed:
            if self._refill is not None:
                self._refill.cancel()
            self._refill = self._loop.call_later(REFILL_AFTER, self._fill)

    def _fill(self) -> None:
        self._refill = None
        chain = self._chain
        self._spares = [spare for spare in self._spares if spare.waits]
        while chain is not None and len(self._spares) < self._wanted_spares:
            try:
                spare, fork = self._prepare(chain, PRELOADED if self._preload else LOOP)
            except OSError:  # no descriptors to spare: the next start says so by name, if it needs one
                return
            fork()
            self._spares.append(spare)

    def _start_command(self, spec: Any, order: Order, watcher: Watcher) -> Child:
        chain = self.chain()  # first: it starts while the rest is loaded
        from asyncproc._engines.requests import request_command
        from asyncproc._runtime.command import CommandChild
        from asyncproc._runtime.stdio import Streams

        options = spec._asyncproc.options
        wanted = {
            "stdin": options.get("stdin", "null"),
            "stdout": self._shown(options, "stdout", "capture"),
            "stderr": self._shown(options, "stderr", "capture"),
        }
        streams = Streams(self._loop, wanted, self._shower(order), options.get("max_output", 1 << 20))
        number, index = chain.next_number()
        try:
            request_command(chain, spec, streams, number, index)
        except BaseException:
            chain.free_index(index)
            streams.handed_over()
            streams.finish()
            raise
        return CommandChild(self._loop, chain, spec, order, watcher, streams, number, index)

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
