"""Which options a spec may carry, by kind, and what is wrong with the ones it does. All faults at once; nothing starts here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from math import inf
from typing import Any

from asyncproc._core.backoff import Backoff
from asyncproc._core.lifecycle.action import PHASES
from asyncproc._core.log_file import LogFile
from asyncproc._core.names import name_fault
from asyncproc._core.size import size_in_bytes
from asyncproc._core.supervision.heartbeat import SHORTEST
from asyncproc.errors import Fault

PROCESS, THREAD, COROUTINE, COMMAND = "process", "thread", "coroutine", "command"
SEQUENTIAL, CONCURRENT, SUPERVISOR = "sequential", "concurrent", "supervisor"
LEAVES = frozenset({PROCESS, THREAD, COROUTINE, COMMAND})
LOOPED = frozenset({PROCESS, THREAD, COROUTINE})
OS = frozenset({PROCESS, COMMAND})
GROUPS = frozenset({SEQUENTIAL, CONCURRENT, SUPERVISOR})
COMMANDS = frozenset({COMMAND})
EVERY = LEAVES | GROUPS
MEMBERS_ONLY = ("needs", "essential")
"""What only a Supervisor can honour, of its members."""

Check = Callable[[Any], str | None]
"""Takes a value, gives the rule that it breaks, or None."""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def _seconds(value: object) -> str | None:
    return None if _is_number(value) and value >= 0 else "must be >= 0 seconds"  # type: ignore[operator]  # a number


def _seconds_or_none(value: object) -> str | None:
    return None if value is None or _seconds(value) is None else "must be >= 0 seconds, or None"


def _positive_or_none(value: object) -> str | None:
    well = value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 1)
    return None if well else "must be an int >= 1, or None"


def _positive(value: object) -> str | None:
    return "must be an int >= 1" if value is None else _positive_or_none(value) and "must be an int >= 1"


def _count(value: object) -> str | None:
    well = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return None if well else "must be an int >= 0"


def _count_or_none(value: object) -> str | None:
    return None if value is None or _count(value) is None else "must be an int >= 0, or None for until stopped"


def _count_or_no_limit(value: object) -> str | None:
    return None if value is None or _count(value) is None else "must be an int >= 0, or None for no limit"


def _above_zero(value: object) -> str | None:
    return None if _is_number(value) and value > 0 else "must be > 0 seconds"  # type: ignore[operator]  # a number


def _setup(value: object) -> str | None:
    return None if value is None or hasattr(value, "adds_arguments") else "must be a Setup"


def _timeouts(value: object) -> str | None:
    if not isinstance(value, Mapping):
        return "must be a mapping of phases to seconds"
    for phase, limit in value.items():
        if phase not in PHASES:
            return f"knows {', '.join(PHASES)}; not {phase!r}"
        if limit is not None and not (_is_number(limit) and limit > 0):
            return f"{phase} must be > 0 seconds, or None"
    return None


def _heartbeat(value: object) -> str | None:
    well = value is None or (_is_number(value) and SHORTEST <= value < inf)  # type: ignore[operator]  # a number
    return None if well else f"must be >= {SHORTEST} seconds, or None"


def _probe(value: object) -> str | None:
    """Which probe a kind of child can have is looked at where probes are known: :mod:`asyncproc._spec.probes`."""
    well = value in (None, "call", "notify") or callable(value) or hasattr(value, "is_probe")
    return None if well else "must be a probe (Port, Http, LogLine, Exec or an async function), 'call', 'notify' or None"


def _one_of(*allowed: object) -> Check:
    return lambda value: None if value in allowed else f"must be one of {', '.join(map(repr, allowed))}"


def _callable_or_none(value: object) -> str | None:
    return None if value is None or callable(value) else "must be callable"


def _flag(value: object) -> str | None:
    return None if isinstance(value, bool) else "must be True or False"


def _path(value: object) -> str | None:
    well = (isinstance(value, str | bytes) and value) or hasattr(value, "__fspath__")
    return None if well else "must be a path"


def _env(value: object) -> str | None:
    if not isinstance(value, Mapping):
        return "must be a mapping of names to values"
    for name, text in value.items():
        if not isinstance(name, str) or not name or "=" in name or "\0" in name:
            return "must have names that are str, not empty, without = and NUL"
        if text is not None and (not isinstance(text, str) or "\0" in text):
            return "must have values that are str without NUL, or None to remove"
    return None


def _int_between(low: int, high: int) -> Check:
    def check(value: object) -> str | None:
        well = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        return None if well else f"must be an int from {low} to {high}"

    return check


def _account(value: object) -> str | None:
    well = (isinstance(value, str) and value and "\0" not in value) or _count(value) is None
    return None if value is None or well else "must be a name or a number"


def _memory(value: object) -> str | None:
    return None if value is None or size_in_bytes(value) else "must be bytes >= 1, or a text as '512MiB' or '1.5GB'"


def _cpus(value: object) -> str | None:
    well = isinstance(value, Collection) and value and all(isinstance(cpu, int) and cpu >= 0 for cpu in value)
    return None if well else "must be a collection of processor numbers"


def _rlimits(value: object) -> str | None:
    if not isinstance(value, Mapping):
        return "must be a mapping of limits, e.g. {'nofile': 256}"
    for name, limit in value.items():
        if not isinstance(name, str) or name.lower().removeprefix("rlimit_") not in RLIMITS:
            return f"knows {', '.join(sorted(RLIMITS))}; not {name!r}"
        pair = limit if isinstance(limit, tuple) else (limit, limit)
        if len(pair) != 2 or not all(isinstance(part, int) and part >= -1 for part in pair) or _crossed(*pair):
            return f"{name} must be an int >= -1 or a pair (soft, hard) with soft <= hard"
    return None


def _crossed(soft: int, hard: int) -> bool:
    return hard != -1 and (soft > hard or soft == -1)


RLIMITS = {
    "cpu": 0, "fsize": 1, "data": 2, "stack": 3, "core": 4, "rss": 5, "nproc": 6, "nofile": 7, "memlock": 8, "as": 9,
    "sigpending": 11, "msgqueue": 12, "nice": 13, "rtprio": 14,
}  # fmt: skip
"""Linux numbers; RLIMIT_LOCKS is ours."""


def _stream(*words: str) -> Check:
    def check(value: object) -> str | None:
        if isinstance(value, str) and value in LATER_STREAMS:
            return f"{value!r} is not supported by this version"
        if isinstance(value, LogFile):
            return value.fault()
        return _path(value) and f"must be one of {', '.join(map(repr, words))}, a path, or a LogFile"

    return check


LATER_STREAMS = frozenset({"terminal", "pipe"})


def _stdin(value: object) -> str | None:
    if value == "terminal":
        return f"{value!r} is not supported by this version"
    return None if isinstance(value, str | bytes) else "must be text or bytes to be read, 'pipe', or 'null'"


def _signal(value: object) -> str | None:
    well = isinstance(value, str | int) and not isinstance(value, bool)
    return None if well else "must be a signal's name or number"


def _codes(value: object) -> str | None:
    well = isinstance(value, Collection) and all(isinstance(code, int) and 0 <= code <= 255 for code in value)
    return None if well else "must be a collection of exit codes from 0 to 255"


def _metadata(value: object) -> str | None:
    well = isinstance(value, Mapping) and all(isinstance(key, str) for key in value)
    return None if well else "must be a mapping with keys that are str"


def _encoding(value: object) -> str | None:
    return None if value is None or isinstance(value, str) else "must be the name of an encoding, or None for bytes"


def _restart(value: object) -> str | None:
    well = callable(value) or (isinstance(value, str) and value in RESTARTS)
    return None if well else f"must be one of {', '.join(map(repr, RESTARTS))}, or a callable that is given the Exit"


RESTARTS = ("permanent", "transient", "temporary")


def _backoff(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, Backoff):
        return "must be a Backoff, or None for no delay"
    for field in ("first", "cap", "stable_after"):
        if rule := _seconds(getattr(value, field)):
            return f"{field} {rule}"
    if not _is_number(value.factor) or value.factor < 1:
        return "factor must be >= 1"
    return None if value.jitter in ("full", None) else "jitter must be 'full', or None"


def _resources(value: object) -> str | None:
    if not isinstance(value, Mapping):
        return "must be a mapping of names to amounts"
    for name, amount in value.items():
        if not isinstance(name, str) or not name:
            return "must have names that are text, not empty"
        if not _is_number(amount) or not 0 < amount < inf:
            return f"{name} must be an amount > 0"
    return None


def _schedule(value: object) -> str | None:
    """What a text means is looked at where cron is known: :mod:`asyncproc._spec.schedule`."""
    well = value is None or isinstance(value, str) or hasattr(value, "is_schedule")
    if well or (_is_number(value) and 0 < value < inf):  # type: ignore[operator]  # a number
        return None
    return "must be seconds > 0, cron text, a Schedule, or None"


def _watch(value: object) -> str | None:
    """Whether the paths are there is looked at before a start: :mod:`asyncproc._spec.watch`."""
    if isinstance(value, str | bytes) or not isinstance(value, Collection):
        return "must be a sequence of paths"
    return None if all(isinstance(path, str) or hasattr(path, "__fspath__") for path in value) else "must hold paths"


def _needs(value: object) -> str | None:
    well = not isinstance(value, str | bytes) and isinstance(value, Collection) and all(isinstance(name, str) for name in value)
    return None if well else "must be a sequence of names of siblings"


_OUTPUTS = ("capture", "tee", "inherit", "null", "log")

HONOURED: dict[str, tuple[Collection[str], Check]] = {
    "name": (EVERY, name_fault),
    "scale": (EVERY, _positive),
    "start_timeout": (LEAVES, _seconds_or_none),
    "timeout": (EVERY, _seconds_or_none),
    "grace": (EVERY, _seconds_or_none),
    "metadata": (EVERY, _metadata),
    "starting": (EVERY, _callable_or_none),
    "started": (EVERY, _callable_or_none),
    "ended": (EVERY, _callable_or_none),
    "on_stop": (LOOPED, _one_of("cancel", "finish")),
    "setup": (LOOPED, _setup),
    "loops": (LOOPED, _count_or_none),
    "join_in": (LOOPED, _seconds_or_none),
    "retries": (LOOPED, _count),
    "timeouts": (LOOPED, _timeouts),
    "heartbeat": ({PROCESS, THREAD}, _heartbeat),
    "ready": (LEAVES, _probe),
    "alive": (LEAVES, _probe),
    "env": (OS, _env),
    "inherit_env": (OS, _flag),
    "cwd": (OS, _path),
    "umask": (OS, _int_between(0, 0o777)),
    "nice": (OS, _int_between(-20, 19)),
    "cpus": (OS, _cpus),
    "rlimits": (OS, _rlimits),
    "user": (OS, _account),
    "group": (OS, _account),
    "trust": (OS, _one_of("code", "data")),
    "max_memory": (OS, _memory),
    "stdout": (OS, _stream(*_OUTPUTS)),
    "stderr": (OS, _stream(*_OUTPUTS, "stdout")),
    "stdin": (COMMANDS, _stdin),
    "shell": (COMMANDS, _flag),
    "encoding": (COMMANDS, _encoding),
    "ok_codes": (COMMANDS, _codes),
    "stop_signal": (COMMANDS, _signal),
    "max_output": (COMMANDS, _positive),
    "restart": (EVERY, _restart),
    "backoff": (EVERY, _backoff),
    "needs": (EVERY, _needs),
    "essential": (EVERY, _flag),
    "resources": (EVERY, _resources),
    "schedule": (EVERY, _schedule),
    "watch": (EVERY, _watch),
    "on_failure": (GROUPS - {SUPERVISOR}, _one_of("stop", "continue")),
    "limit": ({CONCURRENT, SUPERVISOR}, _positive_or_none),
    "strategy": ({SUPERVISOR}, _one_of("one_for_one", "one_for_all", "rest_for_one")),
    "intensity": ({SUPERVISOR}, _count_or_no_limit),
    "period": ({SUPERVISOR}, _above_zero),
    "at_limit": ({SUPERVISOR}, _one_of("escalate", "stay", "pause")),
    "auto_shutdown": ({SUPERVISOR}, _one_of(None, "any", "all")),
}

NOT_YET: dict[str, Collection[str]] = {
    **dict.fromkeys(("engine",), EVERY),
    **dict.fromkeys(("ready", "alive"), GROUPS),
    **dict.fromkeys(("pty", "detach", "policy"), COMMANDS),
}
"""Options of the contract that this version refuses, by kind: never taken and forgotten."""

ONLY_VALUE: dict[str, tuple[Collection[str], object]] = {
    "lag": ({CONCURRENT}, 0),
}
"""Options of which this version supports their default alone."""


def option_faults(kind: str, path: str, options: Mapping[str, Any]) -> list[Fault]:
    """Everything that is wrong with the options of one spec."""
    faults: list[Fault] = []
    for field, value in options.items():
        rule = _rule(kind, field, value)
        if rule is not None:
            faults.append(Fault(path, field, value, rule))
    return faults


def _rule(kind: str, field: str, value: object) -> str | None:
    if field in HONOURED and (kind in HONOURED[field][0] or kind not in NOT_YET.get(field, ())):
        kinds, check = HONOURED[field]
        return check(value) if kind in kinds else _not_for(kind, kinds)
    if field in ONLY_VALUE:
        kinds, only = ONLY_VALUE[field]
        if kind not in kinds:
            return _not_for(kind, kinds)
        return None if value == only else f"must be {only!r} in this version"
    if field in NOT_YET:
        return "is not supported by this version" if kind in NOT_YET[field] else _not_for(kind, NOT_YET[field])
    return f"is no option of a {kind}{_nearest(kind, field)}"


def _not_for(kind: str, kinds: Collection[str]) -> str:
    return f"cannot be honoured by a {kind}: it is for {', '.join(sorted(kinds))}"


def _nearest(kind: str, field: str) -> str:
    from difflib import get_close_matches

    kinds_by_name = {name: kinds for table in (HONOURED, ONLY_VALUE) for name, (kinds, _) in table.items()}
    known = [name for name, kinds in (kinds_by_name | NOT_YET).items() if kind in kinds]
    found = get_close_matches(field, known, 1)
    return f", did you mean {found[0]!r}?" if found else ""


def table() -> dict[str, dict[str, str]]:
    """Every option by kind: ``honoured``, ``refused`` or ``later``, for the documentation."""
    rows: dict[str, dict[str, str]] = {}
    for field in (*HONOURED, *ONLY_VALUE, *NOT_YET):
        kinds = HONOURED[field][0] if field in HONOURED else ONLY_VALUE[field][0] if field in ONLY_VALUE else ()
        later = NOT_YET.get(field, ())
        rows[field] = {kind: "honoured" if kind in kinds else "later" if kind in later else "refused" for kind in sorted(EVERY)}
    return rows
