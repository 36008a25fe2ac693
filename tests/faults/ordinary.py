"""Runs a program as an ordinary user, one that nobody else is: ``python -S ordinary.py PROGRAM ARGUMENT...``, started by root.

An interpreter below a folder that only root may enter (``/root``) would be out of reach: then the program gets a namespace of
its own, in which these folders show nothing but what the interpreter and this checkout need.
"""

from __future__ import annotations

import ctypes
import os
import stat
import sys

MS_BIND, MS_REC, MS_PRIVATE, CLONE_NEWNS = 1 << 12, 1 << 14, 1 << 18, 0x20000
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
libc = ctypes.CDLL(None, use_errno=True)


def closed_above(path: str) -> str | None:
    """The topmost folder on the way to *path* that is closed to others."""
    parts = path.split("/")
    for end in range(2, len(parts)):
        folder = "/".join(parts[:end])
        if not os.stat(folder).st_mode & stat.S_IXOTH:
            return folder
    return None


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    words = [None if word is None else word.encode() for word in (source, target, kind, data)]
    if libc.mount(words[0], words[1], words[2], ctypes.c_ulong(flags), words[3]) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target)


def open_up(paths: list[str]) -> None:
    """Let everybody come to *paths*, in a namespace of our own."""
    closed: dict[str, list[str]] = {}
    for path in paths:
        folder = closed_above(path)
        if folder is not None and not any(path.startswith(f"{other}/") for other in closed.get(folder, ())):
            closed.setdefault(folder, []).append(path)
    if not closed:
        return
    if libc.unshare(CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "no namespace of our own, and the interpreter is out of reach of others")
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    for folder, below in closed.items():
        held = {path: os.open(path, os.O_PATH) for path in below}
        mount("none", folder, "tmpfs", 0, "mode=755")
        for path, fd in held.items():
            os.makedirs(path)
            mount(f"/proc/self/fd/{fd}", path, None, MS_BIND)
            os.close(fd)


def main(program: str, *arguments: str) -> None:
    open_up([os.path.realpath(path) for path in (sys.base_prefix, sys.prefix, TOP)])
    uid = 20_000 + os.getpid() % 10_000
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    os.environ["HOME"] = "/"
    os.execv(program, [program, *arguments])


if __name__ == "__main__":
    main(*sys.argv[1:])
