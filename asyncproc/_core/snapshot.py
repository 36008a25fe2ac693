"""A tree at one moment, as data, as text and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asyncproc._core.exit import Exit, Phase
from asyncproc._core.supervision.state import State
from asyncproc._core.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator


class NodeSnapshot(Value):
    """One node and all below it.

    Attributes:
        kind: what it is made of: ``process``, ``command``, ``sequential``, …
        since: seconds that its last incarnation has lived, or lived; 0.0 before the first.
        exit: how it last ended; None before.
        phase: where its code stands, if it says so.
        missed: the resources that it waits for, by name.
        restart_in: seconds until it will be started again; None when it does not wait for that.
    """

    path: str
    name: str
    kind: str
    state: State
    pid: int | None = None
    incarnation: int = 0
    round: int = 0
    since: float = 0.0
    exit: Exit | None = None
    children: tuple[NodeSnapshot, ...] = ()
    phase: Phase | None = None
    missed: tuple[str, ...] = ()
    restart_in: float | None = None

    def __iter__(self) -> Iterator[NodeSnapshot]:
        """It and all below it, parents first."""
        yield self
        for child in self.children:
            yield from child


class Snapshot(Value):
    """The whole tree.

    Attributes:
        root: its top.
        time: when, seconds of the manager's clock.
    """

    root: NodeSnapshot
    time: float

    def __iter__(self) -> Iterator[NodeSnapshot]:
        """All nodes, parents first."""
        return iter(self.root)

    def text(self) -> str:
        """The tree drawn with lines: name, state, pid, uptime, and for what has failed, why."""
        rows = list(_rows(self.root, "", ""))
        width = max(len(label) for label, _ in rows)
        return "\n".join(f"{label:{width}}  {_facts(node)}".rstrip() for label, node in rows)

    def json(self) -> str:
        """The tree for other programs: ``{"time": …, "root": {"path": …, "children": […]}}``."""
        import json  # a millisecond that only this needs

        return json.dumps({"time": self.time, "root": _plain(self.root)}, ensure_ascii=False)


def _rows(node: NodeSnapshot, branch: str, indent: str) -> Iterator[tuple[str, NodeSnapshot]]:
    yield branch + node.name, node
    last = len(node.children) - 1
    for number, child in enumerate(node.children):
        line, below = ("└─ ", "   ") if number == last else ("├─ ", "│  ")
        yield from _rows(child, indent + line, indent + below)


def _facts(node: NodeSnapshot) -> str:
    parts = [f"{node.state.value:8}"]
    if node.phase is not None:
        parts.append(node.phase.value)
    if node.pid is not None:
        parts.append(f"pid {node.pid}")
    if node.missed:
        parts.append(f"for {', '.join(node.missed)}")
    if node.restart_in is not None:
        parts.append(f"again in {_span(node.restart_in)}")
    if node.since:
        parts.append(_span(node.since))
    if node.state is State.ENDED and node.exit is not None:
        parts.append(node.exit.explain() if node.exit.failed else node.exit.reason.value)
    return "  ".join(parts)


def _span(seconds: float) -> str:
    """As people say it: two units at most."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 24 else f"{hours // 24} d {hours % 24} h"


def _plain(node: NodeSnapshot) -> dict[str, Any]:
    return {
        "path": node.path,
        "name": node.name,
        "kind": node.kind,
        "state": node.state.value,
        "phase": None if node.phase is None else node.phase.value,
        "pid": node.pid,
        "incarnation": node.incarnation,
        "round": node.round,
        "since": node.since,
        "missed": list(node.missed),
        "restart_in": node.restart_in,
        "exit": None if node.exit is None else exit_record(node.exit),
        "children": [_plain(child) for child in node.children],
    }


def exit_record(exit: Exit) -> dict[str, Any]:
    """An exit as plain data, for other programs."""
    return {
        "reason": exit.reason.value,
        "code": exit.code,
        "signal": None if exit.signal is None else exit.signal.name,
        "killed": exit.killed,
        "duration": exit.duration,
        "asked_by": exit.asked_by,
        "explain": exit.explain(),
    }
