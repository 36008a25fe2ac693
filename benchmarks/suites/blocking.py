"""A call from a thread without a loop, against the same call awaited on the loop."""

from benchmarks.harness.benchmark import Bar, Benchmark, Entry, Measurement, Metric, Parameters, Role
from benchmarks.harness.contract import CallsManager
from benchmarks.harness.statistic import percentile


async def measure(contender: CallsManager, parameters: Parameters) -> Measurement:
    """One call after the other, then a whole child, then a property, then calls by eight threads at once."""
    count = int(parameters["count"])
    await contender.time_calls(count // 10 + 1)
    calls = await contender.time_calls(count)
    runs = await contender.time_runs(count // 5)
    reads = await contender.time_reads(count)
    rate = await contender.calls_at_once(8, count // 8)
    return {
        "call_us": percentile(calls, 0.5) * 1e6,
        "call_p99_us": percentile(calls, 0.99) * 1e6,
        "run_us": percentile(runs, 0.5) * 1e6,
        "read_us": percentile(reads, 0.5) * 1e6,
        "per_s": rate,
    }


def _entry(name: str, role: Role, contender: str, *packages: str) -> Entry:
    return Entry(name, role, f"benchmarks.contenders.faces:{contender}", {}, "uvloop", ("asyncproc", "uvloop", *packages))


BENCHMARK = Benchmark(
    name="blocking",
    title="calls without a loop",
    module=__name__,
    entries=(
        _entry("awaited", Role.LIMIT, "AsyncFace"),
        _entry("run_coroutine_threadsafe", Role.PEER, "Threadsafe"),
        _entry("anyio_portal", Role.PEER, "AnyioPortal", "anyio"),
        _entry("asyncproc_blocking", Role.OURS, "BlockingFace"),
    ),
    metrics=(
        Metric("call_us", "call, p50 us", compared=True),
        Metric("call_p99_us", "call, p99 us"),
        Metric("run_us", "coroutine child, p50 us", compared=True),
        Metric("read_us", "handle.state, p50 us"),
        Metric("per_s", "calls per s, 8 threads", higher_is_better=True),
    ),
    measure=measure,
    limit="awaited",
    reference="run_coroutine_threadsafe",
    parameters={"count": 4000},
    quick={"count": 200},
    bars=(
        Bar("asyncproc_blocking", "call_us", 100, "awaited", form="difference"),
        Bar("asyncproc_blocking", "run_us", 100, "awaited", form="difference"),
        Bar("asyncproc_blocking", "call_us", 1.0, "run_coroutine_threadsafe"),
    ),
    notes=(
        "The call is `handle.wait_ready()` of a node that is ready: the way to the loop and back, and nothing else. All loops "
        "are uvloop's. `awaited`: the async face on its own loop; its 8 threads are tasks."
    ),
)
