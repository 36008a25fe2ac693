"""Threads in a child, supervised by it: the failure of one is the failure of the child."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncproc._runtime.lifecycle import Life

LAST_PASS = 5.0
"""Seconds that a thread which loops has for its last pass, when its child has ended."""


class BackgroundThread(threading.Thread):
    """A thread that calls its target so many times, or until the child ends.

    It is a daemon: one that never ends by itself does not hold up the end of its child. Who needs its work done waits for it
    in OnFinish, by ``join()``.
    """

    def __init__(self, life: Life, target: Callable[..., Any], args: tuple[Any, ...], name: str, loops: int | None) -> None:
        super().__init__(name=name, daemon=True)
        self._life = life
        self._call = target, args
        self._context = contextvars.copy_context()
        self._told: list[Callable[[], object]] = []
        self._over = False
        self._state = threading.Lock()
        self.loops = loops

    def when_over(self, call: Callable[[], object]) -> None:
        """Call it when the last pass is over; at once when that is so."""
        with self._state:
            if not self._over:
                self._told.append(call)
                return
        call()

    def run(self) -> None:
        try:
            self._run()
        finally:
            with self._state:
                self._over = True
            for call in self._told:
                call()

    def _run(self) -> None:
        try:
            self._context.run(self._passes)
        except BaseException as error:
            error.add_note(f"in background thread {self.name}")
            if not self._life.ending:
                self._life.interrupt_by(error)

    def _passes(self) -> None:
        target, args = self._call
        done = 0
        while (self.loops is None or done < self.loops) and not (done and self._life.ending):
            value = target(*args)
            if hasattr(type(value), "__await__"):
                import asyncio

                asyncio.run(_awaited(value))
            done += 1


async def _awaited(value: Any) -> None:
    await value


def start(
    life: Life, target: Callable[..., Any], args: tuple[Any, ...], name: str | None, loops: int | None
) -> BackgroundThread:
    """Start one."""
    made = name or str(getattr(target, "__name__", type(target).__name__))
    thread = BackgroundThread(life, target, args, made, loops)
    thread.start()
    return thread


def join(threads: list[BackgroundThread]) -> None:
    """Let those that loop end after their present pass."""
    for thread in threads:
        if thread.loops != 1:
            thread.join(LAST_PASS)


async def join_on_loop(threads: list[BackgroundThread]) -> None:
    """The same, while the loop goes on; without a thread that waits."""
    import asyncio

    loop = asyncio.get_running_loop()
    for thread in threads:
        if thread.loops == 1:
            continue
        over = asyncio.Event()
        thread.when_over(lambda over=over: loop.call_soon_threadsafe(over.set))  # type: ignore[misc]  # bound now
        try:
            async with asyncio.timeout(LAST_PASS):
                await over.wait()
        except TimeoutError:
            continue
        thread.join()
