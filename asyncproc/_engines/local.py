"""The engine of Linux: keeps the helper processes that Python children and commands come from, and asks them for each.

Helpers are started on first use. A start never raises: what goes wrong comes to the watcher as an exit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from asyncproc._core.options import COMMAND, PROCESS
from asyncproc._engines.machine import MachineEngine

if TYPE_CHECKING:
    from asyncproc._runtime.chain import Chain
    from asyncproc._runtime.process import ProcessChild
    from asyncproc.abc import Child, Order, Watcher

PLAIN, BY_VALUE, LOOP, PRELOADED = 1, 2, 3, 4
REFILL_AFTER = 0.02
"""Seconds without a start after which a warm spare is forked: never in the way of a start."""


class LocalEngine(MachineEngine):
    """Children of a chain of helper processes.

    Args:
        spares: Python children that are forked ahead. The rest: see :class:`MachineEngine`.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, spares: int = 1, **options: Any) -> None:
        super().__init__(loop, **options)
        self._wanted_spares = spares
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
        await super().aclose()

    def hang_up(self) -> None:
        """The same without waiting, for when there is no loop any more."""
        self._closed = True
        for chain in self.chains:
            chain.hang_up()
        super().hang_up()

    # --- starts ---------------------------------------------------------------------------------------------------------

    def _start_process(self, spec: Any, order: Order, watcher: Watcher) -> Child:
        chain = self.chain()  # first: it starts while the rest is loaded
        from asyncproc._engines.provision import identity, limits, wire
        from asyncproc._engines.requests import chain_setting, first_message, page_of

        options = spec._asyncproc.options
        other = identity(order.path, options)
        values = wire(order.path, options, other)
        wanted = {name: self._shown(options, name, default) for name, default in (("stdout", "inherit"), ("stderr", "tee"))}
        streams = self._streams(order, wanted)
        self._add_descriptor(streams, watcher)
        page = None
        try:
            given, group = _limited(chain, options, limits(options, other))
            setting = chain_setting(options, chain, streams, given, other)
            description, loop, by_value = first_message(spec, order, setting, values.is_data)
            page = page_of(options)
            spare = self._take_spare()
            # Another user may be unable to import anything: all of it is there before.
            stage = max(LOOP, self._stage(loop, by_value)) if other is not None else self._stage(loop, by_value)
            child, fork = (spare, None) if spare is not None else self._prepare(chain, stage)
        except BaseException:
            streams.handed_over()
            streams.close()
            if page is not None:
                page.close()
            raise
        if group is not None:
            child.live_in(group)
        # What it is to be waits in its socket when it is born: from the request on, the template has this processor.
        child.assign(order, description, streams, watcher, options.get("on_stop", "cancel") == "cancel", values, page)
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
        from asyncproc._engines.provision import identity, limits
        from asyncproc._engines.requests import request_command
        from asyncproc._runtime.command import CommandChild

        options = spec._asyncproc.options
        other = identity(order.path, options)
        wanted = {
            "stdin": options.get("stdin", "null"),
            "stdout": self._shown(options, "stdout", "capture"),
            "stderr": self._shown(options, "stderr", "capture"),
        }
        streams = self._streams(order, wanted, options.get("max_output", 1 << 20))
        self._add_descriptor(streams, watcher)
        number, index = chain.next_number()
        try:
            given, group = _limited(chain, options, limits(options, other))
            request_command(chain, spec, streams, number, index, given, other)
        except BaseException:
            chain.free_index(index)
            streams.handed_over()
            streams.close()
            raise
        child = CommandChild(self._loop, chain, spec, order, watcher, streams, number, index)
        if group is not None:
            child.live_in(group)
        return child


def _limited(chain: Chain, options: Mapping[str, Any], given: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    """A child's limits, and the control group that one gets which asks for such a limit."""
    group = None if options.get("max_memory") is None else chain.leaf()
    return ({**given, "leaf": group} if group is not None else given), group
