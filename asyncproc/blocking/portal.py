"""The portal: one thread with a loop of its own, which all blocking managers of this process share.

It begins with the first open manager and ends with the last one, so that a program without one has no thread and no loop of
ours: it may fork, and a check for leaks finds nothing, but a pipe that libuv opens once in a process. To begin costs a fraction
of a manager's first child.

It is a daemon thread, ended by ``atexit`` where a program ends with managers open. A thread that Python joins would wait for
itself; ``threading._register_atexit`` runs while the program's own threads still work, and would close their managers below
them. ``atexit`` runs when those have ended and daemon threads still run: children get their ladder.

In a fork of the process there is no such thread: what belongs to the portal of the parent is refused there by its pid.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from asyncproc._program import loop_factory
from asyncproc.blocking.call import Call, Question, alone, answer
from asyncproc.errors import StateError

R = TypeVar("R")
log = logging.getLogger("asyncproc")

_new_loop = loop_factory() or asyncio.new_event_loop
"""Looked for now: uvloop cannot be loaded any more when a thread that outlives the main one comes here first."""
ANSWER = 0.1
"""Seconds that the loop has to say, after a timeout, that the end had come all the same. A child's coroutine may block it."""
LAST_WORDS = 1.0
"""Seconds that what still runs on the loop has when the portal ends: a coroutine may ignore its cancellation."""


class Closes(Protocol):
    """What keeps a portal open."""

    async def aclose(self) -> None: ...


class Portal:
    """A thread with a loop."""

    def __init__(self) -> None:
        self.loop = _new_loop()
        self.leases: set[Lease] = set()
        self.pid = os.getpid()
        self._calls: set[Call[Any]] = set()
        self._ended = False
        self._ending: asyncio.Future[None] = self.loop.create_future()
        self._thread = threading.Thread(target=self._live, name="asyncproc-portal", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # no more threads to be had
            self.loop.close()
            raise
        except BaseException:  # a signal while it starts
            self.loop.call_soon_threadsafe(self.end)
            raise

    @property
    def is_foreign(self) -> bool:
        """Whether this process is a fork of the one in which the portal still had work: here it has no thread."""
        return os.getpid() != self.pid and not self._ended

    # --- calls, from any thread -----------------------------------------------------------------------------------------

    def call(
        self,
        work: Callable[[], Coroutine[Any, Any, R]],
        *,
        timeout: float | None = None,
        late: Callable[[], TimeoutError] = TimeoutError,
        ends: bool = False,
        then: Callable[[], object] | None = None,
    ) -> R:
        """Run a coroutine on the loop and wait for its end.

        A signal that raises (Ctrl-C) and *timeout* cancel it.

        Args:
            work: makes it, on the loop. late: makes what is raised after *timeout* seconds.
            ends: a cancelled one is waited for: what it began is ended first, and what it gave in that moment is not lost.
            then: called on the loop at its end.
        """
        call: Call[R] = Call(work, then)
        if not self._wait(call, timeout, ends):
            raise late()
        if call.cut and self._is_ending:
            self.join()
            with _quiet:
                return alone(self.loop, work)
        return call.outcome()

    def ask(self, function: Callable[[], R]) -> R:
        """Call a plain function on the loop, between two steps of everything else."""
        question: Question[R] = Question(function)
        self._wait(question, None, False)
        if question.cut:
            self.join()
            with _quiet:
                return answer(self.loop, function)
        return question.outcome()

    @property
    def _is_ending(self) -> bool:
        return self._ended or self._ending.done()

    def _wait(self, call: Call[Any], timeout: float | None, ends: bool) -> bool:
        """Wait for the end of a call; False when the time is over and nothing came."""
        self._calls.add(call)  # before looking: whoever ends the loop looks here after having said so
        try:
            self._send(call)
            if call.wait(timeout):
                return True
            self._post(call.cancel)
            call.wait(None if ends else ANSWER)
        except BaseException:  # Ctrl-C, or whatever else a signal's handler raises
            self._give_up(call, ends)
            raise
        finally:
            self._calls.discard(call)
        return call.came_through

    def _send(self, call: Call[Any]) -> None:
        if self._ended or not self._post(call.begin):
            call.let_go()

    def _give_up(self, call: Call[Any], ends: bool) -> None:
        """Cancel. If its end is waited for, a second interruption cancels again, which hurries it; a third leaves it."""
        if not ends:
            self._post(call.cancel)
            return
        for _ in range(2):
            try:
                self._post(call.cancel)
                call.wait()
                return
            except BaseException:  # interrupted again; the first one is raised in the end
                continue

    def _post(self, step: Callable[[], object]) -> bool:
        try:
            self.loop.call_soon_threadsafe(step)
        except RuntimeError:  # the loop is closed
            return False
        return True

    # --- the thread -----------------------------------------------------------------------------------------------------

    def _live(self) -> None:
        try:
            self.loop.run_until_complete(self._serve())
        finally:
            self._ended = True
            self.loop.close()
            for call in list(self._calls):
                call.let_go()

    async def _serve(self) -> None:
        await self._ending
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=LAST_WORDS)
        await self.loop.shutdown_asyncgens()

    def end(self) -> None:
        """Let the loop end; called on it."""
        if not self._ending.done():
            self._ending.set_result(None)

    def join(self) -> None:
        """Wait for the end of the thread, if it is to end."""
        if self._ending.done() and os.getpid() == self.pid:
            self._thread.join()

    # --- leases ---------------------------------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Close whatever keeps it open."""
        for fault in await asyncio.gather(*(lease.aclose() for lease in list(self.leases)), return_exceptions=True):
            if fault is not None:
                log.error("a manager could not be closed at the end of the program", exc_info=fault)

    def abandon(self, lease: Lease) -> None:
        """Close what nobody refers to any more. Called in the middle of anything: it takes no lock and never waits."""
        if os.getpid() == self.pid:
            self._post(lease.begin_close)


class Lease:
    """What keeps a portal open for one manager, until it is given back.

    Args:
        user: closed when the program ends before.

    Attributes:
        is_closing: whether somebody sees to its end already.
    """

    def __init__(self, portal: Portal, user: Closes) -> None:
        self.portal = portal
        self.is_closing = False
        self._task: asyncio.Task[None] | None = None
        self._user = user
        portal.leases.add(self)

    @property
    def is_held(self) -> bool:
        """Whether it has not been given back."""
        return self in self.portal.leases

    def begin_close(self) -> None:
        """Close it although nobody waits for that."""
        self._task = self.portal.loop.create_task(self.aclose())

    async def aclose(self) -> None:
        """Close the user and give it back."""
        try:
            await self._user.aclose()
        finally:
            self.give_back()

    def give_back(self) -> None:
        """The portal ends with its last lease. Called on its loop, any number of times."""
        global _portal
        with _lock:
            self.portal.leases.discard(self)
            if not self.portal.leases:
                if _portal is self.portal:
                    _portal = None
                self.portal.end()


_lock = threading.Lock()
_quiet = threading.Lock()
"""After the end of a portal, calls run on their own threads, one at a time."""
_portal: Portal | None = None
_registered = False
_exiting = False


def lease(user: Closes) -> Lease:
    """Open the portal of this process for a manager.

    Raises:
        StateError: the program is ending. RuntimeError, OSError: no thread or no descriptor is to be had.
    """
    global _portal, _registered
    with _lock:
        if _exiting:
            raise StateError("the interpreter is ending: no manager can be opened any more")
        if _portal is None:
            _portal = Portal()
        if not _registered:
            _registered = True
            atexit.register(_close_all)
        return Lease(_portal, user)


def _close_all() -> None:
    """The program ends: what is still open is closed, children by their ladder. Its own threads have ended before this."""
    global _exiting
    with _lock:
        _exiting = True
        portal = _portal
    if portal is not None:
        portal.call(portal.aclose, ends=True)
        portal.join()


def _forget_in_fork() -> None:
    """A fork has a copy of everything but the thread."""
    global _portal, _lock, _quiet
    _lock = threading.Lock()
    _quiet = threading.Lock()
    _portal = None


os.register_at_fork(after_in_child=_forget_in_fork)
