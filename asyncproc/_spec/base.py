"""What every spec is: a frozen description with a kind, options and perhaps members. It starts nothing and knows no manager."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeAlias

from asyncproc._core.exit import Exit
from asyncproc._core.options import LEAVES, option_faults
from asyncproc.errors import Fault, SpecError

if TYPE_CHECKING:
    from typing import TypedDict

    from typing_extensions import TypeVar

    from asyncproc._core.backoff import Backoff
    from asyncproc._core.log_file import LogFile
    from asyncproc._spec.probes import Exec, Http, LogLine, Port, Question
    from asyncproc._spec.schedule import Schedule
    from asyncproc._supervision.handle import Handle

    T_co = TypeVar("T_co", default=Any, covariant=True)
else:
    from typing import TypeVar

    class TypedDict:
        """The real one compiles each annotation; nothing here asks for them."""

        def __init_subclass__(cls, total=True): ...

    T_co = TypeVar("T_co", covariant=True)

Path: TypeAlias = str | os.PathLike[str]
Restart: TypeAlias = Literal["permanent", "transient", "temporary"] | Callable[[Exit], bool]
Callback: TypeAlias = "Callable[[Handle[Any]], object]"
Alive: TypeAlias = "Port | Http | Exec | Question"


class Options(TypedDict, total=False):
    """Options of every spec."""

    name: str
    scale: int
    restart: Restart
    backoff: Backoff | None
    needs: Sequence[str]
    essential: bool
    resources: Mapping[str, float]
    start_timeout: float | None
    timeout: float | None
    grace: float | None
    starting: Callback | None
    started: Callback | None
    ended: Callback | None
    metadata: Mapping[str, Any]
    schedule: str | float | Schedule | None
    watch: Sequence[Path]


class LoopOptions(Options, total=False):
    """Options of what runs a target."""

    loops: int | None
    join_in: float | None
    retries: int
    on_stop: Literal["cancel", "finish"]
    timeouts: Mapping[str, float | None]
    heartbeat: float | None
    ready: Alive | LogLine | Literal["call", "notify"] | None
    alive: Alive | None


class OsOptions(TypedDict, total=False):
    """Options of what is a process."""

    env: Mapping[str, str | None]
    inherit_env: bool
    cwd: Path
    umask: int
    nice: int
    cpus: Collection[int]
    rlimits: Mapping[str, int | tuple[int, int]]
    stdout: Literal["capture", "tee", "inherit", "null", "log"] | Path | LogFile
    stderr: Literal["capture", "tee", "inherit", "null", "log", "stdout"] | Path | LogFile
    user: str | int | None
    group: str | int | None
    trust: Literal["code", "data"]
    max_memory: int | str | None


class ProcessOptions(LoopOptions, OsOptions, total=False):
    """Options of a Process."""


class RunCommandOptions(Options, OsOptions, total=False):
    """Options of a command that is run to its end."""

    ready: Alive | LogLine | Literal["notify"] | None
    alive: Alive | None
    shell: bool
    ok_codes: Collection[int]
    stop_signal: str | int
    max_output: int


class CommandOptions(RunCommandOptions, total=False):
    """Options of a Command."""

    stdin: str | bytes
    encoding: str | None


class Described:
    """What a spec holds; in one private attribute, so that all other names on it are the user's."""

    __slots__ = ("args", "kind", "kwargs", "members", "missing", "options", "target")

    def __init__(
        self,
        kind: str,
        options: Mapping[str, Any],
        target: Callable[..., Any] | None = None,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
        members: tuple[Spec[Any], ...] = (),
    ) -> None:
        self.kind = kind
        self.options = dict(options)
        self.target = target
        self.args = args
        self.kwargs = dict(kwargs or {})
        self.members = members
        self.missing: str | None = None  # how the arguments do not suffice; found when they are checked


class Spec(Generic[T_co]):
    """A frozen description of what is to run; awaiting it, once it runs, gives a ``T``. Reusable, also within one tree."""

    _asyncproc: Described

    def with_options(self, **changes: Any) -> Self:
        """A copy with other options.

        Raises:
            SpecError: an option is wrong, with all faults.
        """
        import copy

        made = copy.copy(self)
        old = self._asyncproc
        described = Described(old.kind, {**old.options, **changes}, old.target, old.args, old.kwargs, old.members)
        object.__setattr__(made, "_asyncproc", described)
        made._check()
        return made

    @property
    def made_name(self) -> str:
        """The name of a node that nobody named."""
        raise NotImplementedError

    def _faults(self, path: str) -> list[Fault]:
        kind, options = self._asyncproc.kind, self._asyncproc.options
        faults = option_faults(kind, path, options)
        if kind in LEAVES and ("ready" in options or "alive" in options):
            from asyncproc._spec.probes import probe_faults

            known = [fault.field for fault in faults]
            faults += [fault for fault in probe_faults(kind, path, options) if fault.field not in known]
        if "schedule" in options and not any(fault.field == "schedule" for fault in faults):
            from asyncproc._spec.schedule import schedule_faults

            faults += schedule_faults(path, options)
        if options.get("watch") and not any(fault.field == "watch" for fault in faults):
            from asyncproc._spec.watch import watch_faults

            faults += watch_faults(path, options["watch"])
        return faults

    def _check(self) -> None:
        name = self._asyncproc.options.get("name", self.made_name)
        faults = self._faults(name if isinstance(name, str) else repr(name))
        if faults:
            raise SpecError(faults)

    def __repr__(self) -> str:
        described = self._asyncproc
        options = "".join(f", {name}={value!r}" for name, value in described.options.items() if name not in _UNSHOWN)
        return f"{type(self).__name__}({self.made_name}{options})"


_UNSHOWN = frozenset({"env", "metadata", "stdin"})
"""Values that stand in no log, error or picture."""
