"""A thousand children with heartbeats: what it costs to look after them, and what it costs them."""

import os
import time

from benchmarks.harness import procfs
from benchmarks.harness.benchmark import Bar, Benchmark, Entry, Measurement, Metric, Parameters, Role
from benchmarks.harness.contract import HoldsChildren, WrongWork
from benchmarks.suites.idle import observed


async def measure(contender: HoldsChildren, parameters: Parameters) -> Measurement:
    """Hold *children* children, watch for *seconds* from outside, release them."""
    count, seconds = int(parameters["children"]), parameters["seconds"]
    before = procfs.descriptors(os.getpid())
    began = time.perf_counter()
    pids = await contender.hold(count)
    start = time.perf_counter() - began
    figures = await observed(pids, parameters["settle"], seconds)
    if len(set(pids)) != count or figures.pop("alive") != count:
        raise WrongWork(f"not all of {count} children were alive at the end")
    await contender.release()
    await procfs.check_gone(pids)
    return {
        "start_s": start,
        "share": figures["cpu_ms"] / seconds / 10,
        "children_share": figures["children_ms"] / seconds / 10,
        "fds_per_child": (figures["manager_fds"] - before) / count,
    }


def _entry(name: str, role: Role, heartbeat: float | None, loop: bool) -> Entry:
    options = {"heartbeat": heartbeat, "loop": loop}
    return Entry(name, role, "benchmarks.contenders.asyncproc:AsyncprocBeating", options, packages=("asyncproc",))


BENCHMARK = Benchmark(
    name="heartbeat",
    title="1000 children with heartbeats every 5 s",
    module=__name__,
    entries=(
        _entry("without", Role.LIMIT, None, False),
        Entry("pipe", Role.PEER, "benchmarks.contenders.beats_by_pipe:BeatsByPipe", {"every": 1.25}),
        _entry("asyncproc", Role.OURS, 5.0, False),
        _entry("asyncproc_loop", Role.OURS, 5.0, True),
    ),
    metrics=(
        Metric("share", "manager and helpers, % of a core", compared=True),
        Metric("children_share", "the children, % of a core"),
        Metric("start_s", "start all s"),
        Metric("fds_per_child", "manager fds per child"),
    ),
    measure=measure,
    limit="without",
    reference="pipe",
    parameters={"children": 1000, "seconds": 10, "settle": 1},
    quick={"children": 20, "seconds": 2, "settle": 0.5},
    bars=(
        Bar("asyncproc", "share", 2.0, form="value"),
        Bar("asyncproc_loop", "share", 2.0, form="value"),
        Bar("asyncproc", "fds_per_child", 1.01, form="value"),
    ),
    notes=(
        "A child beats four times within its heartbeat: from a thread, and, in `asyncproc_loop`, from its event loop as well. "
        "It writes into a page that the manager reads; no message is sent. `pipe`: bare forks, a byte for each beat, nothing "
        "else. All figures are read by a process outside."
    ),
)
