"""Levels of load: thresholds, what does not flap, history and peaks."""

from __future__ import annotations

from typing import Any

import pytest

from asyncproc._core.load import (
    KEPT,
    LoadChange,
    LoadLevel,
    LoadRecord,
    LoadSample,
    level_after,
    threshold_fault,
    thresholds_of,
)

NORMAL, WARNING, CRITICAL = LoadLevel
PAIR = (0.7, 0.9)


@pytest.mark.parametrize(
    ("before", "share", "after"),
    [
        (NORMAL, 0.0, NORMAL),
        (NORMAL, 0.69, NORMAL),
        (NORMAL, 0.7, WARNING),
        (NORMAL, 0.95, CRITICAL),
        (WARNING, 0.9, CRITICAL),
        (WARNING, 0.66, WARNING),
        (WARNING, 0.64, NORMAL),
        (CRITICAL, 0.86, CRITICAL),
        (CRITICAL, 0.84, WARNING),
        (CRITICAL, 0.66, WARNING),
        (CRITICAL, 0.1, NORMAL),
        (CRITICAL, None, NORMAL),
    ],
)
def test_up_at_once_and_down_when_clearly_below(before: LoadLevel, share: float | None, after: LoadLevel) -> None:
    """A share that plays around a threshold changes nothing."""
    assert level_after(before, share, PAIR) is after


def test_changes_name_resource_and_levels() -> None:
    """In order; the level of all is the highest."""
    record = LoadRecord(thresholds_of(["cpu", "memory", "disk"], {"memory": (0.5, 0.6)}))
    assert record.level is NORMAL
    sample = LoadSample(1.0, {"cpu": 0.75, "memory": 0.65, "disk": 0.79})
    assert record.take(sample) == [LoadChange("cpu", NORMAL, WARNING, sample), LoadChange("memory", NORMAL, CRITICAL, sample)]
    assert (record.level, record.levels) == (CRITICAL, {"cpu": WARNING, "memory": CRITICAL, "disk": NORMAL})
    assert record.take(sample) == []
    later = LoadSample(2.0, {"cpu": None, "memory": 0.1, "disk": 0.96})
    changes = record.take(later)
    assert [(change.what, change.after, change.share) for change in changes] == [
        ("cpu", NORMAL, None), ("memory", NORMAL, 0.1), ("disk", CRITICAL, 0.96),
    ]  # fmt: skip
    assert (later.cpu, later.memory, later.disk) == (None, 0.1, 0.96)
    assert record.peaks == {"cpu": 0.75, "memory": 0.65, "disk": 0.96}


def test_history_is_bounded() -> None:
    """The last hundred, oldest first."""
    record = LoadRecord({"cpu": PAIR})
    for at in range(KEPT + 5):
        record.take(LoadSample(float(at), {"cpu": 0.1}))
    assert [sample.at for sample in record.history] == [float(at) for at in range(5, KEPT + 5)]


def test_nothing_measured_is_normal() -> None:
    """There is nobody to be above."""
    assert LoadRecord({}).level is NORMAL


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({}, None),
        ({"cpu": (0.5, 0.5)}, None),
        ({"cpu": (1, 2)}, None),
        ({"gpu": (0.5, 0.6)}, "must be a mapping of cpu, disk"),
        ([], "must be a mapping of cpu, disk"),
        ({"cpu": (0.9, 0.7)}, "must have pairs"),
        ({"cpu": (0, 0.7)}, "must have pairs"),
        ({"cpu": (0.5, True)}, "must have pairs"),
        ({"cpu": 0.5}, "must have pairs"),
        ({"cpu": (0.5,)}, "must have pairs"),
    ],
)
def test_thresholds_are_pairs_in_order(given: Any, fault: str | None) -> None:
    """Above one is allowed: it is never reached."""
    found = threshold_fault(given, ["cpu", "disk"])
    assert found is fault is None or (found or "").startswith(str(fault))
