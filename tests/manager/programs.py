"""Programs that tests write, run as a stranger would, and talk to by signals and lines."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

from tests.portable import PREAMBLE, is_default

ROOT = Path(__file__).resolve().parents[2]


def _text(text: str) -> str:
    """The program, on the same path as the tests."""
    return (PREAMBLE if is_default() else "") + textwrap.dedent(text)


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}


@dataclass
class Done:
    code: int
    out: str
    err: str


def run_program(folder: Path, text: str, *arguments: str) -> Done:
    """Run a program from a file of its own to its end."""
    file = folder / "program.py"
    file.write_text(_text(text))
    done = subprocess.run(
        [sys.executable, str(file), *arguments], cwd=folder, env=environment(), capture_output=True, text=True, timeout=30
    )
    return Done(done.returncode, done.stdout, done.stderr)


class Program:
    """A program that runs: it says a line when it is up, and is told by signals."""

    def __init__(self, folder: Path, text: str) -> None:
        file = folder / "program.py"
        file.write_text(_text(text))
        self._process = subprocess.Popen(
            [sys.executable, "-u", str(file)],
            cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    def line(self) -> str:
        """The next line of its standard output."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def tell(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end(self) -> Done:
        """Wait for its end."""
        out, err = self._process.communicate(timeout=30)
        return Done(self._process.returncode, out, err)

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
