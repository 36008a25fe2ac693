"""A log file on the writer's thread: appended to, renamed when it is large or old, made anew when somebody took it away."""

from __future__ import annotations

import os
import select
import stat
import time
from contextlib import suppress

from asyncproc._core.log_file import LogFile

LOOK_EVERY = 1.0
"""Seconds between two looks whether the file is still where it was, and between two tries of what has failed."""
STALL_LIMIT = 0.1
"""Seconds that a terminal or pipe as a target may hold up all others, once; then it is not waited for until it takes again."""
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK


class Lost(Exception):
    """Some of what was to be written could not be. count: bytes. why: what the system said."""

    def __init__(self, count: int, why: object) -> None:
        super().__init__(count, why)
        self.count = count
        self.why = why


class RotatingFile:
    """One open file.

    Args:
        path: of it, absolute. log_file: when it is rotated.

    Raises:
        OSError: it cannot be opened; later that is told by ``Lost``, and tried again.
    """

    def __init__(self, path: str, log_file: LogFile) -> None:
        self.name = path
        self._wanted = log_file
        self._fd = -1
        self._look_at = 0.0
        self._rotate_at = 0.0
        self._stalls = False
        self._gone = ""
        self._open()

    def _open(self) -> None:
        fd = os.open(self.name, _FLAGS, 0o666)
        self.close()
        self._fd = fd
        found = os.fstat(fd)
        self._regular = stat.S_ISREG(found.st_mode)
        self._size = found.st_size
        self._since = found.st_mtime if found.st_size else time.time()
        self._gone = ""

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    # --- writing --------------------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Append whole lines.

        Raises:
            Lost: not all of it could be written.
        """
        self._look()
        lost, why = 0, ""
        while data:
            room = self._room(data)
            if not room and self._rotate():
                continue
            part, data = data[: room or None], data[room or len(data) :]
            done, refusal = self._append(part)
            self._size += done
            if refusal:
                lost, why = lost + len(part) - done, refusal
        if lost:
            raise Lost(lost, why)

    def _room(self, data: bytes) -> int:
        """How much of it the present file takes, in whole lines; 0: it has to be rotated first."""
        limit = self._wanted.max_bytes
        if not self._regular:
            return len(data)
        if self._is_old:
            return 0
        if limit is None or self._size + len(data) <= limit:
            return len(data)
        cut = data.rfind(b"\n", 0, max(limit - self._size, 0)) + 1
        if cut or self._size:
            return cut
        return (data.find(b"\n") + 1) or len(data)  # one line that is larger than a file may be

    def _append(self, data: bytes) -> tuple[int, str]:
        """How much of it was written, and why not all."""
        if self._gone:
            return 0, self._gone
        done = 0
        try:
            while done < len(data):
                try:
                    done += os.write(self._fd, memoryview(data)[done:])
                except BlockingIOError:
                    if not self._takes():
                        return done, "it takes no more now"
        except OSError as error:
            return done, str(error)
        return done, ""

    def _takes(self) -> bool:
        """Wait until a terminal or pipe takes something, if it did not stand still the last time as well."""
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        self._stalls = not poll.poll(0 if self._stalls else STALL_LIMIT * 1000)
        return not self._stalls

    # --- a new file -----------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Whether the file is where it was, every now and then: somebody may have moved, removed or emptied it."""
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_EVERY
        found = os.fstat(self._fd)
        self._size = found.st_size
        if self._is_there(found):
            return
        try:
            self._open()
        except OSError as error:
            self._gone = "" if found.st_nlink else str(error)  # moved: what is written stands there, at least

    def _is_there(self, found: os.stat_result) -> bool:
        try:
            return os.path.samestat(found, os.stat(self.name))
        except OSError:
            return False

    @property
    def _is_old(self) -> bool:
        age = self._wanted.max_age
        return age is not None and self._size > 0 and time.time() - self._since >= age

    def _rotate(self) -> bool:
        """Begin anew; False when that failed, or has failed a moment ago: then the file grows on."""
        now = time.monotonic()
        if now < self._rotate_at:
            return False
        try:
            if self._is_there(os.fstat(self._fd)):
                self._rename()
            self._open()
        except OSError:
            self._rotate_at = now + LOOK_EVERY
            return False
        return True

    def _rename(self) -> None:
        backups = self._wanted.backups
        if not backups:
            os.unlink(self.name)
            return
        for number in range(backups - 1, 0, -1):
            with suppress(FileNotFoundError):
                os.replace(f"{self.name}.{number}", f"{self.name}.{number + 1}")
        os.replace(self.name, f"{self.name}.1")
