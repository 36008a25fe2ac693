"""The manager's end of the page in which a child stamps its beats; see :mod:`asyncproc._runtime.pulse`.

It is mapped by hand: ``mmap`` would keep a descriptor for each. The file is sealed before a child sees it: one that cut it
short would end its manager.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os

from asyncproc._runtime.pulse import LOOP, NUMBER, SIZE, TEXT, THREAD, TID, WORDS
from asyncproc._runtime.usage import state_of

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_FAILED = ctypes.c_void_p(-1).value
_Words = ctypes.c_double * WORDS


class Page:
    """One child's page, until :meth:`close`.

    Attributes:
        fd: to be handed to the child; closed by :meth:`handed_over`.
    """

    __slots__ = ("_address", "_words", "fd")

    def __init__(self) -> None:
        self.fd = os.memfd_create("asyncproc heartbeat", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(self.fd, SIZE)
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
            os.lseek(self.fd, TEXT, os.SEEK_SET)  # where the child's first dump begins
            self._address = _mapped(self.fd)
        except BaseException:
            os.close(self.fd)
            raise
        self._words = _Words.from_address(self._address)

    def handed_over(self) -> None:
        """The child has it: from here on it costs no descriptor."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def beats(self) -> tuple[float, float]:
        """The stamps of its loop and of its thread."""
        words = self._words
        return words[LOOP], words[THREAD]

    def condition(self, pid: int) -> str:
        """The letter of the thread that beats in this process."""
        return state_of(pid, int(self._words[TID]) or pid)

    @property
    def number(self) -> int:
        """The loop that it was in when it beat last."""
        return int(self._words[NUMBER])

    def clear_text(self) -> None:
        """Forget the stacks that were written."""
        ctypes.memset(self._address + TEXT, 0, SIZE - TEXT)

    @property
    def text(self) -> str:
        """The stacks that were written since: by whoever wrote them last, and wherever he had come to."""
        return ctypes.string_at(self._address + TEXT, SIZE - TEXT).strip(b"\0").decode("utf-8", "backslashreplace").strip()

    def close(self) -> None:
        """Let go of it."""
        self.handed_over()
        if self._address:
            _libc.munmap(self._address, SIZE)
            self._address, self._words = 0, _Words()


def _mapped(fd: int) -> int:
    address: int | None = _libc.mmap(None, SIZE, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, fd, 0)
    if address is None or address == _FAILED:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), "mmap")
    return address
