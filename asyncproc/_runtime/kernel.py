"""The few calls to Linux that the helper processes need and the standard library lacks. Elsewhere it can be imported, no more.

Imported by warden, launcher, template and child: it loads nothing but C modules, because a helper has to be ready in
about ten milliseconds.
"""

from __future__ import annotations

import _ctypes
import _signal  # type: ignore[import-not-found]  # the C half of signal: loading that one costs 3 ms
import os
import resource
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

RLIMIT_LOCKS = 10
"""A limit without effect since Linux 2.4; the standard library does not name it. It carries a child's stamp."""

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITIES = b"\x22\x05\x08\x20" if sys.byteorder == "little" else b"\x20\x08\x05\x22"
"""The version that ``capset`` speaks: two words of 32 bits for each set."""
_SIGKILL = 9

_THIS_PROGRAM: Any = None
HAS_PRCTL = sys.platform == "linux"
_prctl = _ctypes.dlsym(_ctypes.dlopen(_THIS_PROGRAM, 2), "prctl") if HAS_PRCTL else 0


_children = -1
"""Where this process reads who its children are: held from the start, so that to end them takes no descriptor."""


def become_subreaper() -> None:
    """Adopt every descendant whose own parent ends."""
    global _children
    _call(_PR_SET_CHILD_SUBREAPER, 1)
    pid = os.getpid()
    try:
        _children = os.open(f"/proc/{pid}/task/{pid}/children", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN
        _children = -1


def die_with(parent: int) -> None:
    """Get SIGKILL when *parent*, the process that forked this one, ends; at once if it has ended already.

    The kernel means the thread that forked: a helper has no other. A host that starts children itself must go on with that one.
    """
    if HAS_PRCTL:
        _call(_PR_SET_PDEATHSIG, _SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), _SIGKILL)


def set_name(name: str) -> None:
    """Show *name* (at most 15 bytes) in process listings."""
    try:
        with open("/proc/self/comm", "wb", buffering=0) as comm:
            comm.write(name.encode()[:15])
    except OSError:  # a name is a courtesy
        pass


def give_up_privileges() -> None:
    """Hold no capability any more. A change from one ordinary user to another takes none of them away by itself."""
    if HAS_PRCTL:
        _call(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
        capset = _ctypes.dlsym(_ctypes.dlopen(_THIS_PROGRAM, 2), "capset")
        if _ctypes.call_function(capset, (_CAPABILITIES + bytes(4), bytes(24))) != 0:
            raise PermissionError(1, "capabilities cannot be given up")


def forbid_new_privileges() -> None:
    """Whatever is executed from here on gains no rights: setuid bits and capabilities of files count no more."""
    if HAS_PRCTL:
        _call(_PR_SET_NO_NEW_PRIVS, 1)


def _call(option: int, value: int) -> None:
    if _ctypes.call_function(_prctl, (option, value, 0, 0, 0)) != 0:
        raise OSError(f"prctl({option}, {value}) failed")


def direct_children() -> list[int]:
    """The pids of this process's own and adopted children, ended ones that nobody has reaped included."""
    if _children < 0:
        pid = os.getpid()
        return [int(name) for name in os.listdir("/proc") if name.isdigit() and parent_of(name) == pid]
    found = b""
    while part := os.pread(_children, 1 << 16, len(found)):
        found += part
    return [int(word) for word in found.split()]


def parent_of(name: str | int) -> int:
    """The pid of a process's parent; -1 when it has ended."""
    try:
        with open(f"/proc/{name}/stat", "rb", buffering=0) as file:
            return int(file.readall().rpartition(b")")[2].split()[1])
    except OSError:  # it has ended meanwhile
        return -1


def end_all_children() -> None:
    """Kill every child and every descendant that falls to this process, and return when ``waitpid`` says that none is left.

    A descendant becomes a direct child when its parent ends, before that parent can be reaped. So a pass that finds
    nothing proves nothing: only ECHILD does.
    """
    while True:
        found = direct_children()
        for pid in found:
            try:
                os.kill(pid, _SIGKILL)
            except (ProcessLookupError, PermissionError):  # a uid that is not ours: its end is only waited for
                pass
        try:
            # Blocking is safe only with somebody to wait for; with nothing found, somebody may have just arrived.
            os.waitpid(-1, 0 if found else os.WNOHANG)
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return


def kill_group(folder: str) -> None:
    """End everybody in a control group and below it, at once; see :mod:`asyncproc._runtime.cgroup`."""
    try:
        fd = os.open(f"{folder}/cgroup.kill", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:  # it is gone, or no descriptor is left: the sweep by stamps is there all the same
        return
    try:
        os.write(fd, b"1")
    except OSError:
        pass
    finally:
        os.close(fd)


# --- stamps: which child does an orphan come from -------------------------------------------------------------------
#
# A child's stamp is its soft RLIMIT_LOCKS. It survives fork, exec, setsid, a double fork and an emptied environment, and
# cannot be raised past the hard limit, which is lowered to it. A manager owns the interval (top - width * COUNT, top); its
# child number n bears the stamp top - n * width, and what that child's own manager hands out lies within the width below.

COUNT = 1 << 20
_WIDEST = 1 << 62


def own_interval() -> tuple[int, int]:
    """The stamps that this process may hand out, as ``(top, width)``; a width of 0 when none are left."""
    hard = resource.getrlimit(RLIMIT_LOCKS)[1]
    top = _WIDEST if hard == resource.RLIM_INFINITY else hard
    width = _WIDEST
    while width and top % width:
        width //= COUNT
    return top, width // COUNT


def stamp_of(pid: int) -> int:
    """The stamp that process *pid* bears; -1 when it has ended or bears none."""
    try:
        soft = resource.prlimit(pid, RLIMIT_LOCKS)[0]
    except ProcessLookupError:
        return -1
    except PermissionError:  # another uid
        soft = _stamp_from_limits(pid)
    return -1 if soft == resource.RLIM_INFINITY else soft


def _stamp_from_limits(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/limits", "rb") as file:
            for line in file:
                if line.startswith(b"Max file locks"):
                    word = line.split()[3]
                    return -1 if word == b"unlimited" else int(word)
    except OSError:
        pass
    return -1


def end_marked(indices: set[int], token: str) -> None:
    """Kill, anywhere on this machine, what bears one of these stamps and *token* in its environment; when no subreaper is left.

    Two managers of one process hand out the same stamps: only the token tells them apart.
    """
    while kill_marked(indices, token):
        pass


def kill_marked(indices: set[int], token: str) -> int:
    """One pass of :func:`end_marked`; how many it has killed. Who is born meanwhile is found by another pass."""
    top, width = own_interval()
    names = [name for name in os.listdir("/proc") if name.isdigit()] if width else []
    return sum([_end_marked(name, indices, token, top, width) for name in names])


def _end_marked(name: str, indices: set[int], token: str, top: int, width: int) -> bool:
    if (top - stamp_of(int(name))) // width not in indices:  # nearly everybody
        return False
    try:
        fd = os.pidfd_open(int(name))  # before the look: what is looked at is what is signalled
    except OSError:
        return False
    try:
        stamp = stamp_of(int(name))
        with open(f"/proc/{name}/environ", "rb") as file:
            if stamp < 0 or (top - stamp) // width not in indices or token.encode() not in file.read():
                return False
        _signal.pidfd_send_signal(fd, _SIGKILL)
    except (OSError, ProcessLookupError):
        return False
    finally:
        os.close(fd)
    return True


def close_all_but(kept: Iterable[int]) -> None:
    """Close every descriptor of this process that is not in *kept*."""
    low = 0
    for fd in sorted(kept):
        if low < fd:  # an empty range closes everything in CPython 3.11
            os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, 1 << 20)
