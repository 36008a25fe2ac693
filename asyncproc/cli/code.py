"""The exit code of the command, from how everything ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from signal import SIGINT, Signals

from asyncproc._core.exit import Exit

WELL, FAILED, WRONG_USE = 0, 1, 2
INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class End:
    """How a run ended.

    Attributes:
        signal: the first that asked the program to end. killed: whether something had to be killed after it.
        failures: of nodes that failed, by path. raised: what a coroutine function raised, or what went wrong with us.
        single: how the child ended that the outcome is of: the whole tree, or a Supervisor's essential member.
    """

    signal: Signals | None = None
    killed: bool = False
    failures: dict[str, Exit] = field(default_factory=dict)
    raised: BaseException | None = None
    single: Exit | None = None


def code_of(end: End) -> int:
    """The exit code: who asked for the end decides first, then the one child, then whether all ended well."""
    if end.signal is SIGINT:
        return INTERRUPTED
    if end.signal is not None:
        return FAILED if end.killed else WELL
    if isinstance(end.raised, SystemExit):
        return code_of_system_exit(end.raised)
    if end.raised is not None:
        return FAILED
    if end.single is not None:
        return _own_code(end.single)
    return FAILED if end.failures else WELL


def _own_code(exit: Exit) -> int:
    if exit.signal is not None:
        return 128 + exit.signal
    if exit.code:
        return exit.code
    if isinstance(exit.error, SystemExit):  # of a thread or a coroutine, which have no code of their own
        return code_of_system_exit(exit.error)
    return FAILED if exit.failed else WELL


def code_of_system_exit(error: SystemExit) -> int:
    """As the interpreter has it: a number as it is, None is 0, anything else is a message and 1."""
    if error.code is None:
        return WELL
    return error.code & 0xFF if isinstance(error.code, int) else FAILED
