"""What comes out: text on stdout; JSON and SVG in a folder."""

import json
import textwrap
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from benchmarks.harness.benchmark import Parameters
from benchmarks.harness.plot import svg
from benchmarks.harness.schedule import Record
from benchmarks.harness.statistic import summarise
from benchmarks.harness.table import bars_table, figures_table, ratios_table
from benchmarks.harness.verdict import judge


def text(record: Record) -> str:
    """The tables of one benchmark, then who was absent and who failed."""
    benchmark = record.benchmark
    parts = [
        f"## {benchmark.name}: {benchmark.title}",
        textwrap.fill(benchmark.notes, 120),
        figures_table(record),
        ratios_table(record),
    ]
    if benchmark.bars:
        parts.append(bars_table(judge(record)))
    parts += [f"absent: {name}: {reason}" for name, reason in record.absences()]
    parts += [f"FAILED: {name}: {reason}" for name, reason in record.failures()]
    return "\n\n".join(part for part in parts if part) + "\n"


def save(record: Record, folder: Path, environment: Mapping[str, str], parameters: Parameters) -> None:
    """Write NAME.json (every run, summaries, bars), NAME.svg and NAME.md to *folder*, which is made if missing."""
    folder.mkdir(parents=True, exist_ok=True)
    name = record.benchmark.name
    data = json.dumps(as_data(record, environment, parameters), indent=1, ensure_ascii=False)
    Path(folder, f"{name}.json").write_text(data + "\n", encoding="utf-8")
    Path(folder, f"{name}.svg").write_text(svg(record), encoding="utf-8")
    Path(folder, f"{name}.md").write_text(text(record), encoding="utf-8")


def as_data(record: Record, environment: Mapping[str, str], parameters: Parameters) -> dict[str, object]:
    """The whole record as plain values for JSON."""
    benchmark = record.benchmark
    return {
        "benchmark": benchmark.name,
        "title": benchmark.title,
        "environment": dict(environment),
        "parameters": dict(parameters),
        "limit": benchmark.limit,
        "reference": benchmark.reference,
        "metrics": [asdict(metric) for metric in benchmark.metrics],
        "entries": {name: _entry_data(record, name) for name in record.outcomes},
        "bars": [asdict(verdict) for verdict in judge(record)],
    }


def _entry_data(record: Record, name: str) -> dict[str, object]:
    summaries = {metric.key: summarise(record.series(name, metric.key)) for metric in record.benchmark.metrics}
    return {
        "role": record.benchmark.entry(name).role.value,
        "runs": [asdict(outcome) for outcome in record.outcomes[name]],
        "summary": {key: asdict(summary) for key, summary in summaries.items() if summary},
    }
