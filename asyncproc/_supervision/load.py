"""A subscription to the load of the machine: ``manager.load()``.

One timer on the manager's clock, set again after each sample, as long as the subscription lasts; no thread, and nothing at all
when there is none. What the samples mean is decided in :mod:`asyncproc._core.load`; how they are read is handed in.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Self

from asyncproc._core.load import LoadChange, LoadLevel, LoadRecord, LoadSample
from asyncproc.errors import StateError

if TYPE_CHECKING:
    from types import TracebackType

    from asyncproc._supervision.supervisor import Supervisor
    from asyncproc.abc import Alarm

log = logging.getLogger("asyncproc")

SOON = 0.2
"""Seconds until the first sample at most: processor time is a difference."""
CHANGES_KEPT = 1000
"""Changes that a slow reader may lag behind; what is older is dropped, and counted."""


class Load:
    """How loaded the machine is, sampled while this is open: to the end of ``async with``, :meth:`aclose`, or the manager.

    ``async for change in load`` gives each :class:`LoadChange`, in order.

    Attributes:
        dropped: changes that the reader was too slow for.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        every: float,
        readers: Mapping[str, Callable[[], float | None]],
        thresholds: Mapping[str, tuple[float, float]],
    ) -> None:
        self._supervisor = supervisor
        self._every = every
        self._readers = readers
        self._record = LoadRecord(thresholds)
        self._callbacks: list[tuple[LoadLevel, Callable[[LoadChange], object]]] = []
        self._kept: deque[LoadChange] = deque()
        self._waiting: set[asyncio.Future[None]] = set()
        self._failed: set[str] = set()
        self._open = True
        self.dropped = 0
        supervisor.on_close.append(self.close)
        self._alarm: Alarm | None = self._sample_in(min(SOON, every))

    # --- what was measured --------------------------------------------------------------------------------------------------

    @property
    def level(self) -> LoadLevel:
        """The highest level of all resources; NORMAL before the first sample."""
        return self._record.level

    @property
    def levels(self) -> Mapping[str, LoadLevel]:
        """The level of each resource. A new dict on each call."""
        return dict(self._record.levels)

    @property
    def history(self) -> Sequence[LoadSample]:
        """The last 100 samples, oldest first."""
        return tuple(self._record.history)

    @property
    def last(self) -> LoadSample | None:
        """The last sample; None before the first."""
        return self._record.history[-1] if self._record.history else None

    @property
    def peaks(self) -> Mapping[str, float]:
        """The greatest share of each resource since this was opened."""
        return dict(self._record.peaks)

    # --- being told -----------------------------------------------------------------------------------------------------------

    def on(self, level: LoadLevel, callback: Callable[[LoadChange], object]) -> Callable[[], None]:
        """Call *callback* with each change to this level, on the manager's loop; it must not block. Returns what ends that."""
        entry = level, callback
        self._callbacks.append(entry)

        def end() -> None:
            if entry in self._callbacks:
                self._callbacks.remove(entry)

        return end

    async def wait_at_most(self, level: LoadLevel = LoadLevel.NORMAL) -> None:
        """Wait until no resource is above *level*, and for the first sample.

        Raises:
            StateError: this is closed, or was while we waited.
        """
        while self._open and not (self._record.history and self.level <= level):
            await self._news()
        if not self._open:
            raise StateError(f"manager {self._supervisor.root.path!r}: this subscription to its load is closed")

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> LoadChange:
        while not self._kept:
            if not self._open:
                raise StopAsyncIteration
            await self._news()
        return self._kept.popleft()

    async def _news(self) -> None:
        """Wait for a change, for the first sample, or for the end."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(waiter)
        try:
            await waiter
        finally:
            self._waiting.discard(waiter)

    # --- ending ---------------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def aclose(self) -> None:
        """Sample no more."""
        self.close()

    def close(self) -> None:
        """The same, on the manager's loop."""
        if not self._open:
            return
        self._open = False
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self.close in self._supervisor.on_close:
            self._supervisor.on_close.remove(self.close)
        self._wake()

    # --- sampling -------------------------------------------------------------------------------------------------------------

    def _sample_in(self, seconds: float) -> Alarm:
        clock = self._supervisor.clock
        return clock.call_at(clock.now() + seconds, self._sample)

    def _sample(self) -> None:
        sample = LoadSample(self._supervisor.clock.wall(), {what: self._read(what) for what in self._readers})
        self._alarm = self._sample_in(self._every)  # first: a callback may close
        changes = self._record.take(sample)
        for change in changes:
            if len(self._kept) >= CHANGES_KEPT:
                self._kept.popleft()
                self.dropped += 1
            self._kept.append(change)
            self._tell(change)
        if changes or len(self._record.history) == 1:
            self._wake()

    def _read(self, what: str) -> float | None:
        try:
            share = self._readers[what]()
        except Exception:
            if what not in self._failed:  # once is enough
                log.exception("%s: the load of %s cannot be told", self._supervisor.root.path, what)
            self._failed.add(what)
            return None
        return None if share is None else float(share)

    def _tell(self, change: LoadChange) -> None:
        for level, callback in list(self._callbacks):
            if level is change.after:
                try:
                    callback(change)
                except Exception:
                    log.exception("%s: a callback for its load failed", self._supervisor.root.path)

    def _wake(self) -> None:
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
