"""``asyncproc run`` in a real terminal: what is seen, and what Ctrl-C, a closed window and a stuck one do."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from tests.cli.terminal import CTRL_C, Terminal, run, screen_of

PROGRAMS = Path(__file__).with_name("programs.py")
pytestmark = pytest.mark.slow


def test_nested_tree_is_drawn() -> None:
    """At the end the picture shows every node where it belongs; each line of output and each end stands above it once."""
    with Terminal("run", PROGRAMS) as terminal:
        assert terminal.wait() == 0
        lines = screen_of(terminal)
    head = next(index for index, line in enumerate(lines) if line.startswith("node "))
    assert [line.split("finished")[0].rstrip() for line in lines[head + 1 : -1]] == [
        "app",
        "├─ make_point",
        "├─ build",
        "│  ├─ sample",
        "│  └─ pair",
        "│     ├─ gather",
        "│     └─ spin",
        "└─ cmd",
    ]
    assert lines[head + 4].endswith("sampled \\x1b[2J")
    assert lines[-1].startswith("all 5 ended well, ")
    assert sum("| gathering" in line for line in lines) == 1
    assert sum(line.startswith("app/cmd finished, after") for line in lines) == 1


def test_running_node_shows_pid_and_memory() -> None:
    """While it runs; and the end of its line is what it wrote last."""
    with Terminal("run", f"{PROGRAMS}:blocked") as terminal:
        row = ""
        while " running " not in row:  # what it has written may be seen a picture before its readiness is
            terminal.until("MiB  blocked")
            row = next(line for line in reversed(screen_of(terminal)) if "─ block " in line)
        _, _, state, pid, seconds, unit, _, memory_unit, words = row.split()
        assert (state, unit, memory_unit, words) == ("running", "s", "MiB", "blocked")
        assert Path(f"/proc/{pid}").exists()
        assert float(seconds) >= 0
        terminal.press(CTRL_C)
        assert terminal.wait() == 130


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(
    ("name", "ready", "code"), [("blocked", "| blocked", 0), ("deaf", "ignore_term | deaf", 1), ("program_waits", "waiting", 0)]
)
def test_termination(number: signal.Signals, name: str, ready: str, code: int) -> None:
    """0 when all stopped in time, 1 when something had to be killed."""
    with Terminal("run", f"{PROGRAMS}:{name}") as terminal:
        terminal.until(ready)
        terminal.signal(number)
        assert terminal.wait() == code
        assert f"{number.name}: stopping" in terminal.text


def test_closed_window_stops_everything() -> None:
    """The terminal is gone, and so are all children: what cannot be shown any more holds up nobody."""
    with Terminal("run", f"{PROGRAMS}:blocked") as terminal:
        terminal.until("| blocked")
        terminal.hang_up()
        assert terminal.wait() == 0


def test_terminal_that_stands_still_holds_up_nobody(tmp_path: Path) -> None:
    """Nobody reads; the tree runs on all the same, and a signal ends the command."""
    flooded = tmp_path / "flooded"
    os.mkfifo(flooded)
    file = tmp_path / "flood.py"
    file.write_text(
        "from asyncproc import Command, Sequential\n"
        "flood = Command('sh', '-c', 'yes | head -c 8000000')\n"
        f"tree = Sequential(flood, Command('sh', '-c', 'echo > {flooded}'), Command('sleep', '1000'))\n"
    )
    with Terminal("run", file) as terminal:
        flooded.read_text()  # the second member has run
        terminal.signal(signal.SIGTERM)
        assert terminal.process.wait(20) == 0


def test_no_color() -> None:
    """A picture without colours; nor are a child's own shown."""
    with Terminal("run", PROGRAMS, NO_COLOR="1") as terminal:
        assert terminal.wait() == 0
        assert "node " in terminal.text
        assert not re.search(r"\x1b\[[0-9;]*m", terminal.raw)


def test_dumb_terminal_gets_lines() -> None:
    """One that cannot move its cursor is no terminal to draw on."""
    with Terminal("run", PROGRAMS, TERM="dumb") as terminal:
        assert terminal.wait() == 0
        assert "app/build/sample running, pid" in terminal.text
        assert "\x1b[J" not in terminal.raw


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    """One line, and 2; whichever of the two is missing."""
    for name in ("rich", "cyclopts"):
        (tmp_path / name).mkdir()
        blocker = (
            "import sys\n"
            "class Blocker:\n"
            "    def find_spec(self, name, path=None, target=None):\n"
            f"        if name.partition('.')[0] == {name!r}:\n"
            "            raise ModuleNotFoundError(name)\n"
            "sys.meta_path.insert(0, Blocker())\n"
        )
        (tmp_path / name / "sitecustomize.py").write_text(blocker)
        root = Path(__file__).parents[2]
        done = run("run", PROGRAMS, PYTHONPATH=f"{tmp_path / name}:{root}")
        assert done.returncode == 2
        assert done.stdout == ""
        assert done.stderr == f"asyncproc: the command line needs {name}: pip install 'asyncproc[cli]'\n"
