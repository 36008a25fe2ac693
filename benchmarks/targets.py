"""What the measured children run. Imports nothing heavy: a child pays for this module, not for the harness."""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False  # importing typing for this name costs a child 6 ms
if TYPE_CHECKING:
    from typing import Any, TypeAlias

ANSWER = 42
LOADED_IN = os.getpid()  # differs from the child's own pid exactly when a preload (or a fork) brought the module along

Noop: TypeAlias = "tuple[int, int, int]"


def noop() -> Noop:
    """Do nothing: (own pid, pid that imported this module, the answer)."""
    return os.getpid(), LOADED_IN, ANSWER


async def noop_async() -> Noop:
    """Do nothing, as a coroutine."""
    return noop()


def birth() -> float:
    """Seconds since boot at which this process was forked, to 10 ms."""
    with open("/proc/self/stat", encoding="ascii") as stat:
        ticks = int(stat.read().rpartition(")")[2].split()[19])
    return ticks / os.sysconf("SC_CLK_TCK")


def noop_to_pipe(pipe: Any) -> None:
    """Do nothing and send the result through a multiprocessing connection."""
    pipe.send(noop())


def hold_pipe(pipe: Any) -> None:
    """Say the own pid, then block in a receive until told to end."""
    pipe.send(os.getpid())
    pipe.recv()


async def hold_pipe_async(pipe: Any) -> None:
    """`hold_pipe` for a library that runs coroutines only and has no channel of its own."""
    hold_pipe(pipe)


def echo_pipe(pipe: Any) -> None:
    """Send back what comes until None comes."""
    while (value := pipe.recv()) is not None:
        pipe.send(value)


def hold_asyncproc() -> None:
    """Say the own pid, then block in a receive of asyncproc's channel."""
    channel = _asyncproc_channel()
    channel.send(os.getpid())
    channel.receive()


async def hold_asyncproc_loop() -> None:
    """The same on an event loop."""
    import asyncproc

    channel = asyncproc.current()
    await channel.send(os.getpid())
    await channel.receive()


def echo_asyncproc() -> None:
    """Send back what comes over asyncproc's channel until None comes."""
    channel = _asyncproc_channel()
    while (value := channel.receive()) is not None:
        channel.send(value)


def report_and_sleep(report: str) -> None:
    """Write the own pid to a file, first of all, then wait to be killed."""
    fd = os.open(report, os.O_WRONLY)
    os.write(fd, b"%d\n" % os.getpid())
    os.close(fd)
    sleep_forever()


def sleep_forever() -> None:
    """Wait to be killed."""
    while True:
        time.sleep(3600)


def _asyncproc_channel() -> Any:
    import importlib  # not a plain import: mypy must pass here also while the package has no `current` yet

    return importlib.import_module("asyncproc").current().sync
