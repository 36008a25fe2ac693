"""How a child shows that it runs: stamps in a page that it shares with its manager. No message is sent, and nobody is woken.

The page is a sealed memory file of this child and its manager alone. Its first words are the stamps. Behind them is room for
the stacks of all threads, which faulthandler writes on a signal: also when C code holds the interpreter, and the Python handler
of that signal (:mod:`asyncproc._runtime.stacks`), which it calls next, has to wait.

Loaded by children that have a heartbeat, and by no others.
"""

from __future__ import annotations

import _thread
import fcntl
import mmap
import os
import resource
from time import monotonic, sleep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from asyncproc._ipc.link import Link

THREAD, LOOP, NUMBER, TID = range(4)
"""The words of the page: stamps of the thread and of the loop (0.0: it has none), its current loop, and the thread's id."""
WORDS = 4
TEXT = 4096
"""Where the stacks are written."""
SIZE = TEXT + (1 << 16)

_page: mmap.mmap | None = None
_stacks_fd = -1


def take_page(fd: int) -> int:
    """Map the page that came as *fd*, which is closed; the descriptor that is to stay open, for faulthandler."""
    global _page, _stacks_fd
    _page = mmap.mmap(fd, SIZE)
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    # A child that closes "everything", as daemons do, would get a low number again for a file of its own.
    _stacks_fd = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, max(min(soft, 1024) - 16, 8))
    os.close(fd)
    return _stacks_fd


class Pulse:
    """The beats of this process.

    Args:
        every: seconds between two beats. number: tells the current loop.
    """

    def __init__(self, every: float, number: Callable[[], int]) -> None:
        assert _page is not None
        self._words = memoryview(_page)[: 8 * WORDS].cast("d")
        self._every = every
        self._number = number

    def begin(self, link: Link, signal: int) -> None:
        """Beat from a thread, and from each loop that *link* runs; let *signal* show the stacks."""
        import faulthandler

        faulthandler.register(signal, file=_stacks_fd, all_threads=True, chain=True)
        link.on_loop = self.follow
        link.threads += 1
        self._words[THREAD] = monotonic()
        _thread.start_new_thread(self._beat, ())

    def _beat(self) -> None:
        words, every, number = self._words, self._every, self._number
        words[TID] = _thread.get_native_id()
        while True:
            words[NUMBER] = number()
            words[THREAD] = monotonic()
            sleep(every)

    def follow(self, loop: Any) -> None:
        """Beat as this loop turns; None: it has come to its end, and is not to be judged any more."""
        if loop is None:
            self._words[LOOP] = 0.0
            return
        self._words[LOOP] = monotonic()
        loop.call_later(self._every, self.follow, loop)
