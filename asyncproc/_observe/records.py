"""A watched tree for other programs: one JSON object for each event and each line of output, and one for the outcome."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from asyncproc._core.exit import Exit
from asyncproc._core.snapshot import exit_record
from asyncproc._observe.facts import Dropped, Fact, Moved, Outcome, Signalled
from asyncproc._observe.lines import Line, LineBook
from asyncproc._observe.outlet import Outlet

Record = dict[str, Any]


class RecordFace:
    """Records go to *out*, one a line. Every record has ``type`` and ``time`` (seconds of the epoch)."""

    def __init__(self, out: Outlet, clock: Callable[[], float] = time.time) -> None:
        self._out = out
        self._clock = clock
        self._book = LineBook()

    def __call__(self, facts: Sequence[Fact], closing: bool) -> None:
        texts: list[str] = []
        for fact in facts:
            lines = self._book.finish() if isinstance(fact, Outcome) else self._book.lines(fact)
            records = [*(line_record(line) for line in lines if not isinstance(fact, Dropped)), *records_of(fact)]
            at = getattr(fact, "at", 0.0) or self._clock()
            texts += [_text(record, at) for record in records]
        if closing:
            texts += [_text(line_record(line), self._clock()) for line in self._book.finish()]
        if texts:
            self._out.write("".join(texts))


def _text(record: Record, at: float) -> str:
    return json.dumps({**record, "time": at}, default=str) + "\n"


def line_record(line: Line) -> Record:
    """A line of output, as the child wrote it; of the program itself when the path is empty."""
    return {"type": "output", "path": line.path, "stream": line.stream, "text": line.text, "partial": line.partial}


def records_of(fact: Fact) -> Iterator[Record]:
    """What a fact is for a program; pictures are for people."""
    match fact:
        case Moved():
            yield _moved(fact)
        case Signalled(name, count, waiting):
            yield {"type": "signal", "signal": name, "action": "stop" if count == 1 else "kill", "waiting": list(waiting)}
        case Dropped(path, count):
            yield {"type": "dropped", "path": path, "count": count, "what": "bytes" if path else "events"}
        case Outcome():
            yield {
                "type": "result",
                "code": fact.code,
                "ok": fact.code == 0,
                "text": fact.text,
                "duration": fact.duration,
                "ended": fact.ended,
                "failed": fact.failed,
                "skipped": fact.skipped,
                "values": fact.values,
            }


def _moved(moved: Moved) -> Record:
    transition = moved.transition
    record: Record = {
        "type": "state",
        "path": transition.path,
        "kind": moved.kind,
        "state": transition.after.value,
        "before": transition.before.value,
        "incarnation": transition.incarnation,
        "round": moved.round,
        "pid": moved.pid,
    }
    if transition.exit is not None:
        record["exit"] = _exit(transition.exit)
        record["pid"] = transition.exit.pid
    return record


def _exit(exit: Exit) -> Record:
    return {**exit_record(exit), "ok": exit.ok, "cpu": exit.cpu, "peak_memory": exit.peak_memory}
