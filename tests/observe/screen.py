"""A terminal's screen, as far as the live view uses one: what stands on it after these bytes."""

from __future__ import annotations

import re

_PIECE = re.compile(r"\x1b\[(\d*)([A-Za-z])|\x1b\[[0-9;:]*m|(\r)|(\n)|([^\x1b\r\n]+)|(\x1b)")


class Screen:
    """Unlimited in height. An escape sequence that is not known here raises: the view must not use any other."""

    def __init__(self) -> None:
        self.lines: list[str] = [""]
        self._row = 0
        self._column = 0

    def feed(self, text: str) -> None:
        for found in _PIECE.finditer(text):
            count, letter, home, newline, words, lone = found.groups()
            if letter == "A":
                self._row -= int(count or 1)
                assert self._row >= 0, "the view went above its own lines"
            elif letter == "J" and not count:
                self.lines = [*self.lines[: self._row], self.lines[self._row][: self._column]]
            elif lone or (letter and letter != "m"):
                raise AssertionError(f"unknown sequence {found[0]!r}")
            elif home:
                self._column = 0
            elif newline:
                self._row += 1
                if self._row == len(self.lines):
                    self.lines.append("")
            elif words:
                line = self.lines[self._row].ljust(self._column)
                self.lines[self._row] = line[: self._column] + words + line[self._column + len(words) :]
                self._column += len(words)

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.lines)
