"""Schedules as values, and cron text as times, also where the clocks change."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from asyncproc import Command, Concurrent, Process, Schedule, Sequential, SpecError
from asyncproc._spec import cron
from asyncproc._spec.cron import Cron
from tests.manager.targets import nothing


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A zone whose clocks change: in 2026 forward on 29 March at 2:00, back on 25 October at 3:00."""
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def wall(text: str, *, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(fold=fold).timestamp()


def shown(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds)
    return f"{moment:%m-%d %H:%M}{'*' if moment.fold else ''}"


def following(text: str, begin: float, count: int) -> list[str]:
    found = []
    for _ in range(count):
        begin = Cron(text).after(begin)
        found.append(shown(begin))
    return found


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("*/20 * * * *", ["11-21 12:20", "11-21 12:40", "11-21 13:00"]),
        ("30 4 * * 1-5", ["11-23 04:30", "11-24 04:30", "11-25 04:30"]),
        ("0 0 13 * fri", ["11-27 00:00", "12-04 00:00", "12-11 00:00"]),
        ("@hourly", ["11-21 13:00", "11-21 14:00", "11-21 15:00"]),
        (" @Monthly ", ["12-01 00:00", "01-01 00:00", "02-01 00:00"]),
        ("30 0 12 * * *", ["11-22 12:00", "11-23 12:00", "11-24 12:00"]),
    ],
)
def test_times_that_a_text_means(berlin: None, text: str, times: list[str]) -> None:
    """From a Saturday noon on; with six fields the first one is seconds."""
    assert following(text, wall("2026-11-21 12:00:30"), 3) == times


@pytest.mark.parametrize(
    ("text", "begin", "times"),
    [
        ("30 2 * * *", "2026-03-28 12:00", ["03-29 03:00", "03-30 02:30"]),  # 2:30 does not come
        ("30 2 * * *", "2026-10-24 12:00", ["10-25 02:30", "10-26 02:30"]),  # 2:30 comes twice
        ("30 * * * *", "2026-03-29 01:00", ["03-29 01:30", "03-29 03:30"]),
        ("30 * * * *", "2026-10-25 01:45", ["10-25 02:30", "10-25 02:30*", "10-25 03:30"]),
        ("0 12 * * *", "2026-10-24 13:00", ["10-25 12:00", "10-26 12:00"]),
    ],
)
def test_days_on_which_the_clocks_change(berlin: None, text: str, begin: str, times: list[str]) -> None:
    """A given time runs once on each day; one with a star goes by the clock as it shows."""
    assert following(text, wall(begin), len(times)) == times


def test_in_the_hour_that_comes_again_nothing_is_due_again(berlin: None) -> None:
    """Whoever asks in the second of the two hours is not told of a time in the first."""
    begin = wall("2026-10-25 02:10", fold=1)
    assert following("30 2 * * *", begin, 1) == ["10-26 02:30"]


@pytest.mark.parametrize(
    ("now", "last"), [("12:05:00", "12:05"), ("12:04:59", "12:00"), ("12:05:00.5", "12:05"), ("12:09:59.9", "12:05")]
)
def test_the_last_time_that_was_meant(berlin: None, now: str, last: str) -> None:
    """Up to the very moment."""
    assert shown(Cron("*/5 * * * *").latest(wall(f"2026-11-21 {now}"))) == f"11-21 {last}"


@pytest.mark.parametrize(
    "text", ["61 * * * *", "* * * *", "", "soon", "0 0 30 2 *", "0 0 */30 * 1#3", "*/0 * * * *", "@reboot"]
)
def test_a_text_that_means_no_time_is_refused(text: str) -> None:
    """With path, field and value; as an option and as a value."""
    with pytest.raises(SpecError) as caught:
        Process(nothing, name="nightly", schedule=text)
    (fault,) = caught.value.faults
    assert fault[:3] == ("nightly", "schedule", text)
    with pytest.raises(SpecError, match="cron"):
        Schedule(cron=text)


def test_a_schedule_is_checked_when_it_is_made() -> None:
    """All faults at once."""
    wrong: dict[str, Any] = {"overlap": "both", "misfire": "twice", "jitter": -1}
    with pytest.raises(SpecError) as caught:
        Schedule(5.0, "* * * * *", **wrong)
    assert [fault.field for fault in caught.value.faults] == ["every", "overlap", "misfire", "jitter"]
    for every in (0, -1.0, True, float("inf"), "5"):
        with pytest.raises(SpecError, match="every must be > 0 seconds"):
            Schedule(every)  # type: ignore[arg-type]  # the point
    with pytest.raises(SpecError, match="must be text"):
        Schedule(cron=5)  # type: ignore[arg-type]  # the point
    with pytest.raises(SpecError, match="every must be given"):
        Schedule()


def test_what_cannot_be_scheduled_is_refused() -> None:
    """Members of a Sequential, and what would never wait for its next time."""
    with pytest.raises(SpecError, match="members of a Sequential"):
        Sequential(Process(nothing, schedule=1.0))
    with pytest.raises(SpecError, match="never wait for its next time"):
        Command("true", schedule=1.0, restart="permanent")
    Concurrent(Process(nothing, schedule=1.0), Sequential(nothing, schedule="@daily"), schedule=None)


def test_without_the_extra_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cron text alone needs it."""
    monkeypatch.setitem(sys.modules, "cronsim", None)
    with pytest.raises(SpecError, match=r"pip install asyncproc\[schedule\]"):
        Process(nothing, schedule="@daily")
    with pytest.raises(SpecError, match=r"pip install asyncproc\[schedule\]"):
        Schedule(cron="@daily")
    Process(nothing, schedule=5.0)


def test_the_zone_is_the_machine_s(berlin: None) -> None:
    """With both offsets of the year, as the system knows them."""
    for text, hours in (("2026-01-01", 1), ("2026-07-01", 2)):
        offset = datetime.fromisoformat(text).replace(tzinfo=cron.LOCAL).utcoffset()
        assert offset is not None
        assert offset.total_seconds() == hours * 3600
    assert cron.LOCAL.dst(None) is None
    assert cron.LOCAL.tzname(None) == "local"
