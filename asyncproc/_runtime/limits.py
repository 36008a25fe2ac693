"""What a child is given of the machine: limits, niceness, processors, umask, user. Applied in the child itself."""

from __future__ import annotations

import os
import resource

from asyncproc._runtime import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any


def apply_limits(options: Mapping[str, Any]) -> None:
    """Apply what *options* names, all but the user: that comes last of all, by :func:`become_user`.

    Args:
        options: any of ``leaf`` (a cgroup), ``rlimits`` (pairs by number), ``nice``, ``cpus``, ``umask``.

    Raises:
        OSError: the platform refuses one of them.
    """
    if "leaf" in options:
        _enter(options["leaf"])
    for number, pair in options.get("rlimits", {}).items():
        _limit(number, pair)
    if "nice" in options:
        os.nice(options["nice"])
    if "cpus" in options:
        os.sched_setaffinity(0, options["cpus"])
    if options.get("umask", -1) >= 0:
        os.umask(options["umask"])


def _limit(number: int, pair: tuple[int, int]) -> None:
    try:
        resource.setrlimit(number, pair)
    except ValueError as error:  # how Python tells of some
        raise PermissionError(1, str(error)) from None


def _enter(leaf: str) -> None:
    try:
        with open(f"{leaf}/cgroup.procs", "wb", buffering=0) as file:
            file.write(b"0")
    except OSError:  # it only hurries an end: the sweep by stamps is there all the same
        pass


def become_user(user: tuple[int, int, Sequence[int] | None], parent: int | None) -> None:
    """Become another user for good: groups, then gid, then uid, and a look whether all of it came true.

    What the kernel takes back at such a change is asked for again, and no program that is executed later gains rights.

    Args:
        user: uid, gid and supplementary groups; None for these: they stay. parent: whose end is this process's; None: nobody's.

    Raises:
        OSError: the system refuses it, or has done something else.
    """
    uid, gid, groups = user
    same = os.getresuid() == (uid, uid, uid)
    if groups is not None:
        os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if uid and not same:
        kernel.give_up_privileges()
    kept = groups is None or set(os.getgroups()) == set(groups)
    if os.getresuid() != (uid, uid, uid) or os.getresgid() != (gid, gid, gid) or not kept:
        raise PermissionError(1, "the system has not changed the user")
    if parent is not None:
        kernel.die_with(parent)
    kernel.forbid_new_privileges()
