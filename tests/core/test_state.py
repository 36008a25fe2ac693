"""The table of legal moves, and its picture."""

from __future__ import annotations

from pathlib import Path

from asyncproc._core.supervision.state import MOVES, State, diagram


def test_every_state_has_a_row() -> None:
    """Also those that have no moves yet."""
    assert set(MOVES) == set(State)


def test_the_picture_in_the_docs_is_the_table() -> None:
    """Printed from it, not drawn."""
    assert diagram() in (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text()
