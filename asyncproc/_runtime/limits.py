"""What a child is given of the machine: limits, niceness, processors, umask, user. Applied in the child itself."""

from __future__ import annotations

import os
import resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def apply_limits(options: Mapping[str, Any]) -> None:
    """Apply what *options* names, in the only order that works: what needs privileges first, the user last.

    Args:
        options: any of ``rlimits`` (pairs by number), ``nice``, ``cpus``, ``umask``, ``gid``, ``groups``, ``uid``.

    Raises:
        OSError: the platform refuses one of them.
        ValueError: a limit is not possible.
    """
    for number, pair in options.get("rlimits", {}).items():
        resource.setrlimit(number, pair)
    if "nice" in options:
        os.nice(options["nice"])
    if "cpus" in options:
        os.sched_setaffinity(0, options["cpus"])
    if options.get("umask", -1) >= 0:
        os.umask(options["umask"])
    if "gid" in options:
        os.setgroups(options.get("groups", []))
        os.setgid(options["gid"])
    if "uid" in options:
        os.setuid(options["uid"])
