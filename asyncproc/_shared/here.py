"""Which task or thread code runs in."""

from __future__ import annotations

import sys
from _thread import get_ident


def runs_a_loop() -> bool:
    """Whether this thread runs an event loop."""
    asyncio = sys.modules.get("_asyncio")  # without it no thread runs a loop
    return asyncio is not None and asyncio._get_running_loop() is not None


def here() -> object:
    """The task that runs, or else the thread; can be hashed."""
    task: object = sys.modules["asyncio.tasks"].current_task() if runs_a_loop() else None
    return get_ident() if task is None else task
