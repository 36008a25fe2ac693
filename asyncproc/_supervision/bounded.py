"""An end that is carried through although the caller has been cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from asyncproc._core.supervision.event import OWN, KillAsked, StopAsked

if TYPE_CHECKING:
    from asyncproc._supervision.place import Place
    from asyncproc._supervision.supervisor import Supervisor


async def end_place(supervisor: Supervisor, place: Place, by: str) -> None:
    """End a place although the caller has been cancelled; cancelled once more, kill it."""
    supervisor.post(StopAsked(place.id, OWN, by))
    task = supervisor.loop.create_task(supervisor.until(place, lambda: place.view.finished))
    await carry_through(task, lambda: supervisor.post(KillAsked(place.id, by)))


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
