"""The order of the runs: interleaved, A B C A B C, so that a slow minute of the machine hits every contender alike."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.harness.benchmark import Benchmark, Entry, Outcome
from benchmarks.harness.statistic import Series

Launch = Callable[[Entry], Outcome]


@dataclass(frozen=True, slots=True)
class Record:
    """The outcomes of one benchmark: for each entry, one per run."""

    benchmark: Benchmark
    outcomes: dict[str, list[Outcome]] = field(default_factory=dict)

    def series(self, entry: str, metric: str) -> Series:
        """One metric of one entry, run by run; None where a run failed or does not give it."""
        return [None if one.figures is None else one.figures.get(metric) for one in self.outcomes[entry]]

    def failures(self) -> list[tuple[str, str]]:
        """Entries that broke or did wrong work, with the last reason."""
        return [(name, bad[-1]) for name, all_ in self.outcomes.items() if (bad := [one.failed for one in all_ if one.failed])]

    def absences(self) -> list[tuple[str, str]]:
        """Entries that cannot run here, with the reason."""
        return [(name, why[0]) for name, all_ in self.outcomes.items() if (why := [one.absent for one in all_ if one.absent])]


def run_interleaved(
    benchmark: Benchmark,
    entries: Sequence[Entry],
    runs: int,
    launch: Launch,
    said: Callable[[str], None] = lambda line: None,
) -> Record:
    """Run every entry once, then every entry again, *runs* times in all.

    An entry that is absent is not asked again; its later runs are absent for the same reason, so that runs stay aligned.

    Args:
        launch: runs one entry in a fresh interpreter.
        said: gets one line per outcome, for the terminal.
    """
    record = Record(benchmark, {entry.name: [] for entry in entries})
    for number in range(1, runs + 1):
        for entry in entries:
            earlier = record.outcomes[entry.name]
            outcome = earlier[0] if earlier and earlier[0].absent else launch(entry)
            earlier.append(outcome)
            said(f"{benchmark.name} run {number}/{runs} {entry.name}: {_brief(outcome)}")
    return record


def _brief(outcome: Outcome) -> str:
    if outcome.figures is None:
        return f"absent, {outcome.absent}" if outcome.absent else f"FAILED, {_last_line(outcome.failed)}"
    return "  ".join(f"{key}={value:.4g}" for key, value in outcome.figures.items())


def _last_line(failed: str) -> str:
    """The last line that says something: tracebacks of exception groups end in a frame of dashes."""
    return next((line for line in reversed(failed.splitlines()) if line.strip(" |+-")), failed)
