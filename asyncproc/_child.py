"""The root of a child process: its line to the manager, its ``current()``, and the run of its target.

Started by name in a fresh fork (:mod:`asyncproc._runtime.bootstrap`), never imported by anything below. It loads asyncio only
for a coroutine function, and makes nothing that the target does not ask for: an idle child costs about a megabyte.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C half of signal: loading that one costs 3 ms
import _thread
import atexit
import sys
from time import monotonic
from types import ModuleType

from asyncproc._core.lifecycle.action import PHASES
from asyncproc._ipc.codec import decode_call, encode
from asyncproc._ipc.frame import ERROR, READY, RESULT
from asyncproc._ipc.link import Link, fell_frame, report_frame
from asyncproc._ipc.remote_error import pack_error
from asyncproc._runtime.lifecycle import Life, run_on_loop, run_plain
from asyncproc._spec.current import Current, current, set_current_of_process
from asyncproc.errors import ChannelBroken, Stopping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from typing import Any

    from asyncproc._ipc.async_line import AsyncLine
    from asyncproc._ipc.spawn import Work


def main(sock: socket, work: Work, early: list[tuple[int, bytes]], refused: Any) -> int:
    """Do the work that the manager described.

    Args:
        early: frames that have arrived with the description. refused: what the bootstrap could not do, with its step.

    Returns:
        The exit code of the process.
    """
    node, incarnation, round, level, metadata, loop, main_file, call, terms = work
    link = Link(sock, early)
    sys.modules["__main__"] = module = ModuleType("__main__")
    if main_file is not None:
        module.__file__ = main_file
    _signal.signal(_signal.SIGTERM, _stop_here)
    life = None
    try:
        if refused is not None:
            refused.error.add_note(f"step: {refused.step}")
            raise refused.error
        life = Life(terms, node, monotonic)
        host = Host(link, life)
        set_current_of_process(lambda: Current(life, link.line(), node, incarnation, round, level, metadata or {}))
        life.load(*decode_call(call))  # user code may run in this, and ask where it is
        body = encode(host.run(loop), "result")
    except SystemExit as end:
        return _finish(link, ERROR if end.code else RESULT, pack_error(end) if end.code else encode(None), _code_of(end), life)
    except BaseException as error:
        return _finish(link, ERROR, pack_error(error), 1, life)
    return _finish(link, RESULT, body, 0, life)


class Host:
    """Plays a life in this process: its main thread, and the signals by which it is interrupted."""

    def __init__(self, link: Link, life: Life) -> None:
        self._link = link
        self._life = life
        self._line: AsyncLine | None = None
        self._main = _thread.get_ident()
        life.remote = True
        life.child = current
        life.line = lambda: link.line()
        life.on_ready = lambda: link.tell(READY)
        life.interrupt = self._interrupt
        life.arm = self._arm
        link.on_stop = life.asked
        link.on_report = lambda: link.report(report(life))

    def run(self, on_loop: bool) -> Any:
        """Play it to its end; gives the result, or raises what ended it."""
        _signal.signal(_signal.SIGTERM, self._on_term)
        _signal.signal(_signal.SIGALRM, self._on_alarm)
        if on_loop:
            return self._run_on_loop(None, None)
        if self._life.machine.loops != 1:
            line = self._link.line()
            self._link.line = lambda: line
            self._life.look = line.look
            _thread.start_new_thread(line.listen, ())
        return run_plain(self._life, self._run_on_loop)

    def _run_on_loop(self, play: Any, value: Any) -> Any:
        from asyncproc._ipc.async_line import AsyncLine

        self._line = line = AsyncLine(self._link)
        self._link.line = lambda: line  # this child's line is its loop's
        return line.run(lambda: run_on_loop(self._life, play, value))

    def _on_term(self, number: int, stack: object) -> None:
        _signal.signal(number, _signal.SIG_IGN)  # once: clean-up is not to be cut by a second one
        self._end_here(Stopping("asked to end"), everywhere=True)

    def _on_alarm(self, number: int, stack: object) -> None:
        if self._life.reason is None:
            self._life.time_up()
        else:  # another thread wants to interrupt
            self._interrupt()

    def _interrupt(self) -> None:
        reason = self._life.reason
        if _thread.get_ident() != self._main:
            _signal.pthread_kill(self._main, _signal.SIGALRM)
        elif reason is not None:
            self._end_here(reason, everywhere=False)

    def _end_here(self, error: BaseException, everywhere: bool) -> None:
        """End what runs in the main thread; *everywhere*: also a task beside the main one that holds up the loop."""
        line = self._line
        if line is None or line.running:
            self._life.raise_here(error)
            return
        self._life.cancelled = True
        line.cancel()
        if everywhere and not line.waits:
            raise error

    def _arm(self, seconds: float) -> None:
        _signal.setitimer(_signal.ITIMER_REAL, seconds)


def report(life: Life) -> bytes:
    """What tells the manager how long the loops took so far."""
    found = life.machine.times.report("")
    return report_frame(found.count, found.total, found.median, found.fastest, found.slowest, found.last)


def _stop_here(number: int, stack: object) -> None:
    _signal.signal(number, _signal.SIG_IGN)
    raise Stopping("asked to end")


_own_hooks = (-1, -1)


def note_hooks() -> None:
    """Remember, in a template, what there is to be done at the end anyway; a child that adds nothing can leave it out."""
    global _own_hooks
    _own_hooks = _hooks()


def _hooks() -> tuple[int, int]:
    logging = sys.modules.get("logging")
    return atexit._ncallbacks(), 0 if logging is None else len(logging._handlerList)


def _code_of(end: SystemExit) -> int:
    if isinstance(end.code, int):
        return end.code & 0xFF
    return 0 if end.code is None else 1


def _finish(link: Link, kind: int, body: bytes, code: int, life: Life | None) -> int:
    """Hand over the outcome, then end as an interpreter does: join threads, run ``atexit``, flush."""
    _signal.signal(_signal.SIGTERM, _signal.SIG_IGN)
    _signal.signal(_signal.SIGALRM, _signal.SIG_IGN)
    before = b"" if life is None or life.machine.loops == 1 else report(life)
    if life is not None and life.error is not None:
        before += fell_frame(PHASES.index(life.error_phase), life.error_loop)
    try:
        link.value(kind, body, before)
    except ChannelBroken:
        return 70
    if _thread._count() > link.threads:
        sys.modules["threading"]._shutdown()
    if _hooks() != _own_hooks:
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):  # closed, or read by nobody
            pass
    return code
