"""State that is shared with children: changing it, looking at it, and four writers at once."""

from benchmarks.harness.benchmark import Bar, Benchmark, Entry, Loop, Measurement, Metric, Parameters, Role
from benchmarks.harness.contract import Deed, SharesState, WrongWork
from benchmarks.harness.statistic import percentile

_WRITERS = 4
_ALONE: tuple[Deed, ...] = ("transaction", "add", "view", "fresh")
_WRITES: tuple[Deed, ...] = ("transaction", "add")


async def measure(contender: SharesState, parameters: Parameters) -> Measurement:
    """Each deed by one child, then both kinds of write by four; the counter says whether all of them arrived."""
    count, each = int(parameters["count"]), int(parameters["each"])
    figures: Measurement = {}
    for deed in _ALONE:
        begun = await contender.counter()
        times = (await contender.time_deeds(deed, count + count // 10))[count // 10 :]
        await _check(contender, begun + (0 if deed == "view" else count + count // 10), deed)
        figures[f"{deed}_us"] = percentile(times, 0.5) * 1e6
        figures[f"{deed}_p99_us"] = percentile(times, 0.99) * 1e6
    for deed in _WRITES:
        begun = await contender.counter()
        seconds = await contender.write_at_once(deed, _WRITERS, each)
        await _check(contender, begun + _WRITERS * each, f"{deed} by {_WRITERS}")
        figures[f"{deed}_at_once_us"] = seconds / (_WRITERS * each) * 1e6
    return figures


async def _check(contender: SharesState, expected: int, what: str) -> None:
    found = await contender.counter()
    if found != expected:
        raise WrongWork(f"{what}: the counter is {found}, not {expected}: {expected - found} updates were lost")


def _entries(loop: Loop) -> tuple[Entry, ...]:
    versions = ("asyncproc",) if loop == "asyncio" else ("asyncproc", "uvloop")
    where = "benchmarks.contenders.states:AsyncprocState"
    return (
        Entry(f"asyncproc@{loop}", Role.OURS, where, {"form": "plain"}, loop, versions),
        Entry(f"asyncproc_async@{loop}", Role.OURS, where, {"form": "async"}, loop, versions),
    )


def _bars(name: str) -> tuple[Bar, ...]:
    return (
        Bar(name, "transaction_us", 1.0, "mp_manager"),
        Bar(name, "transaction_us", 1.2, "mp_manager_mplock"),
        Bar(name, "add_us", 0.6, "mp_manager"),
        Bar(name, "add_us", 1.0, "mp_manager_mplock"),
        Bar(name, "view_us", 0.1, "mp_manager"),
        Bar(name, "fresh_us", 1.0, "mp_manager"),
        Bar(name, "transaction_at_once_us", 1.0, "mp_manager"),
        Bar(name, "add_at_once_us", 1.0, "mp_manager"),
    )


BENCHMARK = Benchmark(
    name="namespace",
    title="state shared with children",
    module=__name__,
    entries=(
        Entry("shared_value", Role.LIMIT, "benchmarks.contenders.states:ValueState"),
        Entry("mp_manager", Role.PEER, "benchmarks.contenders.states:ManagerState", {"lock": "manager"}),
        Entry("mp_manager_mplock", Role.PEER, "benchmarks.contenders.states:ManagerState", {"lock": "mp"}),
        *_entries("asyncio"),
        *_entries("uvloop"),
    ),
    metrics=(
        Metric("transaction_us", "transaction, p50 us", compared=True),
        Metric("transaction_p99_us", "transaction, p99 us"),
        Metric("add_us", "add, p50 us", compared=True),
        Metric("view_us", "look, p50 us", compared=True),
        Metric("fresh_us", "look after a change, p50 us", compared=True),
        Metric("transaction_at_once_us", f"{_WRITERS} writers, us per transaction", compared=True),
        Metric("add_at_once_us", f"{_WRITERS} writers, us per add", compared=True),
    ),
    measure=measure,
    limit="shared_value",
    reference="mp_manager",
    parameters={"count": 2000, "each": 1000},
    quick={"count": 50, "each": 20},
    bars=tuple(bar for name in ("asyncproc@uvloop", "asyncproc_async@uvloop") for bar in _bars(name)),
    notes=(
        "All from children. A state of three fields, one of them a counter that is raised by 1. shared_value: one number in "
        "shared memory under its lock. mp_manager: a Manager's Namespace, read and written under a Lock of the same Manager, "
        "or (`_mplock`) of multiprocessing; it knows no transaction and no add, so both are these steps, and nothing is undone "
        "when one fails. A look of theirs is at the counter alone, ours at the whole state. The change before a look is the "
        "looking child's own. After each measurement the counter is checked: no update may be lost."
    ),
)
