"""A template: has imported once what every Python child needs, and forks children on request.

It imports in stages and serves requests between them, so that the first plain function need not wait for asyncio.
"""

from __future__ import annotations

import gc
import os
import sys

from asyncproc._runtime import kernel
from asyncproc._runtime.bootstrap import become_child
from asyncproc._runtime.keeper import READY, RECORD, Keeper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

STAGES: tuple[tuple[str, ...], ...] = (
    ("asyncproc._child",),
    ("cloudpickle", "cloudpickle.cloudpickle_fast"),
    ("asyncio", "uvloop"),
)
"""What is imported, in order; a child that needs stage n is forked when it is through."""
PLAIN, BY_VALUE, LOOP = range(1, 4)


class Template(Keeper):
    """A keeper whose children are forks of itself."""

    def __init__(self, fd: int, manager: int) -> None:
        super().__init__(fd, manager, kernel.own_interval())
        kernel.set_name("aproc:template")
        kernel.become_subreaper()
        self.stage = 0
        self.prepared = False
        self.early: list[tuple[tuple[Any, ...], list[int]]] = []

    def serve(self) -> None:
        while not self.prepared:  # where to import from comes with the first request
            if not self.turn(None):
                self.manager_gone()
        for modules in (*STAGES, self.preload):
            self._import(modules)
            if not self.turn(0):
                self.manager_gone()
        gc.collect()
        gc.freeze()
        super().serve()

    def manager_gone(self) -> None:
        kernel.end_all_children()
        os._exit(0)

    def _import(self, modules: tuple[str, ...]) -> None:
        for name in modules:
            try:
                __import__(name)
            except Exception as error:  # its user gets the same error in the child, with a name to it
                if name not in STAGES[1] and name != "uvloop":
                    print(f"asyncproc: cannot preload {name}: {error!r}", file=sys.stderr)
        self.stage += 1
        waiting, self.early = self.early, []
        for request, fds in waiting:
            self.on_request(request, fds)

    def on_request(self, request: tuple[Any, ...], fds: list[int]) -> None:
        if request[0] == "prepare":
            _, _, sys.path[:], sys.argv[:], self.preload = request
            self.prepared = True
            self.tell(RECORD.pack(READY, 0, 0, 0, os.getpid(), 0, 0.0, 0))
        elif request[3] > self.stage:
            self.early.append((request, fds))
        else:
            self._fork(request[1], request[2], fds[0])

    def _fork(self, number: int, index: int, channel: int) -> None:
        me = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            os.close(channel)
            self.fail(number, "fork", error.errno or 0)
            return
        if pid == 0:
            become_child(me, channel, self.top - index * self.width if self.width else 0)
        os.close(channel)
        self.started(number, pid, index)
