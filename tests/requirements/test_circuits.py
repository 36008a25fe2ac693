"""What docs/supervision.md says of circuits and of load, as its reader would run it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs" / "supervision.md"

SAID = [
    ("# Circuits", 0, "ConnectionError\nConnectionError\nCircuitOpen\nopen, 2 failures, 1 trip\nanswered closed\n"),
    ("# Circuits", 1, "1 3\n2 3\n3 circuit 'flaky' is open until it is reset\n"),
    ("# Load", 0, "queue: NORMAL -> WARNING at 75%\n['cpu', 'disk', 'memory', 'queue'] True 0.75\n"),
]


def programs(section: str) -> list[str]:
    """The blocks of one section, which ends where the next begins; a comment in a block begins none."""
    text = DOCS.read_text().split(f"\n{section}\n")[1]
    parts = text.split("```")
    blocks = [part.removeprefix("python\n") for part in parts[1::2]]
    ends = next((number for number, part in enumerate(parts[::2]) if "\n# " in part), len(blocks))
    return blocks[:ends]


@pytest.mark.slow
@pytest.mark.parametrize(("section", "number", "said"), SAID, ids=["circuit", "circuit of children", "load"])
def test_program_of_the_docs_runs_as_it_stands(section: str, number: int, said: str, tmp_path: Path) -> None:
    """Each prints what its reader expects."""
    file = tmp_path / "program.py"
    file.write_text(programs(section)[number])
    done = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, cwd=DOCS.parents[1], timeout=30)
    assert done.returncode == 0, done.stderr
    assert "".join(line for line in done.stdout.splitlines(True) if not line.startswith("spare")) == said


def test_every_program_has_an_expectation() -> None:
    """A new block needs one here."""
    assert [len(programs(section)) for section in ("# Circuits", "# Load")] == [2, 1]
