"""An external program as a spec."""

from __future__ import annotations

import os
import re
import shlex
import signal
from typing import TYPE_CHECKING, Any

from asyncproc._core import options as kinds
from asyncproc._core.completed import Completed
from asyncproc._core.names import legal
from asyncproc._spec.argv import argv_faults
from asyncproc._spec.base import CommandOptions, Described, Path, Spec
from asyncproc.errors import Fault

if TYPE_CHECKING:
    from typing import Unpack


class Command(Spec[Completed[str]]):
    """Run a program; the result is a :class:`Completed`.

    ``Command(*argv, **options)``: never a shell unless ``shell=True`` is said, then one string.

    Raises:
        SpecError: an option or an argument is wrong; all faults at once, before anything starts.
    """

    def __init__(self, *argv: Path, **options: Unpack[CommandOptions]) -> None:
        object.__setattr__(self, "_asyncproc", Described(kinds.COMMAND, options, args=argv))
        self._check()

    @property
    def argv(self) -> tuple[str, ...]:
        """The program and its arguments, as they are run."""
        argv = tuple(os.fsdecode(word) for word in self._asyncproc.args)
        return ("/bin/sh", "-c", *argv) if self._asyncproc.options.get("shell") else argv

    @property
    def shown_argv(self) -> str:
        """The command line for people: quoted, and without what looks like a secret."""
        return shlex.join(masked(self.argv))

    @property
    def made_name(self) -> str:
        argv: tuple[Any, ...] = self._asyncproc.args
        first = os.fsdecode(argv[0]) if argv and isinstance(argv[0], str | os.PathLike | bytes) else "command"
        return legal(
            os.path.basename(first.split(maxsplit=1)[0] if self._asyncproc.options.get("shell") and first.split() else first)
            or "command"
        )

    def _faults(self, path: str) -> list[Fault]:
        faults = super()._faults(path)
        argv: tuple[Any, ...] = self._asyncproc.args
        faults += [Fault(path, *fault) for fault in argv_faults(argv, "Command")]
        try:
            signal_number(self._asyncproc.options.get("stop_signal", "SIGTERM"))
        except (KeyError, ValueError):
            faults.append(
                Fault(path, "stop_signal", self._asyncproc.options["stop_signal"], "must be a signal's name or number")
            )
        if self._asyncproc.options.get("shell") and len(argv) > 1:
            faults.append(Fault(path, "argv", argv, "must be one string with shell=True"))
        return faults


def signal_number(named: str | int) -> signal.Signals:
    """A signal by its name, with or without SIG, or by its number."""
    if isinstance(named, str):
        name = named.upper()
        return signal.Signals[name if name.startswith("SIG") else f"SIG{name}"]
    return signal.Signals(named)


_SECRET = re.compile(r"(?i)(pass(word|wd|phrase)?|secret|token|api[-_]?key|credential)")
_USER_INFO = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_MASK = "***"


def masked(argv: tuple[str, ...]) -> list[str]:
    """The words of a command with what looks like a secret hidden: ``--password x``, ``token=x``, user info in a URL."""
    shown: list[str] = []
    hide_next = False
    for word in argv:
        if hide_next and not word.startswith("-"):
            shown.append(_MASK)
            hide_next = False
            continue
        name, equals, _ = word.partition("=")
        secret = _SECRET.search(name) is not None and (word.startswith("-") or bool(equals))
        hide_next = secret and not equals
        shown.append(f"{name}={_MASK}" if secret and equals else _USER_INFO.sub(_MASK, word))
    return shown
