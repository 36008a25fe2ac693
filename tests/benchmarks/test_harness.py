"""The benchmark harness on fake contenders: order of runs, statistics, ratios, bars, tables, files. No test asserts a time."""

import dataclasses
import json
import math
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks import __main__ as command_line
from benchmarks.harness import environment, plot, procfs, report, table
from benchmarks.harness.benchmark import Bar, Benchmark, Entry, Outcome, Role
from benchmarks.harness.launch import launch, measured_environment
from benchmarks.harness.observer import observe
from benchmarks.harness.schedule import Record, run_interleaved
from benchmarks.harness.statistic import Summary, differences, percentile, ratios, summarise
from benchmarks.harness.verdict import judge
from benchmarks.suites import NAMES, fake

FAKE = fake.BENCHMARK


def from_figures(figures: dict[str, list[float]]) -> Callable[[Entry], Outcome]:
    """A launch that gives each entry its figures in turn; an entry without any is absent, a nan has failed."""
    left: dict[str, Iterator[float]] = {name: iter(values) for name, values in figures.items()}

    def give(entry: Entry) -> Outcome:
        if entry.name not in left:
            return Outcome(absent="not written yet")
        figure = next(left[entry.name])
        return Outcome(failed="Traceback\nWrongWork: 41") if math.isnan(figure) else Outcome(figures={"ms": figure, "count": 1})

    return give


def record_of(runs: int, **figures: list[float]) -> Record:
    """A record of the fake benchmark with these figures."""
    return run_interleaved(FAKE, FAKE.entries, runs, from_figures(figures))


@pytest.mark.parametrize(
    ("samples", "share", "expected"),
    [
        ([7.0], 0.99, 7.0),
        ([1.0, 2.0], 0.5, 1.5),
        ([3.0, 1.0, 2.0], 0.5, 2.0),
        ([float(n) for n in range(101)], 0.99, 99.0),
        ([float(n) for n in range(11)], 0.99, 9.9),
        ([5.0, 1.0, 9.0], 0.0, 1.0),
        ([5.0, 1.0, 9.0], 1.0, 9.0),
    ],
)
def test_percentile_interpolates_between_neighbours(samples: list[float], share: float, expected: float) -> None:
    """The order of the samples does not matter."""
    assert percentile(samples, share) == pytest.approx(expected)


def test_percentile_of_nothing_is_refused() -> None:
    """An empty list has no percentile."""
    with pytest.raises(ValueError, match="no samples"):
        percentile([], 0.5)


def test_summary_counts_only_runs_that_gave_a_figure() -> None:
    """Missing runs do not count as zero."""
    assert summarise([3.0, None, 1.0]) == Summary(median=2.0, low=1.0, high=3.0, count=2)
    assert summarise([None, None]) is None


def test_ratios_are_taken_within_one_run() -> None:
    """The median of ratios is not the ratio of medians: a slow run slows both sides."""
    ours, peer = [2.0, 20.0, 3.0], [4.0, 40.0, 1.0]
    assert ratios(ours, peer) == [0.5, 0.5, 3.0]
    assert differences(ours, peer) == [-2.0, -20.0, 2.0]


def test_ratio_is_missing_where_a_side_is_missing_or_zero() -> None:
    """No ratio is made up."""
    assert ratios([1.0, None, 1.0], [None, 1.0, 0.0]) == [None, None, None]


def test_runs_are_interleaved() -> None:
    """A B C A B C, never A A B B C C."""
    order: list[str] = []

    def note(entry: Entry) -> Outcome:
        order.append(entry.name)
        return Outcome(figures={"ms": 1.0})

    run_interleaved(FAKE, FAKE.entries[:3], 2, note)
    assert order == ["floor", "peer", "ours"] * 2


def test_absent_contender_is_asked_once_and_keeps_runs_aligned() -> None:
    """Its later runs are absent without a launch; the others go on."""
    asked: list[str] = []

    def note(entry: Entry) -> Outcome:
        asked.append(entry.name)
        return Outcome(absent="not written yet") if entry.name == "ours" else Outcome(figures={"ms": 1.0})

    record = run_interleaved(FAKE, FAKE.entries[:3], 3, note)
    assert asked.count("ours") == 1
    assert asked.count("peer") == 3
    assert record.series("ours", "ms") == [None] * 3
    assert record.absences() == [("ours", "not written yet")]
    assert not record.failures()


def test_failed_run_is_reported_and_the_other_runs_count() -> None:
    """One broken run neither ends the benchmark nor disappears."""
    said: list[str] = []
    launch_ = from_figures({"floor": [1, 1], "peer": [math.nan, 4]})
    record = run_interleaved(FAKE, FAKE.entries[:2], 2, launch_, said.append)
    assert record.series("peer", "ms") == [None, 4]
    assert record.failures() == [("peer", "Traceback\nWrongWork: 41")]
    assert said[1] == "fake run 1/2 peer: FAILED, WrongWork: 41"


def test_bars_are_judged_by_the_median_of_ratios() -> None:
    """Ratio, difference and plain value; a bar without figures is neither met nor missed."""
    record = record_of(3, floor=[1, 2, 1], peer=[4, 8, 4], ours=[2, 4, 2.2], wrong=[1, 1, 1])
    verdicts = judge(record)
    assert [verdict.met for verdict in verdicts] == [True, False, False, True, None]
    measured = verdicts[0].measured
    assert measured is not None
    assert measured.count == 3
    assert (measured.median, measured.low, measured.high) == pytest.approx((0.5, 0.5, 0.55))


def test_bars_of_contenders_left_out_have_no_figures() -> None:
    """`--only` must not break the bars."""
    record = run_interleaved(FAKE, FAKE.entries[2:3], 1, from_figures({"ours": [2]}))
    assert [verdict.met for verdict in judge(record)] == [None, None, None, True, None]


@pytest.mark.parametrize(
    ("value", "expected"), [(0, "0"), (0.01234, "0.0123"), (1.5, "1.5"), (99.96, "100"), (123456.7, "123,457"), (-2.5, "-2.5")]
)
def test_numbers_have_three_digits(value: float, expected: str) -> None:
    """Thousands are grouped."""
    assert table.number(value) == expected


def test_table_is_padded_markdown() -> None:
    """All lines are of one length."""
    assert table.render(["name", "ms"], [["a", "1"], ["longer", "1,000"]]).splitlines() == [
        "| name   |    ms |",
        "| ------ | ----: |",
        "| a      |     1 |",
        "| longer | 1,000 |",
    ]


def test_tables_show_figures_and_ratios_of_who_gave_some() -> None:
    """Absent and failed contenders are named below, not as empty rows."""
    record = record_of(2, floor=[1, 1], peer=[4, 4], ours=[2, 3], wrong=[math.nan, math.nan])
    text = " ".join(report.text(record).split())
    assert "| ours | ours | 2.5 (2–3) | 1 (1–1) |" in text
    assert "| ours | 2.5 (2–3) | 0.625 (0.5–0.75) |" in text
    assert "absent: absent: not written yet" in text
    assert "FAILED: wrong: Traceback" in text
    assert "| absent | ours" not in text


def test_limits_are_taken_from_the_same_loop() -> None:
    """With `compare_within_loop`, `a@uvloop` is compared with `limit@uvloop`."""
    entries = tuple(
        Entry(f"{name}@{loop}", role, "", loop=loop)
        for loop in ("asyncio", "uvloop")
        for name, role in (("limit", Role.LIMIT), ("ours", Role.OURS))
    )
    benchmark = dataclasses.replace(FAKE, entries=entries, limit="limit", reference="limit", bars=(), compare_within_loop=True)
    figures: dict[str, list[float]] = {"limit@asyncio": [1], "ours@asyncio": [2], "limit@uvloop": [4], "ours@uvloop": [2]}
    rows = table.ratios_table(run_interleaved(benchmark, entries, 1, from_figures(figures))).splitlines()
    assert [row.split("|")[2].strip() for row in rows[2:]] == ["1", "2", "1", "0.5"]


def test_misspelt_name_in_a_benchmark_is_refused() -> None:
    """A bar on a name that nothing carries would never be missed."""
    with pytest.raises(ValueError, match="unknown names \\['oars'\\]"):
        dataclasses.replace(FAKE, bars=(Bar("oars", "ms", 1.0),))


def test_picture_is_well_formed_and_shows_every_contender_with_figures() -> None:
    """Text is escaped; bars are as long as their medians."""
    record = record_of(2, floor=[1, 1], peer=[4, 4], ours=[2, 2], wrong=[math.nan, math.nan])
    root = ElementTree.fromstring(plot.svg(record))
    texts = [element.text for element in root.iter() if element.tag.endswith("text")]
    widths = [float(element.get("width", "0")) for element in root.iter() if element.tag.endswith("rect")][1:]
    assert texts[0] == FAKE.title
    assert {"floor", "peer", "ours"} <= set(texts)
    assert widths == [widths[1] / 4, widths[1], widths[1] / 2]


def test_picture_without_figures_is_still_one() -> None:
    """Nothing to show is no fault."""
    ElementTree.fromstring(plot.svg(record_of(1)))


def test_saved_files_hold_every_run(tmp_path: Path) -> None:
    """JSON can be read back; picture and table lie beside it."""
    record = record_of(2, floor=[1, 1], peer=[4, 4], ours=[2, 3], wrong=[math.nan, 1])
    report.save(record, tmp_path / "new", {"python": "3"}, {"scale": 1.0})
    data = json.loads((tmp_path / "new" / "fake.json").read_text(encoding="utf-8"))
    assert [run["figures"] for run in data["entries"]["ours"]["runs"]] == [{"ms": 2, "count": 1}, {"ms": 3, "count": 1}]
    assert data["entries"]["ours"]["summary"]["ms"] == {"median": 2.5, "low": 2, "high": 3, "count": 2}
    assert data["bars"][0]["met"] is False
    assert data["environment"] == {"python": "3"}
    assert {path.suffix for path in (tmp_path / "new").iterdir()} == {".json", ".svg", ".md"}


def test_fresh_interpreter_gives_figures() -> None:
    """The real launch; the parameters arrive."""
    assert launch(FAKE, FAKE.entry("peer"), {"scale": 3.0}, timeout=60) == Outcome(figures={"ms": 12.0, "count": 1.0})


def test_fresh_interpreter_tells_absence() -> None:
    """Unavailable is no failure."""
    assert launch(FAKE, FAKE.entry("absent"), {"scale": 1.0}, timeout=60) == Outcome(absent="not written yet")


def test_fresh_interpreter_tells_wrong_work() -> None:
    """Figures of a contender that did something else are thrown away."""
    outcome = launch(FAKE, FAKE.entry("wrong"), {"scale": 1.0}, timeout=60)
    assert outcome.figures is None
    assert "WrongWork: it returned 41" in outcome.failed


def test_contender_that_gives_no_answer_has_failed() -> None:
    """A main file that does nothing leaves no answer; the exit code is the reason."""
    entry = dataclasses.replace(FAKE.entry("peer"), main_file="targets.py")
    assert launch(FAKE, entry, {"scale": 1.0}, timeout=60) == Outcome(failed="exit code 0")


@pytest.mark.parametrize("name", NAMES)
def test_every_suite_is_well_described(name: str) -> None:
    """Each has a limit and something to compare, its quick parameters are the same keys, its classes are named fully."""
    benchmark = command_line._load(name)
    assert benchmark.name == name
    assert benchmark.module == f"benchmarks.suites.{name}"
    assert benchmark.parameters.keys() == benchmark.quick.keys()
    assert any(metric.compared for metric in benchmark.metrics)
    assert {entry.role for entry in benchmark.entries} == set(Role)
    assert all(entry.where.startswith("benchmarks.contenders.") and ":" in entry.where for entry in benchmark.entries)


def test_command_line_changes_parameters_and_selects_contenders() -> None:
    """`--set` touches only the benchmarks that have the key; `--only` takes parts of names."""
    options = command_line._parser().parse_args(
        ["start", "--quick", "--set", "count=7", "--set", "other=1", "--only", "spawn,zyg"]
    )
    benchmark: Benchmark = command_line._load("start")
    assert command_line._parameters(benchmark, options) == {**benchmark.quick, "count": 7.0}
    assert [entry.name for entry in command_line._selected(benchmark, options.only)] == ["zygote", "mp_spawn"]


def test_command_line_refuses_an_unknown_benchmark(capsys: pytest.CaptureFixture[str]) -> None:
    """The message names those that exist."""
    with pytest.raises(SystemExit):
        command_line._parser().parse_args(["strat"])
    assert "'strat' is none of start, memory" in capsys.readouterr().err


def test_environment_names_versions() -> None:
    """Python, kernel and each library once; what is not installed says so."""
    facts = environment.describe(["pytest", "pytest", "no-such-distribution"])
    assert facts["pytest"] == pytest.__version__
    assert facts["no-such-distribution"].startswith("not installed")
    assert facts["python"].startswith("CPython")
    assert facts["kernel"].startswith("Linux")


def test_a_process_that_is_not_there_is_not_alive() -> None:
    """Pid 0 is never shown by /proc."""
    assert procfs.state(0) == ""
    assert not procfs.is_alive(0)


def test_measured_program_gets_no_python_settings_of_this_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Byte code that is not cached would be compiled again inside the timed part."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("UNRELATED", "kept")
    given = measured_environment()
    assert [key for key in given if key.startswith("PYTHON")] == ["PYTHONPATH"]
    assert given["UNRELATED"] == "kept"


def test_observer_sees_a_process_that_wakes_up() -> None:
    """Zero switches mean nothing unless the counter counts."""
    program = "import time\nprint(flush=True)\nwhile True: time.sleep(0.002)"
    with subprocess.Popen([sys.executable, "-S", "-c", program], stdout=subprocess.PIPE) as restless:
        assert restless.stdout is not None
        restless.stdout.readline()
        figures = observe(restless.pid, [os.getpid()], settle=0.0, seconds=0.1)
        restless.kill()
    assert figures["manager_switches"] > 0
    assert figures["cpu_ms"] > 0
    assert figures["alive"] == 1


def test_brief_of_an_exception_group_is_its_message_and_not_its_frame() -> None:
    """The last line of such a traceback is dashes."""
    said: list[str] = []
    failed = "  | WrongWork: 41\n  +------------------------------------"
    run_interleaved(FAKE, FAKE.entries[:1], 1, lambda entry: Outcome(failed=failed), said.append)
    assert said[0].endswith("WrongWork: 41")
