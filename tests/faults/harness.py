"""Hosts that are made to be killed, and the count of who survives.

Also a program: ``python -m tests.faults.harness KIND COUNT``.
"""

from __future__ import annotations

import asyncio
import os
import random
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from asyncproc.testing.leaks import RUN_VARIABLE, Leaks

HOSTS = Path(__file__).with_name("hosts.py")
ORDINARY = Path(__file__).with_name("ordinary.py")
PATIENCE = 5.0
"""Seconds after which whoever is left counts as a survivor: five times what is promised, for a machine that does much else."""


def helpers_of(host: int) -> dict[str, list[int]]:
    """The pids of the helper processes below *host*, by their names."""
    parents: dict[int, list[tuple[int, str]]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError):
                stat = Path(f"/proc/{name}/stat").read_text()
                comm, rest = stat[stat.index("(") + 1 : stat.rindex(")")], stat[stat.rindex(")") + 2 :].split()
                parents.setdefault(int(rest[1]), []).append((int(name), comm))
    found: dict[str, list[int]] = {}
    waiting = [host]
    for _ in range(3):  # warden, launcher, template: not the helpers of a manager in a child
        waiting = [_note(found, pid, comm) for parent in waiting for pid, comm in parents.get(parent, ()) if "aproc:" in comm]
    return found


def _note(found: dict[str, list[int]], pid: int, comm: str) -> int:
    found.setdefault(comm.removeprefix("aproc:"), []).append(pid)
    return pid


def children_of(leaks: Leaks) -> dict[int, str]:
    """Who bears the token and is no helper of this process."""
    helpers = {pid for pids in helpers_of(os.getpid()).values() for pid in pids}
    return {pid: what for pid, what in leaks.survivors().items() if pid not in helpers}


def wait_stopped(pid: int) -> None:
    """Wait until a process really stands still; no event tells that to who is not its parent."""
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        time.sleep(0.001)


def wait_gone(leaks: Leaks, spared: Collection[int] = ()) -> dict[int, str]:
    """Wait for the end of every process that bears the token; who is left when patience is over."""
    deadline = time.monotonic() + PATIENCE
    while left := {pid: what for pid, what in leaks.survivors().items() if pid not in spared}:
        if time.monotonic() > deadline:
            return left
        for pid in left:
            wait_end(pid, deadline)
    return {}


def wait_end(pid: int, deadline: float) -> bool:
    """Wait for the end of one process, by its pidfd; False when it lives on."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], max(0.0, deadline - time.monotonic()))[0])
    finally:
        os.close(fd)


async def ended(pid: int) -> None:
    """Wait on the running loop for the end of one process."""
    loop = asyncio.get_running_loop()
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    over = asyncio.Event()
    loop.add_reader(fd, over.set)
    try:
        async with asyncio.timeout(PATIENCE):
            await over.wait()
    finally:
        loop.remove_reader(fd)
        os.close(fd)


@contextmanager
def descriptors_left(count: int, pid: int = 0) -> Iterator[None]:
    """Leave a process *count* descriptors to open."""
    used = {int(name) for name in os.listdir(f"/proc/{pid or 'self'}/fd")}
    if not pid:
        used.discard(max(used))  # of the listing
    free = [fd for fd in range(1 << 12) if fd not in used][: count + 1]
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (free[-1], hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


class Victim:
    """A host process, see ``hosts.py``. Leaving the block kills whoever bears its token.

    Args:
        words: the name of the host and its options.
    """

    program = HOSTS

    def __init__(self, *words: str) -> None:
        self.leaks = Leaks()
        self._words = words

    def __enter__(self) -> Self:
        outer = os.environ.get(RUN_VARIABLE)
        env = {**os.environ, RUN_VARIABLE: f"{outer}:{self.leaks.token}" if outer else self.leaks.token}
        self.process = subprocess.Popen(
            self.command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            text=True,
        )
        return self

    @property
    def command(self) -> list[str]:
        return [sys.executable, str(self.program), *self._words]

    @property
    def pid(self) -> int:
        return self.process.pid

    def line(self) -> str:
        """The next line that it writes; empty at its end."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def until(self, word: str) -> str:
        """Read lines up to one that begins with *word*; the rest of that one."""
        assert self.process.stdout is not None
        while not (line := self.process.stdout.readline()).startswith(word):
            assert line, f"the host has ended: {self.errors()}"  # a blank line is no end: children write there too
        return line.removeprefix(word).strip()

    def errors(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read()

    def kill(self, *helpers: str) -> None:
        """SIGKILL to helpers of these names, and to the host when none is named."""
        below = helpers_of(self.pid) if helpers else {}
        for pid in [pid for name in helpers for pid in below[name]] or [self.pid]:
            with suppress(ProcessLookupError):  # an earlier one of that name was about to go
                os.kill(pid, 9)

    def exit(self) -> None:
        """Let a host end itself by ``os._exit``, wherever it is just now; one that ``exits``, and has said that it hears."""
        os.kill(self.pid, signal.SIGUSR1)

    def survivors(self, spared: Collection[int] = ()) -> dict[int, str]:
        """Reap the host, then wait for everybody else."""
        if self.pid not in spared:
            self.process.wait()
        return wait_gone(self.leaks, spared)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
        deadline = time.monotonic() + PATIENCE
        while (left := self.leaks.survivors()) and time.monotonic() < deadline:  # one may have forked meanwhile
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, 9)
                wait_end(pid, deadline)


class OrdinaryVictim(Victim):
    """A host that root does not run: for root neither RLIMIT_NPROC nor file modes hold."""

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-S", str(ORDINARY), *super().command] if os.geteuid() == 0 else super().command


class Deaths:
    """Counts deaths, and how long each took to leave nobody behind."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.survivors: list[dict[int, str]] = []

    @contextmanager
    def one(self, victim: Victim, spared: Collection[int] = ()) -> Iterator[None]:
        """The block kills; then whoever lives on is waited for."""
        begun = time.monotonic()
        yield
        left = victim.survivors(spared)
        self.times.append(time.monotonic() - begun)
        if left:
            self.survivors.append(left)

    def __str__(self) -> str:
        times = sorted(self.times)
        p99 = times[min(len(times) - 1, int(len(times) * 0.99))]
        return (
            f"{len(times)} deaths, {len(self.survivors)} with survivors, "
            f"p50 {times[len(times) // 2] * 1e3:.0f} ms, p99 {p99 * 1e3:.0f} ms"
        )


def die_often(kind: str, count: int, seed: int = 1) -> Deaths:
    """Let hosts live for a moment, kill what *kind* names, and see who survives.

    Args:
        kind: ``manager``, ``launcher``, ``warden`` or several of them; ``forks``, ``deaf`` and ``exits`` are options of it.
    """
    chance = random.Random(seed)
    deaths = Deaths()
    words = kind.split()
    killed = [word for word in words if word in ("launcher", "warden", "template")]
    options = [word for word in words if word in ("deaf", "forks", "exits")]
    for _ in range(count):
        with Victim("churns", *options, *(["uvloop"] if chance.random() < 0.5 else [])) as victim:
            copy = {int(victim.until("copy"))} if "forks" in options else set()
            if "exits" in options:
                victim.until("hears")
            if killed or chance.random() < 0.6:
                victim.until("up")
            time.sleep(chance.random() * 0.3)  # the moment is the point of the test
            with deaths.one(victim, copy):
                if killed:
                    with suppress(KeyError):  # between two chains
                        victim.kill(*killed)
                if "then" in words:
                    victim.until("round")
                victim.exit() if "exits" in options else victim.kill()
            assert "exits" not in options or victim.process.returncode == 3
    return deaths


if __name__ == "__main__":
    print(sys.argv[1], die_often(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1))
