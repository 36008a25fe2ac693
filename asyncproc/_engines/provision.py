"""What a child is given, from the options of its spec and from what the host has now."""

from __future__ import annotations

import marshal
import os
import resource
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from asyncproc._core.options import RLIMITS
from asyncproc._ipc.wire import CODE
from asyncproc._runtime.warden import RUN_VARIABLE
from asyncproc.errors import Fault, SpecError

if TYPE_CHECKING:
    from asyncproc._engines.identity import Identity
    from asyncproc._ipc.wire import Wire


def environment(options: Mapping[str, Any], own: Mapping[str, str], identity: Identity | None = None) -> dict[str, str]:
    """What the child finds in its environment: the host's as it is now, unless the spec wants none, and what the spec says.

    Args:
        own: that of the helpers, with the token of this run. identity: another user, whose name and home stand there then.
    """
    inherits = options.get("inherit_env", True)
    env = {**os.environ, RUN_VARIABLE: own[RUN_VARIABLE]} if inherits else {}
    if identity is not None and inherits:
        _change(env, identity.environment)
    _change(env, options.get("env", {}))
    return env


def _change(env: dict[str, str], changes: Mapping[str, str | None]) -> None:
    for name, value in changes.items():
        if value is None:
            env.pop(name, None)
        else:
            env[name] = value


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


def limits(options: Mapping[str, Any], identity: Identity | None = None) -> dict[str, Any]:
    found = {name: options[name] for name in ("nice", "umask") if name in options}
    if identity is not None:
        found["user"] = identity.switch
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


def difference(
    base: Mapping[str, str], wanted: Mapping[str, str], exact: bool = False
) -> tuple[list[bytes] | None, dict[bytes, bytes]] | None:
    """What a process that has *base* must remove and set, as bytes: those are what an environment is made of.

    Args:
        exact: nothing but *wanted* may be there, whatever that process has found or put there itself.
    """
    if exact:
        return None, _as_bytes(wanted)
    if base == wanted:
        return None
    changed = {name: value for name, value in wanted.items() if base.get(name) != value}
    return [os.fsencode(name) for name in base if name not in wanted], _as_bytes(changed)


def _as_bytes(env: Mapping[str, str]) -> dict[bytes, bytes]:
    return {os.fsencode(name): os.fsencode(value) for name, value in env.items()}


def identity(path: str, options: Mapping[str, Any]) -> Identity | None:
    """Whom a child runs as; None: as its manager does. What looks that up is loaded for those alone."""
    if options.get("user") is None and options.get("group") is None:
        return None
    from asyncproc._engines.identity import identity_of

    return identity_of(path, options)


def wire(path: str, options: Mapping[str, Any], identity: Identity | None) -> Wire:
    """How values of a child cross: as data with ``trust="data"``, and always with another user.

    Raises:
        SpecError: another user's child was to be trusted.
    """
    trust = options.get("trust")
    another = identity is not None and identity.is_another
    if another and trust == "code":
        raise SpecError([Fault(path, "trust", trust, "cannot be given to another user: its values are data")])
    if not another and trust != "data":
        return CODE
    from asyncproc._ipc.data import DATA

    return DATA
