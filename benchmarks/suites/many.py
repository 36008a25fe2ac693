"""Ten thousand Python children under one manager: started, asked, held, a hundred of them lost and back, and stopped."""

import os
import random
import resource
import time
from pathlib import Path

from benchmarks.harness import procfs
from benchmarks.harness.benchmark import Bar, Benchmark, Entry, Measurement, Metric, Parameters, Role
from benchmarks.harness.contract import HoldsCrowds, WrongWork
from benchmarks.suites.idle import observed

_LEFT_FREE = 3.0
"""GiB that have to be left to others: who would take more has failed."""


async def measure(contender: HoldsCrowds, parameters: Parameters) -> Measurement:
    """Hold *children* of them, watch for *seconds* from outside, lose *lost* of them at random, stop them all."""
    count = int(parameters["children"])
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    fds, free = procfs.descriptors(os.getpid()), _available()
    began = time.perf_counter()
    pids = list(await contender.hold(count))
    start = time.perf_counter() - began
    asked = await _asked(contender, count)
    figures = await observed(pids, parameters["settle"], parameters["seconds"])
    taken = free - _available()
    if len(set(pids)) != count or figures.pop("alive") != count:
        raise WrongWork(f"not all of {count} children were there while idle")
    victims = random.sample(pids, int(parameters["lost"]))
    began = time.perf_counter()
    new = await contender.lose(victims)
    back = time.perf_counter() - began
    if len(set(new) - set(pids)) != len(victims):
        raise WrongWork("not all that were lost have been replaced")
    await _asked(contender, count)
    if _available() < _LEFT_FREE:
        raise WrongWork(f"only {_available():.1f} GiB of memory were left")
    private = sorted(procfs.memory(pid)[0] for pid in pids[:: max(1, count // 100)] if pid not in victims)
    manager_fds = procfs.descriptors(os.getpid()) - fds
    began = time.perf_counter()
    await contender.release()
    stop = time.perf_counter() - began
    await procfs.check_gone([*pids, *new])
    return {
        "per_s": count / start,
        "start_s": start,
        "asked_s": asked,
        "back_ms": back * 1e3,
        "stop_s": stop,
        "idle_cpu_ms": figures["cpu_ms"],
        "switches": figures["manager_switches"] + figures["helper_switches"],
        "private_mib": private[len(private) // 2] / (1 << 20),
        "machine_mib": taken * 1024 / count,
        "manager_mib": procfs.memory(os.getpid())[0] / (1 << 20),
        "fds_per_child": manager_fds / count,
        "manager_threads": figures["manager_threads"],
    }


async def _asked(contender: HoldsCrowds, count: int) -> float:
    question = os.urandom(8)
    began = time.perf_counter()
    answers = await contender.ask(question)
    if answers != [question] * count:
        raise WrongWork(f"not all of {count} children have answered what they were asked")
    return time.perf_counter() - began


def _available() -> float:
    """GiB that programs could still take."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")) / (1 << 20)


_CROWDS = "benchmarks.contenders.crowds:"

BENCHMARK = Benchmark(
    name="many",
    title="10 000 Python children",
    module=__name__,
    entries=(
        Entry("zygote", Role.LIMIT, _CROWDS + "ZygoteCrowd", packages=("uvloop", "msgspec", "cloudpickle")),
        Entry("mp_forkserver_preload", Role.PEER, _CROWDS + "MultiprocessingCrowd"),
        Entry("asyncproc", Role.OURS, _CROWDS + "AsyncprocCrowd", {"grace": 120.0}, packages=("asyncproc",)),
    ),
    metrics=(
        Metric("per_s", "started per s", compared=True, higher_is_better=True),
        Metric("start_s", "start s"),
        Metric("asked_s", "all asked s"),
        Metric("back_ms", "lost ones back ms"),
        Metric("stop_s", "stop s"),
        Metric("idle_cpu_ms", "idle CPU ms"),
        Metric("switches", "switches"),
        Metric("private_mib", "private MiB of a child"),
        Metric("machine_mib", "MiB of the machine per child"),
        Metric("manager_mib", "manager MiB"),
        Metric("fds_per_child", "manager fds per child"),
        Metric("manager_threads", "manager threads"),
    ),
    measure=measure,
    limit="zygote",
    reference="mp_forkserver_preload",
    parameters={"children": 10000, "lost": 100, "seconds": 10, "settle": 2},
    quick={"children": 50, "lost": 3, "seconds": 1, "settle": 0.5},
    bars=(
        Bar("asyncproc", "private_mib", 1.6, form="value"),
        Bar("asyncproc", "switches", 0, form="value"),
        Bar("asyncproc", "idle_cpu_ms", 5, form="value"),
        Bar("asyncproc", "fds_per_child", 1.01, form="value"),
        Bar("asyncproc", "manager_threads", 1, form="value"),
    ),
    notes=(
        "Needs 20 GiB of free memory, half as many descriptors as the hard limit gives, and a pid_max above the number of "
        "children; `--set children=1000` needs less. All children are members of one Supervisor, which brings the lost ones "
        "back; the others are started again by hand. The peer's take 8 MiB each, so it is absent above 500. Who leaves less "
        "than 3 GiB to others has failed."
    ),
)
