"""A descriptor that shown text is written to: past Python's own buffers, whose locks a stuck terminal would hold at the end."""

from __future__ import annotations

import os
import zlib

from asyncproc._observe.lines import RESET, Line, node_name, prefixed

PALETTE = (36, 33, 35, 32, 34, 96, 93, 95, 92, 94)
BAD, QUIET = 31, 2
NAME_WIDTH = 24
"""Columns that names share at most; a longer one stands out."""


class Outlet:
    """A copy of a descriptor of ours, so that it stays what it was whatever happens to the original.

    Args:
        fd: 1 or 2; one that is closed swallows what is written.

    Attributes:
        is_terminal: whether somebody sees it, on a terminal that can move its cursor. colours: whether to write with colours.
    """

    def __init__(self, fd: int) -> None:
        try:
            self._fd = os.dup(fd)
        except OSError:
            self._fd = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        self.is_terminal = os.isatty(self._fd) and os.environ.get("TERM", "dumb") != "dumb"
        self.passes_colours = not os.environ.get("NO_COLOR")
        self.colours = self.is_terminal and self.passes_colours
        self._width = 0
        self._is_gone = False

    def write(self, text: str) -> None:
        """Write all of it, however long the reader takes; once nobody reads any more, nothing."""
        data = memoryview(b"" if self._is_gone else text.encode("utf-8", "backslashreplace"))
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError:  # the terminal has hung up, the reader has ended, the disk is full
            self._is_gone = True

    def size(self) -> tuple[int, int]:
        """Columns and lines of the terminal."""
        try:
            columns, lines = os.get_terminal_size(self._fd)
        except OSError:
            return 80, 24
        return columns or 80, lines or 24

    def painted(self, text: str, colour: int) -> str:
        return f"\x1b[{colour}m{text}{RESET}" if self.colours and text else text

    def shown(self, line: Line) -> str:
        """A child's line as it is written here: under its node's name, harmless, with an end of line."""
        if not line.path:
            return f"{prefixed(line, colours=self.passes_colours)}\n"
        name = node_name(line.path)
        self._width = max(self._width, min(len(name), NAME_WIDTH))
        text = prefixed(line, self._width, colours=self.passes_colours)
        if not self.colours:
            return f"{text}\n"
        cut = max(self._width, len(name))
        colour = PALETTE[zlib.crc32(name.encode()) % len(PALETTE)]
        return f"{self.painted(text[:cut], colour)}{self.painted(' | ', QUIET)}{text[cut + 3 :]}\n"

    def close(self) -> None:
        os.close(self._fd)
