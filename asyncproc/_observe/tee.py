"""What a plain manager does with output that is to be teed: repeat it on the host's own stream, under the node's name.

It costs nothing until a child writes something: then a thread starts that does the writing, and ends with the manager.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncproc._core.transition import Transition
    from asyncproc._observe.lines import Line
    from asyncproc._observe.writer import Writer
    from asyncproc._root import Root

FLUSH = 1.0
"""Seconds that the last lines may take when the manager closes."""


class Tee:
    """Writes to ``sys.stdout`` and ``sys.stderr`` as they are when a line comes, so that captures and notebooks see it."""

    shows_all = False

    def __init__(self) -> None:
        self._root: Root | None = None
        self._writer: Writer | None = None

    def opened(self, root: Root) -> None:
        self._root = root

    def on_line(self, path: str, stream: str, data: bytes) -> None:
        if self._writer is None:
            self._writer = self._begin()
        self._writer.output(path, stream, data)

    def _begin(self) -> Writer:
        from asyncproc._observe.facts import Moved
        from asyncproc._observe.lines import LineBook
        from asyncproc._observe.writer import Writer

        book = LineBook()
        writer = Writer(lambda facts, closing: _write(book.all_lines(facts, closing)), name="asyncproc-tee")

        def moved(transition: Transition) -> None:
            if transition.exit is not None:
                writer.fact(Moved(transition))

        if self._root is not None:
            self._root.supervisor.subscribers.append(moved)
        return writer

    async def closed(self, root: Root) -> None:
        if self._writer is not None:
            await self._writer.aclose(FLUSH)

    def hang_up(self) -> None:
        if self._writer is not None:
            self._writer.hang_up()


def _write(lines: Sequence[Line]) -> None:
    """Write lines, those that belong to one stream and follow each other at once."""
    begin = 0
    for index in range(1, len(lines) + 1):
        if index == len(lines) or lines[index].stream != lines[begin].stream:
            _write_to(getattr(sys, lines[begin].stream), lines[begin:index])
            begin = index


def _write_to(stream: Any, lines: Sequence[Line]) -> None:
    if stream is None:  # pythonw, or closed by the program
        return
    from asyncproc._observe.lines import prefixed

    colours = not os.environ.get("NO_COLOR")
    text = "".join(f"{prefixed(line, colours=colours)}\n" for line in lines)
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = getattr(stream, "encoding", None) or "ascii"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()
