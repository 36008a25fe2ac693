"""A cgroup of ours for a child that asks for a limit: whatever comes from it ends by one write, however fast it forks.

Used in addition to the sweep by stamps, where version 2 of the kernel's control groups is mounted (hybrid mounts too) and we
may make folders below our own group. No controller is asked for, and nothing that is not ours is written to. To move a process
into a group takes the kernel five to fifteen milliseconds, so a child that asks for no limit has none; one that does moves
itself. Who ends a group: :func:`asyncproc._runtime.kernel.kill_group`.

::

    <our group>/asyncproc-<pid of the warden>/<number>

Whoever ends a chain removes its folder. One that stays, because all of them were killed at once, is removed by the next.
"""

from __future__ import annotations

import os

PREFIX = "asyncproc-"


def own_group() -> str | None:
    """The folder of the group that this process is in; None when there is none to be seen."""
    try:
        with open("/proc/self/cgroup", "rb") as file:
            path = next(line[3:].strip() for line in file if line.startswith(b"0::"))
        with open("/proc/self/mountinfo", "rb") as file:
            return next((found for line in file if (found := _below(line, path))), None)
    except (OSError, StopIteration):
        return None


def _below(line: bytes, path: bytes) -> str | None:
    """The folder of the group *path*, if this line of mountinfo is about the one hierarchy of version 2 and shows it."""
    mount, _, kind = line.partition(b" - ")
    if not kind.startswith(b"cgroup2 "):
        return None
    root, place = (_plain(word) for word in mount.split()[3:5])
    if root != b"/":
        if path != root and not path.startswith(root + b"/"):
            return None
        path = path[len(root) :]
    return os.fsdecode(place + (b"" if path == b"/" else path))


def _plain(word: bytes) -> bytes:
    for escape, letter in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\")):
        word = word.replace(escape, letter)
    return word


def make_folder(warden: int) -> str | None:
    """A folder for the groups of one chain's children; None where we may make none that can be killed."""
    group = own_group()
    if group is None:
        return None
    folder = f"{group}/{PREFIX}{warden}"
    try:
        _remove_forgotten(group)
        os.mkdir(folder, 0o755)
        if os.access(f"{folder}/cgroup.kill", os.W_OK) and os.access(f"{group}/cgroup.procs", os.W_OK):
            return folder
        os.rmdir(folder)
    except OSError:
        pass
    return None


def _remove_forgotten(group: str) -> None:
    for name in os.listdir(group):
        warden = name.removeprefix(PREFIX)
        if warden != name and warden.isdigit() and not os.path.exists(f"/proc/{warden}"):
            remove(f"{group}/{name}")


def make_leaf(folder: str, number: int) -> str | None:
    """A group for one child."""
    leaf = f"{folder}/{number}"
    try:
        os.mkdir(leaf, 0o755)
    except OSError:
        return None
    return leaf


def remove(group: str) -> bool:
    """Remove a group and all below it; False when somebody is in it."""
    try:
        with os.scandir(group) as entries:
            below = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        for inner in below:
            remove(inner)
        os.rmdir(group)
    except FileNotFoundError:
        pass
    except OSError:
        return False
    return True


def remove_folder(warden: int) -> None:
    """Remove what :func:`make_folder` has made for this chain, if it has."""
    group = own_group()
    if group is not None:
        remove(f"{group}/{PREFIX}{warden}")
