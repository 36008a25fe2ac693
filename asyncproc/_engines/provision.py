"""What a child is given, from the options of its spec and from what the host has now."""

from __future__ import annotations

import marshal
import os
import resource
from collections.abc import Mapping
from typing import Any

from asyncproc._core.options import RLIMITS
from asyncproc._runtime.warden import RUN_VARIABLE


def environment(options: Mapping[str, Any], own: Mapping[str, str]) -> dict[str, str]:
    """What the child finds in its environment: the host's as it is now, unless the spec wants none, and what the spec says.

    Args:
        own: that of the helpers, with the token of this run.
    """
    env = {**os.environ, RUN_VARIABLE: own[RUN_VARIABLE]} if options.get("inherit_env", True) else {}
    for name, value in options.get("env", {}).items():
        if value is None:
            env.pop(name, None)
        else:
            env[name] = value
    return env


def plain_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata as it can travel beside the call: what is no plain value goes as its text."""
    kept: dict[str, Any] = {}
    for key, value in metadata.items():
        try:
            marshal.dumps(value)
            kept[key] = value
        except ValueError:
            kept[key] = repr(value)
    return kept


def _cwd() -> str:
    try:
        return os.getcwd()
    except OSError:  # it has been removed
        return "/"


def directory(cwd: Any) -> str:
    return _cwd() if cwd is None else os.path.abspath(os.path.expandvars(os.path.expanduser(os.fsdecode(cwd))))


def limits(options: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: options[name] for name in ("nice", "umask") if name in options}
    if "cpus" in options:
        found["cpus"] = tuple(options["cpus"])
    if options.get("rlimits"):
        pairs = {name.lower().removeprefix("rlimit_"): limit for name, limit in options["rlimits"].items()}
        found["rlimits"] = {
            getattr(resource, f"RLIMIT_{name.upper()}", RLIMITS[name]): limit if isinstance(limit, tuple) else (limit, limit)
            for name, limit in pairs.items()
        }
    return found


def unless_equal(base: list[str], wanted: list[str]) -> list[str] | None:
    return None if base == wanted else wanted


def difference(base: Mapping[str, str], wanted: Mapping[str, str]) -> tuple[list[str], dict[str, str]] | None:
    if base == wanted:
        return None
    changed = {name: value for name, value in wanted.items() if base.get(name) != value}
    return [name for name in base if name not in wanted], changed
