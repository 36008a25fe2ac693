"""How a child is asked whether it is ready, or still well: values for the options ``ready`` and ``alive``, checked when made.

They say what is asked and how often. Who asks stands in :mod:`asyncproc._supervision.health`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from asyncproc._core import options as kinds
from asyncproc._spec.argv import argv_faults
from asyncproc._spec.callables import is_async, name_of
from asyncproc.errors import Fault, SpecError

if TYPE_CHECKING:
    from asyncproc._supervision.handle import Handle

Question: TypeAlias = "Callable[[Handle[Any]], Awaitable[bool]]"
"""A probe of the user's own; called in the owner."""


@dataclass(frozen=True)
class Pace:
    """How often a probe is asked.

    Attributes:
        interval: seconds between two checks of the living, and the most between two checks of a child that starts.
        timeout: seconds after which one check is cut; that is a failure.
        failures: how many in a row make a child unhealthy, or no longer ready.
        again: seconds between further checks of one that was ready; None: it is not asked again. For ``ready`` alone.
    """

    is_probe: ClassVar[bool] = True

    interval: float = field(default=1.0, kw_only=True)
    timeout: float = field(default=1.0, kw_only=True)
    failures: int = field(default=3, kw_only=True)
    again: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        faults = [*self._faults(), *self._pace_faults()]
        if faults:
            name = type(self).__name__
            raise SpecError([Fault(name, about, value, rule) for about, value, rule in faults])

    def _faults(self) -> list[_Rule]:
        return []

    def _pace_faults(self) -> list[_Rule]:
        faults: list[_Rule] = [
            (name, getattr(self, name), "must be > 0 seconds")
            for name in ("interval", "timeout")
            if not _is_positive(getattr(self, name))
        ]
        if not _is_int(self.failures) or self.failures < 1:
            faults.append(("failures", self.failures, "must be an int >= 1"))
        if self.again is not None and not _is_positive(self.again):
            faults.append(("again", self.again, "must be > 0 seconds, or None"))
        return faults


_Rule: TypeAlias = tuple[str, object, str]
"""A field, its value, and the rule that it breaks."""


@dataclass(frozen=True)
class Port(Pace):
    """Well when something accepts a TCP connection there. The connection is closed at once, and nothing is sent on it."""

    port: int
    host: str = "127.0.0.1"

    def _faults(self) -> list[_Rule]:
        faults: list[_Rule] = []
        if not _is_int(self.port) or not 1 <= self.port <= 65535:
            faults.append(("port", self.port, "must be an int from 1 to 65535"))
        if not isinstance(self.host, str) or not self.host:
            faults.append(("host", self.host, "must be a host's name or address"))
        return faults


@dataclass(frozen=True)
class Http(Pace):
    """Well when a GET of *url* is answered with *status*, or one of them. Redirects are not followed, bodies not read."""

    url: str
    status: int | Collection[int] = 200

    def _faults(self) -> list[_Rule]:
        faults: list[_Rule] = []
        if (rule := _url_rule(self.url)) is not None:
            faults.append(("url", self.url, rule))
        codes = [self.status] if isinstance(self.status, int) else self.status
        well = isinstance(codes, Collection) and codes and all(_is_int(code) and 200 <= code <= 599 for code in codes)
        if not well:
            faults.append(("status", self.status, "must be a code from 200 to 599, or several"))
        return faults


def _url_rule(url: object) -> str | None:
    from urllib.parse import urlsplit

    if not isinstance(url, str) or not url.isascii() or not url.isprintable() or " " in url:
        return "must be an address in printable ASCII, without spaces"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"is no address: {error}"
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        return "must begin with http:// or https:// and a host"
    return "must hold no user and password: they would stand in messages" if "@" in parts.netloc else None


@dataclass(frozen=True, init=False)
class Exec(Pace):
    """Well when a program ends with code 0. It is killed at *timeout*, with all that it has started.

    It runs beside the child, in its folder and with its environment; nothing of it is left when the child has ended.
    """

    argv: tuple[str, ...]

    def __init__(
        self,
        *argv: str | os.PathLike[str],
        interval: float = 1.0,
        timeout: float = 1.0,
        failures: int = 3,
        again: float | None = None,
    ) -> None:
        pace = {"interval": interval, "timeout": timeout, "failures": failures, "again": again}
        for name, value in {"argv": argv, **pace}.items():
            object.__setattr__(self, name, value)
        self.__post_init__()
        object.__setattr__(self, "argv", tuple(map(os.fsdecode, argv)))

    def _faults(self) -> list[_Rule]:
        return argv_faults(self.argv, "Exec")


@dataclass(frozen=True)
class LogLine:
    """Ready when a line of its output matches: ``re.search`` in each whole line, without its end.

    Attributes:
        regex: text or a compiled pattern of text. Output is decoded as UTF-8.
        stream: ``"stdout"`` or ``"stderr"``; None: whichever of the two is captured.
    """

    is_probe: ClassVar[bool] = True

    regex: str | re.Pattern[str]
    stream: Literal["stdout", "stderr"] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        faults = []
        if (rule := _regex_rule(self.regex)) is not None:
            faults.append(Fault("LogLine", "regex", self.regex, rule))
        if self.stream not in ("stdout", "stderr", None):
            faults.append(Fault("LogLine", "stream", self.stream, "must be 'stdout', 'stderr' or None"))
        if faults:
            raise SpecError(faults)

    @property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(self.regex)


def _regex_rule(regex: object) -> str | None:
    if isinstance(regex, re.Pattern):
        return None if isinstance(regex.pattern, str) else "must be a pattern of text, not of bytes"
    if not isinstance(regex, str):
        return "must be a regular expression"
    try:
        re.compile(regex)
    except re.error as error:
        return f"is no regular expression: {error}"
    return None


# --- as options of a spec -------------------------------------------------------------------------------------------------


def probe_faults(kind: str, path: str, options: Mapping[str, Any]) -> list[Fault]:
    """What is wrong with the probes of a leaf of this kind."""
    rules = {"ready": _ready_rule, "alive": _alive_rule}
    found = ((word, options.get(word)) for word in rules)
    return [Fault(path, word, value, rule) for word, value in found if (rule := rules[word](kind, value, options)) is not None]


def asks(value: object) -> bool:
    """Whether somebody must ask, rather than wait to be told by the child itself."""
    return value is not None and not isinstance(value, str)


def _ready_rule(kind: str, value: object, options: Mapping[str, Any]) -> str | None:
    if value == "call":
        return None if kind in kinds.LOOPED else f"is for what calls current().ready(): {_list(kinds.LOOPED)}; not a {kind}"
    if value == "notify":
        return None if kind in kinds.OS else f"is for what has a process of its own: {_list(kinds.OS)}; not a {kind}"
    if isinstance(value, LogLine):
        return _stream_rule(kind, value, options)
    return None if value is None else _asked_rule(value)


def _alive_rule(kind: str, value: object, options: Mapping[str, Any]) -> str | None:
    if value in ("call", "notify") or isinstance(value, LogLine):
        return "is said once, when a child is ready: it tells nothing of how it is now"
    if isinstance(value, Pace) and value.again is not None:
        return "is asked every `interval`: `again` is for ready"
    return None if value is None else _asked_rule(value)


def _asked_rule(value: object) -> str | None:
    if isinstance(value, Pace) and type(value) is not Pace:
        return None
    if isinstance(value, type) or not callable(value):
        return "must be Port, Http, Exec, or an async function that takes the handle; for ready also LogLine, 'call', 'notify'"
    if not is_async(value):
        return f"must be async: `async def {name_of(value)}(handle) -> bool`; a plain one would block the loop"
    return None


def _stream_rule(kind: str, line: LogLine, options: Mapping[str, Any]) -> str | None:
    if kind not in kinds.OS:
        return f"reads what a process writes: {_list(kinds.OS)}; a {kind} has no output of its own"
    if heard_streams(kind, line, options):
        return None
    wanted = "stdout or stderr" if line.stream is None else line.stream
    return f"needs {wanted} to be 'capture' or 'tee'"


def heard_streams(kind: str, line: LogLine, options: Mapping[str, Any]) -> list[str]:
    """The captured streams in which a line is looked for."""
    stdout, stderr = ("inherit", "tee") if kind == kinds.PROCESS else ("capture", "capture")
    ways = {"stdout": options.get("stdout", stdout), "stderr": options.get("stderr", stderr)}
    names = ["stdout", "stderr"] if line.stream is None else [line.stream]
    if line.stream == "stderr" and ways["stderr"] == "stdout":
        names = ["stdout"]
    return [name for name in names if ways[name] in ("capture", "tee")]


def _list(found: Collection[str]) -> str:
    return ", ".join(sorted(found))


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")
