"""The manager's side of the helper processes: a chain of warden, launcher and templates.

A :class:`Chain` belongs to one loop. Whoever forks reports, over its own socket.

Losing a helper loses nobody: a template's children die with it, what a launcher leaves falls to the warden, which kills it and
ends; without a warden the launcher goes on with what it has, and new children get a new chain.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress

from asyncproc._runtime import kernel
from asyncproc._runtime.keeper import EXITED, FAILED, SPAWNED
from asyncproc._runtime.keeper_link import OWES_TOO_LONG, KeeperLink
from asyncproc._runtime.pairs import own_pair
from asyncproc._runtime.warden import RUN_VARIABLE, Warden

CHILDREN_PER_TEMPLATE = 1000
HANG_UP_LIMIT = 1.0
"""Seconds that a manager without a loop waits for the end of its helpers."""


class Chain:
    """One warden with its launcher and templates.

    Args:
        loop: the manager's loop.
        warden: the first of its helpers, just started.
        preload: modules that every template imports.
        on_gone: called when this chain can take no new children: with True when the old ones are lost as well.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        warden: Warden,
        preload: tuple[str, ...] = (),
        on_gone: Callable[[Chain, bool], None] | None = None,
    ) -> None:
        self._loop = loop
        self._preload = preload
        self._on_gone = on_gone
        self._next = 0
        self._indices: set[int] = set()
        self._warden_lives = True
        self._gone: asyncio.Future[None] = loop.create_future()
        self.templates: list[KeeperLink] = []
        self.lost = False
        self.base_env = warden.env
        self.base_path = host_path()
        self.base_argv = list(sys.argv)
        self._lifeline = warden.lifeline
        self._warden = warden.pid
        self._folder: str | None = ""  # of groups for children; None: there can be none, empty: nobody has asked
        self._freed: set[str] = set()
        self._next_leaf = 0
        self._host = os.getpid()
        try:
            self._pidfd = os.pidfd_open(warden.pid)
        except BaseException:  # no descriptors left, or it has ended already
            warden.close()
            raise
        self.launcher = KeeperLink(self, warden.requests, loop)
        loop.add_reader(self._pidfd, self._warden_ended)

    # --- numbers and links --------------------------------------------------------------------------------------------

    def next_number(self) -> tuple[int, int]:
        """A number for a new child, and the index of its stamp."""
        self._next += 1
        index = self._next % (kernel.COUNT - 1) + 1
        while index in self._indices:
            index = index % (kernel.COUNT - 1) + 1
        self._indices.add(index)
        return self._next, index

    @property
    def keepers(self) -> list[int]:
        """The processes that children come from, and that adopt what they leave."""
        return [link.pid for link in [self.launcher, *self.templates] if link.pid is not None]

    def free_index(self, index: int) -> None:
        """The child with this stamp is settled; with its last one, a chain that takes no new ones ends."""
        self._indices.discard(index)
        self._end_when_idle()

    # --- groups ---------------------------------------------------------------------------------------------------------

    def leaf(self) -> str | None:
        """A control group for a new child; None where there can be none. The folder for them comes with the first."""
        from asyncproc._runtime import cgroup

        self._next_leaf += 1
        if self._folder == "":
            self._folder = cgroup.make_folder(self._warden)
            if self._folder is not None:
                self.launcher.request("folder", 0, self._folder)
        return None if self._folder is None else cgroup.make_leaf(self._folder, self._next_leaf)

    def free_leaf(self, leaf: str) -> None:
        """The child with this group has ended; what it left may be in there for a moment, then it is removed with the next."""
        from asyncproc._runtime import cgroup

        self._freed = {each for each in (*self._freed, leaf) if not cgroup.remove(each)}

    def _remove_groups(self) -> None:
        """Nobody is left."""
        if self._folder:
            from asyncproc._runtime import cgroup

            cgroup.remove(self._folder)
            self._folder = None

    # --- templates ------------------------------------------------------------------------------------------------------

    def template(self) -> KeeperLink:
        """The template that a new child is to be forked from; started when there is none with room."""
        for link in reversed(self.templates):
            if link.alive and len(link.children) < CHILDREN_PER_TEMPLATE:
                return link
        return self._start_template()

    def _start_template(self) -> KeeperLink:
        ours, theirs = own_pair(socket.SOCK_SEQPACKET)
        link = KeeperLink(self, ours, self._loop)
        self._next += 1
        link.number = self._next
        link.importing = True
        self.launcher.request("template", link.number, fds=[theirs.fileno()], keep=theirs, owes=True)
        link.request("prepare", 0, self.base_path, self.base_argv, self._preload)
        self.templates.append(link)
        return link

    def helper_reported(self, kind: int, number: int, pid: int) -> None:
        """The launcher tells that a template came, or that it and all below it are gone."""
        for link in self.templates:
            if link.number == number:
                if kind == SPAWNED:
                    link.pid = pid
                elif kind in (FAILED, EXITED):
                    link.read()  # its last words
                    link.close()
                    self.templates.remove(link)
                    _settle_as_lost(link)
                return

    def press(self, link: KeeperLink, number: int) -> None:
        """Send a signal to a helper that owes an answer."""
        with suppress(OSError):
            if link.pid is not None:
                _signal_helper(link, link.pid, number)
            elif link is self.launcher and self._warden_lives:  # it, or its warden, never began
                from asyncproc._runtime.end_watch import signal_group

                signal.pidfd_send_signal(self._pidfd, number)
                signal_group(self._pidfd, self._warden, number)

    # --- losses -------------------------------------------------------------------------------------------------------

    def link_lost(self, link: KeeperLink) -> None:
        """The socket has ended. A template's children are settled when the launcher has ended them all."""
        if link is not self.launcher:
            return
        if self._warden_lives:
            self._retire()  # the warden ends what is left, and then itself; until then nobody is settled
        else:
            self._all_lost()

    def _warden_ended(self) -> None:
        self.launcher.read()  # whichever of the two ended first is to be seen first
        self._reap_warden()
        if self.launcher.alive:
            self._retire()
        else:
            self._all_lost()

    def _reap_warden(self) -> None:
        self._warden_lives = False
        with suppress(RuntimeError):  # the loop is closed
            self._loop.remove_reader(self._pidfd)
        with suppress(ChildProcessError):  # the host ignores SIGCHLD, or waits for everybody
            os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG)
        os.close(self._pidfd)

    def _retire(self) -> None:
        if not self.lost:
            self.lost = True
            if self._on_gone is not None:
                self._on_gone(self, False)
            self._end_when_idle()

    def _end_when_idle(self) -> None:
        if self.lost and not self._indices:
            self._end()

    def _all_lost(self) -> None:
        self._lifeline.close()
        links = [self.launcher, *self.templates]
        if self._indices:  # a warden that died first has ended nobody
            kernel.end_marked(self._indices, self.base_env[RUN_VARIABLE])
        for link in links:
            link.close()
            _settle_as_lost(link)
        self.templates.clear()
        self._remove_groups()
        self._retire()
        self._gone.set_result(None)
        if self._on_gone is not None:
            self._on_gone(self, True)

    # --- the end --------------------------------------------------------------------------------------------------------

    def hang_up(self) -> None:
        """End everybody below, the last resort of a manager without a loop: it blocks, for a second at most."""
        if os.getpid() != self._host:  # a forked copy: nothing here is its own
            return
        self._let_go()
        for link in [self.launcher, *self.templates]:
            link.close()
        if self._warden_lives:
            select.select([self._pidfd], [], [], HANG_UP_LIMIT)
            self._reap_warden()
        self._remove_groups()

    def _end(self) -> None:
        """The same while there is a loop: the ends of warden and launcher are the proof that nobody is left."""
        self._let_go()
        for link in self.templates:
            link.close()
        self.launcher.shut_down()

    def _let_go(self) -> None:
        with suppress(OSError):
            self._lifeline.send(b"!")  # this is no sudden end: we tidy up ourselves
        self._lifeline.close()

    async def aclose(self) -> None:
        """End everybody below, and return when nobody is left."""
        self._on_gone = None
        self._end()
        while not self._gone.done():
            await asyncio.wait([self._gone], timeout=OWES_TOO_LONG)
            self._continue_helpers()

    def _continue_helpers(self) -> None:
        """In case somebody has stopped one: it ends everybody as soon as it runs again."""
        with suppress(OSError):
            if self._warden_lives:
                signal.pidfd_send_signal(self._pidfd, signal.SIGCONT)
            elif self.launcher.alive and self.launcher.pid is not None:
                _signal_helper(self.launcher, self.launcher.pid, signal.SIGCONT)


def _signal_helper(link: KeeperLink, pid: int, number: int) -> None:
    """Only to the helper: its number may be anybody's as soon as whoever is its parent has reaped it."""
    fd = os.pidfd_open(pid)
    try:
        link.read()
        if link.alive:  # its end of the socket is open, so it had not ended when the descriptor was made
            signal.pidfd_send_signal(fd, number)
    finally:
        os.close(fd)


def _settle_as_lost(link: KeeperLink) -> None:
    children, link.children = link.children, {}
    for child in children.values():
        child.on_lost()


def host_path() -> list[str]:
    """Where the host imports from; the empty entry means its working directory, which is not the helpers'."""
    return [entry or os.getcwd() for entry in sys.path]
