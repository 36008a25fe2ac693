"""Lines of a child's output, whatever its bytes are; and what a log file may be."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncproc._core.line import LINE_LIMIT, Line, LineSplitter, Piece
from asyncproc._core.log_file import LogFile


def split(chunks: list[bytes], limit: int = LINE_LIMIT) -> list[Line]:
    splitter = LineSplitter("stderr", limit)
    lines: list[Line] = []
    for number, chunk in enumerate(chunks):
        splitter.feed(chunk, float(number))
        lines += iter(splitter.take, None)
    rest = splitter.finish()
    return lines if rest is None else [*lines, rest]


def chunked(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@given(
    st.text(st.characters(exclude_characters="\r", exclude_categories=["Cs"]), max_size=80),
    st.integers(1, 9),
    st.integers(4, 12),
)
def test_text_is_cut_between_characters(text: str, size: int, limit: int) -> None:
    """Whatever the size of the pieces: no character is torn, no line is longer than the limit, and nothing is lost."""
    lines = split(chunked(text.encode(), size), limit)
    assert "".join(line if line.partial else f"{line}\n" for line in lines).removesuffix("\n") == text.removesuffix("\n")
    assert all(len(line.encode()) <= limit for line in lines)
    assert all(len(line.encode()) > limit - 4 for line in lines if line.partial)


@given(st.binary(max_size=80), st.integers(1, 9))
def test_any_bytes_are_shown(data: bytes, size: int) -> None:
    """NUL as it is, what is no UTF-8 spelled out; the same whatever the size of the pieces."""
    lines = split(chunked(data, size))
    whole = data.split(b"\n")
    expected = [part.removesuffix(b"\r") for part in whole[:-1]] + ([whole[-1]] if whole[-1] else [])
    assert lines == [part.decode("utf-8", "backslashreplace") for part in expected]


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"abcdefgh", ["abcd", "efgh"]),
        (b"abcdefghi\n", ["abcd", "efgh", "i"]),
        (b"abcd\nefgh\n", ["abcd", "efgh"]),
        ("abcé\n".encode(), ["abc", "é"]),
        ("ab\u20acx\n".encode(), ["ab", "\u20acx"]),
        ("a\U0001f600b".encode(), ["a", "\U0001f600", "b"]),
        (b"\x80\x80\x80\x80\x80", ["\\x80" * 4, "\\x80"]),
        (b"abc\xc3d", ["abc", "\\xc3d"]),
        (b"ab\xc3\xa9cd", ["ab\u00e9", "cd"]),
    ],
)
def test_long_lines_are_cut(data: bytes, lines: list[str]) -> None:
    """At the limit, of four bytes here, or before the character that it falls into."""
    assert split([data], 4) == lines


def test_partial_says_that_a_line_goes_on() -> None:
    """Not of one that is exactly as long as it may be."""
    assert [line.partial for line in split([b"abcde\nabcd\n"], 4)] == [True, False, False]
    splitter = LineSplitter("stdout")
    splitter.feed(b"torn", 1.0)
    torn = splitter.finish(partial=True)
    assert torn == "torn" and torn.partial and splitter.finish() is None


def test_line_knows_where_it_came_from() -> None:
    """Also after a pickle; it is a str in all else, as a piece is bytes."""
    (line,) = split([b"wor", b"d\r\n"])
    assert (line, line.stream, line.time, line.partial) == ("word", "stderr", 1.0, False)
    again = pickle.loads(pickle.dumps(line))
    assert (again, again.stream, again.time, again.partial) == ("word", "stderr", 1.0, False) and type(again) is Line
    piece = pickle.loads(pickle.dumps(Piece(b"x", "stderr", 2.0)))
    assert (piece, piece.stream, piece.time) == (b"x", "stderr", 2.0) and type(piece) is Piece


@pytest.mark.parametrize(
    ("file", "word"),
    [
        (LogFile(""), "path"), (LogFile("a\0"), "path"), (LogFile(3), "path"), (LogFile("a", 0), "max_bytes"),  # type: ignore[arg-type]
        (LogFile("a", True), "max_bytes"), (LogFile("a", 1.5), "max_bytes"), (LogFile("a", backups=-1), "backups"),  # type: ignore[arg-type]
        (LogFile("a", max_age=0), "max_age"), (LogFile("a", max_age="1"), "max_age"), (LogFile("a", max_age=True), "max_age"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_fault_of_a_log_file_names_the_value(file: Any, word: str) -> None:
    """And which of its values it is."""
    assert word in file.fault()


def test_legal_log_files() -> None:
    """A path of any kind; None for no limit."""
    for file in (LogFile("a"), LogFile(Path("a"), None, 0, None), LogFile("a", 1, 9, 0.5)):
        assert file.fault() is None
