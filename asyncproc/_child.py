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

from asyncproc._ipc.codec import decode_call
from asyncproc._ipc.frame import ERROR, RESULT, STACKS_SIGNAL
from asyncproc._ipc.link import Link
from asyncproc._runtime.host import Direct, Host
from asyncproc._runtime.lifecycle import Life
from asyncproc._spec.current import Current, set_current_of_process
from asyncproc.errors import ChannelBroken, Stopping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from typing import Any

    from asyncproc._ipc.spawn import Work


PICKLE = b"\x80"
"""What a call begins with that is to be unpickled; one of data begins otherwise."""


def main(sock: socket, work: Work, early: list[tuple[int, bytes]], refused: Any) -> int:
    """Do the work that the manager described.

    Args:
        early: frames that have arrived with the description. refused: what the bootstrap could not do, with its step.

    Returns:
        The exit code of the process.
    """
    node, incarnation, round, level, metadata, loop, main_file, call, terms, beat = work
    link = Link(sock, early)
    load = decode_call
    if call[:1] != PICKLE:
        from asyncproc._ipc import data

        link.wire, load = data.DATA, data.decode_call
    wire = link.wire
    sys.modules["__main__"] = module = ModuleType("__main__")
    if main_file is not None:
        module.__file__ = main_file
    _signal.signal(_signal.SIGTERM, _stop_here)
    if sys.platform == "linux":
        _signal.signal(STACKS_SIGNAL, lambda number, stack: _show_stacks(link))
    runner: Host | Direct | None = None
    try:
        if refused is not None:
            refused.error.add_note(f"step: {refused.step}")
            raise refused.error
        runner = Direct(link, node) if terms is None else Host(link, Life(terms, node, monotonic))
        played = runner  # the one that is played, for the closure
        if beat is not None:
            _begin_to_beat(link, beat, runner)
        set_current_of_process(lambda: Current(played, link.line(), node, incarnation, round, level, metadata or {}))
        loaded = load(call)  # user code may run in this, and ask where it is
        body = wire.encode(runner.run(loaded, loop), "result")
    except SystemExit as end:
        body = wire.pack_error(end) if end.code else wire.encode(None, "result")
        return _finish(link, ERROR if end.code else RESULT, body, _code_of(end), runner)
    except BaseException as error:
        return _finish(link, ERROR, wire.pack_error(error), 1, runner)
    return _finish(link, RESULT, body, 0, runner)


def _stop_here(number: int, stack: object) -> None:
    _signal.signal(number, _signal.SIG_IGN)
    raise Stopping("asked to end")


def _show_stacks(link: Link) -> None:
    """Somebody wants to know where this child stands. On another thread: the main one may hold what is needed to tell it."""
    asyncio = sys.modules.get("asyncio")
    loop = None if asyncio is None else asyncio._get_running_loop()
    link.threads += 1
    try:
        _thread.start_new_thread(_tell_stacks, (link, loop, _thread.get_ident()))
    except RuntimeError:  # no more threads to be had: who asks has a limit for that
        link.threads -= 1


def _tell_stacks(link: Link, loop: Any, main: int) -> None:
    from asyncproc._runtime.stacks import answer

    answer(link, loop, main)


def _begin_to_beat(link: Link, every: float, runner: Host | Direct) -> None:
    from asyncproc._runtime.pulse import Pulse

    number = (lambda: runner.life.machine.number) if isinstance(runner, Host) else (lambda: 1)
    Pulse(every, number).begin(link, STACKS_SIGNAL)


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


def _finish(link: Link, kind: int, body: bytes, code: int, runner: Host | Direct | None) -> int:
    """Hand over the outcome, then end as an interpreter does: join threads, run ``atexit``, flush."""
    _signal.signal(_signal.SIGTERM, _signal.SIG_IGN)
    _signal.signal(_signal.SIGALRM, _signal.SIG_IGN)
    before = b"" if runner is None else runner.last_words()
    try:
        link.value(kind, body, before)
    except ChannelBroken:
        return 70
    if _thread._count() > link.threads and "threading" in sys.modules:
        sys.modules["threading"]._shutdown()
    if _hooks() != _own_hooks:
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):  # closed, or read by nobody
            pass
    return code
