"""Ten thousand restarts: what grows by them."""

import asyncio
import gc
import os
import time

from benchmarks.harness import procfs
from benchmarks.harness.benchmark import Bar, Benchmark, Entry, Measurement, Metric, Parameters, Role
from benchmarks.harness.contract import KeepsAlive
from benchmarks.harness.reports import Reports

_AT_ONCE = 8


async def measure(contender: KeepsAlive, parameters: Parameters) -> Measurement:
    """Restart *warm* times, then *cycles* times, *_AT_ONCE* at once; what there is more of after than before."""
    with Reports() as reports:
        await contender.keep(reports.path, _AT_ONCE)
        await reports.wait_for(_AT_ONCE)
        await _restart(contender, reports, int(parameters["warm"]))
        before = await _counts(reports, parameters["settle"])
        began = time.perf_counter()
        await _restart(contender, reports, int(parameters["cycles"]))
        took = time.perf_counter() - began
        after = await _counts(reports, parameters["settle"])
    grown = {key: after[key] - before[key] for key in before}
    return {"per_s": parameters["cycles"] / took, **grown}


async def _restart(contender: KeepsAlive, reports: Reports, count: int) -> None:
    while count > 0:
        volley = reports.living[:count]
        reports.living = reports.living[len(volley) :]
        wanted = reports.count + 1
        for pid in volley:
            contender.replace(pid)
        count -= len(volley)
        await reports.wait_for(wanted)
    await reports.wait_for(reports.count + _AT_ONCE - len(reports.living))


async def _counts(reports: Reports, settle: float) -> dict[str, float]:
    """Of this process and its helpers: descriptors, threads, tasks, private memory."""
    await asyncio.sleep(settle)
    gc.collect()
    helpers = procfs.descendants(os.getpid(), leave_out=reports.living)
    everybody = [os.getpid(), *helpers]
    return {
        "fds": sum(map(procfs.descriptors, everybody)),
        "threads": sum(map(procfs.threads, everybody)),
        "tasks": len(asyncio.all_tasks()),
        "processes": len(everybody),
        "manager_kib": procfs.memory(os.getpid())[0] / 1024,
        "helpers_kib": sum(procfs.memory(pid)[0] for pid in helpers) / 1024,
    }


def _bars(entry: str) -> tuple[Bar, ...]:
    nothing = tuple(Bar(entry, key, 0, form="value") for key in ("fds", "threads", "tasks", "processes"))
    memory = tuple(Bar(entry, key, 1024, form="value") for key in ("manager_kib", "helpers_kib"))
    return (*nothing, *memory)


_KEEPERS = "benchmarks.contenders.keepers:"

BENCHMARK = Benchmark(
    name="cycles",
    title="10 000 restarts: what grows",
    module=__name__,
    entries=(
        Entry("hand_loop_pidfd", Role.LIMIT, _KEEPERS + "HandLoop", {"watcher": "pidfd"}),
        Entry("hand_loop", Role.PEER, _KEEPERS + "HandLoop"),
        Entry("asyncproc_command", Role.OURS, _KEEPERS + "AsyncprocKeeper", packages=("asyncproc",)),
        Entry("asyncproc_python", Role.OURS, _KEEPERS + "AsyncprocKeeper", {"kind": "python"}, packages=("asyncproc",)),
    ),
    metrics=(
        Metric("per_s", "restarts per s", compared=True, higher_is_better=True),
        Metric("fds", "more descriptors"),
        Metric("threads", "more threads"),
        Metric("tasks", "more tasks"),
        Metric("processes", "more processes"),
        Metric("manager_kib", "more KiB, manager"),
        Metric("helpers_kib", "more KiB, helpers"),
    ),
    measure=measure,
    limit="hand_loop_pidfd",
    reference="hand_loop",
    parameters={"cycles": 10000, "warm": 1000, "settle": 1},
    quick={"cycles": 100, "warm": 50, "settle": 0.5},
    bars=(*_bars("asyncproc_command"), *_bars("asyncproc_python")),
    notes="Growth is counted after the first thousand, when caches are full, in private memory, without the children.",
)
