"""A message to a child and back: small and 64 KiB, one at a time, on one CPU, and pipelined."""

import asyncio
import os
import time

from benchmarks.harness import procfs
from benchmarks.harness.benchmark import Benchmark, Entry, Loop, Measurement, Metric, Parameters, Role
from benchmarks.harness.contract import EchoesMessages, WrongWork
from benchmarks.harness.statistic import percentile

_SMALL, _LARGE = bytes(range(32)), os.urandom(65536)
_LOOPS: tuple[Loop, Loop] = ("asyncio", "uvloop")


async def measure(contender: EchoesMessages, parameters: Parameters) -> Measurement:
    """Latency where the scheduler puts the two sides, then throughput, then latency with both sides on one CPU."""
    small, large = int(parameters["small"]), int(parameters["large"])
    child = await contender.connect()
    await _latencies(contender, _SMALL, small // 10 + 1)
    one_by_one = await _latencies(contender, _SMALL, small)
    one_by_one_large = await _latencies(contender, _LARGE, large)
    rate = await _throughput(contender, _SMALL, small * 5)
    rate_large = await _throughput(contender, _LARGE, large * 2)
    cpus = os.sched_getaffinity(0)
    for pid in (os.getpid(), child):
        procfs.pin(pid, {min(cpus)})
    pinned = await _latencies(contender, _SMALL, small)
    return {
        "p50_us": percentile(one_by_one, 0.5) * 1e6,
        "p99_us": percentile(one_by_one, 0.99) * 1e6,
        "one_cpu_p50_us": percentile(pinned, 0.5) * 1e6,
        "per_s": rate,
        "large_p50_us": percentile(one_by_one_large, 0.5) * 1e6,
        "large_p99_us": percentile(one_by_one_large, 0.99) * 1e6,
        "large_mb_per_s": rate_large * len(_LARGE) / 1e6,
    }


async def _latencies(contender: EchoesMessages, payload: bytes, count: int) -> list[float]:
    times = []
    for _ in range(count):
        began = time.perf_counter()
        await contender.send(payload)
        answer = await contender.receive()
        times.append(time.perf_counter() - began)
        _check(answer, payload)
    return times


async def _throughput(contender: EchoesMessages, payload: bytes, count: int) -> float:
    """Round trips per second with up to 64 messages on their way, fewer where they would not fit."""
    free = asyncio.Semaphore(max(1, min(64, contender.room // 2 // len(payload))))

    async def send_all() -> None:
        for _ in range(count):
            await free.acquire()
            await contender.send(payload)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        group.create_task(send_all())
        for _ in range(count):
            answer = await contender.receive()
            free.release()
            _check(answer, payload)
    return count / (time.perf_counter() - began)


def _check(answer: bytes, payload: bytes) -> None:
    if answer != payload:
        raise WrongWork(f"sent {len(payload)} bytes, got others back: {answer[:40]!r}")


def _entries(loop: Loop) -> tuple[Entry, ...]:
    versions = () if loop == "asyncio" else ("uvloop",)
    pipe, ours = "benchmarks.contenders.multiprocessing:Multiprocessing", "benchmarks.contenders.asyncproc:AsyncprocProcess"
    return (
        Entry(f"socketpair@{loop}", Role.LIMIT, "benchmarks.contenders.zygote:Zygote", {}, loop, versions),
        Entry(f"mp_pipe@{loop}", Role.PEER, pipe, {"method": "fork"}, loop, versions),
        Entry(f"asyncproc@{loop}", Role.OURS, ours, {}, loop, (*versions, "asyncproc")),
    )


BENCHMARK = Benchmark(
    name="roundtrip",
    title="message round trip, parent ↔ child",
    module=__name__,
    entries=tuple(entry for loop in _LOOPS for entry in _entries(loop)),
    metrics=(
        Metric("p50_us", "p50 us", compared=True),
        Metric("p99_us", "p99 us"),
        Metric("one_cpu_p50_us", "p50 us on one CPU", compared=True),
        Metric("per_s", "per s, pipelined", compared=True, higher_is_better=True),
        Metric("large_p50_us", "64 KiB p50 us", compared=True),
        Metric("large_p99_us", "64 KiB p99 us"),
        Metric("large_mb_per_s", "64 KiB MB/s, pipelined", higher_is_better=True),
    ),
    measure=measure,
    limit="socketpair",
    reference="mp_pipe",
    parameters={"small": 3000, "large": 1000},
    quick={"small": 200, "large": 50},
    notes=(
        "Bytes, pickled by all. socketpair: 4-byte length + pickle on a bare AF_UNIX stream pair, the parent on "
        "add_reader, the child blocking. Latency has two modes: both sides on one CPU, or a wake-up of the other CPU "
        "each way; `p50` is where the scheduler put them, `on one CPU` is forced. Pipelined: 64 small or 8 large "
        "messages on their way (mp_pipe 1 large: its send blocks)."
    ),
    compare_within_loop=True,
)
