"""Percentiles, medians with their spread, and ratios taken within one run. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

Series = Sequence[float | None]  # one figure per run; None where the run gave none


@dataclass(frozen=True, slots=True)
class Summary:
    """A median with the least and the greatest value of the runs."""

    median: float
    low: float
    high: float
    count: int


def percentile(samples: Sequence[float], share: float) -> float:
    """The value below which *share* (0 to 1) of the samples lie, interpolated between neighbours.

    With fewer than 100 samples the 99th percentile is nearly the greatest sample; the tables show the number of samples.
    """
    if not samples:
        raise ValueError("percentile of no samples")
    ordered = sorted(samples)
    position = (len(ordered) - 1) * share
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def summarise(values: Series) -> Summary | None:
    """Median, least and greatest of what is there; None when nothing is."""
    present = [value for value in values if value is not None]
    if not present:
        return None
    return Summary(percentile(present, 0.5), min(present), max(present), len(present))


def ratios(values: Series, reference: Series) -> list[float | None]:
    """Each run's value divided by the reference's value of the same run; None where either is missing or the reference is 0."""
    return [
        None if value is None or base is None or base == 0 else value / base
        for value, base in zip(values, reference, strict=True)
    ]


def differences(values: Series, reference: Series) -> list[float | None]:
    """Each run's value less the reference's value of the same run."""
    return [None if value is None or base is None else value - base for value, base in zip(values, reference, strict=True)]
