"""A sampler of this machine, written twice: as a class, and as a function with a setup.

What to see: each phase has its place in both (open, label, sample, keep, report), and the two reports have the same entries,
taken by two processes side by side. What the function needs comes to it as keyword arguments, from the hooks; the class keeps
it on `self`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import asyncproc
from asyncproc import Concurrent, Current, Process, Setup

EVERY = 0.05  # seconds
SAMPLES = 6


@dataclass(frozen=True)
class Sample:
    label: str
    load: float  # processes that ran or wanted to, mean of a minute
    memory: float  # share in use
    ticks: tuple[int, int]  # of all processors since the machine was booted: busy, total
    busy: float  # share of the processors since the previous sample


class Machine:
    """Load, memory and processors of this machine, from files of /proc that stay open."""

    def __init__(self) -> None:
        self.files = {name: os.open(f"/proc/{name}", os.O_RDONLY) for name in ("loadavg", "meminfo", "stat")}

    async def sample(self, label: str, previous: Sample | None) -> Sample:
        await asyncio.sleep(EVERY)
        text = {name: os.pread(file, 1 << 16, 0).decode() for name, file in self.files.items()}
        memory = dict(line.split(":") for line in text["meminfo"].splitlines())
        free, all_of_it = (int(memory[name].split()[0]) for name in ("MemAvailable", "MemTotal"))
        user, nice, system, idle, waiting, *others = map(int, text["stat"].split("\n")[0].split()[1:9])
        ticks = busy, total = user + nice + system + sum(others), sum((user, nice, system, idle, waiting, *others))
        then = previous.ticks if previous else ticks
        share = (busy - then[0]) / max(1, total - then[1])
        return Sample(label, float(text["loadavg"].split()[0]), 1 - free / all_of_it, ticks, share)

    async def aclose(self) -> None:
        for file in self.files.values():
            os.close(file)


def summary(child: Current | Process[Any], samples: list[Sample]) -> dict[str, Any]:
    return {
        "labels": [sample.label for sample in samples],
        "load": max(sample.load for sample in samples),
        "memory": max(sample.memory for sample in samples),
        "processors": max(sample.busy for sample in samples),
        "loops": child.loop_report(),
    }


# --- as a class ---------------------------------------------------------------------------------------------------------


class Sampler(Process[Any], loops=SAMPLES):
    def on_start(self) -> None:
        self.machine = Machine()
        self.samples: list[Sample] = []
        self.previous: Sample | None = None

    def before_loop(self) -> None:
        self.label = f"{self.name}-{self.current_loop}"

    async def loop(self) -> Sample:
        return await self.machine.sample(self.label, self.previous)

    def after_loop(self, result: Sample) -> None:
        self.samples.append(result)
        self.previous = result

    async def on_finish(self) -> dict[str, Any]:
        await self.machine.aclose()
        return summary(self, self.samples)  # the node's result


# --- as a function with a setup -----------------------------------------------------------------------------------------

setup = Setup()


@setup.on_start
async def resources(child: Current) -> AsyncIterator[dict[str, Any]]:
    async with aclosing(Machine()) as machine:  # closed when the child ends, also by an error
        yield {"machine": machine, "samples": []}  # joins the keyword arguments of every loop


@setup.before_loop
def label(child: Current) -> dict[str, str]:
    return {"label": f"{child.name}-{child.current_loop}"}  # joins those of this loop


@setup.after_loop(add_for_next=True)
def keep(child: Current, result: Sample) -> dict[str, Sample]:
    return {"previous": result}  # joins those of the next loop


@setup.on_finish
def report(child: Current) -> dict[str, Any]:
    return summary(child, child.kwargs["samples"])  # the node's result


async def sample(machine: Machine, samples: list[Sample], label: str, previous: Sample | None = None) -> Sample:
    samples.append(await machine.sample(label, previous))
    return samples[-1]


# --- both ---------------------------------------------------------------------------------------------------------------


def shape(report: dict[str, Any]) -> dict[str, str]:
    return {entry: type(value).__name__ for entry, value in report.items()}


by_class = Sampler(name="by-class")
by_setup = Process(sample, setup=setup, loops=SAMPLES, name="by-setup")
results = asyncproc.run(Concurrent(by_class, by_setup))
for name, found in results.items():
    shares = ", ".join(f"{what} {found[what]:.0%}" for what in ("memory", "processors"))
    print(f"{name}: {found['labels'][0]} to {found['labels'][-1]}; at most: load {found['load']:.2f}, {shares}")
    print(f"  {found['loops']}")
assert shape(results["by-class"]) == shape(results["by-setup"])
print("each report has:", ", ".join(shape(results["by-class"])))
