"""Which files below a watched folder count for nothing: what version control ignores, and what tools and editors leave."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache

from pathspec import GitIgnoreSpec
from watchfiles import Change, DefaultFilter


class Ignored:
    """The rules of one watched folder, as they stand when it is looked through.

    Every ``.gitignore`` counts, from the top of the repository (without one, from the folder itself) down to the file; the
    nearest that says anything about it decides. Besides, what :class:`watchfiles.DefaultFilter` names is ignored below the
    folder: ``.git``, ``__pycache__``, ``node_modules``, virtual environments, editors' swap files.

    Args:
        root: the folder, absolute.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._top = _repository(root) or root
        self._known_by_tools = DefaultFilter()
        self._rules = cache(_rules)
        self._ignores_folder = cache(lambda folder: self._says(folder, is_folder=True))

    def __call__(self, path: str) -> bool:
        """Whether a file below the folder counts for nothing."""
        relative = os.path.relpath(path, self._root)
        if not self._known_by_tools(Change.modified, relative):
            return True
        above = relative.split(os.sep)[:-1]
        folders = (os.path.join(self._root, *above[: count + 1]) for count in range(len(above)))
        return any(map(self._ignores_folder, folders)) or self._says(path, is_folder=os.path.isdir(path))

    def folders(self) -> Iterator[str]:
        """The folder and all below it that count."""
        for folder, below, _ in os.walk(self._root):
            yield folder
            below[:] = [name for name in below if not self(os.path.join(folder, name))]

    def _says(self, path: str, *, is_folder: bool) -> bool:
        folder = path
        while folder not in (self._top, os.sep):
            folder = os.path.dirname(folder)
            rules = self._rules(folder)
            if rules is None:
                continue
            relative = os.path.relpath(path, folder) + ("/" if is_folder else "")
            if (decided := rules.check_file(relative).include) is not None:
                return decided
        return False


def _repository(folder: str) -> str | None:
    """The top of the repository that it is in."""
    while not os.path.exists(os.path.join(folder, ".git")):
        if folder == os.path.dirname(folder):
            return None
        folder = os.path.dirname(folder)
    return folder


def _rules(folder: str) -> GitIgnoreSpec | None:
    try:
        with open(os.path.join(folder, ".gitignore"), encoding="utf-8", errors="replace") as file:
            return GitIgnoreSpec.from_lines(file)
    except (OSError, ValueError):  # there is none, or it cannot be read
        return None
