"""Whom a child runs as: names from the user database, looked up by the manager before anything starts."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

SETGID, SETUID, KILL = 1 << 6, 1 << 7, 1 << 5
"""What it takes to become another user, and to end its processes: bits in the capabilities of a process."""


class Identity(NamedTuple):
    """Another user, another group, or both.

    Attributes:
        groups: supplementary ones; None: the manager's stay.
        name: None for a number that the user database does not know. home: its folder.
    """

    uid: int
    gid: int
    groups: list[int] | None
    name: str | None
    home: str

    @property
    def is_another(self) -> bool:
        """Whether it is a user that this process is not."""
        return self.uid != os.geteuid()

    @property
    def switch(self) -> tuple[int, int, list[int] | None]:
        """What the child has to know."""
        return self.uid, self.gid, self.groups

    @property
    def environment(self) -> dict[str, str | None]:
        """What follows the user; None: is not known, and must not stay the manager's."""
        return {"HOME": self.home, "USER": self.name, "LOGNAME": self.name} if self.groups is not None else {}


def identity_of(path: str, options: Mapping[str, Any]) -> Identity | None:
    """Whom the child of this node is to run as; None when that is who we are.

    Raises:
        OSError: EINVAL for a user or group that does not exist, EPERM when we may not become it; the text names the node and
            the value, a note the step.
    """
    user, group = options.get("user"), options.get("group")
    if user is None and group is None:
        return None
    found = _of_user(path, user, group) if user is not None else _of_group(path, group)
    if (found.uid, found.gid) == (os.geteuid(), os.getegid()):
        return None
    needs = SETGID if user is None else SETUID | SETGID | KILL
    if _held() & needs != needs:
        field, value, bit = ("group", group, "CAP_SETGID") if user is None else ("user", user, "CAP_SETUID")
        raise _fault(errno.EPERM, f"node {path}: {field} {value!r} needs root or {bit}")
    return found


def may_switch() -> bool:
    """Whether children may be other users here."""
    needs = SETUID | SETGID | KILL
    return _held() & needs == needs


def _of_group(path: str, group: Any) -> Identity:
    return Identity(os.geteuid(), _gid_of(path, group), None, None, "/")


def _of_user(path: str, user: str | int, group: str | int | None) -> Identity:
    import pwd

    try:
        entry = pwd.getpwuid(user) if isinstance(user, int) else pwd.getpwnam(user)
    except (KeyError, OverflowError):
        if isinstance(user, str) or group is None:
            hint = "" if isinstance(user, str) else "; a number that nobody bears needs group= as well"
            raise _fault(errno.EINVAL, f"node {path}: user {user!r} is unknown{hint}") from None
        gid = _gid_of(path, group)
        return Identity(user, gid, [gid], None, "/")
    gid = entry.pw_gid if group is None else _gid_of(path, group)
    return Identity(entry.pw_uid, gid, os.getgrouplist(entry.pw_name, gid), entry.pw_name, entry.pw_dir or "/")


def _gid_of(path: str, group: str | int) -> int:
    import grp

    if isinstance(group, int):
        return group
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise _fault(errno.EINVAL, f"node {path}: group {group!r} is unknown") from None


def _fault(number: int, text: str) -> OSError:
    error = OSError(number, text)
    error.add_note("step: user")
    return error


def _held() -> int:
    """The capabilities that our helper processes have: root's come back with each exec, another user's only if ambient."""
    everything = SETUID | SETGID | KILL
    try:
        with open("/proc/self/status", "rb") as file:
            lines = dict(line.split(b":", 1) for line in file if line.startswith(b"Cap"))
    except OSError:  # no Linux
        return everything if os.geteuid() == 0 else 0
    return int(lines[b"CapEff" if os.geteuid() == 0 else b"CapAmb"], 16)
