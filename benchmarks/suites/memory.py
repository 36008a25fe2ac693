"""Memory of an idle child that is blocked in a receive, and of the helpers that all children share."""

import asyncio
import os

from benchmarks.harness import procfs
from benchmarks.harness.benchmark import Bar, Benchmark, Entry, Measurement, Metric, Parameters, Role
from benchmarks.harness.contract import HoldsChildren, WrongWork
from benchmarks.harness.statistic import percentile

_MIB = 1024 * 1024


async def measure(contender: HoldsChildren, parameters: Parameters) -> Measurement:
    """Hold *count* children, let them rest, read their memory, let them go."""
    count = int(parameters["count"])
    pids = await contender.hold(count)
    await asyncio.sleep(parameters["settle"])
    check_idle(pids, count)
    sizes = [procfs.memory(pid) for pid in pids]
    helpers = procfs.descendants(os.getpid(), leave_out=pids)
    helpers_size = sum(procfs.memory(pid)[1] for pid in helpers)
    await contender.release()
    await procfs.check_gone(pids)
    return {
        "private_mib": percentile([private for private, _ in sizes], 0.5) / _MIB,
        "pss_mib": percentile([proportional for _, proportional in sizes], 0.5) / _MIB,
        "helpers_pss_mib": helpers_size / _MIB,
        "helpers": len(helpers),
    }


def check_idle(pids: list[int], count: int) -> None:
    """Raise WrongWork unless there are *count* different children and all of them sleep."""
    states = {procfs.state(pid) for pid in pids}
    if len(set(pids)) != count or states != {"S"}:
        raise WrongWork(f"wanted {count} sleeping children, got {len(set(pids))} in states {states}")


_MP = "benchmarks.contenders.multiprocessing:Multiprocessing"
_PRELOAD = ("benchmarks.targets", "asyncio")

BENCHMARK = Benchmark(
    name="memory",
    title="memory of an idle Python child",
    module=__name__,
    entries=(
        Entry("zygote", Role.LIMIT, "benchmarks.contenders.zygote:Zygote", packages=("uvloop", "msgspec", "cloudpickle")),
        Entry("mp_fork", Role.PEER, _MP, {"method": "fork"}),
        Entry("mp_forkserver_preload", Role.PEER, _MP, {"method": "forkserver", "preload": _PRELOAD}),
        Entry("mp_spawn", Role.PEER, _MP, {"method": "spawn"}),
        Entry(
            "aiomultiprocess", Role.PEER, "benchmarks.contenders.aiomultiprocess:Aiomultiprocess", packages=("aiomultiprocess",)
        ),
        Entry("asyncproc", Role.OURS, "benchmarks.contenders.asyncproc:AsyncprocProcess", packages=("asyncproc",)),
    ),
    metrics=(
        Metric("private_mib", "private MiB", compared=True),
        Metric("pss_mib", "PSS MiB", compared=True),
        Metric("helpers_pss_mib", "all helpers PSS MiB"),
        Metric("helpers", "helpers"),
    ),
    measure=measure,
    limit="zygote",
    reference="mp_forkserver_preload",
    parameters={"count": 20, "settle": 0.5},
    quick={"count": 5, "settle": 0.2},
    bars=(
        Bar("asyncproc", "private_mib", 1.4, form="value"),
        Bar("asyncproc", "pss_mib", 0.55, "mp_forkserver_preload"),
    ),
    notes=(
        "Medians over the children of one run. Proportional memory (PSS) divides a shared page by its users, so it "
        "falls with the number of children; private memory does not. What shares pages with anything else that runs "
        "Python on this machine gains."
    ),
)
