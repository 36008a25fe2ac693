"""What the program itself prints while a command runs."""

from __future__ import annotations

import sys

import pytest

from asyncproc._spec.current import Current, set_current
from asyncproc.cli.host import printing
from asyncproc.cli.load import TOP_LEVEL_NAME, TopLevel


def test_prints_become_output() -> None:
    """Text and bytes, on both streams; afterwards the streams are what they were."""
    shown: list[tuple[str, str, bytes]] = []
    before = sys.stdout, sys.stderr
    with printing(lambda path, stream, data: shown.append((path, stream, data))):
        print("text", end="")
        sys.stderr.write("gr\u00fcn")
        sys.stdout.buffer.write(b"bytes")
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # as programs do
        sys.stdout.flush()
    assert (sys.stdout, sys.stderr) == before
    assert shown == [("", "stdout", b"text"), ("", "stderr", "gr\u00fcn".encode()), ("", "stdout", b"bytes")]


def test_prints_of_a_thread_or_a_coroutine_are_its_nodes() -> None:
    """Whoever runs in this process is known by its context."""
    shown: list[tuple[str, str, bytes]] = []
    set_current(Current(None, None, "app/ticker", 1, 1, 1, {}))  # type: ignore[arg-type]  # it has no line to talk on
    try:
        with printing(lambda path, stream, data: shown.append((path, stream, data))):
            print("tick")
    finally:
        set_current(None)
    assert {path for path, _, _ in shown} == {"app/ticker"}


def test_top_level_sees_another_name_and_shares_all_others() -> None:
    """The main block must not run, and what it defines must be there."""
    names = {"__name__": "__main__", "gone": 1}
    exec("here = __name__\ndef f(): return __name__\nclass C: pass\ndel gone\nassert 'f' in dir()\n", names, TopLevel(names))
    assert names["here"] == TOP_LEVEL_NAME
    assert names["f"]() == names["C"].__module__ == "__main__"  # type: ignore[operator,attr-defined]  # made by exec
    assert "gone" not in names
    with pytest.raises(KeyError):
        TopLevel(names)["gone"]
