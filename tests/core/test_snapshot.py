"""A tree as text and as JSON."""

from __future__ import annotations

import json
from signal import SIGKILL

import pytest

from asyncproc._core.exit import Exit, Phase, Reason
from asyncproc._core.snapshot import NodeSnapshot, Snapshot
from asyncproc._core.supervision.state import State

CRASHED = Exit("app/build/index", 2, Reason.CRASHED, code=1, duration=3.0)
TREE = Snapshot(
    NodeSnapshot(
        "app", "app", "concurrent", State.RUNNING, since=75.0,
        children=(
            NodeSnapshot("app/fetch", "fetch", "process", State.RUNNING, pid=41, incarnation=1, since=7.25, phase=Phase.LOOP),
            NodeSnapshot(
                "app/build", "build", "sequential", State.ENDED,
                children=(
                    NodeSnapshot("app/build/parse", "parse", "command", State.ENDED, exit=Exit("", 1, Reason.FINISHED)),
                    NodeSnapshot("app/build/index", "index", "process", State.ENDED, since=3.0, exit=CRASHED),
                ),
            ),
            NodeSnapshot("app/last", "last", "thread", State.WAITING, exit=CRASHED),
        ),
    ),
    time=100.0,
)  # fmt: skip


def test_text_draws_the_tree() -> None:
    """Name, state, phase, pid, uptime; why, if it failed."""
    assert TREE.text().split("\n") == [
        "app          running   1 min 15 s",
        "├─ fetch     running   loop  pid 41  7.2 s",
        "├─ build     ended",
        "│  ├─ parse  ended     finished",
        "│  └─ index  ended     3.0 s  app/build/index crashed, with code 1, after 3.00 s",
        "└─ last      waiting",
    ]


def test_nodes_come_parents_first() -> None:
    """A snapshot is iterated over in the order in which it is drawn."""
    assert [node.name for node in TREE] == ["app", "fetch", "build", "parse", "index", "last"]


def test_json_says_the_same() -> None:
    """Enums by value, exits explained."""
    data = json.loads(TREE.json())
    assert data["time"] == 100.0
    fetch, build, _ = data["root"]["children"]
    assert (fetch["state"], fetch["phase"], fetch["pid"], fetch["exit"]) == ("running", "loop", 41, None)
    assert build["children"][1]["exit"]["explain"] == CRASHED.explain()


def test_json_names_the_signal() -> None:
    """As people know it."""
    killed = Exit("app", 1, Reason.CRASHED, signal=SIGKILL)
    data = json.loads(Snapshot(NodeSnapshot("app", "app", "process", State.ENDED, exit=killed), 0.0).json())
    assert data["root"]["exit"]["signal"] == "SIGKILL"


@pytest.mark.parametrize(
    ("seconds", "text"), [(59.94, "59.9 s"), (3599.0, "59 min 59 s"), (7320.0, "2 h 2 min"), (90000.0, "1 d 1 h")]
)
def test_spans_have_two_units_at_most(seconds: float, text: str) -> None:
    """Nobody wants the seconds of a day."""
    node = NodeSnapshot("app", "app", "process", State.RUNNING, since=seconds)
    assert Snapshot(node, 0.0).text() == f"app  running   {text}"


def test_what_a_node_waits_for_is_told() -> None:
    """The resources that it misses, and when it will be started again."""
    waiting = NodeSnapshot("app/a", "a", "process", State.WAITING, missed=("gpu", "disk"))
    resting = NodeSnapshot("app/b", "b", "process", State.BACKOFF, restart_in=90.0)
    text = Snapshot(NodeSnapshot("app", "app", "concurrent", State.RUNNING, children=(waiting, resting)), 0.0).text()
    assert "waiting   for gpu, disk" in text
    assert "backoff   again in 1 min 30 s" in text
