"""From the start of a child to the result of its no-op: one after the other, and 16 at once."""

import asyncio
import os
import time
from typing import Protocol

from benchmarks.harness import procfs
from benchmarks.harness.benchmark import Bar, Benchmark, Entry, Measurement, Metric, Parameters, Role
from benchmarks.harness.contract import NoopRun, StartsChildren, WrongWork
from benchmarks.harness.statistic import percentile
from benchmarks.targets import ANSWER

_AT_ONCE = 16
_LEAST = 10  # starts that are taken also when the time is up


class _Subject(StartsChildren, Protocol): ...


async def measure(contender: _Subject, parameters: Parameters) -> Measurement:
    """Start children one by one until *count* or *seconds* is reached, then *bursts* times 16 at once."""
    pids: set[int] = set()
    for _ in range(3):
        await _timed(contender, 1, pids)
    deadline = time.perf_counter() + parameters["seconds"]
    single: list[tuple[float, float]] = []
    while len(single) < parameters["count"] and (len(single) < _LEAST or time.perf_counter() < deadline):
        single.append(await _timed(contender, 1, pids))
    burst = [await _timed(contender, _AT_ONCE, pids) for _ in range(int(parameters["bursts"]))]
    await procfs.check_gone(pids)
    results = [result for result, _ in single]
    return {
        "p50_ms": percentile(results, 0.5) * 1e3,
        "p99_ms": percentile(results, 0.99) * 1e3,
        "ended_p50_ms": percentile([ended for _, ended in single], 0.5) * 1e3,
        "at_once_ms": percentile([result for result, _ in burst], 0.5) * 1e3,
        "starts": len(single),
    }


async def _timed(contender: _Subject, count: int, pids: set[int]) -> tuple[float, float]:
    """Seconds until all *count* results were there, and until all children had ended."""
    if contender.pause:
        await asyncio.sleep(contender.pause)
    began = time.perf_counter()
    runs = await contender.run_noops(count)
    ended = time.perf_counter() - began
    _check(contender, runs, count, pids)
    return max(run.result_at for run in runs) - began, ended


def _check(contender: _Subject, runs: list[NoopRun], count: int, pids: set[int]) -> None:
    new = {pid for pid, _, _ in (run.value for run in runs)}
    if len(runs) != count or len(new) != count or new & (pids | {os.getpid()}):
        raise WrongWork(f"{count} starts gave {len(runs)} results from {len(new)} processes, not all of them new: {new}")
    for pid, loaded_in, answer in (run.value for run in runs):
        if answer != ANSWER:
            raise WrongWork(f"the no-op returned {answer}, not {ANSWER}")
        if contender.preloaded != (loaded_in != pid):
            raise WrongWork(f"preload was {'expected' if contender.preloaded else 'not expected'}, the child says otherwise")
    pids |= new


_MP = "benchmarks.contenders.multiprocessing:Multiprocessing"
_PRELOAD = ("benchmarks.targets", "asyncio")
_AIO = "benchmarks.contenders.aiomultiprocess:Aiomultiprocess"
_OURS = "benchmarks.contenders.asyncproc:AsyncprocProcess"

BENCHMARK = Benchmark(
    name="start",
    title="start → result of a no-op child",
    module=__name__,
    entries=(
        Entry("zygote", Role.LIMIT, "benchmarks.contenders.zygote:Zygote", packages=("uvloop", "msgspec", "cloudpickle")),
        Entry("mp_fork", Role.PEER, _MP, {"method": "fork"}),
        Entry("mp_forkserver", Role.PEER, _MP, {"method": "forkserver"}),
        Entry("mp_forkserver_preload", Role.PEER, _MP, {"method": "forkserver", "preload": _PRELOAD}),
        Entry(
            "mp_forkserver_preload_nomain", Role.PEER, _MP, {"method": "forkserver", "preload": _PRELOAD, "rerun_main": False}
        ),
        Entry(
            "mp_forkserver_preload_script",
            Role.PEER,
            _MP,
            {"method": "forkserver", "preload": _PRELOAD},
            main_file="subject_script.py",
        ),
        Entry("mp_spawn", Role.PEER, _MP, {"method": "spawn"}),
        Entry("aiomultiprocess", Role.PEER, _AIO, packages=("aiomultiprocess",)),
        Entry("aiomultiprocess_forkserver", Role.PEER, _AIO, {"method": "forkserver"}, packages=("aiomultiprocess",)),
        Entry("asyncproc", Role.OURS, _OURS, {"spares": 0}, packages=("asyncproc",)),
        Entry("asyncproc_spare", Role.OURS, _OURS, {"spares": 1}, packages=("asyncproc",)),
    ),
    metrics=(
        Metric("p50_ms", "result p50 ms", compared=True),
        Metric("p99_ms", "result p99 ms"),
        Metric("ended_p50_ms", "child gone p50 ms"),
        Metric("at_once_ms", f"{_AT_ONCE} at once ms", compared=True),
        Metric("starts", "starts per run"),
    ),
    measure=measure,
    limit="zygote",
    reference="mp_forkserver_preload",
    parameters={"count": 200, "bursts": 7, "seconds": 5},
    quick={"count": 20, "bursts": 2, "seconds": 1},
    bars=(
        Bar("asyncproc", "p50_ms", 1.5, "zygote"),
        Bar("asyncproc", "p50_ms", 0.3, "mp_forkserver_preload"),
        Bar("asyncproc", "p50_ms", 0.06, "mp_spawn"),
        Bar("asyncproc_spare", "p50_ms", 0.5, "asyncproc"),
        Bar("asyncproc", "at_once_ms", 1 / 2.5, "mp_forkserver_preload"),
    ),
    notes=(
        "`result` ends when the value is in the parent, `child gone` when the contender has also seen the end of the "
        "process; the next start waits for that. asyncproc and aiomultiprocess give the value at the end, so theirs "
        "are the same. The fork server runs the main file again in each child: in `mp_forkserver_preload` one of six "
        "lines that imports sys; `_nomain` has none to run (as `python -m package`); `_script` imports argparse, "
        "json, logging, pathlib and subprocess, as command line programs do."
    ),
)
