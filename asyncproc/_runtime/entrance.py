"""How one child's output gets from the manager to where it is shown, logged or written."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from asyncproc._core.log_file import LogFile

if TYPE_CHECKING:
    from asyncproc._runtime.log_writer import LogWriter

Told = Callable[[bytes], object]
"""Takes each piece of a stream as it comes, and nothing (``b""``) at its end."""


class Entrance:
    """For one child.

    Args:
        path: of its node. shown: told ``(path, stream, data)`` of what is to be shown; None: nobody shows anything.
        writer: gives who writes files and records; made when one is needed.
    """

    __slots__ = ("_shown", "_writer", "path")

    def __init__(self, path: str, shown: Callable[[str, str, bytes], None] | None, writer: Callable[[], LogWriter]) -> None:
        self.path = path
        self._shown = shown
        self._writer = writer

    def of(self, stream: str, wanted: Any) -> Told | None:
        """Who is to be told of a stream with this option.

        Raises:
            OSError: its file cannot be opened.
        """
        if isinstance(wanted, LogFile):
            return self._writer().file(wanted)
        if wanted == "log":
            return self._writer().records(self.path, stream)
        shown = self._shown
        if wanted != "tee" or shown is None:
            return None
        path = self.path

        def told(data: bytes) -> None:
            if data:
                shown(path, stream, data)

        return told
