"""Kills parts of a victim and counts who survives. Also a program: ``python -m tests.faults.harness KIND COUNT``."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from asyncproc.testing.leaks import Leaks

VICTIM = Path(__file__).with_name("victim.py")
PROMISED = 1.0
"""Seconds after which nobody may be left."""


def helpers(leaks: Leaks, host: int) -> dict[str, int]:
    """The pids of the host's helper processes, by their names."""
    found: dict[str, int] = {}
    parents = {host}
    for _ in range(3):
        for pid in list(leaks.survivors()):
            try:
                stat = Path(f"/proc/{pid}/stat").read_text()
            except OSError:
                continue
            name, rest = stat[stat.index("(") + 1 : stat.rindex(")")], stat[stat.rindex(")") + 2 :].split()
            if int(rest[1]) in parents and name.startswith("aproc:"):
                found.setdefault(name.removeprefix("aproc:"), pid)
                parents.add(pid)
    return found


def one_death(kind: str, chance: random.Random) -> tuple[float, dict[int, str]]:
    """Let a victim live for a moment, kill what *kind* names, and wait for the last of its processes.

    Returns:
        Seconds until nobody was left (or the promised time), and who was left then.
    """
    leaks = Leaks().begin()
    arguments = [word for word in ("fork", "deaf") if word in kind]
    if chance.random() < 0.5:
        arguments.append("uvloop")
    host = subprocess.Popen([sys.executable, str(VICTIM), *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert host.stdout is not None
        if "launcher" in kind or "warden" in kind or chance.random() < 0.6:
            host.stdout.readline()
        time.sleep(chance.random() * 0.3)  # the moment is the point of the test
        begun = time.monotonic()
        survivors = _kill(kind, host, leaks)
        while survivors and time.monotonic() - begun < PROMISED:
            survivors = _left(kind, leaks)
        return time.monotonic() - begun, survivors
    finally:
        host.kill()
        host.wait()
        if host.stdout is not None:
            host.stdout.close()
        for pid in leaks.survivors():
            os.kill(pid, signal.SIGKILL)
        os.environ.pop("ASYNCPROC_RUN", None)


def _kill(kind: str, host: subprocess.Popen[bytes], leaks: Leaks) -> dict[int, str]:
    if "launcher" in kind or "warden" in kind:
        helper = helpers(leaks, host.pid)["launcher" if "launcher" in kind else "warden"]
        os.kill(helper, signal.SIGKILL)
        time.sleep(0.01)
    host.kill()
    host.wait()
    return _left(kind, leaks)


def _left(kind: str, leaks: Leaks) -> dict[int, str]:
    found = leaks.survivors()
    # The forked copy of the host is the host's own; it must live, and must not keep the tree alive.
    return {pid: what for pid, what in found.items() if "victim.py" not in what} if "fork" in kind else found


def main(kind: str, count: int, seed: int = 1) -> None:
    chance = random.Random(seed)
    times = []
    failures = 0
    for _ in range(count):
        took, survivors = one_death(kind, chance)
        times.append(took)
        if survivors:
            failures += 1
            print("survivors:", survivors)
    times.sort()
    p99 = times[min(len(times) - 1, int(len(times) * 0.99))]
    print(f"{kind}: {count} deaths, {failures} with survivors; p50 {times[len(times) // 2] * 1e3:.0f} ms, p99 {p99 * 1e3:.0f} ms")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1)
