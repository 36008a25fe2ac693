"""A watched tree without a terminal to draw on: one line for each event, one for each line of output."""

from __future__ import annotations

from collections.abc import Sequence

from asyncproc._observe.facts import Fact
from asyncproc._observe.lines import LineBook
from asyncproc._observe.outlet import BAD, QUIET, Outlet
from asyncproc._observe.told import told, traceback_lines


class PlainFace:
    """Output goes to the stream that it was written to, events go to *err*."""

    def __init__(self, out: Outlet, err: Outlet) -> None:
        self._out = out
        self._err = err
        self._book = LineBook()

    def __call__(self, facts: Sequence[Fact], closing: bool) -> None:
        waiting: dict[Outlet, list[str]] = {self._out: [], self._err: []}
        events = waiting[self._err]
        for fact in facts:
            for line in self._book.lines(fact):
                outlet = self._out if line.stream == "stdout" else self._err
                waiting[outlet].append(outlet.shown(line))
            events += [f"{self._err.painted(text, BAD if bad else QUIET)}\n" for text, bad in told(fact)]
            events += [self._err.shown(line) for line in traceback_lines(fact)]
        if closing:
            for line in self._book.finish():
                outlet = self._out if line.stream == "stdout" else self._err
                waiting[outlet].append(outlet.shown(line))
        for outlet, texts in waiting.items():
            if texts:
                outlet.write("".join(texts))
