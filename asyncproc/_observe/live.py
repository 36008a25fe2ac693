"""A watched tree on a terminal: the picture stays at the bottom, what children write and why they ended scrolls above it.

Drawn with rich, on the writer's thread, visible rows only. The cursor is never hidden and no mode of the terminal is changed:
however the program ends, also by SIGKILL, there is nothing to be put back.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Mapping, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from asyncproc._core.supervision.state import State
from asyncproc._observe import render
from asyncproc._observe.facts import Fact, Moved, Outcome, Output, Picture, Signalled
from asyncproc._observe.lines import Line, LineBook, plain
from asyncproc._observe.outlet import BAD, QUIET, Outlet
from asyncproc._observe.render import Beside, Row
from asyncproc._observe.told import signal_text, told, traceback_lines

INTERVAL = 0.25
"""Seconds between two drawings at least."""
TICK = 1.0
"""Seconds between two drawings at most; also how often memory is read."""
SHARE = 10
"""A drawing that takes t seconds is not followed by another for so many times t."""
ROWS = 60
LINES_AT_ONCE = 2000
"""Lines of output that are shown between two drawings; of more, the last."""
WORDS = 300
_STYLES = {
    "running": "green",
    "starting": "cyan",
    "stopping": "yellow",
    "waiting": "dim",
    "created": "dim",
    "finished": "dim",
    "stopped": "dim",
    "skipped": "dim",
}


class LiveFace:
    """Draws on *screen*. A stream that is no terminal gets its own lines: *out* and *err* are then others than *screen*."""

    def __init__(self, screen: Outlet, out: Outlet, err: Outlet) -> None:
        self._screen = screen
        self._outlets = {"stdout": screen if out.is_terminal else out, "stderr": screen if err.is_terminal else err}
        self._book = LineBook()
        self._pictures: dict[int, Picture] = {}
        self._last: dict[str, str] = {}
        self._memory: dict[int, int] = {}
        self._memory_read = 0.0
        self._asked: Signalled | None = None
        self._frame: list[str] = []
        self._widths: list[int] = []
        self._drawn: tuple[float, float] = (0.0, 0.0)

    def __call__(self, facts: Sequence[Fact], closing: bool) -> None:
        waiting: dict[Outlet, list[str]] = {self._screen: [], **{outlet: [] for outlet in self._outlets.values()}}
        below: list[str] = []
        for fact in facts:
            self._note(fact)
            self._add_lines(lines := self._book.lines(fact), waiting)
            if isinstance(fact, Output):
                self._remember(lines)
            self._add_lines(traceback_lines(fact), waiting)
            if isinstance(fact, Signalled) or (isinstance(fact, Moved) and fact.transition.after is State.ENDED):
                waiting[self._screen] += self._told(fact)
            elif isinstance(fact, Outcome):
                below += self._told(fact)
        if closing:
            self._add_lines(self._book.finish(), waiting)
        for outlet, texts in waiting.items():
            if outlet is not self._screen and texts:
                outlet.write("".join(texts))
        self._draw(waiting[self._screen], below, closing)

    def _note(self, fact: Fact) -> None:
        if isinstance(fact, Picture):
            self._pictures[fact.tree] = fact
        elif isinstance(fact, Signalled):
            self._asked = fact

    def _told(self, fact: Fact) -> list[str]:
        return [f"{self._screen.painted(text, BAD if bad else QUIET)}\n" for text, bad in told(fact)]

    def _add_lines(self, lines: Sequence[Line], waiting: Mapping[Outlet, list[str]]) -> None:
        for line in lines:
            outlet = self._outlets[line.stream]
            waiting[outlet].append(outlet.shown(line))

    def _remember(self, lines: Sequence[Line]) -> None:
        for line in lines:
            if line.text and not line.text.isspace():
                self._last[line.path] = line.text[:WORDS]

    # --- drawing --------------------------------------------------------------------------------------------------------

    def _draw(self, above: list[str], below: list[str], closing: bool) -> None:
        now = time.monotonic()
        began, took = self._drawn
        frame = self._frame
        if closing or now - began >= SHARE * took:
            frame = self._make_frame(now)
            self._drawn = now, time.monotonic() - now
        if frame == self._frame and not above and not below:
            return
        if len(above) > LINES_AT_ONCE:
            missing = len(above) - LINES_AT_ONCE
            above = [self._screen.painted(f"[{missing} lines not shown]", QUIET) + "\n", *above[missing:]]
        erase = self._erase()
        self._frame = frame
        self._widths = [cell_len(Text.from_ansi(line).plain) for line in frame]
        self._screen.write("".join([erase, *above, *(f"{line}\n" for line in frame), *below]))

    def _erase(self) -> str:
        """Back to where the frame begins: a terminal that became narrower has broken its lines."""
        columns, _ = self._screen.size()
        height = sum(max(1, -(-width // columns)) for width in self._widths)
        return f"\r\x1b[{height}A\x1b[J" if height else "\r\x1b[J"

    def _make_frame(self, now: float) -> list[str]:
        columns, lines = self._screen.size()
        foot = self._foot()
        room = max(1, min(ROWS, lines - 3 - len(foot)))  # head, "… more", and the line that the cursor stands on
        rows, hidden = self._rows(now, room)
        if not rows:
            return []
        frame = self._render(rows, columns - 1)
        if hidden:
            frame.append(self._screen.painted(f"   {render.hidden_text(hidden)}"[: columns - 1], QUIET))
        return frame + foot

    def _rows(self, now: float, room: int) -> tuple[list[Row], int]:
        rows, hidden = render.choose(self._all_rows(now), room)
        pids = [int(row.pid) for row in rows if row.pid]
        if pids and now - self._memory_read >= TICK:
            self._memory_read = now
            self._memory = {pid: count for pid in pids if (count := resident(pid))}
            self._forget_lines()
            rows, hidden = render.choose(self._all_rows(now), room)
        return rows, hidden

    def _all_rows(self, now: float) -> list[Row]:
        rows: list[Row] = []
        for picture in self._pictures.values():
            first = len(rows)
            beside = Beside(now - picture.taken, self._last, self._memory)
            rows += [row.moved(first) for row in render.rows_of(picture.snapshot, beside)]
        return rows

    def _forget_lines(self) -> None:
        known = {node.path for picture in self._pictures.values() for node in picture.snapshot}
        self._last = {path: text for path, text in self._last.items() if path in known}

    def _foot(self) -> list[str]:
        if self._asked is None:
            return []
        waiting = [path for picture in self._pictures.values() for path in render.waiting_for(picture.snapshot)]
        if not waiting:
            return []
        columns, _ = self._screen.size()
        asked = Signalled(self._asked.name, self._asked.count, tuple(waiting))
        return [self._screen.painted(plain(signal_text(asked))[: columns - 1], 33)]

    def _render(self, rows: Sequence[Row], columns: int) -> list[str]:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", width=columns)
        last = len(render.HEAD) - 1
        used = [index for index in range(last + 1) if index in (0, 1, last) or any(row.cells[index] for row in rows)]
        for index in used:
            right = render.HEAD[index] in ("pid", "up", "round", "memory")
            table.add_column(
                render.HEAD[index],
                no_wrap=True,
                overflow="ellipsis",
                justify="right" if right else "left",
                ratio=1 if index == last else None,
            )
        for row in rows:
            table.add_row(*(self._cell(row, index) for index in used))
        console = Console(
            file=io.StringIO(),
            force_terminal=True,
            color_system="auto" if self._screen.colours else None,
            width=columns,
            highlight=False,
            legacy_windows=False,
        )
        with console.capture() as captured:
            console.print(table)
        return captured.get().rstrip("\n").split("\n")

    def _cell(self, row: Row, index: int) -> Text:
        style = ""
        if index == 1:
            style = "red" if row.failed else _STYLES.get(row.state, "")
        elif index == len(render.HEAD) - 1:
            style = "red" if row.failed else "dim"
        return Text(plain(row.cells[index]), style=style, no_wrap=True, overflow="ellipsis")


def resident(pid: int) -> int:
    """Bytes of memory that a process has in use, shared ones included; 0 when it has ended."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0
