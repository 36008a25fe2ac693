"""What beats say: busy, blocked, silent; and what is told of it."""

from __future__ import annotations

import pickle

import pytest

from asyncproc._core.stats import Stats
from asyncproc._core.supervision.heartbeat import Finding, Heart, period_of

LIMIT = 4.0


def looked(heart: Heart, *looks: tuple[float, float]) -> Finding | None:
    """Looks one second apart, at stamps of loop and thread; what the last one has shown."""
    found = None
    for loop, thread in looks:
        found = heart.look(loop, thread, 1.0)
    return found


def test_child_that_beats_is_well() -> None:
    """However long it lives."""
    heart = Heart(LIMIT)
    assert looked(heart, *((float(n), float(n)) for n in range(1, 100))) is None
    assert heart.misses == 0


def test_loop_that_stands_while_the_thread_beats_is_blocked() -> None:
    """When the limit is over, and not before."""
    heart = Heart(LIMIT)
    assert looked(heart, *((1.0, float(n)) for n in range(5))) is None
    assert looked(heart, (1.0, 5.0)) is Finding.BLOCKED
    assert heart.why(Finding.BLOCKED, "") == "blocked: its loop has not run for 5.0 s"
    assert heart.misses == 3


def test_child_without_a_loop_is_judged_by_its_thread() -> None:
    """0.0 is no stamp of a loop."""
    heart = Heart(LIMIT)
    assert looked(heart, *((0.0, float(n)) for n in range(20))) is None
    assert looked(heart, *((0.0, 19.0) for _ in range(5))) is Finding.SILENT
    assert heart.why(Finding.SILENT, "S") == "hung: no beat of its thread for 5.0 s"


def test_neither_beats() -> None:
    """It is silent, and the letter says how."""
    heart = Heart(LIMIT)
    assert looked(heart, *((1.0, 1.0) for _ in range(6))) is Finding.SILENT
    assert heart.why(Finding.SILENT, "S") == "hung: no beat of its loop or thread for 5.0 s"
    assert heart.why(Finding.SILENT, "T") == heart.why(Finding.SILENT, "t") == "is stopped: no beat for 5.0 s"
    assert heart.why(Finding.SILENT, "Z") is None


def test_thread_that_is_late_as_well_is_waited_for() -> None:
    """Blocked or silent: it shows soon."""
    heart = Heart(LIMIT)
    assert looked(heart, (1.0, 1.0), (1.0, 1.0), (1.0, 3.0), *((1.0, 3.0) for _ in range(4))) is None
    assert looked(heart, (1.0, 3.0)) is Finding.SILENT


def test_child_that_waits_for_a_processor_gets_more_time() -> None:
    """Three times its limit, then its end all the same."""
    heart = Heart(LIMIT)
    assert looked(heart, *((1.0, 1.0) for _ in range(13))) is Finding.SILENT
    assert heart.why(Finding.SILENT, "R") is None
    assert looked(heart, (1.0, 1.0)) is Finding.SILENT
    assert heart.why(Finding.SILENT, "R") == "hung: no beat of its loop or thread for 13.0 s"


def test_rest_forgives_what_was_missed() -> None:
    """Counting begins anew."""
    heart = Heart(LIMIT)
    looked(heart, *((1.0, 1.0) for _ in range(5)))
    heart.rest()
    assert looked(heart, *((1.0, 1.0) for _ in range(4))) is None
    assert looked(heart, (1.0, 1.0)) is Finding.SILENT


@pytest.mark.parametrize(("limits", "period"), [([5.0], 1.25), ([5.0, 0.4, 60.0], 0.1), ([60.0], 5.0)])
def test_the_shortest_limit_says_how_often_to_look(limits: list[float], period: float) -> None:
    """Four times within it, and at least every five seconds."""
    assert period_of(limits) == pytest.approx(period)


def test_reading_of_a_node_is_a_value() -> None:
    """Of one that does not run nothing is known but how often it did."""
    stats = Stats(restarts=2)
    assert (stats.cpu, stats.memory, stats.threads, stats.uptime, stats.current_loop) == (None, None, None, 0.0, None)
    assert pickle.loads(pickle.dumps(stats)) == stats
