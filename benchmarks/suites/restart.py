"""From the SIGKILL of a supervised child to the first instruction of its replacement."""

import time

from benchmarks.harness.benchmark import Bar, Benchmark, Entry, Measurement, Metric, Parameters, Role
from benchmarks.harness.contract import KeepsAlive
from benchmarks.harness.reports import Reports
from benchmarks.harness.statistic import percentile

_LEAST = 5


async def measure(contender: KeepsAlive, parameters: Parameters) -> Measurement:
    """Kill one child after the other until *count* or *seconds* is reached; the first two are not counted."""
    times: list[float] = []
    with Reports() as reports:
        await contender.keep(reports.path, 1)
        await reports.wait_for(1)
        deadline = time.perf_counter() + parameters["seconds"]
        while len(times) < parameters["count"] + 2 and (len(times) < _LEAST or time.perf_counter() < deadline):
            pid = reports.living.pop()
            await contender.prepare(pid)
            began = time.perf_counter()
            contender.replace(pid)
            await reports.wait_for(reports.count + 1)
            times.append(reports.at - began)
        await contender.prepare(reports.living.pop())  # who starts for himself ends for himself
    times = times[2:]
    return {"p50_ms": percentile(times, 0.5) * 1e3, "worst_ms": max(times) * 1e3, "kills": len(times)}


_KEEPERS = "benchmarks.contenders.keepers:"
_OURS = ("asyncproc",)
_DAEMON = "benchmarks.contenders.daemons:Daemon"

BENCHMARK = Benchmark(
    name="restart",
    title="SIGKILL → the replacement runs",
    module=__name__,
    entries=(
        Entry("hand_loop", Role.LIMIT, _KEEPERS + "HandLoop"),
        Entry("hand_loop_pidfd", Role.LIMIT, _KEEPERS + "HandLoop", {"watcher": "pidfd"}),
        Entry("circus", Role.PEER, _DAEMON, {"package": "circus"}, packages=("circus",)),
        Entry("supervisord", Role.PEER, _DAEMON, {"package": "supervisor"}, packages=("supervisor",)),
        Entry("asyncproc_command", Role.OURS, _KEEPERS + "AsyncprocKeeper", packages=_OURS),
        Entry("zygote_start", Role.LIMIT, _KEEPERS + "ZygoteStarts", packages=("uvloop", "msgspec", "cloudpickle")),
        Entry("asyncproc_start", Role.OURS, _KEEPERS + "AsyncprocStarts", packages=_OURS),
        Entry("asyncproc_python", Role.OURS, _KEEPERS + "AsyncprocKeeper", {"kind": "python", "spares": 0}, packages=_OURS),
        Entry("asyncproc_python_spare", Role.OURS, _KEEPERS + "AsyncprocKeeper", {"kind": "python"}, packages=_OURS),
    ),
    metrics=(Metric("p50_ms", "p50 ms", compared=True), Metric("worst_ms", "worst ms"), Metric("kills", "kills per run")),
    measure=measure,
    limit="hand_loop",
    reference="circus",
    parameters={"count": 100, "seconds": 8},
    quick={"count": 10, "seconds": 1},
    bars=(
        Bar("asyncproc_command", "p50_ms", 1.3, "hand_loop"),
        Bar("asyncproc_command", "p50_ms", 1 / 20, "circus"),
        Bar("asyncproc_command", "p50_ms", 1 / 500, "supervisord"),
        Bar("asyncproc_python", "p50_ms", 1.3, "asyncproc_start"),
    ),
    notes=(
        "A command is a shell that writes its pid into a FIFO, the same for all; what it takes to begin is part of the figure. "
        "circus looks every 0.1 s, supervisord restarts in its next turn of one second. `zygote_start` and `asyncproc_start` "
        "restart nothing: they are the start of a Python child to its first instruction, the last one having ended before; a "
        "restart (`asyncproc_python`) has that end in it as well."
    ),
)
