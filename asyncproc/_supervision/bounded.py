"""An end that is carried through although the caller has been cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


async def carry_through(task_or_future: asyncio.Future[Any], hurry: Callable[[], object]) -> None:
    """Wait for *task_or_future*, whatever happens to the caller; a further cancellation hurries it on and is swallowed here.

    For the path on which a cancellation has arrived already and will be raised when this is through. Hosts on anyio cancel
    again and again until the cancelled code has left: its shield keeps that away, so that only a new cancellation hurries.
    """
    from anyio import CancelScope

    with CancelScope(shield=True):
        while not task_or_future.done():
            try:
                await asyncio.shield(task_or_future)
            except asyncio.CancelledError:
                if not task_or_future.done():
                    hurry()
            except Exception:  # the future's own failure is for those who await it
                return
