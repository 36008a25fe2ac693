"""The README tells the truth: its programs run as they stand, and its commands are the ones that are run here."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from asyncproc._core.options import HONOURED, table

TOP = Path(__file__).parents[1]
TEXT = (TOP / "README.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", TEXT, re.S)
COMMANDS = re.findall(r"```sh\n(.*?)```", TEXT, re.S)
SAID = [
    "FileNotFoundError",
    "indexed in round 2 ['a', 'b']",
    "0 2\n",
    "6\n",
    "3 readings, Meter loop times report: 3 loops in",
    "('meter-3', '",
    "loop 1 gave 5.0\n1.5\n",
    "app/worker-2 came back after SIGKILL\nstore, api, worker-1, worker-2, worker-3\na stop takes at most 13.0 s\n",
    "3000\n",
    "25\n",
    "launcher: portable\n",
    "done\n",
]


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_program_runs_as_it_stands(number: int, tmp_path: Path) -> None:
    """Each prints what its reader expects, and nothing to standard error that is not announced."""
    file = tmp_path / "program.py"
    file.write_text(PROGRAMS[number])
    done = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, cwd=TOP, timeout=30)
    assert done.returncode == 0, done.stderr
    assert SAID[number] in done.stdout


def test_every_program_has_an_expectation() -> None:
    """A new block in the README needs one here."""
    assert len(PROGRAMS) == len(SAID)


PARTLY = {"heartbeat", "limit", "on_failure", "strategy", "intensity", "period", "at_limit", "auto_shutdown"}
"""For some groups only, which the table names."""


def test_table_of_options_is_true() -> None:
    """What it promises is honoured by each kind of its column, what it leaves out is not, and no option is missing."""
    columns = [("process",), ("command",), ("thread", "coroutine"), ("concurrent", "sequential", "supervisor")]
    rows = re.findall(r"^\| (`[^|]+) \| *(\w*) *\| *(\w*) *\| *(\w*) *\| *(\w*) *\|$", TEXT, re.M)
    known = table()
    said = {}
    for names, *cells in rows:
        for name in re.findall(r"`(\w+)", re.sub(r"\(.*?\)", "", names)):
            said[name] = cells
            for kinds, cell in zip(columns, cells, strict=True):
                honoured = [known[name][kind] == "honoured" for kind in kinds]
                if name in PARTLY:
                    assert any(honoured) == bool(cell), name
                elif name != "metadata":  # taken everywhere, seen where a child can ask for it
                    assert set(honoured) == {cell == "yes"}, (name, kinds)
    assert set(said) == set(HONOURED)


def test_list_of_examples_is_complete() -> None:
    """Each is named once, and there."""
    named = re.findall(r"`(\w+\.py)`", TEXT.split("## Examples")[1])
    assert sorted(named) == sorted(path.name for path in (TOP / "examples").glob("*.py"))


def test_ci_runs_the_readme_command() -> None:
    """The second command, word for word."""
    assert len(COMMANDS) == 2
    assert COMMANDS[1].strip() in (TOP / ".ci" / "run").read_text()


def test_main_job_runs(tmp_path: Path) -> None:
    """What the first command runs, in this environment and on the standard library."""
    words = COMMANDS[0].strip().split("&& .venv/bin/asyncproc ")[1].split()
    file = TOP / words[1]
    done = subprocess.run(
        [sys.executable, "-m", "asyncproc", words[0], str(file), "--", "--out", str(tmp_path / "index.json")],
        capture_output=True, text=True, cwd=tmp_path, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "index.json").stat().st_size > 10_000
    assert "ended well" in done.stdout + done.stderr
