"""Runs an example as a stranger does, in a process of its own, and finds what it leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from asyncproc.testing.leaks import Leaks

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


class Examples:
    """Starts examples in a working directory; nothing of them may be left when the test ends."""

    def __init__(self, folder: Path, leaks: Leaks) -> None:
        self.folder = folder
        self.leaks = leaks

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        """Begin ``python WORDS``."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}
        pipe = subprocess.PIPE
        return subprocess.Popen([sys.executable, *words], cwd=self.folder, env=environment, stdout=pipe, stderr=pipe, text=True)

    def end(self, running: subprocess.Popen[str], code: int = 0) -> tuple[str, str]:
        """Wait for the end; gives what it wrote to its standard output and error."""
        try:
            out, err = running.communicate(timeout=50)
        finally:
            running.kill()
        assert running.returncode == code, f"ended with {running.returncode}:\n{out}\n{err}"
        assert not self.leaks.survivors()
        return out, err

    def run(self, *words: str | Path, code: int = 0) -> tuple[str, str]:
        """``python WORDS`` to its end."""
        with self.start(*words) as running:
            return self.end(running, code)
