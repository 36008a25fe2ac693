"""A snapshot as rows of text."""

from __future__ import annotations

from signal import SIGKILL

import pytest

from asyncproc._core.exit import Exit, Reason
from asyncproc._core.snapshot import NodeSnapshot, Snapshot
from asyncproc._core.supervision.state import State
from asyncproc._observe import render
from asyncproc._observe.render import Beside


def node(
    path: str, kind: str = "process", state: State = State.RUNNING, *children: NodeSnapshot, **facts: object
) -> NodeSnapshot:
    return NodeSnapshot(path, path.rpartition("/")[2], kind, state, children=children, **facts)  # type: ignore[arg-type]  # by name


def exited(path: str, reason: Reason = Reason.FINISHED, **facts: object) -> NodeSnapshot:
    return node(path, state=State.ENDED, exit=Exit(path, 1, reason, duration=1.0, **facts))  # type: ignore[arg-type]  # by name


TREE = Snapshot(
    node(
        "app",
        "concurrent",
        State.RUNNING,
        node("app/fetch", pid=17, since=3.0),
        node(
            "app/build",
            "sequential",
            State.RUNNING,
            exited("app/build/parse"),
            node("app/build/pair", "concurrent", State.RUNNING, node("app/build/pair/a", "thread"), exited("app/build/pair/b")),
            node("app/build/last", "command", State.WAITING),
        ),
        exited("app/broken", Reason.CRASHED, signal=SIGKILL),
        since=4.0,
    ),
    0.0,
)


def test_nested_tree_is_drawn_with_lines() -> None:
    """Every kind of node shows where it stands, with what is known of it."""
    beside = Beside(1.0, {"app/fetch": "42 of 100"}, {17: 5 << 20})
    assert render.text(TREE, beside) == [
        "node         state     pid  up     memory   last line",
        "app          running        5.0 s           3 of 6 ended, 1 failed",
        "├─ fetch     running   17   4.0 s  5.0 MiB  42 of 100",
        "├─ build     running        1.0 s           2 of 4 ended",
        "│  ├─ parse  finished       1.0 s",
        "│  ├─ pair   running        1.0 s           1 of 2 ended",
        "│  │  ├─ a   running        1.0 s",
        "│  │  └─ b   finished       1.0 s",
        "│  └─ last   waiting",
        "└─ broken    crashed        1.0 s           by signal SIGKILL, after 1.00 s",
    ]


def test_rows_are_chosen_by_what_matters() -> None:
    """With little room: what runs or has failed, with its parents; the rest is counted."""
    shown = render.text(TREE, Beside(), room=5)
    assert [line.split()[:2][-1] for line in shown[2:]] == ["fetch", "build", "├─", "broken", "4"]
    assert shown[-1] == "… 4 more"
    assert not any("parse" in line for line in shown)


@pytest.mark.parametrize("room", range(1, 12))
def test_a_row_is_never_shown_without_its_parents(room: int) -> None:
    """A branch that hangs in the air says nothing."""
    rows = render.rows_of(TREE, Beside())
    chosen, hidden = render.choose(rows, room)
    assert len(chosen) + hidden == len(rows)
    assert len(chosen) <= room
    assert all(row.parent < 0 or rows[row.parent] in chosen for row in chosen)


def test_root_that_only_holds_what_was_started_is_left_out() -> None:
    """A tree of one node is one row."""
    snapshot = Snapshot(node("app", "concurrent", State.CREATED, node("app/one", "command")), 0.0)
    assert [row.label for row in render.rows_of(snapshot, Beside())] == ["one"]


def test_rounds_are_shown_from_the_second_on() -> None:
    """A run of one round has no column for it."""
    snapshot = Snapshot(node("app", "concurrent", State.RUNNING, node("app/a", round=3)), 0.0)
    assert "round" in render.text(snapshot, Beside())[0]
    assert "round" not in render.text(TREE, Beside())[0]


def test_waiting_for_names_what_still_lives() -> None:
    """Groups live as long as their members: only these are named, and not all of many."""
    assert render.waiting_for(TREE) == ("app/fetch", "app/build/pair/a")
    assert render.named([f"n{number}" for number in range(9)]) == "n0, n1, n2, n3 and 5 more"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (59.4, "59 s"), (61, "1:01 min"), (3600, "1:00 h"), (60 * 3600, "2 d 12 h")],
)
def test_spans(seconds: float, text: str) -> None:
    """Short enough for a column."""
    assert render.span(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(1 << 20, "1.0 MiB"), (300 << 20, "300 MiB"), (20 << 30, "20.0 GiB")])
def test_sizes(count: int, text: str) -> None:
    """Bytes as people say them."""
    assert render.size(count) == text
