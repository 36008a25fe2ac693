"""The command as a person runs it: in a terminal of its own, typed into and read from. Everything waits for what is shown."""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.observe.screen import Screen

COMMAND = (sys.executable, "-m", "asyncproc")
ROOT = Path(__file__).parents[2]
PATIENCE = 20.0
CTRL_C = b"\x03"
_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")


def environment(**changed: str) -> dict[str, str]:
    """An environment that finds this checkout, and looks alike everywhere."""
    env = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES", "FORCE_COLOR")}
    return {**env, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **changed}


def run(*words: str | Path, **changed: str) -> subprocess.CompletedProcess[str]:
    """The command without a terminal, to its end."""
    argv = [*COMMAND, *map(str, words)]
    return subprocess.run(argv, env=environment(**changed), capture_output=True, text=True, timeout=PATIENCE, check=False)


class Terminal:
    """A pseudo terminal with the command in it, as its session's leader."""

    def __init__(self, *words: str | Path, lines: int = 40, columns: int = 120, **changed: str) -> None:
        self._ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.process = subprocess.Popen(
            [*COMMAND, *map(str, words)],
            env=environment(**changed),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        self.raw = ""

    @property
    def text(self) -> str:
        """All that was ever written, without colours, ends of line as in Python."""
        return _COLOUR.sub("", self.raw).replace("\r\n", "\n")

    def press(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def hang_up(self) -> None:
        """The terminal's window is closed."""
        os.close(self._ours)
        self._ours = -1

    def until(self, text: str) -> None:
        """Read until *text* has been written since the last call."""
        begin = len(self.text)
        deadline = time.monotonic() + PATIENCE
        while text not in self.text[begin:]:
            if not self._read(deadline):
                raise AssertionError(f"{text!r} was not written; there was:\n{self.text}")

    def wait(self) -> int:
        """Read to the end; returns the exit code."""
        deadline = time.monotonic() + PATIENCE
        while self._ours >= 0 and self._read(deadline):
            pass
        return self.process.wait(PATIENCE)

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._ours], [], [], max(0.0, deadline - time.monotonic()))
        try:
            data = os.read(self._ours, 1 << 16) if ready else b""
        except OSError:  # nobody has the other end any more
            data = b""
        self.raw += data.decode(errors="replace")
        return bool(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self._ours >= 0:
            os.close(self._ours)


def screen_of(terminal: Terminal) -> list[str]:
    """The lines that stand on it now."""
    screen = Screen()
    screen.feed(terminal.raw)
    return screen.text.rstrip("\n").split("\n")
