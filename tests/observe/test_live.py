"""The live view, drawn on a real terminal device; what stands on it is read back."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import termios
from collections.abc import Callable, Iterator

import pytest

from asyncproc._core.exit import Exit, Reason
from asyncproc._core.snapshot import NodeSnapshot, Snapshot
from asyncproc._core.supervision.state import State
from asyncproc._core.transition import Transition
from asyncproc._observe import live
from asyncproc._observe.facts import Moved, Outcome, Output, Picture, Signalled
from asyncproc._observe.live import LiveFace, resident
from asyncproc._observe.outlet import Outlet
from tests.observe.screen import Screen


class Device:
    """A terminal of 80 columns; ``face`` draws on it, ``screen`` is what stands there."""

    def __init__(self, lines: int = 24) -> None:
        self._ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, 80, 0, 0))
        self.outlet = Outlet(theirs)
        os.close(theirs)
        self.face = LiveFace(self.outlet, self.outlet, self.outlet)
        self.screen = Screen()
        self.raw = ""

    def read(self) -> str:
        """What stands there after all that was written."""
        self.outlet.write("\x1b[0m#")
        data = b""
        while not data.endswith(b"#"):
            data += os.read(self._ours, 1 << 16)
        text = data.decode()[:-1]
        self.raw += text
        self.screen.feed(text)
        return self.screen.text

    def close(self) -> None:
        os.close(self._ours)
        self.outlet.close()


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Device]]:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(live, "SHARE", 0)  # draw at each call
    made: list[Device] = []

    def make(lines: int = 24) -> Device:
        made.append(Device(lines))
        return made[-1]

    yield make
    for one in made:
        one.close()


def picture(*members: NodeSnapshot, state: State = State.RUNNING) -> Picture:
    return Picture(0, Snapshot(NodeSnapshot("app", "app", "concurrent", state, children=members), 0.0), 1e12)


def member(name: str, state: State = State.RUNNING, pid: int | None = None) -> NodeSnapshot:
    return NodeSnapshot(f"app/{name}", name, "process", state, pid=pid)


def end(name: str, reason: Reason = Reason.FINISHED) -> Moved:
    return Moved(Transition(f"app/{name}", 1, State.RUNNING, State.ENDED, 0.0, Exit(f"app/{name}", 1, reason, duration=2.0)))


def test_picture_stays_below_what_scrolls(device: Callable[..., Device]) -> None:
    """Each drawing replaces the last one; lines and ends stay above it, once each."""
    terminal = device()
    terminal.face([picture(member("a"), member("b")), Output("app/a", "stdout", b"first\n")], False)
    terminal.face([Output("app/b", "stderr", b"second\nthird\n")], False)
    terminal.face([end("a"), picture(member("b"))], False)
    lines = terminal.read().split("\n")
    assert lines[:4] == ["a | first", "b | second", "b | third", "app/a finished, after 2.00 s"]
    assert lines[4].split() == ["node", "state", "up", "last", "line"]
    assert [line.split()[:2] for line in lines[5:]] == [["app", "running"], ["└─", "b"], []]
    assert lines[6].endswith("third")


def test_nothing_new_writes_nothing(device: Callable[..., Device]) -> None:
    """A picture that has not changed is not drawn again."""
    terminal = device()
    shown = picture(NodeSnapshot("app/a", "a", "process", State.WAITING), state=State.WAITING)
    terminal.face([shown], False)
    terminal.read()
    before = len(terminal.raw)
    terminal.face([], False)
    terminal.read()
    assert terminal.raw[before:] == "\x1b[0m"


def test_child_cannot_steer(device: Callable[..., Device]) -> None:
    """Neither in its lines nor in the cell of its last line; colours pass in the lines."""
    terminal = device()
    evil = b"\x1b[31mred\x1b[0m \x1b[2J\x1b]0;title\x07\r\x9b\n"
    terminal.face([Output("app/a", "stdout", evil), picture(member("a"))], False)
    text = terminal.read()
    assert "\x1b[31mred\x1b[0m" in terminal.raw
    assert text.count("\\x1b[2J\\x1b]0;title\\a\\r\\x9b") == 2


def test_more_rows_than_the_terminal_has(device: Callable[..., Device]) -> None:
    """The picture never fills the whole terminal: it could not be replaced."""
    terminal = device(lines=10)
    terminal.face([picture(*(member(f"n{number}") for number in range(50)))], False)
    lines = terminal.read().rstrip("\n").split("\n")
    assert len(lines) <= 9
    assert lines[-1].strip() == "… 44 more"


def test_stopping_names_who_is_waited_for(device: Callable[..., Device]) -> None:
    """And no longer names who has ended."""
    terminal = device()
    terminal.face([picture(member("a"), member("b")), Signalled("SIGINT", 1, ("app/a", "app/b"))], False)
    assert terminal.read().count("SIGINT: stopping, waiting for app/a, app/b (once more kills)") == 2
    terminal.face([picture(member("a", State.STOPPING), member("b", State.ENDED))], False)
    assert "waiting for app/a (once more kills)" in terminal.read()
    terminal.face([Signalled("SIGINT", 2, ())], False)
    assert "SIGINT: killing app/a" in terminal.read()


def test_last_picture_and_outcome_stay(device: Callable[..., Device]) -> None:
    """Closing draws what is left and ends below it."""
    terminal = device()
    terminal.face([picture(member("a")), Output("app/a", "stdout", b"no end of line")], False)
    terminal.face([Outcome(0, "ended well, 2.0 s")], True)
    lines = terminal.read().split("\n")
    assert lines[0] == "a | no end of line"
    assert lines[-2:] == ["ended well, 2.0 s", ""]


def test_no_color_is_respected(device: Callable[..., Device], monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither ours nor a child's."""
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = device()
    terminal.face(
        [picture(member("a"), member("b", State.STOPPING)), Output("app/a", "stdout", b"\x1b[31mred\n"), end("b")], False
    )
    terminal.read()
    assert not re.search(r"\x1b\[[0-9;]*m", terminal.raw.removesuffix("\x1b[0m"))


def test_memory_is_read_of_what_is_shown(device: Callable[..., Device]) -> None:
    """Resident bytes, as other tools have them; a process that has ended has none."""
    terminal = device()
    terminal.face([picture(member("a", pid=os.getpid()))], False)
    assert re.search(r"\d+ MiB", terminal.read())
    assert resident(os.getpid()) > 1 << 20
    assert resident(1 << 30) == 0


def test_flood_shows_the_last_lines_and_counts_the_rest(device: Callable[..., Device], monkeypatch: pytest.MonkeyPatch) -> None:
    """One drawing does not scroll for ever."""
    monkeypatch.setattr(live, "LINES_AT_ONCE", 3)
    terminal = device()
    terminal.face([Output("app/a", "stdout", b"".join(b"%d\n" % number for number in range(10)))], False)
    assert terminal.read() == "[7 lines not shown]\na | 7\na | 8\na | 9\n"
