"""What was typed, as values; what is wrong with it, as one line."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter

import asyncproc
from asyncproc.cli.code import INTERRUPTED, WRONG_USE
from asyncproc.cli.complaint import Complaint
from asyncproc.cli.run import RunRequest, run

FOREVER = "forever"


def dispatch(words: list[str]) -> int:
    """Run the command that *words* spell; returns its exit code."""
    if not words:
        _app.help_print()
        return WRONG_USE
    own, given = _divided(words)
    try:
        command, bound, _ = _app.parse_args(own, exit_on_error=False, print_error=False)
        answer = command(*bound.args, **bound.kwargs)
        if not isinstance(answer, RunRequest):
            return 0  # --help, --version
        return run(answer.with_arguments(given))
    except CycloptsError as error:
        print(f"asyncproc: {_one_line(error)}", file=sys.stderr)
    except KeyboardInterrupt:  # while the file was being loaded
        return INTERRUPTED
    except Complaint as complaint:
        print("\n".join(f"asyncproc: {line}" for line in complaint.lines), file=sys.stderr)
    return WRONG_USE


def _divided(words: list[str]) -> tuple[list[str], list[str]]:
    """What is ours, and what stands behind ``--`` and is the program's."""
    if "--" not in words:
        return words, []
    cut = words.index("--")
    return words[:cut], words[cut + 1 :]


def _one_line(error: CycloptsError) -> str:
    return " ".join(str(error).split())


_app = App(name="asyncproc", help="Run a tree of processes, threads, coroutines and commands.", version=asyncproc.__version__)


@_app.command(name="run")
def _run(
    program: Annotated[str, Parameter(name="FILE.py[:name]")],
    /,
    *,
    rounds: str = "1",
    binding: Annotated[bool | None, Parameter(name="--binding", negative="--no-binding", show_default=False)] = None,
    limit: int | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> RunRequest:
    """Run a tree, a function or a program from a Python file.

    Ends with 0 when all ended well, 1 when a node failed, 2 for wrong use, 130 after Ctrl-C; a tree of one node ends with
    the child's own code. Ctrl-C stops gracefully, a second one kills, a third one ends this program at once.

    Parameters
    ----------
    program
        A file, and the name of what to run in it: a spec, a function without arguments, a coroutine function or a Manager.
        Without a name: tree, app or main. What stands behind -- is its sys.argv.
    rounds
        Passes through the tree; "forever": until stopped.
    binding
        Whether the members of the root wait for each other between rounds; --no-binding: they do not.
    limit
        How many members of the root run at once.
    json
        Write one JSON object for each event and line of output, and a last one for the result; nothing else on stdout.
    """
    return RunRequest(program, _count(rounds), binding is not False, limit, json, rounds != "1" or binding is not None)


def _count(rounds: str) -> int | None:
    if rounds == FOREVER:
        return None
    if not rounds.isdecimal():
        raise Complaint(f"--rounds must be a number >= 0 or {FOREVER!r}, got {rounds!r}")
    return int(rounds)
