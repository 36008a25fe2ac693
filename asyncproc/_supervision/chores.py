"""What a tree has under way beside its children: a user's callbacks, and checks. Nobody waits for it but the close."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

log = logging.getLogger("asyncproc")

HOOK_LIMIT = 5.0
"""Seconds that a user's async callback may take."""
CUT_LIMIT = 1.0
"""Seconds that one may take to end when it has been cut; nobody waits longer for it."""
HURRY_LIMIT = 0.1
"""The same when somebody is in a hurry."""


class Chores:
    """The tasks of one tree.

    Attributes:
        checks: those that ask a child how it is; who has begun one enters it here, and cancels it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.checks: set[asyncio.Task[Any]] = set()
        self._loop = loop
        self._hooks: set[asyncio.Task[None]] = set()
        self._hurried: asyncio.Future[None] = loop.create_future()

    def await_hook(self, answer: Any, what: str) -> None:
        """Wait for what a user's callback has returned, within its limit; what goes wrong is logged as *what*."""
        self.carry(_bounded(answer, what), what)

    def carry(self, work: Coroutine[Any, Any, None], name: str | None = None) -> None:
        """Own a task until it is through; it has its limit."""
        task = self._loop.create_task(work, name=name)
        self._hooks.add(task)
        task.add_done_callback(self._hooks.discard)

    def hurry(self) -> None:
        """Cut callbacks that are under way: whoever closes does not wait for their limits."""
        for task in self._hooks:
            task.cancel()
        if not self._hurried.done():
            self._hurried.set_result(None)

    async def aclose(self) -> None:
        """Wait for callbacks that are under way, which have their limits, and for checks, which were cancelled."""
        await self._end_of(self._hooks, HOOK_LIMIT + CUT_LIMIT)
        await self._end_of(self.checks, HOOK_LIMIT)

    async def _end_of(self, tasks: set[asyncio.Task[Any]], limit: float) -> None:
        deadline = self._loop.time() + limit
        while tasks and (left := deadline - self._loop.time()) > 0:
            hurry = set() if self._hurried.done() else {self._hurried}
            await asyncio.wait({*tasks, *hurry}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if hurry and self._hurried.done():
                deadline = min(deadline, self._loop.time() + HURRY_LIMIT)
        for task in tasks:
            log.error("%s does not end, though it was cancelled", task.get_name())


async def _bounded(answer: Any, what: str) -> None:
    task = asyncio.current_task()
    assert task is not None
    cuts: list[float] = []

    def cut() -> None:  # told at once: one that does not listen may never end
        log.error("%s took more than %s s and was cut", what, HOOK_LIMIT)
        cuts.append(HOOK_LIMIT)
        task.cancel()

    alarm = asyncio.get_running_loop().call_later(HOOK_LIMIT, cut)
    try:
        await answer
    except asyncio.CancelledError:
        if not cuts:
            log.error("%s was cancelled", what)
            raise
    except Exception:
        log.exception("%s failed", what)
    finally:
        alarm.cancel()
