"""Names of nodes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncproc._core.names import LONGEST, distinct, legal, name_fault


@pytest.mark.parametrize("name", ["a", "worker-1", "x[0]", "a:b@c_d.e", "n" * LONGEST])
def test_legal_name_has_no_fault(name: str) -> None:
    """Letters, digits and a few signs."""
    assert name_fault(name) is None


@pytest.mark.parametrize("name", ["", "a/b", "a b", "ä", "n" * (LONGEST + 1), 3, None])
def test_illegal_name_has_a_fault(name: object) -> None:
    """And nothing else."""
    assert name_fault(name)


def test_made_names_are_numbered_when_not_alone() -> None:
    """A given name is never touched."""
    wanted = [("stamp", False), ("stamp", False), ("stamp-2", True), ("x", True), ("x", True), ("stamp", False)]
    assert distinct(wanted) == (["stamp", "stamp-3", "stamp-2", "x", "x", "stamp-4"], ["x"])


@given(st.text())
def test_any_text_becomes_a_legal_name(text: str) -> None:
    """What a target is called may hold anything."""
    assert name_fault(legal(text)) is None


def test_lambda_has_a_name_of_its_own() -> None:
    """Not the one with angle brackets."""
    assert legal("<lambda>") == "lambda"


@given(st.lists(st.tuples(st.sampled_from(["a", "a-2", "b"]), st.booleans())))
def test_names_differ_unless_given_twice(wanted: list[tuple[str, bool]]) -> None:
    """Whatever is asked for."""
    names, twice = distinct(wanted)
    assert len(names) == len(wanted)
    others = [name for name in names if name not in twice]
    assert len(set(others)) == len(others)
