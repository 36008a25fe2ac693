"""What a group gives: the values of what ended well, and how everything ended.

Here also is what an end is raised as, where somebody awaits it; everywhere else it is data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from asyncproc._core.exit import Exit, Reason
from asyncproc.errors import ChildCrashed, ChildSkipped, ChildStopped, ChildTimeout

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Self


class Results(Mapping[str, Any]):
    """The results of a group by path relative to it, in order of the spec; of several rounds, the last.

    A nested group's stand under their paths, as in ``results["build/index"]``, and under its own name as Results. What
    did not end well has no value: asking for it is a KeyError that says why.

    Attributes:
        rounds: how many there were.
        exits: how each node below the group ended.
        succeeded: paths of what ended well.
        failed: what did not. A group stands here only for a failure of its own: that its time was over.
        skipped: what was never started, with the path or the person that was the cause.
        duration: seconds of the last round.
    """

    def __init__(
        self,
        values: Mapping[str, Any],
        exits: Mapping[str, Exit],
        *,
        rounds: int = 1,
        duration: float = 0.0,
        errors: Mapping[str, BaseException] | None = None,
    ) -> None:
        """Keep what is given.

        Args:
            values: by relative path, in order of the spec; of a nested group, its Results.
            exits: by relative path, nested groups included.
            rounds: how many there were.
            duration: seconds of the last round.
            errors: what the ends of these paths are raised as, where that is not :func:`failure_of` their exit.
        """
        self.rounds = rounds
        self.duration = duration
        self.exits = dict(exits)
        self._values = dict(values)
        self._errors = dict(errors or {})
        groups = {path.rpartition("/")[0] for path in exits} | {path for path in values if isinstance(values[path], Results)}
        self.succeeded = [path for path, exit in exits.items() if exit.ok and path not in groups]
        self.failed = {path: exit for path, exit in exits.items() if exit.failed and not _only_members_fail(path, exit, groups)}
        self.skipped = {
            path: exit.asked_by or ""
            for path, exit in exits.items()
            if exit.reason is Reason.SKIPPED and path not in groups
        }  # fmt: skip

    def __getitem__(self, path: str) -> Any:
        try:
            return self._values[path]
        except KeyError:
            raise KeyError(self.exits[path].explain() if path in self.exits else path) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        counts = (("succeeded", self.succeeded), ("failed", self.failed), ("skipped", self.skipped))
        return f"<Results: {', '.join(f'{len(paths)} {word}' for word, paths in counts if paths) or 'nothing ran'}>"

    @property
    def ok(self) -> bool:
        """Whether nothing has failed."""
        return not self.failed

    def check(self) -> Self:
        """Raise what has failed, also where the group was to continue.

        Raises:
            ExceptionGroup: of all failures, nested as the groups are, also for a single one.
        """
        errors = self._failures()
        if errors:
            raise group_failure(self._path(), errors)
        return self

    def _failures(self) -> list[BaseException]:
        members = [(path, exit) for path, exit in self.exits.items() if "/" not in path]
        return [error for path, exit in members if (error := self._failure(path, exit)) is not None]

    def _failure(self, path: str, exit: Exit) -> BaseException | None:
        nested = self._values.get(path)
        below = nested._failures() if isinstance(nested, Results) else []
        own = self._errors.get(path) or failure_of(exit) if path in self.failed else None
        if not below:
            return own
        return group_failure(exit.path, below if own is None else [*below, own])

    def _path(self) -> str:
        """Of the group itself: what its members' paths have before their relative ones."""
        relative, exit = next(iter(self.exits.items()))
        return exit.path.removesuffix(relative).rstrip("/")


def _only_members_fail(path: str, exit: Exit, groups: set[str]) -> bool:
    return path in groups and exit.reason is Reason.CRASHED and exit.error is None


def failure_of(exit: Exit) -> BaseException:
    """What ``await handle`` raises for this end, which was not a good one.

    Its own exception if it failed by one; otherwise one of :class:`~asyncproc.errors.ChildError` that names the cause.
    """
    match exit.reason:
        case Reason.SKIPPED:
            return ChildSkipped(exit.explain(), exit)
        case Reason.STOPPED if isinstance(exit.error, Exception) and not exit.killed and exit.signal is None:
            return exit.error  # nobody cut it off: it failed on its way out
        case Reason.STOPPED:
            return _because(ChildStopped(exit.explain(), exit), exit)
        case Reason.TIMED_OUT:
            return _because(ChildTimeout(exit.explain(), exit), exit)
        case Reason.UNHEALTHY:  # whatever it said on its way out: it would not have ended without us
            text = f"{exit.explain()}\nwhere it stood:\n{exit.stacks}" if exit.stacks else exit.explain()
            return _because(ChildCrashed(text, exit), exit)
        case _:
            # What is no Exception (a SystemExit, a cancellation) would unwind the loop of whoever awaits.
            return exit.error if isinstance(exit.error, Exception) else _because(_crash(exit), exit)


def _crash(exit: Exit) -> ChildCrashed:
    """With the stack, if the interpreter itself has told it."""
    error = ChildCrashed(exit.explain(), exit)
    if exit.stderr_tail.startswith("Fatal Python error: "):
        error.add_note(exit.stderr_tail.rstrip())
    return error


def _because(error: BaseException, exit: Exit) -> BaseException:
    error.__cause__ = exit.error
    return error


def group_failure(path: str, errors: Sequence[BaseException]) -> BaseExceptionGroup[BaseException]:
    """The failures of the members of the group at *path* as one; an ExceptionGroup when they all are Exceptions."""
    if not errors:  # an exception group cannot be empty, but who failed may have run again, and well, since
        return ExceptionGroup(f"{path}: failed", [ChildCrashed(f"{path} failed; its members have run again since")])
    return BaseExceptionGroup(f"{path}: {len(errors)} failed", errors)
