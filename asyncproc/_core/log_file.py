"""A file that a child's output is written to by its manager, and that begins anew when it is large or old."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncproc._core.value import Value

if TYPE_CHECKING:
    import os


class LogFile(Value):
    """Where output goes: ``stdout=LogFile("out.log", max_bytes=10 << 20, backups=3)``.

    The manager writes what it has read from the child, in whole lines, so that the file can be rotated while the child goes on,
    and several children can share it. A disk that is full or slow disturbs nobody: what could not be written is counted, and
    logged. A file that was moved away from outside is made anew.

    Attributes:
        path: of the file; ``~`` and variables are expanded.
        max_bytes: how large it may become; then it is renamed to ``path.1``, that to ``path.2``, and so on. None: any size.
        backups: how many of those are kept.
        max_age: seconds from its opening (or, if it was there, its last change) after which it is renamed as well.
    """

    path: str | os.PathLike[str]
    max_bytes: int | None = 10 << 20
    backups: int = 3
    max_age: float | None = None

    def fault(self) -> str | None:
        """The rule that it breaks, if it does."""
        if not (isinstance(self.path, str) and self.path and "\0" not in self.path) and not hasattr(self.path, "__fspath__"):
            return f"must have a path, not {self.path!r}"
        if self.max_bytes is not None and not (_is_int(self.max_bytes) and self.max_bytes >= 1):
            return f"must have max_bytes that is an int >= 1, or None, not {self.max_bytes!r}"
        if not (_is_int(self.backups) and self.backups >= 0):
            return f"must have backups that is an int >= 0, not {self.backups!r}"
        age = self.max_age
        if age is not None and (not isinstance(age, int | float) or isinstance(age, bool) or not age > 0):
            return f"must have max_age that is > 0 seconds, or None, not {age!r}"
        return None


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
