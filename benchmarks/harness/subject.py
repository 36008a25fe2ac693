"""The inside of a fresh interpreter: make one contender, let its suite measure it, write the figures to a file."""

import asyncio
import importlib
import json
import os
import traceback
from dataclasses import asdict
from pathlib import Path

from benchmarks.harness.benchmark import Benchmark, Entry, Loop, Measurement, Outcome, Parameters
from benchmarks.harness.contract import Contender, Unavailable


def main(request: str, answer: str) -> None:
    """Do what *request* (JSON) says and write the Outcome (JSON) to the file *answer*."""
    wanted = json.loads(request)
    owner = os.getpid()
    try:
        benchmark: Benchmark = importlib.import_module(wanted["module"]).BENCHMARK
        entry = benchmark.entry(wanted["entry"])
        with asyncio.Runner(loop_factory=_loop_factory(entry.loop)) as runner:
            outcome = Outcome(figures=runner.run(_measure(benchmark, entry, wanted["parameters"])))
    except Unavailable as reason:
        outcome = Outcome(absent=str(reason))
    except Exception:
        outcome = Outcome(failed=traceback.format_exc())
    if os.getpid() == owner:  # a forked child that came back here by mistake must not answer
        Path(answer).write_text(json.dumps(asdict(outcome)), encoding="utf-8")


async def _measure(benchmark: Benchmark, entry: Entry, parameters: Parameters) -> Measurement:
    module, _, name = entry.where.partition(":")
    contender: Contender = getattr(importlib.import_module(module), name)(**entry.options)
    await contender.aopen()
    try:
        figures = await benchmark.measure(contender, parameters)
        await contender.verify()
    finally:
        await contender.aclose()
    return figures


def _loop_factory(loop: Loop) -> "type[asyncio.AbstractEventLoop] | None":
    if loop == "asyncio":
        return None
    import uvloop  # only where it is measured: the others must not carry its memory

    return uvloop.Loop
