"""Text tables, in Markdown that also reads well on a terminal. Pure."""

from collections.abc import Sequence

from benchmarks.harness.benchmark import Entry, Metric
from benchmarks.harness.schedule import Record
from benchmarks.harness.statistic import Summary, ratios, summarise
from benchmarks.harness.verdict import Verdict

Row = Sequence[str]


def number(value: float) -> str:
    """Three significant digits; thousands are grouped."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def spread(summary: Summary | None) -> str:
    """`median (least–greatest)`, the median alone when there was one run, nothing when there was none."""
    if summary is None:
        return ""
    if summary.count == 1:
        return number(summary.median)
    return f"{number(summary.median)} ({number(summary.low)}–{number(summary.high)})"


def render(header: Row, rows: Sequence[Row]) -> str:
    """A Markdown table with padded columns, the first one to the left, the others to the right."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    rule = ["-" * width if column == 0 else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
    lines = [_line(header, widths), _line(rule, widths), *(_line(row, widths) for row in rows)]
    return "\n".join(lines)


def figures_table(record: Record) -> str:
    """Every entry that gave figures, with its metrics."""
    metrics = record.benchmark.metrics
    header = ["contender", "role", *(metric.title for metric in metrics)]
    rows = [
        [entry.name, entry.role.value, *(spread(summarise(record.series(entry.name, metric.key))) for metric in metrics)]
        for entry in _measured(record)
    ]
    return render(header, rows)


def ratios_table(record: Record) -> str:
    """The compared metrics divided by those of limit and reference in the same run."""
    benchmark = record.benchmark
    compared = [metric for metric in benchmark.metrics if metric.compared]
    header = ["ratio to"]
    for metric in compared:
        header += [f"{metric.key} / {benchmark.limit}", f"{metric.key} / {benchmark.reference}"]
    rows = [
        [entry.name, *(cell for metric in compared for cell in _ratio_cells(record, entry, metric))]
        for entry in _measured(record)
    ]
    return render(header, rows)


def bars_table(verdicts: Sequence[Verdict]) -> str:
    """Every bar: what is owed, what was measured, met or missed."""
    rows = [
        [
            verdict.bar.entry,
            _owed(verdict),
            spread(verdict.measured) or "-",
            {True: "met", False: "MISSED", None: "no figures"}[verdict.met],
        ]
        for verdict in verdicts
    ]
    return render(["contender", "owed", "measured", "verdict"], rows)


def _line(row: Row, widths: Sequence[int]) -> str:
    cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
    return "| " + " | ".join([row[0].ljust(widths[0]), *cells[1:]]) + " |"


def _measured(record: Record) -> list[Entry]:
    given = {name for name, outcomes in record.outcomes.items() if any(outcome.figures for outcome in outcomes)}
    return [entry for entry in record.benchmark.entries if entry.name in given]


def _ratio_cells(record: Record, entry: Entry, metric: Metric) -> list[str]:
    own = record.series(entry.name, metric.key)
    cells = []
    for name in (record.benchmark.limit, record.benchmark.reference):
        other = record.benchmark.counterpart(name, entry.loop)
        cells.append(spread(summarise(ratios(own, record.series(other, metric.key)))) if other in record.outcomes else "")
    return cells


def _owed(verdict: Verdict) -> str:
    bar = verdict.bar
    if bar.against is None:
        return f"{bar.metric} ≤ {number(bar.at_most)}"
    sign = "/" if bar.form == "ratio" else "−"
    return f"{bar.metric} {sign} {bar.against} ≤ {number(bar.at_most)}"
