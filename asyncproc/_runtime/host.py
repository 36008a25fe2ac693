"""Plays a child's life in the main thread of a process of its own, and knows the signals by which that is interrupted.

Most children are one plain call without hooks. For these a :class:`Direct` calls, and nothing else: what a life is made of
stays untouched, in pages that the child shares with its siblings, until somebody asks for ``current()``.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C half of signal: loading that one costs 3 ms
import _thread
import sys
from time import monotonic

from asyncproc._core.lifecycle.action import LOOP, PHASES
from asyncproc._core.lifecycle.event import BEGUN, RETURNED
from asyncproc._ipc.frame import READY
from asyncproc._ipc.link import fell_frame, report_frame
from asyncproc._runtime.lifecycle import Life, run_on_loop, run_plain
from asyncproc._spec.current import Finishing, current
from asyncproc.errors import Stopping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from asyncproc._ipc.async_line import AsyncLine
    from asyncproc._ipc.link import Link
    from asyncproc._runtime.lifecycle import Calls, Hooks, Terms

    Load = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], Hooks | None]

REPEAT = 0.05
"""Seconds after which an alarm that was not heard comes again: one that meets the main thread just before it begins to wait
interrupts nothing, and its handler runs when the wait is over."""
ONE_CALL: Terms = (1, 0, False, False, None, False)


class Host:
    """Whoever plays a life here.

    Attributes:
        life: what is played.
    """

    def __init__(self, link: Link, life: Life) -> None:
        self._link = link
        self.life = life
        self._line: AsyncLine | None = None
        self._main = _thread.get_ident()
        self._again: BaseException | None = None  # was raised where nobody could meet it
        self._due: float | None = None  # when the limit that is armed will have passed
        life.remote = True
        life.child = current
        life.line = lambda: link.line()
        life.on_ready = lambda: link.tell(READY)
        life.interrupt = self._interrupt
        life.arm = self._arm
        link.on_stop = life.asked
        link.on_report = lambda: link.report(report(life))

    def run(self, load: Load, on_loop: bool) -> Any:
        """Play it to its end; gives the result, or raises what ended it."""
        self.life.load(*load)
        _signal.signal(_signal.SIGTERM, self._on_term)
        _signal.signal(_signal.SIGALRM, self._on_alarm)
        sys.unraisablehook = self._unraisable
        if on_loop:
            return self._run_on_loop(None, None)
        if self.life.machine.loops != 1:
            line = self._link.line()
            self.life.look = line.look
            line.start_listening()
        return run_plain(self.life, self._run_on_loop)

    def _run_on_loop(self, play: Any, value: Any) -> Any:
        from asyncproc._ipc.async_line import AsyncLine

        plain = None if play is None else self._link.line()
        self._line = line = AsyncLine(self._link, listens=plain is None)
        if plain is None:
            self._link.line = lambda: line  # this child's line is its loop's
            self._link.on_stop = self._asked
            return line.run(lambda: run_on_loop(self.life))
        return line.run(lambda: self._go_on(line, plain, play, value))

    async def _go_on(self, line: AsyncLine, plain: Any, play: Any, value: Any) -> Any:
        """What began as plain code goes on here. It may hold its plain line, so that stays, and another thread listens."""

        def on_stop(cut: bool) -> bool:
            line.soon(self._asked_elsewhere, line, cut)
            return False

        self._link.on_stop = on_stop
        plain.start_listening()
        if plain.cut:  # asked before there was anything to cancel
            self.life.cancelled = True
            line.cancel_now()
        return await run_on_loop(self.life, play, value)

    def _asked(self, cut: bool) -> bool:
        """On the loop: what is to be interrupted waits, and is cancelled there."""
        interrupts = self.life.asked(cut)
        self.life.cancelled = self.life.cancelled or interrupts
        return interrupts

    def _asked_elsewhere(self, line: AsyncLine, cut: bool) -> None:
        if self._asked(cut):
            line.cancel_now()

    def _on_term(self, number: int, stack: object) -> None:
        _signal.signal(number, _signal.SIG_IGN)  # once: clean-up is not to be cut by a second one
        self._end_here(Stopping("asked to end"), everywhere=True)

    def _unraisable(self, what: Any) -> None:
        """What interrupts has met a destructor or the callback of a weak reference, which swallow it: once more."""
        error: BaseException = what.exc_value
        if error is not self.life.reason and not isinstance(error, Stopping):
            sys.__unraisablehook__(what)
            return
        self._again = error
        self.life.defer(error)
        self._set_alarm(0.001)

    def _on_alarm(self, number: int, stack: object) -> None:
        self._set_alarm(0 if self._due is None else max(self._due - monotonic(), 0))  # heard: not again, but for the limit
        again, self._again = self._again, None
        if again is not None:
            self._end_here(again, everywhere=isinstance(again, Stopping))
        elif self.life.reason is not None:  # another thread wants to interrupt
            self._interrupt()
        elif self._due is not None and monotonic() >= self._due:  # else that thread has been heard already
            self._arm(0)
            self.life.time_up()

    def _interrupt(self) -> None:
        reason = self.life.reason
        if _thread.get_ident() != self._main:
            self._set_alarm(REPEAT)
            _signal.pthread_kill(self._main, _signal.SIGALRM)
        elif reason is not None:
            self._end_here(reason, everywhere=False)

    def _end_here(self, error: BaseException, everywhere: bool) -> None:
        """End what runs in the main thread; *everywhere*: also a task beside the main one that holds up the loop."""
        line = self._line
        if line is None or line.running:
            self.life.raise_here(error)
            return
        line.soon(self._cut, line, None if everywhere else error)
        if everywhere and not line.waits:
            raise error

    def _cut(self, line: AsyncLine, reason: BaseException | None) -> None:
        """On the loop, so that it meets what waits there now; *reason* may have been heard already."""
        if reason is None or self.life.reason is reason:
            self.life.cancelled = True
            line.cancel_now()

    def _arm(self, seconds: float) -> None:
        self._due = monotonic() + seconds if seconds else None
        self._set_alarm(seconds)

    def _set_alarm(self, seconds: float) -> None:
        """SIGALRM in so many seconds, and again until it is heard; 0: none."""
        _signal.setitimer(_signal.ITIMER_REAL, seconds, REPEAT if seconds else 0)

    def last_words(self) -> bytes:
        """What the manager may want to know beside the outcome: how long loops took, where an error was raised."""
        life = self.life
        told = report(life) if life.machine.loops != 1 else b""
        if life.error is not None:
            told += fell_frame(PHASES.index(life.error_phase), life.error_loop)
        return told


class Direct:
    """One plain call without hooks, in the main thread."""

    __slots__ = ("_failed", "_host", "_link", "_load", "_main", "_path")

    def __init__(self, link: Link, path: str) -> None:
        self._link = link
        self._path = path
        self._main = _thread.get_ident()
        self._failed = False
        self._host: Host | None = None
        self._load: Load | None = None

    @property
    def life(self) -> Life:
        """What current() answers from: a life in the midst of its one loop. Made for who asks, in whichever thread."""
        if self._host is None:
            life = Life(ONE_CALL, self._path, monotonic)
            if self._load is not None:
                life.load(*self._load)
            for event in (BEGUN, RETURNED, RETURNED):
                life.machine.handle(event, monotonic())
            life.inside = True
            host = Host(self._link, life)
            host._main = self._main
            self._host = host
        return self._host.life

    def run(self, load: Load, on_loop: bool) -> Any:
        """Make the call; gives the result, or raises what ended it."""
        self._load = load
        _signal.signal(_signal.SIGALRM, self._on_alarm)
        self._link.tell(READY)
        target, args, kwargs, _ = load
        try:
            result = target(*args, **kwargs)
            if result is not None and hasattr(type(result), "__await__"):  # a lambda around a coroutine function, say
                result = self._run_on_loop(result)
        except Finishing:
            result = None
        except BaseException as error:
            self._failed = True
            reason = None if self._host is None else self._host.life.reason
            if reason is not None and reason is not error:
                raise reason from None
            raise
        if self._host is not None:
            self._host.life.join_threads()
        return result

    def _run_on_loop(self, awaitable: Any) -> Any:
        """From here on it is a life like any other; one that has asked for current() already keeps it, and its line."""
        if self._host is None and self._link.has_plain_line:
            self.life  # noqa: B018  # makes the host
        if self._host is not None:
            rest = _rest()
            next(rest)
            return self._host._run_on_loop(rest, awaitable)
        life = Life(ONE_CALL, self._path, monotonic)
        self._host = Host(self._link, life)
        life.on_ready = _nothing  # it was told
        return self._host.run((lambda: awaitable, (), {}, None), True)

    def _on_alarm(self, number: int, stack: object) -> None:
        if self._host is not None:
            self._host._on_alarm(number, stack)

    def last_words(self) -> bytes:
        """Where an error was raised: there is one place."""
        return fell_frame(PHASES.index(LOOP), 1) if self._failed else b""


def _rest() -> Calls:
    """What is left to play when the one call has been made: its result."""
    return (yield _nothing, (), {})


def _nothing() -> None: ...


def report(life: Life) -> bytes:
    """What tells the manager how long the loops took so far."""
    found = life.machine.times.report("")
    return report_frame(found.count, found.total, found.median, found.fastest, found.slowest, found.last)
