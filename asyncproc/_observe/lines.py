"""A child's output as lines that people can be shown: split, bounded, and unable to steer the terminal.

A child's bytes are not to be trusted: one escape sequence moves the cursor, another writes the clipboard or asks the terminal
to type. So control characters are shown as they would be written (``\\x1b``, ``\\r``), with one exception: colours, i.e. SGR
sequences of bounded length. What turns the reading order around, or breaks a line where nobody sees it, is escaped as well.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asyncproc._observe.facts import Dropped, Moved, Output

if TYPE_CHECKING:
    from asyncproc._observe.facts import Fact

LINE_LIMIT = 8192
"""Characters of one line; what is longer comes in pieces that say so."""
COLOUR_LIMIT = 64
RESET = "\x1b[0m"

_COLOUR = re.compile(rf"\x1b\[[0-9;:]{{0,{COLOUR_LIMIT}}}m")
_STEERS = re.compile(
    rf"(?P<colour>\x1b\[[0-9;:]{{0,{COLOUR_LIMIT}}}m)"
    r"|(?P<tab>\t)"
    # C0, DEL, C1; line and paragraph separator; what turns the reading order; lone surrogates cannot be written at all.
    r"|(?P<other>[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff])"
)
_BEGUN = re.compile(rf"\x1b(\[[0-9;:]{{0,{COLOUR_LIMIT}}})?\Z")
_NAMED = {"\r": "\\r", "\n": "\\n", "\a": "\\a", "\b": "\\b", "\v": "\\v", "\f": "\\f"}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a node's output.

    Attributes:
        path: the node; empty for what no node wrote. stream: ``stdout`` or ``stderr``.
        text: as the child wrote it, without the end of line; bytes that are no UTF-8 as ``\\xNN``.
        partial: whether it was cut and goes on with the next one.
    """

    path: str
    stream: str
    text: str
    partial: bool = False


class LineSplitter:
    """Cuts one stream of one node into lines.

    Args:
        path: the node. stream: ``stdout`` or ``stderr``.
        limit: characters of one line; what is longer is cut, and marked as partial.
    """

    __slots__ = ("_decoder", "_limit", "_path", "_rest", "_stream")

    def __init__(self, path: str, stream: str, limit: int = LINE_LIMIT) -> None:
        self._path = path
        self._stream = stream
        self._limit = limit
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._rest = ""

    def feed(self, data: bytes) -> list[Line]:
        """Take what came; returns the lines that are complete now."""
        *whole, self._rest = (self._rest + self._decoder.decode(data)).split("\n")
        lines = [line for text in whole for line in self._cut(text.removesuffix("\r"))]
        if len(self._rest) > self._limit:
            *pieces, last = self._cut(self._rest)
            lines += pieces
            self._rest = last.text
        return lines

    def finish(self) -> list[Line]:
        """The stream has ended; returns what is left without an end of line."""
        text, self._rest = self._rest + self._decoder.decode(b"", final=True), ""
        return self._cut(text) if text else []

    def _cut(self, text: str) -> list[Line]:
        pieces = []
        while len(text) > self._limit:
            piece = text[: self._limit]
            begun = _BEGUN.search(piece)
            if begun is not None and begun.start():  # a colour is not to be torn in two
                piece = piece[: begun.start()]
            pieces.append(Line(self._path, self._stream, piece, partial=True))
            text = text[len(piece) :]
        return [*pieces, Line(self._path, self._stream, text)]


class LineBook:
    """Cuts the output of all nodes into lines, in the order in which it came."""

    def __init__(self) -> None:
        self._splitters: dict[tuple[str, str], LineSplitter] = {}

    def lines(self, fact: Fact) -> list[Line]:
        """The lines that are complete with this fact; a node's end, and a gap in its output, end its last lines."""
        if isinstance(fact, Output):
            splitter = self._splitters.get((fact.path, fact.stream))
            if splitter is None:
                splitter = self._splitters[fact.path, fact.stream] = LineSplitter(fact.path, fact.stream)
            return splitter.feed(fact.data)
        if isinstance(fact, Moved) and fact.transition.exit is not None:
            return self._finish(fact.transition.path)
        if isinstance(fact, Dropped):
            return [*self._finish(fact.path), Line(fact.path, "stderr", dropped_text(fact))]
        return []

    def all_lines(self, facts: Sequence[Fact], closing: bool) -> list[Line]:
        """The lines of several facts; *closing*: and what is left."""
        lines = [line for fact in facts for line in self.lines(fact)]
        return lines + self.finish() if closing else lines

    def finish(self) -> list[Line]:
        """Nothing more will come: what is left."""
        return [line for path, stream in list(self._splitters) for line in self._splitters.pop((path, stream)).finish()]

    def _finish(self, path: str) -> list[Line]:
        found = (self._splitters.pop((path, stream), None) for stream in ("stdout", "stderr"))
        return [line for splitter in found if splitter is not None for line in splitter.finish()]


def dropped_text(dropped: Dropped) -> str:
    """What is said of what could not be shown."""
    what = "bytes of output" if dropped.path else "events"
    return f"[{dropped.count} {what} not shown: this terminal or reader was too slow]"


def escape(text: str, *, colours: bool = True) -> str:
    """*text* as it can be shown on a terminal: nothing in it moves the cursor, and its colours end with it.

    Args:
        text: one line.
        colours: whether colours pass; else they are left out.
    """
    if text.isascii() and text.isprintable():
        return text
    shown = _STEERS.sub(lambda found: _harmless(found, colours), text)
    return shown + RESET if colours and _COLOUR.search(shown) else shown


def _harmless(found: re.Match[str], colours: bool) -> str:
    if found["colour"] is not None:
        return found["colour"] if colours else ""
    if found["tab"] is not None:
        return "    "
    character = found["other"]
    code = ord(character)
    return _NAMED.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def plain(text: str) -> str:
    """*text* without colours, and with all else escaped: for one cell of a table."""
    return escape(text, colours=False)


def node_name(path: str) -> str:
    """What a node is called beside its output: its path below the root."""
    return path.partition("/")[2] or path


def prefixed(line: Line, width: int = 0, *, colours: bool = True) -> str:
    """A line under its node's name, safe to be shown; a mark at its end says that it goes on."""
    text = escape(line.text, colours=colours) + (" \u2026" if line.partial else "")
    return f"{node_name(line.path):{width}} | {text}" if line.path else text
