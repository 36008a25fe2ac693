"""``asyncproc run FILE.py[:name]``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from asyncproc._core.exit import Exit
from asyncproc._core.options import CONCURRENT
from asyncproc._manager import Manager
from asyncproc._observe.facts import Outcome
from asyncproc._observe.live import INTERVAL, TICK, LiveFace
from asyncproc._observe.outlet import Outlet
from asyncproc._observe.plain import PlainFace
from asyncproc._observe.records import RecordFace
from asyncproc._observe.watch import Watch
from asyncproc._observe.writer import Writer
from asyncproc._spec.group import as_spec
from asyncproc.cli.code import WRONG_USE
from asyncproc.cli.complaint import Complaint, faults_of
from asyncproc.cli.host import outlets, printing
from asyncproc.cli.load import Loaded, is_program, loaded
from asyncproc.cli.program import Body, deciding_exit, execute
from asyncproc.errors import SpecError

LAST_WORDS = 1.0
"""Seconds that a stuck terminal or reader may hold up the end after a signal; without one we wait, as every program does."""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What was asked for.

    Attributes:
        rounds: None until stopped. of_tree: whether *rounds* or *binding* were given, which only a tree has.
        arguments: the program's own.
    """

    program: str
    rounds: int | None
    binding: bool
    limit: int | None
    json: bool
    of_tree: bool
    arguments: tuple[str, ...] = ()

    def with_arguments(self, words: list[str]) -> RunRequest:
        return replace(self, arguments=tuple(words))


def run(request: RunRequest) -> int:
    """Do it; returns the exit code.

    Raises:
        Complaint: it cannot be done; nothing has started.
    """
    with outlets(records=request.json) as (out, err), _showing(request.json, out, err) as (writer, draws):
        watch = Watch(writer, pictures=draws)
        with printing(writer.output), loaded(request.program, list(request.arguments)) as found:
            body, manager = _body(found, request)
            log = "json" if request.json else "auto"
            outcome = execute(body, watch, decides=_decides(manager, watch), checks=manager is not None, log=log)
        writer.fact(outcome)
        writer.close(LAST_WORDS if outcome.signalled else None)
        return outcome.code


@contextmanager
def _showing(records: bool, out: Outlet, err: Outlet) -> Iterator[tuple[Writer, bool]]:
    """What shows the run, and whether it draws; on leaving, what waits is shown."""
    screen = err if err.is_terminal else out if out.is_terminal else None
    if records:
        writer = Writer(RecordFace(out))
    elif screen is not None:
        writer = Writer(LiveFace(screen, out, err), tick=TICK, pause=INTERVAL)
    else:
        writer = Writer(PlainFace(out, err))
    try:
        yield writer, screen is not None and not records
    except Complaint as complaint:
        if complaint.traceback:
            writer.output("", "stderr", complaint.traceback.encode("utf-8", "backslashreplace"))
        if records:
            writer.fact(Outcome(WRONG_USE, str(complaint)))
        raise
    finally:
        writer.close(LAST_WORDS)  # for the second time when all went its way


def _body(found: Loaded, request: RunRequest) -> tuple[Body, Manager[Any] | None]:
    if is_program(found):
        if request.of_tree or request.limit is not None:
            raise Complaint(f"{request.program}: is a coroutine function; --rounds, --no-binding and --limit are for a tree")
        program: Any = found
        return lambda ends: ends.follow(program()), None
    try:
        manager = _manager(found, request)
        manager.check_run(None, request.rounds, request.binding)
    except SpecError as error:
        raise faults_of(error) from None
    return lambda ends: ends.manage(manager, request.rounds, request.binding), manager


def _decides(manager: Manager[Any] | None, watch: Watch) -> Callable[[], Exit | None]:
    return (lambda: None) if manager is None else lambda: deciding_exit(manager, watch)


def _manager(found: Any, request: RunRequest) -> Manager[Any]:
    """A manager as it is, a spec in one of its own; with the limit that was asked for."""
    manager = found if isinstance(found, Manager) else Manager(as_spec(found, request.program))
    if request.limit is not None and manager._tree is not None:
        kind = manager._tree._asyncproc.kind
        if kind != CONCURRENT:
            raise Complaint(f"{request.program}: --limit needs a Concurrent root, not a {kind}")
        manager.set(manager._tree.with_options(limit=request.limit))
    return manager
