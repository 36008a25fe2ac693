"""Output as lines: split, bounded, and unable to steer a terminal."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncproc._core.exit import Exit, Reason
from asyncproc._core.supervision.state import State
from asyncproc._core.transition import Transition
from asyncproc._observe.facts import Dropped, Moved, Output
from asyncproc._observe.lines import Line, LineBook, LineSplitter, escape, prefixed

COLOUR = re.compile(r"\x1b\[[0-9;:]*m")


def split(data: bytes, limit: int = 100) -> list[str]:
    splitter = LineSplitter("app/x", "stdout", limit)
    return [line.text for line in [*splitter.feed(data), *splitter.finish()]]


@pytest.mark.parametrize(
    ("data", "texts"),
    [
        (b"one\ntwo\n", ["one", "two"]),
        (b"one\r\n\ntwo", ["one", "", "two"]),
        (b"", []),
        (b"bad \xff byte\n", ["bad \\xff byte"]),
        ("gr\u00fc\u00df\n".encode(), ["gr\u00fc\u00df"]),
    ],
)
def test_bytes_become_lines(data: bytes, texts: list[str]) -> None:
    """Ends of line are cut off, what is no UTF-8 is spelled out, the last line needs no end."""
    assert split(data) == texts


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_lines_do_not_depend_on_how_the_bytes_came(data: bytes, cuts: list[int]) -> None:
    """A pipe hands out pieces of any size."""
    splitter = LineSplitter("app/x", "stdout")
    edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    lines = [line for low, high in pairwise(edges) for line in splitter.feed(data[low:high])]
    assert [line.text for line in [*lines, *splitter.finish()]] == split(data, 8192)


def test_long_line_comes_in_pieces_that_say_so() -> None:
    """A line without end is neither kept whole nor lost."""
    splitter = LineSplitter("app/x", "stdout", 10)
    lines = [*splitter.feed(b"0123456789" * 2 + b"abc"), *splitter.feed(b"de\n")]
    assert [(line.text, line.partial) for line in lines] == [("0123456789", True), ("0123456789", True), ("abcde", False)]


def test_colour_is_not_torn_by_the_bound() -> None:
    """The bound of a line may fall into an escape sequence."""
    splitter = LineSplitter("app/x", "stdout", 10)
    lines = splitter.feed(b"01234567\x1b[31mred\n")
    assert [line.text for line in lines] == ["01234567", "\x1b[31mred"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[2Jclear", "\\x1b[2Jclear"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\a"),
        ("\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m\x1b[0m"),
        ("\x1b[38;2;1;2;3mrgb", "\x1b[38;2;1;2;3mrgb\x1b[0m"),
        ("50%\r60%", "50%\\r60%"),
        ("tab\there", "tab    here"),
        ("\x9b2J", "\\x9b2J"),
        ("\u202eevil", "\\u202eevil"),
        ("\x1b[?25l", "\\x1b[?25l"),
        ("\x1b[" + "1;" * 40 + "m", "\\x1b[" + "1;" * 40 + "m"),
        ("\x7f\x00", "\\x7f\\x00"),
        ("\u00e9\u4e16\U0001f600", "\u00e9\u4e16\U0001f600"),
    ],
)
def test_only_colours_pass(text: str, shown: str) -> None:
    """A child must not steer the terminal; its colours end with its line."""
    assert escape(text) == shown


@given(st.text())
def test_nothing_shown_moves_the_cursor(text: str) -> None:
    """Whatever a child writes: after colours are taken away, no control character is left."""
    left = COLOUR.sub("", escape(text))
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e]", left)
    assert "\x1b" not in escape(text, colours=False)


def test_prefix_is_the_path_below_the_root() -> None:
    """Two nodes of one name in two groups are told apart."""
    assert prefixed(Line("app/build/index", "stdout", "hi"), 12) == "build/index  | hi"
    assert prefixed(Line("app/x", "stdout", "cut", partial=True)) == "x | cut \u2026"
    assert prefixed(Line("", "stdout", "the program's own")) == "the program's own"


def ended(path: str) -> Moved:
    return Moved(Transition(path, 1, State.RUNNING, State.ENDED, 0.0, Exit(path, 1, Reason.FINISHED)))


def test_end_of_a_node_ends_its_last_line() -> None:
    """What a child wrote without an end of line is shown when it ends, before its end is told."""
    book = LineBook()
    assert book.lines(Output("app/x", "stdout", b"no end")) == []
    assert book.lines(ended("app/y")) == []
    assert [line.text for line in book.lines(ended("app/x"))] == ["no end"]
    assert book.finish() == []


def test_gap_in_the_output_is_told_and_joins_no_lines() -> None:
    """What came before a gap and what comes after it are no line together."""
    book = LineBook()
    book.lines(Output("app/x", "stdout", b"before"))
    texts = [line.text for line in book.lines(Dropped("app/x", 70))]
    assert texts[0] == "before"
    assert texts[1].startswith("[70 bytes of output not shown")
    assert [line.text for line in book.lines(Output("app/x", "stdout", b"after\n"))] == ["after"]
