"""A pytest plugin: a test without a mark that says why must not take over ten seconds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

LIMIT = 10.0


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    marked = any(item.get_closest_marker(name) for name in ("slow", "alone", "full"))
    if call.when == "call" and call.duration > LIMIT and not marked and report.passed:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} took {call.duration:.1f} s: over {LIMIT:.0f} s without a mark"
    return report
