"""The description of a benchmark: its contenders, its metrics, and the bars that asyncproc owes."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

Measurement = dict[str, float]
Parameters = Mapping[str, float]
Loop = Literal["asyncio", "uvloop"]


class Role(Enum):
    """What a contender is in the comparison."""

    LIMIT = "limit"
    PEER = "peer"
    OURS = "ours"


@dataclass(frozen=True, slots=True)
class Entry:
    """One contender of a benchmark, by name, so that only its own interpreter imports it.

    Args:
        name: unique in its benchmark.
        where: `module:Class` of the contender.
        options: keyword arguments of that class.
        packages: distributions whose versions belong to the figures.
        main_file: the script in `benchmarks/` that is `__main__` of the measured program.
    """

    name: str
    role: Role
    where: str
    options: Mapping[str, Any] = field(default_factory=dict)
    loop: Loop = "asyncio"
    packages: tuple[str, ...] = ()
    main_file: str = "subject.py"


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure that every run of a contender gives.

    Args:
        compared: ratios and plot are made of it.
        higher_is_better: throughput; everything else is time or space.
    """

    key: str
    title: str
    compared: bool = False
    higher_is_better: bool = False


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure owed: the median of *form* over the runs is at most *at_most*.

    Args:
        against: the entry that is divided by (ratio) or subtracted (difference), taken from the same run.
    """

    entry: str
    metric: str
    at_most: float
    against: str | None = None
    form: Literal["ratio", "difference", "value"] = "ratio"


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark.

    Args:
        module: the suite that defines it, imported again in each fresh interpreter.
        measure: drives one contender, checks its work, gives its figures. Runs in the fresh interpreter.
        parameters: counts and seconds, each may be changed on the command line.
        notes: one paragraph that a reader of the table needs.
        quick: the same, small: to see that it runs.
        limit: the entry that is as fast as the machine allows.
        reference: the entry that the others are compared with.
        compare_within_loop: limit and reference exist once per loop, as `NAME@LOOP`.
    """

    name: str
    title: str
    module: str
    entries: tuple[Entry, ...]
    metrics: tuple[Metric, ...]
    measure: Callable[[Any, Parameters], Awaitable[Measurement]]
    limit: str
    reference: str
    parameters: Parameters
    quick: Parameters
    bars: tuple[Bar, ...] = ()
    notes: str = ""
    compare_within_loop: bool = False

    def __post_init__(self) -> None:
        """Refuse names that nothing carries: a misspelt bar would pass for ever."""
        names = [entry.name for entry in self.entries]
        wanted = {self.counterpart(name, entry.loop) for name in (self.limit, self.reference) for entry in self.entries}
        wanted |= {bar.entry for bar in self.bars} | {bar.against for bar in self.bars if bar.against}
        keys = {metric.key for metric in self.metrics}
        unknown = (wanted - set(names)) | ({bar.metric for bar in self.bars} - keys)
        if unknown or len(set(names)) != len(names):
            raise ValueError(f"benchmark {self.name}: unknown names {sorted(unknown)} or two entries of one name in {names}")

    def entry(self, name: str) -> Entry:
        """The entry of that name."""
        return next(entry for entry in self.entries if entry.name == name)

    def counterpart(self, name: str, loop: Loop) -> str:
        """The entry that stands for *name* (limit or reference) among the entries of *loop*."""
        return f"{name}@{loop}" if self.compare_within_loop else name


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one fresh interpreter gave: figures, or why there are none.

    Args:
        absent: the contender cannot run here (not written yet, not installed); no fault.
        failed: it ran and its work was wrong, or it broke.
    """

    figures: Measurement | None = None
    absent: str = ""
    failed: str = ""
