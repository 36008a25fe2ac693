"""The command line: ``asyncproc run FILE.py``. One file for each command.

rich and cyclopts come with the extra ``cli`` and are imported below this package alone; without them the command says so.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec

NEEDED = ("rich", "cyclopts")
WRONG_USE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: what stands behind ``asyncproc``; None: of this program.

    Returns:
        The exit code: 0 all ended well; 1 a node failed; 2 wrong use or spec; 130 after Ctrl-C; after SIGTERM or SIGHUP 0
        when all stopped in time, 1 when something had to be killed; of a tree of one node, the child's own code (128 + signal).
    """
    missing = [name for name in NEEDED if not _is_installed(name)]
    if missing:
        text = f"asyncproc: the command line needs {' and '.join(missing)}: pip install 'asyncproc[cli]'"
        print(text, file=sys.stderr)
        return WRONG_USE
    from asyncproc.cli.arguments import dispatch

    return dispatch(list(sys.argv[1:] if argv is None else argv))


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):  # blocked, or in the middle of its own import
        return False
