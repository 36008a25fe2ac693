"""Loops of children: what an empty one costs, how soon a stop is over, and what a gate of the parent's adds."""

import os
import random
from typing import Protocol

from benchmarks.harness import procfs
from benchmarks.harness.benchmark import Bar, Benchmark, Entry, Loop, Measurement, Metric, Parameters, Role
from benchmarks.harness.contract import Ending, HoldsAtGates, LoopsChildren, WrongWork
from benchmarks.harness.statistic import percentile
from benchmarks.lives import Form, Work

_LOOPS: tuple[Loop, Loop] = ("asyncio", "uvloop")
_STOP_AFTER = 0.008  # seconds, on average, so that a stop meets its child at any point of a loop
_BLOCKS = 5


class _Subject(LoopsChildren, HoldsAtGates, Protocol): ...


async def measure(contender: _Subject, parameters: Parameters) -> Measurement:
    """Empty loops, then stops, then gates, each as far as the contender has them."""
    figures: Measurement = {}
    for form in contender.forms:
        figures |= await _pace(contender, form, int(parameters["loops"]), int(parameters["repeats"]))
    figures["told"] = max(figures[f"{form}_told"] for form in contender.forms)
    for work in contender.works:
        figures |= await _stops(contender, work, int(parameters["stops"]))
    figures["heard_us"] = max(figures[f"{work}_heard_us"] for work in contender.works)
    if hasattr(contender, "time_gates"):
        for form in contender.forms:
            figures |= await _gates(contender, form, int(parameters["gates"]))
    return figures


# --- empty loops ------------------------------------------------------------------------------------------------------------


async def _pace(contender: LoopsChildren, form: Form, count: int, repeats: int) -> Measurement:
    """The least of *repeats*: what comes on top is another program's. `told` is what four times the loops add."""
    await contender.pace(form, count // 10)
    paces = [await contender.pace(form, count) for _ in range(repeats)]
    longer = await contender.pace(form, count * 4)
    return {
        f"{form}_us": min(pace.seconds for pace in paces) / count * 1e6,
        f"{form}_cpu_us": min(pace.cpu_seconds for pace in paces) / count * 1e6,
        f"{form}_told": (longer.told - paces[-1].told) / (count * 3),
        f"{form}_on_uvloop": float(longer.on_uvloop),
    }


# --- stops ------------------------------------------------------------------------------------------------------------------


async def _stops(contender: LoopsChildren, work: Work, count: int) -> Measurement:
    """Stops, each followed by a child that ends by itself: what its end costs is no cost of the stop."""
    draw = random.Random(work)
    over: list[float] = []
    heard: list[float] = []
    by_itself: list[float] = []
    for _ in range(count):
        stopped = await contender.stop_one(work, draw.uniform(0.5, 1.5) * _STOP_AFTER)
        base = _earliest_end(stopped)
        over.append(stopped.known - base)
        heard.append(_last_end(stopped) - base)
        alone = await contender.end_one(work, 5)
        if len(alone.loops) != 5:
            raise WrongWork(f"5 loops were to run, and {len(alone.loops)} did")
        by_itself.append(alone.known - _last_end(alone))
    return {
        f"{work}_over_us": percentile(over, 0.5) * 1e6,
        f"{work}_over_p99_us": percentile(over, 0.99) * 1e6,
        f"{work}_heard_us": percentile(heard, 0.5) * 1e6,
        f"{work}_alone_us": percentile(by_itself, 0.5) * 1e6,
    }


def _earliest_end(ending: Ending) -> float:
    """When it could have ended at the earliest: with the loop that ran when it was asked to, at once between two."""
    return max([ending.asked, *(ended for began, ended in ending.loops if began <= ending.asked)])


def _last_end(ending: Ending) -> float:
    if not ending.loops:
        raise WrongWork("the child noted no loop")
    return ending.loops[-1][1]


# --- gates ------------------------------------------------------------------------------------------------------------------


async def _gates(contender: HoldsAtGates, form: Form, count: int) -> Measurement:
    """With both sides on one CPU, where the scheduler cannot make the ratio; then where it puts them."""
    cpus = os.sched_getaffinity(0)
    procfs.pin(os.getpid(), {min(cpus)})
    gate, trip = await _gates_and_trips(contender, form, count, {min(cpus)})
    procfs.pin(os.getpid(), cpus)
    free_gate, free_trip = await _gates_and_trips(contender, form, count, cpus)
    return {
        f"{form}_gate_us": gate * 1e6,
        f"{form}_trip_us": trip * 1e6,
        f"{form}_gate_trips": gate / trip,
        f"{form}_free_gate_us": free_gate * 1e6,
        f"{form}_free_trip_us": free_trip * 1e6,
    }


async def _gates_and_trips(contender: HoldsAtGates, form: Form, count: int, cpus: set[int]) -> tuple[float, float]:
    """The medians, taken by turns, so that a slow moment of the machine is shared."""
    gates: list[float] = []
    trips: list[float] = []
    await contender.time_trips(form, count // _BLOCKS, cpus)
    for _ in range(_BLOCKS):
        gates += await contender.time_gates(form, count // _BLOCKS, cpus)
        trips += await contender.time_trips(form, count // _BLOCKS, cpus)
    return percentile(gates, 0.5), percentile(trips, 0.5)


# --- description ------------------------------------------------------------------------------------------------------------


def _entries(loop: Loop) -> tuple[Entry, ...]:
    versions = () if loop == "asyncio" else ("uvloop",)
    hand, ours = "benchmarks.contenders.hand_loops:", "benchmarks.contenders.asyncproc_loops:"
    options = {"on_uvloop": loop == "uvloop"}
    return (
        Entry(f"bare@{loop}", Role.LIMIT, f"{hand}BareLoops", {}, loop, versions),
        Entry(f"mp_event@{loop}", Role.PEER, f"{hand}EventLoops", {}, loop, versions),
        *(
            Entry(f"{name}@{loop}", Role.OURS, f"{ours}{where}", options, loop, (*versions, "asyncproc"))
            for name, where in (("process", "ProcessLoops"), ("thread", "ThreadLoops"), ("coroutine", "CoroutineLoops"))
        ),
    )


def _bars(loop: Loop) -> tuple[Bar, ...]:
    process = f"process@{loop}"
    return (
        Bar(process, "plain_us", 8, form="value"),
        Bar(process, "async_us", 25, form="value"),
        *(Bar(f"{kind}@{loop}", "told", 0, form="value") for kind in ("process", "thread", "coroutine")),
        Bar(process, "heard_us", 1000, form="value"),
        *(Bar(process, f"{work}_over_us", 1000, form="value") for work in ("sleep", "busy", "rest")),
        *(Bar(process, f"{work}_over_us", 1.5, f"bare@{loop}") for work in ("sleep", "busy", "rest")),
        Bar(process, "plain_gate_trips", 2.5, form="value"),
        Bar(process, "async_gate_trips", 2.5, form="value"),
    )


BENCHMARK = Benchmark(
    name="life",
    title="loops of a child: pace, stop, gate",
    module=__name__,
    entries=tuple(entry for loop in _LOOPS for entry in _entries(loop)),
    metrics=(
        Metric("plain_us", "plain loop us", compared=True),
        Metric("async_us", "async loop us", compared=True),
        Metric("told", "told per loop"),
        Metric("heard_us", "stop heard us"),
        Metric("sleep_over_us", "stop us, sleep"),
        Metric("busy_over_us", "stop us, busy"),
        Metric("rest_over_us", "stop us, async"),
        Metric("sleep_alone_us", "own end us, sleep"),
        Metric("rest_alone_us", "own end us, async"),
        Metric("plain_gate_us", "gate us, one CPU"),
        Metric("plain_gate_trips", "gate, trips"),
        Metric("async_gate_trips", "async gate, trips"),
    ),
    measure=measure,
    limit="bare",
    reference="mp_event",
    parameters={"loops": 20000, "repeats": 7, "stops": 60, "gates": 1000},
    quick={"loops": 500, "repeats": 2, "stops": 4, "gates": 50},
    bars=tuple(bar for loop in _LOOPS for bar in _bars(loop)),
    notes=(
        "Loop: BeforeLoop, the loop and AfterLoop, all three empty, by the child's own clock; the least of the repeats. bare: "
        "a `for` in the measured process. Async: each loop lets others run once. Told: bytes (in a thread or coroutine: "
        "calls) that reached the manager per loop. Stop: p50 from the end of the loop that ran when it was asked to the "
        "moment when the parent knows that the process is gone; loops of 1 ms of sleep, 0.1 ms of Python, 1 ms of "
        "asyncio.sleep. Heard: the part of it before the end of the last loop, of the worst of the three. Own end: the same "
        "for a child that ends by itself, which no stop can be faster than. bare: a byte in shared memory and a pidfd; "
        "mp_event: Event and join(). Gate: from one gate of steps() to the next, so two gates, with both sides on one CPU; in "
        "round trips of the same kind of child, taken by turns."
    ),
    compare_within_loop=True,
)
