"""A tree as rows of text: what is shown of each node, and which rows when not all have room.

Pure: it reads no clock and no file. The picture comes from a snapshot; what a snapshot does not know (last lines, memory) is
handed in beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from asyncproc._core.exit import Exit, Reason
from asyncproc._core.snapshot import NodeSnapshot, Snapshot
from asyncproc._core.supervision.state import State

NAMED = 4
"""How many nodes are named before the rest is only counted."""
_GROUPS = frozenset({"sequential", "concurrent"})
_LIVE = frozenset({State.STARTING, State.RUNNING, State.PAUSED, State.STOPPING})


@dataclass(frozen=True, slots=True)
class Beside:
    """What is shown beside a snapshot.

    Attributes:
        age: seconds since the snapshot was taken. lines: the last line of output by path, safe to be shown.
        memory: bytes of resident memory by pid.
    """

    age: float = 0.0
    lines: Mapping[str, str] = field(default_factory=dict)
    memory: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """One node as text, cell by cell. rank: how much it matters when there is no room, 0 most; parent: its row, -1 without."""

    label: str
    state: str
    pid: str
    uptime: str
    round: str
    memory: str
    words: str
    failed: bool
    rank: int
    parent: int

    @property
    def cells(self) -> tuple[str, ...]:
        return self.label, self.state, self.pid, self.uptime, self.round, self.memory, self.words

    def moved(self, first: int) -> Row:
        """The same row when *first* others stand before its tree."""
        return replace(self, parent=self.parent + first) if self.parent >= 0 and first else self


HEAD = ("node", "state", "pid", "up", "round", "memory", "last line")


def rows_of(snapshot: Snapshot, beside: Beside) -> list[Row]:
    """Every node as a row, parents first. A root that only holds what was started is left out."""
    rows: list[Row] = []
    tops = [snapshot.root]
    if snapshot.root.state is State.CREATED and any(child.state is not State.CREATED for child in snapshot.root.children):
        tops = list(snapshot.root.children)
    for top in tops:
        _add_rows(rows, top, "", "", -1, beside)
    return rows


def _add_rows(rows: list[Row], node: NodeSnapshot, branch: str, indent: str, parent: int, beside: Beside) -> None:
    own = len(rows)
    rows.append(_row(node, branch + node.name, parent, beside))
    last = len(node.children) - 1
    for number, child in enumerate(node.children):
        line, below = ("└─ ", "   ") if number == last else ("├─ ", "│  ")
        _add_rows(rows, child, indent + line, indent + below, own, beside)


def _row(node: NodeSnapshot, label: str, parent: int, beside: Beside) -> Row:
    failed = node.state is State.ENDED and node.exit is not None and node.exit.failed
    return Row(
        label,
        state_text(node),
        "" if node.pid is None else str(node.pid),
        _uptime(node, beside.age),
        str(node.round) if node.round > 1 else "",
        "" if node.pid is None or node.pid not in beside.memory else size(beside.memory[node.pid]),
        _words(node, beside),
        failed,
        _rank(node, failed),
        parent,
    )


def state_text(node: NodeSnapshot) -> str:
    """The state; of an ended node how it ended."""
    if node.state is State.ENDED and node.exit is not None:
        return node.exit.reason.value.replace("_", " ")
    return node.state.value


def _uptime(node: NodeSnapshot, age: float) -> str:
    if node.state in _LIVE:
        return span(node.since + age)
    if node.state is State.ENDED and node.exit is not None and node.exit.incarnation:
        return span(node.exit.duration)
    return ""


def _words(node: NodeSnapshot, beside: Beside) -> str:
    if node.kind in _GROUPS:
        return _counts(node)
    exit = node.exit
    if node.state is State.ENDED and exit is not None and not exit.ok:
        return f"because of {exit.asked_by}" if exit.reason is Reason.SKIPPED else why(exit)
    return beside.lines.get(node.path, "")


def why(exit: Exit) -> str:
    """Why it ended, without what its row says already."""
    text = exit.explain().removeprefix(f"{exit.path} ")
    return text.partition(", ")[2] or text


def _counts(group: NodeSnapshot) -> str:
    leaves = [node for node in group if node.kind not in _GROUPS]
    ended = sum(node.state is State.ENDED for node in leaves)
    failed = sum(node.state is State.ENDED and node.exit is not None and node.exit.failed for node in leaves)
    text = f"{ended} of {len(leaves)} ended"
    return f"{text}, {failed} failed" if failed else text


def _rank(node: NodeSnapshot, failed: bool) -> int:
    if node.state is State.STOPPING:
        return 0
    if failed:
        return 1
    if node.state in _LIVE:
        return 2
    return 4 if node.state is State.ENDED else 3


def choose(rows: Sequence[Row], room: int) -> tuple[list[Row], int]:
    """The rows that are shown when there is room for so many, in order, and how many are not.

    What is stopping, has failed or runs comes before what waits, and that before what has ended well; a row brings its parents.
    """
    if len(rows) <= room:
        return list(rows), 0
    chosen: set[int] = set()
    for index in sorted(range(len(rows)), key=lambda index: (rows[index].rank, index)):
        wanted = set(_with_parents(rows, index)) - chosen
        if len(chosen) + len(wanted) <= room:
            chosen |= wanted
        if len(chosen) >= room:
            break
    return [rows[index] for index in sorted(chosen)], len(rows) - len(chosen)


def _with_parents(rows: Sequence[Row], index: int) -> Iterator[int]:
    while index >= 0:
        yield index
        index = rows[index].parent


def waiting_for(snapshot: Snapshot) -> tuple[str, ...]:
    """Paths of what still lives, groups left out: whom a stop waits for."""
    return tuple(node.path for node in snapshot if node.kind not in _GROUPS and node.state in _LIVE)


def named(paths: Sequence[str]) -> str:
    """Some nodes by name, the rest as a number."""
    shown = ", ".join(paths[:NAMED])
    return f"{shown} and {len(paths) - NAMED} more" if len(paths) > NAMED else shown


def text(snapshot: Snapshot, beside: Beside, width: int = 120, room: int = 1000) -> list[str]:
    """The picture as lines of plain text, cut to *width*."""
    rows, hidden = choose(rows_of(snapshot, beside), room)
    table = [HEAD, *(row.cells for row in rows)]
    used = [column for column in range(len(HEAD)) if any(cells[column] for cells in table[1:])]
    widths = {column: max(len(cells[column]) for cells in table) for column in used}
    lines = ["  ".join(f"{cells[column]:{widths[column]}}" for column in used).rstrip()[:width] for cells in table]
    return [*lines, hidden_text(hidden)] if hidden else lines


def hidden_text(hidden: int) -> str:
    """What stands in for rows without room."""
    return f"… {hidden} more"


def span(seconds: float) -> str:
    """Seconds as people say them, short."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02} h" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def size(count: int) -> str:
    """Bytes as people say them, short."""
    if count < 10 << 20:
        return f"{count / 2**20:.1f} MiB"
    return f"{count / 2**20:.0f} MiB" if count < 10 << 30 else f"{count / 2**30:.1f} GiB"
