"""A template: has imported once what every Python child needs, and forks children on request.

It imports in stages and serves requests between them, so that the first plain function need not wait for asyncio.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import select
import sys
import time

from asyncproc._runtime import kernel
from asyncproc._runtime.bootstrap import ENTRY, become_child
from asyncproc._runtime.forking import fork, watch_hooks
from asyncproc._runtime.keeper import IMPORTED, READY, RECORD, Keeper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Never

STAGES: tuple[tuple[str, ...], ...] = (
    ("asyncproc._child",),
    (
        *("enum", "re", "typing", "weakref", "ast", "dis", "inspect", "dataclasses", "threading", "logging", "platform"),
        *("cloudpickle", "asyncproc._ipc.by_value"),
    ),
    ("socket", "selectors", "subprocess", "ssl", "concurrent.futures", "asyncio", "uvloop"),
)
"""What is imported, in order; a child that needs stage n is forked when it is through. The small steps are there because
requests are served, and ends are told, between any two of them."""
PLAIN, BY_VALUE, LOOP = range(1, 4)
GIVES_WAY = 0.01
"""Seconds for which a template that nobody waits for puts off its next import when it has forked: a first child needs the
processor, and is often done by then."""
MANY = 8
"""From so many children on it imports all the same: each that is forked before that is done has to import for itself."""


class Template(Keeper):
    """A keeper whose children are forks of itself."""

    def __init__(self, fd: int, manager: int) -> None:
        super().__init__(fd, manager, kernel.own_interval())
        kernel.set_name("aproc:template")
        kernel.become_subreaper()
        watch_hooks()
        self.stage = 0
        self.preload: tuple[str, ...] | None = None
        self.verdict: bytes | None = None
        self.early: list[tuple[tuple[Any, ...], list[int]]] = []
        self.forked = 0.0

    def serve(self) -> None:
        faulthandler.enable(2)  # once, for all that are forked: a child that crashes tells where, on its standard error
        self._until(lambda: self.preload is not None)  # where to import from comes with the first request
        for modules in STAGES:
            self._import(modules)
        if self.preload:
            self._import(self._judged(self.preload))
        sys.modules[ENTRY].note_hooks()
        gc.collect()
        gc.freeze()
        self.tell(RECORD.pack(IMPORTED, 0, 0, 0, 0, 0, 0.0, 0))
        super().serve()

    def _until(self, done: Callable[[], bool]) -> None:
        while not done():
            if not self.turn(None):
                self._end()

    def _end(self) -> Never:
        kernel.end_all_children()
        os._exit(0)

    def _import(self, modules: tuple[str, ...]) -> None:
        for name in modules:
            _load(name)
            self._give_way()
        self.stage += 1
        waiting, self.early = self.early, []
        for request, fds in waiting:
            self.on_request(request, fds)
        self._give_way()

    def _give_way(self) -> None:
        """Serve what has come; a child that was just forked has the processor, unless somebody waits for the next stage."""
        wait = 0.0
        while wait == 0 or (wait > 0.001 and 0 < len(self.by_pid) < MANY and not self.early):
            if not self.turn(wait):
                self._end()
            wait = self.forked + GIVES_WAY - time.monotonic()

    # --- what the user wants to find imported -------------------------------------------------------------------------

    def _judged(self, modules: tuple[str, ...]) -> tuple[str, ...]:
        """Those of *modules* that leave no thread behind: one that does would make every later fork unsafe.

        Tried in a fork of this template, and there judged after one fork more: some libraries end their threads for it.
        """
        reader, writer = os.pipe2(os.O_CLOEXEC)
        pid = fork()
        if pid == 0:
            os.write(writer, bytes(_passes(name) for name in modules))
            os._exit(0)
        os.close(writer)
        self.poll.register(reader, select.POLLIN)
        self._until(lambda: self.verdict is not None)
        verdict = self.verdict or b""
        refused = [name for index, name in enumerate(modules) if index >= len(verdict) or not verdict[index]]
        for name in refused:
            print(f"asyncproc: {name} is not preloaded: it fails to import, or leaves a thread behind", file=sys.stderr)
        return tuple(name for name in modules if name not in refused)

    def on_readable(self, fd: int) -> None:
        self.poll.unregister(fd)
        self.verdict = os.read(fd, 65536)
        os.close(fd)

    # --- children -------------------------------------------------------------------------------------------------------

    def on_request(self, request: tuple[Any, ...], fds: list[int]) -> None:
        if request[0] == "prepare":
            _, _, sys.path[:], sys.argv[:], self.preload = request
            self.tell(RECORD.pack(READY, 0, 0, 0, os.getpid(), 0, 0.0, 0))
        elif request[3] > self.stage:
            self.early.append((request, fds))
        else:
            self._fork(request[1], request[2], fds[0])

    def _fork(self, number: int, index: int, channel: int) -> None:
        me = os.getpid()
        try:
            pid = fork()
        except OSError as error:
            os.close(channel)
            self.fail(number, "fork", error.errno or 0)
            return
        if pid == 0:
            become_child(me, channel, self.top - index * self.width if self.width else 0)
        os.close(channel)
        self.forked = time.monotonic()
        self.started(number, pid, index)


def _load(name: str) -> bool:
    try:
        __import__(name)
    except Exception as error:  # whoever needs it gets the same error in the child, with a name to it
        print(f"asyncproc: cannot preload {name}: {error!r}", file=sys.stderr)
        return False
    return True


def _passes(name: str) -> bool:
    if not _load(name):
        return False
    pid = fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return len(os.listdir("/proc/self/task")) == 1
