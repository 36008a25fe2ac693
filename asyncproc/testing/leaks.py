"""What a test must not leave behind: processes, threads, descriptors, tasks, shared memory.

Processes are found by a token in their environment, which every descendant of a manager inherits; the check puts one of its own
in front, so that several test runs on one machine do not see each other's.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

RUN_VARIABLE = "ASYNCPROC_RUN"
PATIENCE = 1.0
"""Seconds that a process may take to vanish from the process table, and a thread from the list."""


class LeaksFound(AssertionError):
    """Something was left behind; the text lists all of it."""


class Leaks:
    """Compares what there was with what there is: a context manager, or ``begin`` and ``check``.

    Raises:
        LeaksFound: by ``check``, and on leaving the block.
    """

    def __init__(self) -> None:
        self._outer = os.environ.get(RUN_VARIABLE)
        self.token = os.urandom(8).hex()

    def begin(self) -> Self:
        """Remember what there is now."""
        os.environ[RUN_VARIABLE] = f"{self._outer}:{self.token}" if self._outer else self.token
        gc.collect()
        self._fds = _open_files()
        self._threads = set(threading.enumerate())
        self._kernel_threads = len(os.listdir("/proc/self/task"))
        self._shared = _shared_memory()
        self._tasks = _tasks()
        return self

    def survivors(self) -> dict[int, str]:
        """Processes that bear this check's token, by pid: command line or name. Zombies count."""
        found: dict[int, str] = {}
        for name in os.listdir("/proc"):
            if name.isdigit() and int(name) != os.getpid() and _bears(name, self.token):
                found[int(name)] = _describe(name)
        return found

    def check(self) -> None:
        """Raise LeaksFound for what was left behind since ``begin``."""
        if self._outer is None:
            os.environ.pop(RUN_VARIABLE, None)
        else:
            os.environ[RUN_VARIABLE] = self._outer
        gc.collect()
        found = self._patiently()
        files = {fd: target for fd, target in _open_files().items() if self._fds.get(fd) != target}
        found += [f"descriptor {fd}: {target}" for fd, target in files.items()]
        found += [f"shared memory {name}" for name in sorted(_shared_memory() - self._shared)]
        found += [f"task {task.get_name()}: {task!r}" for task in _tasks() - self._tasks if not task.done()]
        if found:
            raise LeaksFound("left behind:\n  " + "\n  ".join(found))

    def _things_that_vanish(self) -> list[str]:
        found = [f"process {pid}: {what}" for pid, what in self.survivors().items()]
        found += [f"thread {thread.name}" for thread in set(threading.enumerate()) - self._threads]
        if not found and len(os.listdir("/proc/self/task")) > self._kernel_threads:
            found.append("a thread that Python does not know")
        return found

    def _patiently(self) -> list[str]:
        deadline = time.monotonic() + PATIENCE
        while (found := self._things_that_vanish()) and time.monotonic() < deadline:
            time.sleep(0.01)
        return found

    def __enter__(self) -> Self:
        return self.begin()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        try:
            self.check()
        except LeaksFound as found:
            if error is None:
                raise
            error.add_note(str(found))


def _open_files() -> dict[int, str]:
    files: dict[int, str] = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            files[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:  # the descriptor of this very listing
            continue
    return {fd: target for fd, target in files.items() if not target.startswith("/proc/") and "/proc/" not in target}


def _shared_memory() -> set[str]:
    try:
        return set(os.listdir("/dev/shm"))
    except OSError:
        return set()


def _tasks() -> set[asyncio.Task[object]]:
    try:
        return set(asyncio.all_tasks())
    except RuntimeError:  # no loop runs here
        return set()


def _bears(name: str, token: str) -> bool:
    try:
        return token.encode() in Path(f"/proc/{name}/environ").read_bytes()
    except OSError:  # it has ended, or is somebody else's
        return False


def _describe(name: str) -> str:
    try:
        words = Path(f"/proc/{name}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        comm = Path(f"/proc/{name}/comm").read_text().strip()
    except OSError:
        return "ended meanwhile"
    return f"{comm} ({words.strip()[:120]})"
