"""Watches an idle process and its helpers from outside, because to look is to wake up.

Run as a program: `python observer.py ROOT SETTLE SECONDS`, the pids of the children on stdin; prints one JSON object.
Helpers are the descendants of ROOT that are neither children nor this program.
"""

import json
import os
import sys
import time

from benchmarks.harness import procfs


def observe(root: int, children: list[int], settle: float, seconds: float) -> dict[str, float]:
    """Figures of *root* and its helpers over *seconds*, after *settle* seconds of rest."""
    time.sleep(settle)
    helpers = procfs.descendants(root, leave_out=[*children, os.getpid()])
    ours = [root, *helpers]
    burnt = sum(map(procfs.cpu_seconds, children))
    switches = {pid: procfs.voluntary_switches(pid) for pid in ours}
    cpu = sum(map(procfs.cpu_seconds, ours))
    time.sleep(seconds)
    return {
        "manager_switches": procfs.voluntary_switches(root) - switches[root],
        "helper_switches": sum(procfs.voluntary_switches(pid) - switches[pid] for pid in helpers),
        "cpu_ms": (sum(map(procfs.cpu_seconds, ours)) - cpu) * 1e3,
        "manager_fds": procfs.descriptors(root),
        "manager_threads": procfs.threads(root),
        "helpers": len(helpers),
        "helper_threads_max": max(map(procfs.threads, helpers), default=0),
        "children_ms": (sum(map(procfs.cpu_seconds, children)) - burnt) * 1e3,
        "alive": sum(map(procfs.is_alive, children)),
    }


if __name__ == "__main__":
    pids = [int(word) for word in sys.stdin.read().split()]
    json.dump(observe(int(sys.argv[1]), pids, float(sys.argv[2]), float(sys.argv[3])), sys.stdout)
