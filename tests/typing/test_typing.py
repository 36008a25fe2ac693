"""Both checkers on programs in the spelling of the contract: the good one passes, each bad line fails."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
IGNORE = re.compile(r"  # type: ignore\[.*?\].*")


def bad_lines() -> set[int]:
    """Lines of bad.py that must be errors."""
    return {number for number, line in enumerate((HERE / "bad.py").read_text().splitlines(), 1) if "# type: ignore[" in line}


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """bad.py without its ignores."""
    file = tmp_path / "bad.py"
    file.write_text("\n".join(IGNORE.sub("", line) for line in (HERE / "bad.py").read_text().splitlines()))
    return file


def mypy(*files: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--config-file", "", *map(str, files)]
    return subprocess.run(command, cwd=HERE.parents[1], capture_output=True, text=True, timeout=120)


@pytest.mark.slow
@pytest.mark.timeout(150)
def test_mypy_strict_agrees(bare: Path) -> None:
    """Nothing in good.py, an error in every bad line, and no other."""
    done = mypy(HERE / "good.py", HERE / "bad.py")
    assert (done.stdout, done.returncode) == ("", 0), done.stderr
    errors = mypy(bare).stdout
    assert {int(number) for number in re.findall(r"bad\.py:(\d+): error", errors)} == bad_lines()


@pytest.mark.slow
@pytest.mark.timeout(150)
def test_pyright_strict_agrees(bare: Path) -> None:
    """The same of pyright, which is skipped where it has no node and cannot fetch one."""
    found = pyright("-p", str(HERE))
    assert found["generalDiagnostics"] == []
    (bare.parent / "pyrightconfig.json").write_text(json.dumps({"extraPaths": [str(HERE.parents[1])], "pythonVersion": "3.11"}))
    errors = pyright("-p", str(bare.parent))["generalDiagnostics"]
    assert {error["range"]["start"]["line"] + 1 for error in errors} == bad_lines()


def pyright(*arguments: str) -> dict[str, list[dict[str, dict[str, dict[str, int]]]]]:
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, *arguments]
    done = subprocess.run(command, cwd=HERE.parents[1], capture_output=True, text=True, timeout=120)
    try:
        found: dict[str, list[dict[str, dict[str, dict[str, int]]]]] = json.loads(done.stdout)
    except ValueError:
        pytest.skip(f"pyright does not run here: {done.stderr.strip()[-200:]}")
    return found
