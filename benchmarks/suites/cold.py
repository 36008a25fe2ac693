"""Whole programs from nothing: the first command, function and coroutine of a cold manager, a whole run, the import."""

from benchmarks.harness.benchmark import Bar, Benchmark, Entry, Measurement, Metric, Parameters, Role
from benchmarks.harness.contract import RunsPrograms
from benchmarks.harness.statistic import percentile


async def measure(contender: RunsPrograms, parameters: Parameters) -> Measurement:
    """Run the program *count* times, after one run that fills the caches."""
    contender.run_program()
    times = [contender.run_program() for _ in range(int(parameters["count"]))]
    return {"ms": percentile(times, 0.5) * 1e3, "best_ms": min(times) * 1e3}


def _entry(name: str, role: Role, program: str, *packages: str, clock: str = "whole") -> Entry:
    where = "benchmarks.contenders.program:Program"
    return Entry(name, role, where, {"program": program, "clock": clock, "package": (packages or ("",))[0]}, packages=packages)


BENCHMARK = Benchmark(
    name="cold",
    title="cold programs",
    module=__name__,
    entries=(
        _entry("python_pass", Role.LIMIT, "-c pass"),
        _entry("import_asyncio", Role.PEER, "-c import asyncio"),
        _entry("import_asyncproc", Role.OURS, "-c import asyncproc", "asyncproc"),
        _entry("mp_fork_run", Role.PEER, "mp_fork_run.py"),
        _entry("mp_forkserver_run", Role.PEER, "mp_forkserver_run.py"),
        _entry("mp_spawn_run", Role.PEER, "mp_spawn_run.py"),
        _entry("aiomultiprocess_run", Role.PEER, "aiomultiprocess_run.py", "aiomultiprocess"),
        _entry("asyncproc_run", Role.OURS, "asyncproc_run.py", "asyncproc"),
        _entry("asyncio_first_command", Role.PEER, "asyncio_first_command.py", clock="own"),
        _entry("asyncproc_first_command", Role.OURS, "asyncproc_first_command.py", "asyncproc", clock="own"),
        _entry("asyncproc_first_function", Role.OURS, "asyncproc_first_function.py", "asyncproc", clock="own"),
        _entry("asyncproc_first_coroutine", Role.OURS, "asyncproc_first_coroutine.py", "asyncproc", clock="own"),
    ),
    metrics=(
        Metric("ms", "ms", compared=True),
        Metric("best_ms", "best ms"),
    ),
    measure=measure,
    limit="python_pass",
    reference="import_asyncio",
    parameters={"count": 15},
    quick={"count": 3},
    bars=(
        Bar("asyncproc_first_command", "ms", 0.4, "import_asyncio"),
        Bar("asyncproc_first_function", "ms", 0.5, "import_asyncio"),
        Bar("asyncproc_first_coroutine", "ms", 1.6, "import_asyncio"),
        Bar("asyncproc_run", "ms", 3.5, "import_asyncio"),
        Bar("import_asyncproc", "ms", 15, "import_asyncio", form="difference"),
    ),
    notes=(
        "`_first_`: the program's own clock, in a running loop, from the line that makes the manager to the result. "
        "All others: from the start of the interpreter to its end. `_run`: a whole program that runs one no-op child "
        "and prints its result."
    ),
)
