"""``asyncproc.run``: a program that belongs to asyncproc. It makes the loop and owns the signals; nothing else here does."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, overload

from asyncproc._manager import Manager
from asyncproc._root import open_roots
from asyncproc._spec.base import Spec
from asyncproc._spec.group import as_spec
from asyncproc._supervision.handle import check_grace
from asyncproc.errors import ChildStopped, StateError

if TYPE_CHECKING:
    from types import FrameType

R = TypeVar("R")
LogStyle: TypeAlias = Literal["auto", "json", "text", "off"]
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@overload
def run(
    main: Spec[R], /, *, rounds: int | None = 1, binding: bool = True, grace: float | None = 5.0, log: LogStyle = "auto"
) -> R: ...
@overload
def run(main: Coroutine[Any, Any, R], /, *, grace: float | None = 5.0, log: LogStyle = "auto") -> R: ...
@overload
def run(
    main: Callable[[], Coroutine[Any, Any, R]],
    /,
    *,
    rounds: int | None = 1,
    binding: bool = True,
    grace: float | None = 5.0,
    log: LogStyle = "auto",
) -> R: ...
@overload
def run(
    main: Callable[[], R], /, *, rounds: int | None = 1, binding: bool = True, grace: float | None = 5.0, log: LogStyle = "auto"
) -> R: ...
def run(
    main: Any, /, *, rounds: int | None = 1, binding: bool = True, grace: float | None = 5.0, log: LogStyle = "auto"
) -> Any:
    """Run a spec or a coroutine on a loop of its own (uvloop where it is installed), and return its result.

    It owns the program: the first SIGINT, SIGTERM or SIGHUP stops gracefully, the second kills, the third exits at once.
    Afterwards SIGINT raises KeyboardInterrupt; SIGTERM and SIGHUP raise SystemExit(0), or 1 when something had to be killed.
    Handlers that stood before are put back. Off the main thread no signals are heard.

    Args:
        rounds: passes through a tree; None until stopped. binding: as :meth:`Manager.run`.
        grace: seconds between asking and killing, for nodes that do not say their own.
        log: how failures are logged: "json", "text", "off", or "auto" (text, unless the program has configured logging).
    """
    if asyncio._get_running_loop() is not None:
        if isinstance(main, Coroutine):
            main.close()
        raise StateError("asyncproc.run makes a loop of its own, and this thread runs one already: use a Manager, and await it")
    check_grace("app", grace)
    if isinstance(main, Coroutine):
        return _run_program(lambda ends: ends.follow(main), log)
    manager: Manager[Any] = Manager(as_spec(main), grace=grace)
    manager.check_run(None, rounds, binding)
    return _run_program(lambda ends: ends.manage(manager, rounds, binding), log)


def _run_program(body: Callable[[Ends], Coroutine[Any, Any, R]], log: LogStyle) -> R:
    from asyncproc._observe.logs import configured
    from asyncproc._runtime.warden import more_open_files

    with configured(log), more_open_files(), asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(_with_signals(body))


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's loops where it is installed; never by policy."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _with_signals(body: Callable[[Ends], Coroutine[Any, Any, R]]) -> R:
    ends = Ends()
    with ends.listening():
        try:
            result = await body(ends)
        except (asyncio.CancelledError, ChildStopped):  # what a single child, or a coroutine, makes of the stop
            if ends.signal is None:
                raise
        if ends.signal is not None:
            raise ends.as_exception()
        return result


class Ends:
    """How the program ends: what the first, the second and the third signal do."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self.killed = False
        self._count = 0
        self._stop: Callable[[], object] = lambda: None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.get_running_loop()

    async def follow(self, main: Coroutine[Any, Any, R]) -> R:
        """Run a coroutine; the first signal cancels it."""
        task = asyncio.current_task()
        assert task is not None
        self._stop = task.cancel
        return await main

    async def manage(self, manager: Manager[Any], rounds: int | None, binding: bool) -> Any:
        """Run a manager's tree; the first signal stops it."""
        try:
            async with manager:
                self._stop = lambda: self._spawn(self._stop_manager(manager))
                return await manager.run(rounds=rounds, binding=binding)
        finally:
            if self._tasks:
                await asyncio.wait(self._tasks)  # they are through with the manager, and know who had to be killed

    async def _stop_manager(self, manager: Manager[Any]) -> None:
        report = await manager.stop()
        self.killed = self.killed or bool(report.killed or report.left)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def listening(self) -> Listening:
        """Hear the signals inside the block, on the main thread."""
        return Listening(self._loop, self.take)

    def take(self, number: signal.Signals) -> None:
        """A signal has come."""
        self._count += 1
        if self._count == 1:
            self.signal = number
            self._stop()
        elif self._count == 2:
            self.killed = True
            for root in open_roots(self._loop):
                self._spawn(_kill(root))
        else:
            os._exit(128 + number)

    def as_exception(self) -> BaseException:
        """What a program raises that a signal has ended."""
        return KeyboardInterrupt() if self.signal is signal.SIGINT else SystemExit(1 if self.killed else 0)


async def _kill(root: Any) -> None:
    with suppress(asyncio.CancelledError):
        await root.kill("a second signal")


class Listening:
    """Signal handlers of ours for a while; those that stood before come back."""

    def __init__(self, loop: asyncio.AbstractEventLoop, take: Callable[[signal.Signals], None]) -> None:
        self._loop = loop
        self._take = take
        self._before: dict[signal.Signals, Callable[[int, FrameType | None], Any] | int | None] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for number in SIGNALS:
            self._before[number] = signal.getsignal(number)
            self._loop.add_signal_handler(number, self._take, number)

    def __exit__(self, *exc: object) -> None:
        for number, before in self._before.items():
            self._loop.remove_signal_handler(number)
            signal.signal(number, before if before is not None else signal.SIG_DFL)
