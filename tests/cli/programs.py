"""What the tests of the command run. Not imported: loaded by path."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time

from asyncproc import Backoff, Command, Concurrent, Coroutine, Manager, Process, Sequential, Supervisor, Thread


class Point:
    def __init__(self, x: int) -> None:
        self.x = x


def make_point() -> Point:
    print("making", sys.argv[1:])
    return Point(3)


def sample() -> int:
    print("\x1b[32msampled\x1b[0m \x1b[2J", file=sys.stderr)
    return 7


async def gather() -> str:
    print("gathering")
    await asyncio.sleep(0.05)
    return "gathered"


def spin() -> None:
    print("spinning")


def fail() -> None:
    raise KeyError("lost")


def block() -> None:
    try:
        print("blocked", flush=True)
        while True:
            time.sleep(0.05)
    finally:
        print("cleaned up", flush=True)


def ignore_term() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("deaf", flush=True)
    while True:
        time.sleep(0.05)


tree = Concurrent(
    make_point,
    Sequential(sample, Concurrent(Coroutine(gather), Thread(spin), name="pair"), name="build"),
    Command("sh", "-c", "echo out; echo err >&2", name="cmd"),
)
failing = Concurrent(fail, Command("sh", "-c", "echo oops >&2; exit 3", name="cmd"), on_failure="continue")
one = Command("sh", "-c", "exit 5", name="one")
one_killed = Command("sh", "-c", "kill -9 $$", name="one")
one_missing = Command("no-such-program-at-all", name="one")
one_exits = Process(lambda: sys.exit(9), name="one")
blocked = Concurrent(block, Command("sleep", "1000"))
deaf = Concurrent(
    Process(ignore_term, grace=0.2), Command("sh", "-c", "trap '' TERM; echo deaf; sleep 1000; sleep 1000", grace=0.2)
)
deafest = Concurrent(Process(ignore_term, grace=None, name="deafest"), Command("sleep", "1000"))
rounds = Sequential(Command("true", name="step"))
managed = Manager(Concurrent(Command("echo", "managed", name="cmd")), name="own")
bare = Manager()
inherited = Command("echo", "from a child with our own stdout", stdout="inherit", name="one")
number = 3

beside = Command("sleep", "1000", name="beside")


def supervised(script: str, **options: object) -> Supervisor:
    return Supervisor(beside, Command("sh", "-c", script, name="job", backoff=Backoff(0.0), **options))  # type: ignore[arg-type]


job_well = supervised("exit 0", restart="transient", essential=True)
job_seven = supervised("sleep 0.1; exit 7", restart="temporary", essential=True)
job_killed = supervised("sleep 0.1; kill -9 $$", restart="temporary", essential=True)
job_loops = supervised("exit 3")
job_once_more = supervised("test -e $ONCE && exit 0; : > $ONCE; exit 5", restart="transient", essential=True)
no_job = Supervisor(beside, Command("no-such-program-at-all"))
services = Supervisor(beside, Command("sleep", "1000", name="job"))


async def program() -> None:
    print("program", sys.argv[1:])
    async with Manager() as manager:
        await manager.run(Command("echo", "inside", name="cmd"))


async def program_fails() -> None:
    raise RuntimeError("program\x1b[2J failed")


async def program_exits() -> None:
    sys.exit(6)


async def program_waits() -> None:
    async with Manager() as manager:
        await manager.start(Command("sleep", "1000"))
        print("waiting")
        await asyncio.Event().wait()


async def program_deaf() -> None:
    while True:
        print("deaf")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            print("heard")


async def program_with_wrong_spec() -> None:
    Process(3, grace=-1)  # type: ignore[call-overload]  # wrong on purpose


def needs_an_argument(argument: int) -> None:
    """Cannot be run."""


if __name__ == "__main__":
    print("the main block has run", os.getpid())
