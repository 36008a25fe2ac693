"""What children do in the tests of limits. Another user's child can import nothing of an interpreter that is closed to it."""

from __future__ import annotations

import _ctypes
import asyncio
import os
import resource
import sys
import time
from typing import Any

from asyncproc._runtime import kernel
from asyncproc._spec.current import current
from asyncproc.testing import hostile

MIB = 1 << 20


def who() -> dict[str, Any]:
    """Everything that says who this process is."""
    with open("/proc/self/status") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    return {
        "uid": os.getresuid(),
        "gid": os.getresgid(),
        "groups": sorted(os.getgroups()),
        "env": {name: os.environ.get(name) for name in ("HOME", "USER", "LOGNAME")},
        "privileges": [int(status[name], 16) for name in ("CapPrm", "CapEff", "CapAmb")],
        "no_new_privs": status["NoNewPrivs"],
        "dies_with_its_parent": death_signal(),
    }


class _Int(_ctypes._SimpleCData):
    _type_ = "i"


def death_signal() -> int:
    """What this process gets when its parent ends."""
    found = _Int()
    _ctypes.call_function(kernel._prctl, (2, _ctypes.byref(found), 0, 0, 0))  # PR_GET_PDEATHSIG
    return int(found.value)


async def who_async() -> dict[str, Any]:
    await asyncio.sleep(0)
    return who()


def deaf_with_daemon() -> None:
    """Ignore SIGTERM, leave a daemon, tell both pids."""
    import signal

    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    current().sync.send([os.getpid(), hostile._daemon()])
    time.sleep(hostile.FOR_EVER)


def tell_stamp() -> None:
    current().sync.send(resource.getrlimit(kernel.RLIMIT_LOCKS)[0])
    time.sleep(hostile.FOR_EVER)


def forge() -> None:
    """Leave a daemon that bears the stamp which it is told, and tell its pid."""
    stamp = current().sync.receive()
    daemon = hostile._daemon()
    resource.prlimit(daemon, kernel.RLIMIT_LOCKS, (stamp, stamp))
    current().sync.send(daemon)
    time.sleep(hostile.FOR_EVER)


# --- what is data, and what is not ------------------------------------------------------------------------------------


def give_back(*args: Any, **kwargs: Any) -> Any:
    return [list(args), kwargs]


def make(what: str) -> Any:
    """A result that is no data."""
    return {"object": object(), "function": make, "class": int, "complex": 1j, "large": 1 << 80}[what]


class OwnError(Exception):
    """The manager could rebuild it."""


def fail() -> None:
    error = OwnError("it is", "so")
    error.add_note("a note")
    raise error from ValueError("the cause")


def echo() -> str:
    """Send back what comes, until "end"."""
    while (value := current().sync.receive()) != "end":
        current().sync.send(value)
    return "ended"


async def echo_async() -> str:
    while (value := await current().receive()) != "end":
        await current().send(value)
    return "ended"


def send(what: str) -> str:
    try:
        current().sync.send(make(what))
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "sent"


def ask_namespace() -> Any:
    return current().namespace.view


def write_frames(frames: list[bytes], wait: bool = False) -> None:
    """Write to the channel what a manager must not believe."""
    for data in frames:
        os.write(3, data)
    if wait:
        time.sleep(hostile.FOR_EVER)
    os._exit(0)


# --- limits -----------------------------------------------------------------------------------------------------------


def burn() -> None:
    while True:
        pass


def take_memory(size: int) -> int:
    return len(bytearray(size))


def write_file(path: str, size: int) -> None:
    with open(path, "wb", buffering=0) as file:
        for _ in range(3):  # the second may be cut short
            file.write(b"x" * size)


def open_many(count: int) -> None:
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(count)]
    for fd in held:
        os.close(fd)


def limits() -> dict[str, Any]:
    names = [name for name in dir(resource) if name.startswith("RLIMIT_")]
    return {name: resource.getrlimit(getattr(resource, name)) for name in names}


# --- memory -----------------------------------------------------------------------------------------------------------


def hold(size: int, where: str) -> None:
    """Hold *size* bytes: here, in a child, or in a daemon; say so, and sleep."""
    if where == "daemon":
        _become_daemon()
    elif where == "child" and os.fork():
        time.sleep(hostile.FOR_EVER)
    block = b"x" * size
    time.sleep(hostile.FOR_EVER)
    print(len(block))


def _become_daemon() -> None:
    if os.fork():
        time.sleep(hostile.FOR_EVER)
    os.setsid()
    if os.fork():
        os._exit(0)


def share(size: int, copies: int) -> int:
    """Hold *size* bytes in as many processes as *copies* says, all of them the same pages; for a second."""
    with open("/dev/zero", "rb") as zeros:
        block = bytearray(size)
        zeros.readinto(block)
    for _ in range(copies):
        if os.fork() == 0:
            time.sleep(hostile.FOR_EVER)
    time.sleep(1.0)
    return sum(int(_resident(pid)) for pid in hostile_children()) + len(block)


def hostile_children() -> list[int]:
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return [int(word) for word in file.read().split()]


def _resident(pid: int) -> int:
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def own_group() -> str:
    with open("/proc/self/cgroup") as file:
        return next(line[3:].strip() for line in file if line.startswith("0::"))


def environment() -> list[tuple[bytes, bytes]]:
    return sorted(os.environb.items())


def modules() -> list[str]:
    return sorted(sys.modules)
