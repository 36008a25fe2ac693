"""Bars judged: what asyncproc owes against what was measured."""

from dataclasses import dataclass

from benchmarks.harness.benchmark import Bar
from benchmarks.harness.schedule import Record
from benchmarks.harness.statistic import Series, Summary, differences, ratios, summarise


@dataclass(frozen=True, slots=True)
class Verdict:
    """One bar with what was measured; `met` is None when either side has no figures."""

    bar: Bar
    measured: Summary | None
    met: bool | None


def judge(record: Record) -> list[Verdict]:
    """Judge every bar of the benchmark; the median of the runs decides."""
    return [_judge_bar(record, bar) for bar in record.benchmark.bars]


def _judge_bar(record: Record, bar: Bar) -> Verdict:
    measured = summarise(_values(record, bar))
    return Verdict(bar, measured, None if measured is None else measured.median <= bar.at_most)


def _values(record: Record, bar: Bar) -> Series:
    if bar.entry not in record.outcomes or (bar.against is not None and bar.against not in record.outcomes):
        return []  # left out by --only
    own = record.series(bar.entry, bar.metric)
    if bar.against is None:
        return own
    other = record.series(bar.against, bar.metric)
    return ratios(own, other) if bar.form == "ratio" else differences(own, other)
