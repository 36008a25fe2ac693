"""A plain SVG picture: one panel per compared metric, one bar per contender, a whisker from least to greatest. Pure.

Scales are linear and begin at 0, so that lengths are ratios.
"""

from xml.sax.saxutils import escape

from benchmarks.harness.benchmark import Metric, Role
from benchmarks.harness.schedule import Record
from benchmarks.harness.statistic import Summary, summarise
from benchmarks.harness.table import spread

_COLOURS = {Role.LIMIT: "#9aa5b1", Role.PEER: "#5b8fd6", Role.OURS: "#d6703b"}
_LABEL, _BARS, _VALUE, _STEP, _TOP = 230, 420, 210, 20, 30


def svg(record: Record) -> str:
    """The picture of one benchmark as the text of an SVG file."""
    panels: list[str] = []
    y = _TOP
    for metric in record.benchmark.metrics:
        if metric.compared:
            lines, y = _panel(record, metric, y)
            panels += lines
    width = _LABEL + _BARS + _VALUE
    title = f'<text x="8" y="18" font-weight="bold">{escape(record.benchmark.title)}</text>'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{y}" font-family="sans-serif" font-size="12">'
    return "\n".join([head, f'<rect width="{width}" height="{y}" fill="white"/>', title, *panels, "</svg>", ""])


def _panel(record: Record, metric: Metric, y: int) -> tuple[list[str], int]:
    found = {name: summary for name in record.outcomes if (summary := summarise(record.series(name, metric.key)))}
    greatest = max((summary.high for summary in found.values()), default=0.0) or 1.0
    direction = "more is better" if metric.higher_is_better else "less is better"
    lines = [f'<text x="8" y="{y + 14}" fill="#444">{escape(metric.title)} ({direction})</text>']
    y += _STEP
    for name, summary in found.items():
        lines += _row(name, record.benchmark.entry(name).role, summary, _BARS / greatest, y)
        y += _STEP
    return lines, y + _STEP // 2


def _row(name: str, role: Role, summary: Summary, scale: float, y: int) -> list[str]:
    middle = y + _STEP // 2
    low, median, high = (_LABEL + value * scale for value in (summary.low, summary.median, summary.high))
    return [
        f'<text x="{_LABEL - 6}" y="{middle + 4}" text-anchor="end">{escape(name)}</text>',
        f'<rect x="{_LABEL}" y="{y + 3}" width="{max(median - _LABEL, 1):.1f}" height="{_STEP - 6}" fill="{_COLOURS[role]}"/>',
        f'<path d="M{low:.1f} {middle}H{high:.1f}M{low:.1f} {y + 6}v8M{high:.1f} {y + 6}v8" stroke="black" fill="none"/>',
        f'<text x="{max(high, median) + 6:.1f}" y="{middle + 4}">{escape(spread(summary))}</text>',
    ]
