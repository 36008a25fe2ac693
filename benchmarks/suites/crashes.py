"""A thousand crashes in one second over many children: how late the loop is meanwhile, and what is said of it."""

import asyncio
import logging
import time

from benchmarks.harness.benchmark import Bar, Benchmark, Entry, Measurement, Metric, Parameters, Role
from benchmarks.harness.contract import KeepsAlive
from benchmarks.harness.reports import Reports
from benchmarks.harness.statistic import percentile

_TICK = 0.005
"""Seconds between two looks at how late the loop is."""
_VOLLEY = 0.01
"""Seconds between two volleys of kills."""


async def measure(contender: KeepsAlive, parameters: Parameters) -> Measurement:
    """Kill *crashes* in *seconds*, of *children* the longest living ones; wait until all are back."""
    count, crashes, seconds = int(parameters["children"]), int(parameters["crashes"]), parameters["seconds"]
    lines = _Lines()
    logging.getLogger().addHandler(lines)
    with Reports() as reports:
        await contender.keep(reports.path, count)
        await reports.wait_for(count)
        lags: list[float] = []
        watch = asyncio.create_task(_watch(lags))
        began = time.perf_counter()
        await _shoot(contender, reports, crashes, seconds)
        shot = time.perf_counter() - began
        await reports.wait_for(count + crashes)
        back = time.perf_counter() - began
        watch.cancel()
        logging.getLogger().removeHandler(lines)
    return {
        "lag_p50_ms": percentile(lags, 0.5) * 1e3,
        "lag_p99_ms": percentile(lags, 0.99) * 1e3,
        "lag_worst_ms": max(lags) * 1e3,
        "killed_in_s": shot,
        "back_s": back,
        "log_lines": lines.count,
    }


async def _shoot(contender: KeepsAlive, reports: Reports, crashes: int, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    began, killed = loop.time(), 0
    while killed < crashes:
        due = min(crashes, int((loop.time() - began + _VOLLEY) / seconds * crashes))
        victims, reports.living = reports.living[: due - killed], reports.living[due - killed :]
        for pid in victims:
            contender.replace(pid)
        killed += len(victims)
        await asyncio.sleep(_VOLLEY)


async def _watch(lags: list[float]) -> None:
    loop = asyncio.get_running_loop()
    due = loop.time() + _TICK
    while True:
        await asyncio.sleep(due - loop.time())
        lags.append(max(0.0, loop.time() - due))
        due = loop.time() + _TICK


class _Lines(logging.Handler):
    """Counts what is logged."""

    count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += 1


_KEEPERS = "benchmarks.contenders.keepers:"

BENCHMARK = Benchmark(
    name="crashes",
    title="1000 crashes in one second",
    module=__name__,
    entries=(
        Entry("hand_loop_pidfd", Role.LIMIT, _KEEPERS + "HandLoop", {"watcher": "pidfd"}),
        Entry("hand_loop", Role.PEER, _KEEPERS + "HandLoop"),
        Entry("asyncproc_command", Role.OURS, _KEEPERS + "AsyncprocKeeper", packages=("asyncproc",)),
        Entry("asyncproc_python", Role.OURS, _KEEPERS + "AsyncprocKeeper", {"kind": "python"}, packages=("asyncproc",)),
    ),
    metrics=(
        Metric("lag_p50_ms", "loop lag p50 ms"),
        Metric("lag_p99_ms", "loop lag p99 ms", compared=True),
        Metric("lag_worst_ms", "worst ms"),
        Metric("killed_in_s", "killed within s"),
        Metric("back_s", "all back after s"),
        Metric("log_lines", "log lines"),
    ),
    measure=measure,
    limit="hand_loop_pidfd",
    reference="hand_loop",
    parameters={"children": 200, "crashes": 1000, "seconds": 1},
    quick={"children": 20, "crashes": 50, "seconds": 0.2},
    bars=(
        Bar("asyncproc_command", "lag_p99_ms", 50, form="value"),
        Bar("asyncproc_python", "lag_p99_ms", 50, form="value"),
        Bar("asyncproc_command", "log_lines", 10, form="value"),
        Bar("asyncproc_python", "log_lines", 10, form="value"),
    ),
    notes=(
        "The lag is that of a timer of 5 ms in the loop that supervises, from the first kill until all are back. Who is killed "
        "has run for longest; when none is left that runs, the next kill waits for one. The processors are busy with the "
        "starts: the lag of a loop that does nothing but wait for its turn is in the figure. A log line is a record of "
        "Python's logging."
    ),
)
