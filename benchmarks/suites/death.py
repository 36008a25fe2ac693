"""From SIGKILL of a child to the moment when its awaited exit resolves."""

import os
import signal
import time

from benchmarks.harness import procfs
from benchmarks.harness.benchmark import Bar, Benchmark, Entry, Loop, Measurement, Metric, Parameters, Role
from benchmarks.harness.contract import LosesChildren, WrongWork
from benchmarks.harness.statistic import percentile

_LEAST = 10
_LOOPS: tuple[Loop, Loop] = ("asyncio", "uvloop")


async def measure(contender: LosesChildren, parameters: Parameters) -> Measurement:
    """Kill one child after the other until *count* or *seconds* is reached."""
    deadline = time.perf_counter() + parameters["seconds"]
    times: list[float] = []
    pids: list[int] = []
    await _kill_one(contender, pids)
    while len(times) < parameters["count"] and (len(times) < _LEAST or time.perf_counter() < deadline):
        times.append(await _kill_one(contender, pids))
    await procfs.check_gone(pids)
    return {
        "p50_us": percentile(times, 0.5) * 1e6,
        "p99_us": percentile(times, 0.99) * 1e6,
        "worst_us": max(times) * 1e6,
        "kills": len(times),
    }


async def _kill_one(contender: LosesChildren, pids: list[int]) -> float:
    victim = await contender.start_victim()
    if victim.pid in pids or not procfs.is_alive(victim.pid):
        raise WrongWork(f"victim {victim.pid} is not a new, living process")
    pids.append(victim.pid)
    began = time.perf_counter()
    os.kill(victim.pid, signal.SIGKILL)
    number = await victim.wait()
    took = time.perf_counter() - began
    if number != signal.SIGKILL or procfs.is_alive(victim.pid):
        raise WrongWork(f"wait() said that signal {number} ended {victim.pid}; is it alive: {procfs.is_alive(victim.pid)}")
    return took


def _entries(loop: Loop) -> tuple[Entry, ...]:
    pidfd, asyncio_ = "benchmarks.contenders.pidfd:Pidfd", "benchmarks.contenders.asyncio_subprocess:AsyncioSubprocess"
    ours = "benchmarks.contenders.asyncproc:Asyncproc"
    versions = () if loop == "asyncio" else ("uvloop",)
    entries = [
        Entry(f"pidfd_python@{loop}", Role.LIMIT, pidfd + "Python", {}, loop, versions),
        Entry(f"pidfd_command@{loop}", Role.LIMIT, pidfd + "Command", {}, loop, versions),
        Entry(f"asyncio_subprocess@{loop}", Role.PEER, asyncio_, {}, loop, versions),
        Entry(
            f"aiomultiprocess@{loop}",
            Role.PEER,
            "benchmarks.contenders.aiomultiprocess:Aiomultiprocess",
            {"method": "forkserver"},
            loop,
            (*versions, "aiomultiprocess"),
        ),
        Entry(f"asyncproc@{loop}", Role.OURS, ours + "Process", {}, loop, (*versions, "asyncproc")),
        Entry(f"asyncproc_command@{loop}", Role.OURS, ours + "Command", {}, loop, (*versions, "asyncproc")),
    ]
    if loop == "asyncio":
        entries.insert(3, Entry("asyncio_subprocess_pidfd@asyncio", Role.PEER, asyncio_, {"watcher": "pidfd"}, loop))
    return tuple(entries)


def _bars(loop: Loop) -> tuple[Bar, ...]:
    return (
        Bar(f"asyncproc@{loop}", "p50_us", 1.5, f"pidfd_python@{loop}"),
        Bar(f"asyncproc@{loop}", "p99_us", 1000, form="value"),
        Bar(f"asyncproc_command@{loop}", "p50_us", 1.5, f"pidfd_command@{loop}"),
        Bar(f"asyncproc_command@{loop}", "p99_us", 1000, form="value"),
    )


BENCHMARK = Benchmark(
    name="death",
    title="SIGKILL → awaited exit resolves",
    module=__name__,
    entries=tuple(entry for loop in _LOOPS for entry in _entries(loop)),
    metrics=(
        Metric("p50_us", "p50 us", compared=True),
        Metric("p99_us", "p99 us"),
        Metric("worst_us", "worst us"),
        Metric("kills", "kills per run"),
    ),
    measure=measure,
    limit="pidfd_python",
    reference="pidfd_command",
    parameters={"count": 200, "seconds": 8},
    quick={"count": 20, "seconds": 1},
    bars=tuple(bar for loop in _LOOPS for bar in _bars(loop)),
    notes=(
        "Ratios are to the limit in the same loop. Python children (pidfd_python, aiomultiprocess, asyncproc) die "
        "more slowly than `sleep` (pidfd_command, asyncio_subprocess, asyncproc_command): the kernel has more memory "
        "to give back before anybody is told. Compare like with like. pidfd_python is a child of the bare zygote of "
        "`start`; its pidfd is watched in the measured loop."
    ),
    compare_within_loop=True,
)
