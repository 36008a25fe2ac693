"""Runs what was loaded on a loop of its own, watched, with the program's signals; and says how it ended."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

from asyncproc._core.exit import Exit
from asyncproc._core.options import GROUPS
from asyncproc._core.results import Results
from asyncproc._manager import Manager
from asyncproc._observe.facts import Outcome
from asyncproc._observe.logs import configured
from asyncproc._observe.render import named, span
from asyncproc._observe.watch import Watch
from asyncproc._program import Ends, loop_factory
from asyncproc._root import shown_by
from asyncproc._runtime.warden import more_open_files
from asyncproc.cli.code import End, code_of
from asyncproc.cli.complaint import faults_of
from asyncproc.cli.load import user_traceback
from asyncproc.errors import SpecError

LARGEST_VALUE = 1 << 16
"""Characters of a result as JSON; a larger one stands in no record."""

Body = Callable[[Ends], Coroutine[Any, Any, Any]]


class WatchedEnds(Ends):
    """Signals as for ``asyncproc.run``, and told to whoever watches."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch
        self._told = 0

    def take(self, number: signal.Signals) -> None:
        self._told += 1
        if self._told <= 2:
            self._watch.signalled(number.name, self._told)
        super().take(number)


def execute(body: Body, watch: Watch, *, decides: Callable[[], Exit | None], checks: bool, log: str) -> Outcome:
    """Run *body* to its end.

    Args:
        body: what to do with the signals at hand.
        watch: sees every tree that is opened meanwhile.
        decides: gives, after the end, the exit of the one child that the outcome is of, if there is one.
        checks: whether a failure of any node counts, or only what *body* raises: a program handles its nodes itself.
        log: style of log records.

    Raises:
        Complaint: a spec is wrong; nothing has started.
    """
    begun = time.monotonic()
    try:
        with configured(log), more_open_files(), asyncio.Runner(loop_factory=loop_factory()) as runner:
            ends, result, raised = runner.run(_watched(body, watch))
    except KeyboardInterrupt:  # before our handlers stood, or after they had gone
        end, result = End(signal=signal.SIGINT), None
    else:
        if isinstance(raised, SpecError) and not watch.failures and ends.signal is None:
            raise faults_of(raised)
        end = _end(ends, raised, watch, decides(), checks)
    if end.raised is not None and end.signal is None:
        _print_raised(end.raised)
    return _outcome(end, watch, result, time.monotonic() - begun)


async def _watched(body: Body, watch: Watch) -> tuple[WatchedEnds, Any, BaseException | None]:
    shown_by.set(watch)
    ends = WatchedEnds(watch)
    with ends.listening():
        try:
            return ends, await body(ends), None
        except (Exception, asyncio.CancelledError, SystemExit, KeyboardInterrupt, BaseExceptionGroup) as error:
            return ends, None, error


def _end(ends: Ends, raised: BaseException | None, watch: Watch, single: Exit | None, checks: bool) -> End:
    # What run() raises for failed nodes has been explained, node by node, when they failed.
    explained = checks and bool(watch.failures) and isinstance(raised, Exception | BaseExceptionGroup)
    return End(
        ends.signal,
        ends.killed or watch.killed,
        watch.failures if checks else {},
        None if explained else raised,
        single,
    )


def _print_raised(error: BaseException) -> None:
    if isinstance(error, SystemExit):
        if error.code is not None and not isinstance(error.code, int):
            print(error.code, file=sys.stderr)
    else:
        print(user_traceback(error), file=sys.stderr, end="")


# --- the outcome --------------------------------------------------------------------------------------------------------


def _outcome(end: End, watch: Watch, result: Any, duration: float) -> Outcome:
    code = code_of(end)
    leaves = {path: exit for path, exit in end.failures.items() if path in watch.exits} or end.failures
    text = f"{_what_happened(end, code, list(leaves), len(watch.exits))}, {span(duration)}"
    failed = {path: exit.explain() for path, exit in leaves.items()}
    return Outcome(code, text, duration, end.signal is not None, len(watch.exits), failed, watch.skipped, _values(result))


def _what_happened(end: End, code: int, failed: list[str], count: int) -> str:
    if end.signal is not None:
        killed = ", something had to be killed" if end.killed else ""
        return f"stopped by {end.signal.name}{killed}"
    if failed:
        return f"{len(failed)} of {count} failed: {named(failed)}" if count > 1 else f"failed: {failed[0]}"
    if end.raised is not None and code:
        return "failed"
    return f"all {count} ended well" if count > 1 else "ended well"


def _values(result: Any) -> dict[str, object]:
    found = dict(result) if isinstance(result, Results) else {"": result}
    return {path: value for path, value in found.items() if _is_plain(value)}


def _is_plain(value: object) -> bool:
    if isinstance(value, Results) or value is None:
        return False
    try:
        return len(json.dumps(value, allow_nan=False)) <= LARGEST_VALUE
    except (TypeError, ValueError, RecursionError):
        return False


def deciding_exit(manager: Manager[Any], watch: Watch) -> Exit | None:
    """How the one child ended that the outcome is of: the whole tree, or the essential member by which a Supervisor ended."""
    root, tree = manager._root, manager._tree
    if tree is None or root is None or root.tree is None:
        return None
    if tree._asyncproc.kind not in GROUPS:
        return next(iter(watch.exits.values()), None)
    culprit = root.tree.member(root.tree.view.culprit)
    if culprit is None or not culprit.view.plan.essential or culprit.spec._asyncproc.kind in GROUPS:
        return None
    return culprit.view.exit
