"""A thousand idle children: the time to start them all, what they cost while nothing happens, the time to stop them all."""

import asyncio
import json
import os
import subprocess
import sys
import time

from benchmarks.harness import observer, procfs
from benchmarks.harness.benchmark import Bar, Benchmark, Entry, Measurement, Metric, Parameters, Role
from benchmarks.harness.contract import HoldsChildren, WrongWork


async def measure(contender: HoldsChildren, parameters: Parameters) -> Measurement:
    """Hold *children* children, watch for *seconds* from outside, release them."""
    count = int(parameters["children"])
    before = procfs.descriptors(os.getpid())
    began = time.perf_counter()
    pids = await contender.hold(count)
    start = time.perf_counter() - began
    figures = await observed(pids, parameters["settle"], parameters["seconds"])
    if len(set(pids)) != count or figures.pop("alive") != count:
        raise WrongWork(f"not all of {count} children were there while idle")
    began = time.perf_counter()
    await contender.release()
    stop = time.perf_counter() - began
    await procfs.check_gone(pids)
    switches = figures["manager_switches"] + figures["helper_switches"]
    fds = (figures["manager_fds"] - before) / count
    return {"start_s": start, "stop_s": stop, "switches": switches, "fds_per_child": fds} | figures


async def observed(pids: list[int], settle: float, seconds: float) -> Measurement:
    """Let another process look, and sleep in the loop until it has written its figures and closed its output."""
    loop = asyncio.get_running_loop()
    command = [sys.executable, observer.__file__, str(os.getpid()), str(settle), str(seconds)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(" ".join(map(str, pids)).encode())
        process.stdin.close()
        readable: asyncio.Future[None] = loop.create_future()
        loop.add_reader(process.stdout, readable.set_result, None)
        try:
            await readable
        finally:
            loop.remove_reader(process.stdout)
        figures: Measurement = json.load(process.stdout)
    return figures


def _bars(entry: str) -> tuple[Bar, ...]:
    return (
        Bar(entry, "switches", 0, form="value"),
        Bar(
            entry, "fds_per_child", 1.01, form="value"
        ),  # the launcher's own, started with the first child, are spread over 1000
        Bar(entry, "manager_threads", 1, form="value"),
        Bar(entry, "helper_threads_max", 1, form="value"),
    )


_ASYNCIO = "benchmarks.contenders.asyncio_subprocess:AsyncioSubprocess"

BENCHMARK = Benchmark(
    name="idle",
    title="1000 idle children",
    module=__name__,
    entries=(
        Entry("zygote", Role.LIMIT, "benchmarks.contenders.zygote:Zygote", packages=("uvloop", "msgspec", "cloudpickle")),
        Entry("asyncproc", Role.OURS, "benchmarks.contenders.asyncproc:AsyncprocProcess", packages=("asyncproc",)),
        Entry("asyncio_subprocess", Role.PEER, _ASYNCIO),
        Entry("asyncio_subprocess_pidfd", Role.PEER, _ASYNCIO, {"watcher": "pidfd"}),
        Entry("asyncproc_command", Role.OURS, "benchmarks.contenders.asyncproc:AsyncprocCommand", packages=("asyncproc",)),
    ),
    metrics=(
        Metric("start_s", "start all s", compared=True),
        Metric("stop_s", "stop all s", compared=True),
        Metric("switches", "switches"),
        Metric("manager_switches", "of the manager"),
        Metric("helper_switches", "of helpers"),
        Metric("cpu_ms", "CPU ms"),
        Metric("fds_per_child", "manager fds per child"),
        Metric("manager_threads", "manager threads"),
        Metric("helpers", "helpers"),
        Metric("helper_threads_max", "threads of a helper"),
    ),
    measure=measure,
    limit="zygote",
    reference="asyncio_subprocess_pidfd",
    parameters={"children": 1000, "seconds": 10, "settle": 1},
    quick={"children": 50, "seconds": 1, "settle": 0.5},
    bars=(*_bars("asyncproc"), *_bars("asyncproc_command")),
    notes=(
        "zygote and asyncproc hold Python children, the others `sleep`. Switches (voluntary, all threads), CPU: over "
        "the idle seconds, manager and helpers together, read by a process outside. The stop is the library's own "
        "polite stop with its default grace."
    ),
)
