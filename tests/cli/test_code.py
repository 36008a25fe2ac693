"""The exit code, from how everything ended."""

from __future__ import annotations

from signal import SIGHUP, SIGINT, SIGKILL, SIGTERM

import pytest

from asyncproc._core.exit import Exit, Reason
from asyncproc.cli.code import End, code_of


def exited(reason: Reason = Reason.CRASHED, **facts: object) -> Exit:
    return Exit("app/a", 1, reason, **facts)  # type: ignore[arg-type]  # by name


FAILURES = {"app/a": exited(code=3)}


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (End(), 0),
        (End(failures=FAILURES), 1),
        (End(failures=FAILURES, signal=SIGINT), 130),
        (End(signal=SIGINT, killed=True), 130),
        (End(signal=SIGTERM), 0),
        (End(signal=SIGHUP), 0),
        (End(signal=SIGTERM, killed=True), 1),
        (End(signal=SIGHUP, killed=True), 1),
        (End(raised=RuntimeError()), 1),
        (End(raised=SystemExit()), 0),
        (End(raised=SystemExit(4)), 4),
        (End(raised=SystemExit("words")), 1),
        (End(single=exited(code=3), failures=FAILURES), 3),
        (End(single=exited(signal=SIGKILL), failures=FAILURES), 137),
        (End(single=exited(error=OSError()), failures=FAILURES), 1),
        (End(single=exited(error=SystemExit(8)), failures=FAILURES), 8),
        (End(single=exited(Reason.FINISHED, code=0)), 0),
        (End(single=exited(Reason.FINISHED, code=2)), 2),
        (End(single=exited(Reason.TIMED_OUT, code=0), failures=FAILURES), 1),
        (End(single=exited(Reason.STOPPED, code=0), signal=SIGINT), 130),
    ],
)
def test_code(end: End, code: int) -> None:
    """Who asked for the end decides first, then the one child, then whether all ended well."""
    assert code_of(end) == code
