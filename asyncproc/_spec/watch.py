"""What the option ``watch`` needs: the extra ``watch``, and paths that are there."""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any

from asyncproc.errors import Fault

NEEDS = "needs the extra: pip install asyncproc[watch]"


def watch_faults(path: str, watched: object) -> list[Fault]:
    """Whether it can be honoured here at all; nothing is imported for that."""
    well = all(find_spec(module) is not None for module in ("watchfiles", "pathspec"))
    return [] if well else [Fault(path, "watch", watched, NEEDS)]


def path_faults(path: str, watched: Iterable[Any]) -> list[Fault]:
    """Paths that are not there, now that the node is about to start."""
    return [Fault(path, "watch", each, "must be there") for each in watched if not os.path.exists(absolute(each))]


def absolute(watched: str | os.PathLike[str]) -> str:
    """Where it is, seen from the working directory of now."""
    return os.path.abspath(os.path.expanduser(os.fspath(watched)))
