"""Hosts, each a function: ``python limits_hosts.py NAME [ARGUMENT]``. They tell in JSON what they saw."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from asyncproc import Command, Manager, Process
from asyncproc.errors import ChildError
from asyncproc.testing import hostile
from tests.faults.harness import descriptors_left, helpers_of
from tests.faults.hosts import plant
from tests.requirements.limits_targets import deaf_with_daemon


def say(word: str, **facts: Any) -> None:
    print(word, json.dumps(facts), flush=True)


async def failure(manager: Manager, spec: Any) -> dict[str, Any]:
    """What a start that fails is told as."""
    try:
        await manager.start(spec)
    except ChildError as error:
        cause = error.__cause__
        notes = [note.removeprefix("step: ") for note in getattr(cause, "__notes__", ()) if note.startswith("step: ")]
        number = errno.errorcode.get(getattr(cause, "errno", None) or 0)
        return {"class": type(error).__name__, "errno": number, "step": notes, "text": str(cause)}
    return {"class": None}


@contextmanager
def no_more_processes(*pids: int) -> Iterator[None]:
    """None of these processes can fork."""
    with ExitStack() as stack:
        for pid in pids:
            before = resource.prlimit(pid, resource.RLIMIT_NPROC)
            resource.prlimit(pid, resource.RLIMIT_NPROC, (1, before[1]))
            stack.callback(resource.prlimit, pid, resource.RLIMIT_NPROC, before)
        yield


def fds(*pids: int) -> list[int]:
    return [len(os.listdir(f"/proc/{pid}/fd")) for pid in pids]


async def cannot_fork() -> None:
    """R30: EAGAIN at the fork of each kind of child, in helpers that are there and for those that are not."""
    me = os.getpid()
    async with Manager(spares=0) as manager:
        sibling = await manager.start(Process(hostile.idle))
        await manager.run(Command("true", stdout="null", stderr="null"))  # a pipe may be read to its end after the exit
        helpers = helpers_of(me)
        pids = [*helpers["launcher"], *helpers["template"]]
        before = fds(me, *pids)
        with no_more_processes(*pids):
            process = await failure(manager, Process(hostile.return_it, 7))
            command = await failure(manager, Command("true"))
            limited = await failure(manager, Command("true", nice=1))
            exit = await sibling.kill()
            after = fds(me, *pids)
        value = await manager.run(Process(hostile.return_it, 7))
        done = await manager.run(Command("echo", "on"))
    async with Manager(spares=0) as manager:
        before_cold = fds(me)
        with no_more_processes(me):
            cold = await failure(manager, Command("true"))
        after_cold = fds(me)
        again = await manager.run(Process(hostile.return_it, 8))
    starts = {"process": process, "command": command, "limited": limited, "cold": cold}
    lost = [
        after[0] - before[0] + 2,
        *(b - a for a, b in zip(before[1:], after[1:], strict=True)),
    ]  # the sibling's channel and stderr
    cold_lost = after_cold[0] - before_cold[0]
    say("saw", starts=starts, killed=exit.killed, lost=[*lost, cold_lost], values=[value, done.stdout, again])


async def refusals(closed: str) -> None:
    """R29: what an ordinary user may not, each by its own name. *closed*: a folder of another user, closed to all others."""
    specs = {
        "user of a process": Process(hostile.idle, user="daemon"),
        "user of a command": Command("true", user=1),
        "group": Command("true", group="daemon"),
        "niceness": Command("true", nice=-5),
        "niceness of a process": Process(hostile.idle, nice=-5),
        "limit": Command("true", rlimits={"nofile": resource.getrlimit(resource.RLIMIT_NOFILE)[1] + 1}),
        "limit of a process": Process(hostile.idle, rlimits={"nofile": resource.getrlimit(resource.RLIMIT_NOFILE)[1] + 1}),
        "folder": Command("true", cwd=closed),
        "folder of a process": Process(hostile.idle, cwd=closed),
        "program": Command(f"{closed}/program"),
        "output": Command("true", stdout=f"{closed}/output"),
    }
    async with Manager(spares=0) as manager:
        seen = {name: await failure(manager, spec) for name, spec in specs.items()}
        own = await manager.run(Process(os.getuid, user=os.getuid(), group=os.getgid()))
    say("saw", seen=seen, own=own)


async def has_nothing_left(end: str) -> None:
    """R10: neither a process nor a descriptor can be had when the clean-up begins."""
    async with Manager(grace=0.2, spares=0) as manager:
        await plant(manager)
        helpers = [pid for pids in helpers_of(os.getpid()).values() for pid in pids]
        with ExitStack() as stack:
            for pid in (os.getpid(), *helpers):
                stack.enter_context(descriptors_left(0, 0 if pid == os.getpid() else pid))
            stack.enter_context(no_more_processes(os.getpid(), *helpers))
            print("nothing left", flush=True)
            if end == "stopped":
                report = await manager.stop()
                print("left", len(report.left), flush=True)
            await asyncio.sleep(hostile.FOR_EVER)


async def bombs(grouped: str = "") -> None:
    """R4: a fork bomb goes off, in a control group or not."""
    async with Manager(spares=0) as manager:
        options: Any = {"max_memory": "8GiB"} if grouped else {}
        bomb = await manager.start(Process(hostile.fork_bomb, 50, **options))
        await bomb.receive()
        print("up", flush=True)
        (chain,) = manager._opened().engine.chains
        print("folder", chain._folder or "", flush=True)
        await asyncio.sleep(hostile.FOR_EVER)


async def runs_as_another() -> None:
    """Children of another user, deaf, and with daemons."""
    async with Manager(grace=0.1) as manager:
        handle = await manager.start(Process(deaf_with_daemon, user="nobody"))
        await handle.receive()
        await manager.start(Command("sh", "-c", "setsid -f sleep 1000; trap '' TERM; sleep 1000; sleep 1000", user="daemon"))
        print("up", flush=True)
        await asyncio.sleep(hostile.FOR_EVER)


HOSTS: dict[str, Any] = {host.__name__: host for host in (cannot_fork, refusals, has_nothing_left, bombs, runs_as_another)}

if __name__ == "__main__":
    asyncio.run(HOSTS[sys.argv[1]](*sys.argv[2:]))
