"""A supervisor of fifty idle commands: what it costs while nothing happens."""

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.harness import observer, procfs
from benchmarks.harness.benchmark import Bar, Benchmark, Entry, Measurement, Metric, Parameters, Role
from benchmarks.harness.contract import RunsSupervisor, WrongWork

_BEGINS_WITHIN = 30.0


async def measure(contender: RunsSupervisor, parameters: Parameters) -> Measurement:
    """Run it, wait until all commands are there, watch for *seconds*, read its memory."""
    count = int(parameters["children"])
    root = contender.run_supervisor(count)
    pids = await _sleepers(root, count)
    await asyncio.sleep(parameters["settle"])
    figures = _observed(root, pids, parameters["seconds"])
    helpers = procfs.descendants(root, leave_out=pids)
    if figures["alive"] != count or len(_sleeping(root)) != count:
        raise WrongWork(f"not all of {count} commands were there while idle")
    return {
        "pss_mib": sum(procfs.memory(pid)[1] for pid in (root, *helpers)) / (1 << 20),
        "wakeups": figures["manager_switches"] + figures["helper_switches"],
        "cpu_ms": figures["cpu_ms"],
        "helpers": len(helpers),
        "heavy_helpers": sum(map(_is_heavy, helpers)),
        "fds": figures["manager_fds"],
    }


async def _sleepers(root: int, count: int) -> list[int]:
    deadline = time.monotonic() + _BEGINS_WITHIN
    while len(pids := _sleeping(root)) != count:  # peers tell nobody when they are ready
        if time.monotonic() > deadline:
            raise WrongWork(f"{len(pids)} of {count} commands run after {_BEGINS_WITHIN:g} s")
        await asyncio.sleep(0.05)
    return pids


def _sleeping(root: int) -> list[int]:
    return [pid for pid in procfs.descendants(root) if _name(pid) == "sleep"]


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="ascii").strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _is_heavy(pid: int) -> bool:
    """Whether it has loaded an event loop."""
    maps = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8")
    return "_asyncio" in maps or "uvloop" in maps


def _observed(root: int, pids: list[int], seconds: float) -> Measurement:
    """In a process of its own: this one is the parent of the program, and has nothing to do meanwhile."""
    command = [sys.executable, observer.__file__, str(root), "0", str(seconds)]
    words = " ".join(map(str, pids)).encode()
    figures: Measurement = json.loads(subprocess.run(command, input=words, capture_output=True, check=True).stdout)
    return figures


_DAEMON = "benchmarks.contenders.daemons:Daemon"
_PROGRAM = "benchmarks.contenders.daemons:OwnProgram"

BENCHMARK = Benchmark(
    name="supervisor",
    title="an idle supervisor of 50 commands",
    module=__name__,
    entries=(
        Entry("hand_loop", Role.LIMIT, _PROGRAM, {"program": "asyncio_supervise.py"}),
        Entry("circus", Role.PEER, _DAEMON, {"package": "circus"}, packages=("circus",)),
        Entry("supervisord", Role.PEER, _DAEMON, {"package": "supervisor"}, packages=("supervisor",)),
        Entry("asyncproc", Role.OURS, _PROGRAM, {"program": "asyncproc_supervise.py"}, packages=("asyncproc",)),
    ),
    metrics=(
        Metric("pss_mib", "PSS MiB", compared=True),
        Metric("wakeups", "wake-ups"),
        Metric("cpu_ms", "CPU ms"),
        Metric("helpers", "helpers"),
        Metric("heavy_helpers", "helpers with a loop"),
        Metric("fds", "descriptors"),
    ),
    measure=measure,
    limit="hand_loop",
    reference="supervisord",
    parameters={"children": 50, "seconds": 10, "settle": 2},
    quick={"children": 5, "seconds": 1, "settle": 0.5},
    bars=(
        Bar("asyncproc", "pss_mib", 2.0, "supervisord"),
        Bar("asyncproc", "wakeups", 0, form="value"),
        Bar("asyncproc", "cpu_ms", 0.5, form="value"),
        Bar("asyncproc", "heavy_helpers", 0, form="value"),
    ),
    notes=(
        "Each is a program of its own; memory is proportional, of the program with all its helpers, less the commands, and "
        "goes down where others on this machine run Python. Wake-ups: voluntary switches of all threads over the idle seconds."
    ),
)
