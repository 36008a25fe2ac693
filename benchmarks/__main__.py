"""The command line: `python -m benchmarks [NAME ...] [--runs N] [--out FOLDER]`."""

import argparse
import importlib
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import environment, report
from benchmarks.harness.benchmark import Benchmark, Entry, Parameters
from benchmarks.harness.launch import launch
from benchmarks.harness.schedule import Record, run_interleaved
from benchmarks.suites import NAMES


def main(argv: Sequence[str] | None = None) -> int:
    """Run what the arguments name; 1 when a contender broke or did wrong work, else 0. A missed bar changes nothing."""
    options = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # as an exception, so that what runs is killed
    benchmarks = [_load(name) for name in options.names or NAMES]
    if options.list:
        for benchmark in benchmarks:
            print(f"{benchmark.name}: {benchmark.title}: " + ", ".join(entry.name for entry in benchmark.entries))
        return 0
    records = [_run(benchmark, options) for benchmark in benchmarks]
    return 1 if any(record.failures() for record in records) else 0


def _run(benchmark: Benchmark, options: argparse.Namespace) -> Record:
    entries = _selected(benchmark, options.only)
    parameters = _parameters(benchmark, options)
    facts = environment.describe(package for entry in entries for package in entry.packages)
    record = run_interleaved(
        benchmark,
        entries,
        options.runs,
        lambda entry: launch(benchmark, entry, parameters, options.timeout),
        lambda line: print(line, file=sys.stderr, flush=True),
    )
    said = ", ".join(f"{name} {value}" for name, value in facts.items())
    counts = ", ".join(f"{key}={value:g}" for key, value in parameters.items())
    print(f"\n{report.text(record)}\n{options.runs} runs each, interleaved; {counts}; {said}\n", flush=True)
    if options.out is not None:
        report.save(record, options.out, facts, parameters)
    return record


def _selected(benchmark: Benchmark, only: str | None) -> list[Entry]:
    wanted = only.split(",") if only else [""]
    return [entry for entry in benchmark.entries if any(part in entry.name for part in wanted)]


def _parameters(benchmark: Benchmark, options: argparse.Namespace) -> Parameters:
    changed = {key: value for key, value in options.set if key in benchmark.parameters}
    return dict(benchmark.quick if options.quick else benchmark.parameters) | changed


def _load(name: str) -> Benchmark:
    benchmark: Benchmark = importlib.import_module(f"benchmarks.suites.{name}").BENCHMARK
    return benchmark


def _name(text: str) -> str:
    if text not in NAMES:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(NAMES)}")
    return text


def _setting(text: str) -> tuple[str, float]:
    key, _, value = text.partition("=")
    return key, float(value)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="asyncproc against its peers and limits")
    parser.add_argument("names", nargs="*", metavar="NAME", type=_name, help=f"which: {', '.join(NAMES)}; all when none")
    parser.add_argument("--runs", type=int, default=5, help="interleaved runs of every contender (default 5)")
    parser.add_argument("--out", type=Path, help="folder for NAME.json, NAME.svg and NAME.md")
    parser.add_argument("--only", help="contenders whose name contains one of these, with commas between")
    parser.add_argument(
        "--set", type=_setting, action="append", default=[], metavar="KEY=VALUE", help="change a count or a time"
    )
    parser.add_argument("--quick", action="store_true", help="small counts: does it run, not how fast is it")
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds for one run of one contender (default 300)")
    parser.add_argument("--list", action="store_true", help="name the benchmarks and their contenders")
    return parser


if __name__ == "__main__":
    sys.exit(main())
