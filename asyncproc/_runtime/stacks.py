"""Where code stands: the stacks of threads and of tasks, as text. Loaded when somebody asks.

A task that waits shows only its outermost coroutine to ``Task.get_stack``; here the whole chain is followed that it awaits.
"""

from __future__ import annotations

import _thread
import sys
import traceback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import FrameType
    from typing import Any

    from asyncproc._ipc.link import Link

LONGEST = 1 << 16
"""Characters of a text; what is more is cut off."""
_ENTRIES = {("asyncproc._child", "main"), ("asyncproc._runtime.thread", "_work")}
"""The first functions of a child: what is below them is the template that it was forked from, or the start of a thread."""
_OWN = {"asyncproc._runtime.pulse", "asyncproc._ipc.link"}
"""Where threads of ours begin, which tell nothing about the user's code."""


def answer(link: Link, loop: Any, main: int) -> None:
    """In a child, on a thread made for it: tell the manager where all its threads and tasks stand.

    Args:
        loop: that of the main thread; None when it runs none. main: that thread.
    """
    try:
        link.stacks(text_of(sys._current_frames(), loop, main, leave_out=_thread.get_ident()))
    except Exception:  # the manager is gone, or modules are half loaded: who asks has a limit for that
        pass
    finally:
        link.threads -= 1


def text_of(frames: dict[int, FrameType], loop: Any, main: int, leave_out: int = 0) -> str:
    """The stacks of these threads, the main one first, then those of the tasks of a loop."""
    shown = (ident for ident in frames if ident != leave_out and _bottom(frames[ident]) not in _OWN)
    idents = sorted(shown, key=lambda ident: ident != main)
    parts = [f"{_name(ident, main)} (most recent call last):\n{_of_thread(frames[ident])}" for ident in idents]
    return cut("\n".join([*parts, *texts_of_tasks(loop)]))


def cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}\n... {len(text) - LONGEST} more characters"


def texts_of_tasks(loop: Any) -> Iterator[str]:
    """One for each task of a loop."""
    if loop is None:
        return
    import asyncio

    for task in sorted(asyncio.all_tasks(loop), key=lambda task: task.get_name()):
        yield text_of_task(task)


def text_of_task(task: Any) -> str:
    """Where a task waits; what it awaits last."""
    lines = traceback.StackSummary.extract(_awaited(task.get_coro())).format()
    return f"task {task.get_name()} (most recent call last):\n{''.join(lines)}"


def _awaited(awaitable: Any) -> Iterator[tuple[FrameType, int]]:
    while awaitable is not None:
        for frame, below in (("cr_frame", "cr_await"), ("gi_frame", "gi_yieldfrom"), ("ag_frame", "ag_await")):
            if hasattr(awaitable, frame):
                if (found := getattr(awaitable, frame)) is not None:
                    yield found, found.f_lineno
                awaitable = getattr(awaitable, below)
                break
        else:
            return


def _bottom(frame: FrameType) -> str:
    while frame.f_back is not None:
        frame = frame.f_back
    return str(frame.f_globals.get("__name__"))


def _of_thread(frame: FrameType | None) -> str:
    found: list[tuple[FrameType, int]] = []
    while frame is not None and (frame.f_globals.get("__name__"), frame.f_code.co_name) not in _ENTRIES:
        found.append((frame, frame.f_lineno))
        frame = frame.f_back
    return "".join(traceback.StackSummary.extract(iter(reversed(found))).format())


def _name(ident: int, main: int) -> str:
    if ident == main:
        return "main thread"
    threading = sys.modules.get("threading")
    thread = None if threading is None else threading._active.get(ident)
    return f"thread {ident}" if thread is None else f"thread {thread.name}"


def texts_of_threads(idents: Iterable[int | None]) -> Iterator[str]:
    """One for each of these threads of this process that still runs."""
    frames = sys._current_frames()
    for ident in idents:
        if ident in frames:
            yield f"{_name(ident, 0)} (most recent call last):\n{_of_thread(frames[ident])}"
