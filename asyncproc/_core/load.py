"""How loaded is too loaded: levels of what was measured, which do not flap, and what was measured lately.

A share goes up to a level as soon as it reaches the threshold, and comes down when it is clearly below it: by :data:`MARGIN`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from asyncproc._core.value import Value

KEPT = 100
"""Samples of the history."""
MARGIN = 0.05
"""So far below a threshold a share must have fallen to be below it."""
STANDARD = (0.7, 0.9)
"""Thresholds of a warning and of what is critical."""
OF_DISK = (0.8, 0.95)
"""The same for a disk, which fills slowly and does not recover by itself."""


class LoadLevel(IntEnum):
    """How loaded something is; a higher level is greater."""

    NORMAL = 0
    WARNING = 1
    CRITICAL = 2


class LoadSample(Value):
    """What was measured at one time.

    Attributes:
        at: seconds since the epoch.
        shares: of each resource how much is taken, from 0 to 1, of what this process may have; None where that cannot be told.
    """

    at: float
    shares: Mapping[str, float | None]

    @property
    def cpu(self) -> float | None:
        """Share of processor time since the sample before."""
        return self.shares.get("cpu")

    @property
    def memory(self) -> float | None:
        """Share of memory that cannot be had without taking it from somebody."""
        return self.shares.get("memory")

    @property
    def disk(self) -> float | None:
        """Share of the file system."""
        return self.shares.get("disk")


class LoadChange(Value):
    """A resource has come to another level.

    Attributes:
        what: which one, e.g. ``"cpu"``. before, after: its levels. sample: what was measured.
    """

    what: str
    before: LoadLevel
    after: LoadLevel
    sample: LoadSample

    @property
    def share(self) -> float | None:
        """How much of it is taken."""
        return self.sample.shares[self.what]


class LoadRecord:
    """Levels and history.

    Attributes:
        levels: of each resource. history: the last samples, oldest first. peaks: the greatest share of each that was ever told.
    """

    def __init__(self, thresholds: Mapping[str, tuple[float, float]]) -> None:
        self._thresholds = thresholds
        self.levels = dict.fromkeys(thresholds, LoadLevel.NORMAL)
        self.history: deque[LoadSample] = deque(maxlen=KEPT)
        self.peaks: dict[str, float] = {}

    @property
    def level(self) -> LoadLevel:
        """The highest of all."""
        return max(self.levels.values(), default=LoadLevel.NORMAL)

    def take(self, sample: LoadSample) -> list[LoadChange]:
        """Take in a sample; which levels it changes."""
        self.history.append(sample)
        changes = []
        for what, before in self.levels.items():
            share = sample.shares[what]
            after = level_after(before, share, self._thresholds[what])
            if share is not None:
                self.peaks[what] = max(share, self.peaks.get(what, 0.0))
            if after is not before:
                self.levels[what] = after
                changes.append(LoadChange(what, before, after, sample))
        return changes


def level_after(before: LoadLevel, share: float | None, thresholds: tuple[float, float]) -> LoadLevel:
    """The level that follows from a share; what cannot be told is normal: nobody can wait for it to fall."""
    if share is None:
        return LoadLevel.NORMAL
    return max(_reached(share, thresholds), min(before, _reached(share + MARGIN, thresholds)))


def _reached(share: float, thresholds: tuple[float, float]) -> LoadLevel:
    warning, critical = thresholds
    return LoadLevel.CRITICAL if share >= critical else LoadLevel.WARNING if share >= warning else LoadLevel.NORMAL


def thresholds_of(resources: list[str], given: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """Those of each resource, given or ours."""
    return {what: given.get(what) or (OF_DISK if what == "disk" else STANDARD) for what in resources}


def threshold_fault(given: Any, resources: list[str]) -> str | None:
    """The rule that thresholds break, or None."""
    if not isinstance(given, Mapping) or not all(what in resources for what in given):
        return f"must be a mapping of {', '.join(resources)}"
    if not all(_is_pair(pair) for pair in given.values()):
        return "must have pairs of a warning and a critical share as values, 0 < warning <= critical"
    return None


def _is_pair(pair: Any) -> bool:
    good = isinstance(pair, tuple) and len(pair) == 2
    return (
        good
        and all(isinstance(share, int | float) and not isinstance(share, bool) for share in pair)
        and 0 < pair[0] <= pair[1]
    )
