"""Fault points: a helper process or a child that stops, or dies, at a named step of a start.

Nothing of this is in the code that it tests: the program that starts a chain of helpers is given a prologue, which wraps the
one function that the step is named by. A fault happens once, to whoever comes there first, and reports itself through a FIFO.

This file is also what the prologue runs, in the warden before anything else: it imports next to nothing.
"""

from __future__ import annotations

import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Self

STOP, DIE = 19, 9
"""What is done at the step: SIGSTOP or SIGKILL to the process itself."""

_LOOKS = 2000
"""Looks at whether it was done, a millisecond apart."""

STEPS = {
    "warden begins": "before warden_main.calm_signals",
    "warden can adopt": "after warden_main.kernel.become_subreaper",
    "launcher is forked": "before warden_main._become_launcher",
    "warden watches": "before warden_main._wait_for_any",
    "launcher can adopt": "after launcher_main.Launcher.__init__",
    "template is wanted": "before launcher_main.Launcher._start_template",
    "template is forked": "before launcher_main.Launcher._become_template",
    "template is told of": "before launcher_main.Launcher.started",
    "template can adopt": "after template_main.Template.__init__",
    "template imports": "before template_main.Template._import",
    "child is wanted": "before template_main.Template._fork",
    "child is forked": "before template_main.become_child",
    "child is told of": "before template_main.Template.started",
    "child hears signals": "after bootstrap._reset_signals",
    "child leads no session": "before bootstrap.os.setsid",
    "child leads its session": "after bootstrap.os.setsid",
    "child bears its stamp": "after bootstrap.resource.setrlimit",
    "child dies with its parent": "before bootstrap._receive",
    "child knows its work": "after bootstrap._receive",
    "child is what it should be": "after bootstrap._apply",
    "command is wanted": "before launcher_main._posixsubprocess.fork_exec",
    "command is there": "after launcher_main._posixsubprocess.fork_exec",
    "command is told of": "before launcher_main.Launcher.started",
}
"""The steps of a start, in order: the name of each, and before or after which function of :mod:`asyncproc._runtime` it is."""


class FaultPoint:
    """While entered, helpers that are started in this process come to a fault at *step*; the first to come has it.

    Args:
        step: one of :data:`STEPS`.
        action: STOP or DIE.
    """

    def __init__(self, step: str, action: int) -> None:
        self._where = STEPS[step]
        self._action = action

    def __enter__(self) -> Self:
        import tempfile

        from asyncproc._runtime import warden

        self._fifo = tempfile.mktemp(prefix="asyncproc-fault-")
        os.mkfifo(self._fifo, 0o600)
        self._read = os.open(self._fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._start = warden.START
        path, separator, main = self._start.partition("from ")
        prologue = (
            f"space={{}};exec(open({__file__!r}).read(),space);space['plant']({self._where!r},{self._action},{self._fifo!r});"
        )
        warden.START = path + prologue + separator + main
        return self

    def wait_reached(self, timeout: float = 5.0) -> int:
        """The pid of the process that has come to the step; blocks.

        Raises:
            TimeoutError: nobody came there within *timeout* seconds.
        """
        import select

        if not select.select([self._read], [], [], timeout)[0]:
            raise TimeoutError(f"nobody came to the step {self._where!r}")
        pid = int(os.read(self._read, 20))
        for _ in range(_LOOKS):
            if self._is_done(pid):
                break
            time.sleep(0.001)
        return pid

    async def reached(self) -> int:
        """The same on the running loop; waits for as long as it takes."""
        import asyncio

        there = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._read, there.set)
        try:
            await there.wait()
        finally:
            loop.remove_reader(self._read)
        pid = int(os.read(self._read, 20))
        for _ in range(_LOOKS):
            if self._is_done(pid):
                break
            await asyncio.sleep(0.001)
        return pid

    def _is_done(self, pid: int) -> bool:
        """Whether what is to happen there has happened: it is told first, and nobody wakes who waits for another's stop."""
        if self._action not in (STOP, DIE):
            return True
        try:
            with open(f"/proc/{pid}/stat") as stat:
                state = stat.read().rpartition(")")[2].split()[0]
        except OSError:
            return True
        return state in "TZX"

    @property
    def happened(self) -> bool:
        """Whether somebody has come to the step."""
        return not os.path.exists(self._fifo)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        from asyncproc._runtime import warden

        warden.START = self._start
        os.close(self._read)
        if not self.happened:
            os.unlink(self._fifo)


def plant(where: str, action: int, fifo: str) -> None:
    """Wrap the function that *where* names, in this process and all that it forks."""
    when, _, path = where.partition(" ")
    module, *attributes, name = path.split(".")
    __import__(f"asyncproc._runtime.{module}")
    owner = sys.modules[f"asyncproc._runtime.{module}"]
    for attribute in attributes:
        inner = getattr(owner, attribute)
        if isinstance(inner, type(sys)):  # others use it too: this module gets its own
            shared, inner = inner, type(sys)(attribute)
            vars(inner).update(vars(shared))
            setattr(owner, attribute, inner)
        owner = inner
    function = getattr(owner, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if when == "before":
            _come_to_it(action, fifo)
        result = function(*args, **kwargs)
        if when == "after":
            _come_to_it(action, fifo)
        return result

    setattr(owner, name, wrapped)


def _come_to_it(action: int, fifo: str) -> None:
    try:
        report = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:  # it has happened
        return
    try:
        os.unlink(fifo)  # only one can
        os.write(report, b"%d" % os.getpid())
    except FileNotFoundError:
        return
    finally:
        os.close(report)
    os.kill(os.getpid(), action)
