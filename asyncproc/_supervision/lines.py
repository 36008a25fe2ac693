"""A line that is looked for in what a child writes."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncproc._spec.probes import LogLine


class Lines:
    """Looks for a line in what a child writes.

    Args:
        found: called once.
    """

    LONGEST = 1 << 16
    """Characters of a line that are looked at: what is longer is cut."""

    def __init__(self, wanted: LogLine, found: Callable[[], object]) -> None:
        self._search = wanted.pattern.search
        self._found = found
        self._leave: list[Callable[[], None]] = []
        self._rest: dict[str, str] = {}
        self._open = True

    def listen(self, streams: Any, name: str) -> None:
        """Look through *name*, from what it has written already."""
        if streams is None or not self._open:
            return
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._leave.append(streams.subscribe(name, lambda data: self._take(name, decode(data))))
        if not self._open:  # it was there already
            self.close()

    def close(self) -> None:
        self._open = False
        while self._leave:
            self._leave.pop()()

    def _take(self, name: str, text: str) -> None:
        if not self._open:
            return
        *whole, rest = (self._rest.get(name, "") + text).split("\n")
        self._rest[name] = rest[: self.LONGEST]
        if any(self._search(line.removesuffix("\r")) for line in whole):
            self.close()
            self._found()
