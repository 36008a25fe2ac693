"""Hosts with a deep, hostile tree, made to be killed or to end badly: ``python hosts.py NAME [OPTION ...] [STEP]``.

Each prints "up" when its tree stands. Options: ``uvloop``; ``deaf`` hosts ignore SIGCHLD, hosts that ``fork`` leave a copy of
themselves, one that ``exits`` does so when SIGUSR1 comes.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

from asyncproc import Command, Concurrent, Handle, Manager, Process, current
from asyncproc.errors import StartFailed
from asyncproc.testing import hostile
from asyncproc.testing.faults import DIE, STOP, FaultPoint

PYTHON = (sys.executable, "-S", "-c")


def deep() -> None:
    """A child that leaves daemons, ignores SIGTERM, and has a child of its own that does the same."""
    silent = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]  # "up" is the host's word
    os.posix_spawn(sys.executable, [*PYTHON, hostile.DAEMON], os.environ, file_actions=silent)
    hostile.leave_daemon()


async def nested() -> None:
    async with Manager() as inner:
        await inner.start(Concurrent(Process(deep), Process(hostile.idle), Command("sleep", "1000")))
        print("inner", os.getpid(), flush=True)
        await current().send("up")
        await asyncio.sleep(hostile.FOR_EVER)


async def plant(manager: Manager) -> Handle[None]:
    """Start the tree, three deep; the handle of the child that has a manager of its own."""
    inner = await manager.start(Process(nested))
    await manager.start(Process(deep))
    await manager.start(Process(hostile.ignore_term))
    await manager.start(Command(*PYTHON, hostile.DAEMON))
    await manager.start(Command("sh", "-c", "setsid sleep 1000 & sleep 1000"))
    return inner


def leave_copy() -> None:
    """Fork the host, as a library might: the copy lives on, with all that it has of ours."""
    pid = os.fork()
    if pid == 0:
        os.closerange(0, 3)
        time.sleep(hostile.FOR_EVER)
        os._exit(0)
    print("copy", pid, flush=True)


def exit_on_demand() -> None:
    """Whenever SIGUSR1 comes, which may be anywhere in our code, the host ends itself."""
    signal.signal(signal.SIGUSR1, lambda *_: os._exit(3))
    print("hears", flush=True)


async def churns() -> None:
    """Starts and stops for ever, so that a random moment falls into a start or a stop."""
    async with Manager(grace=0.02) as manager:
        await manager.start(Process(hostile.idle))
        if "forks" in sys.argv:
            leave_copy()
        while True:
            with suppress(StartFailed):  # a helper is killed
                await plant(manager)
            print("up", flush=True)
            await asyncio.sleep(0.05)
            await manager.stop()
            manager.forget_ended()
            print("round", flush=True)


async def stands() -> None:
    """Stands still when all of it does, and tells the pids below it that a test may want to kill."""
    async with Manager() as manager:
        await (await plant(manager)).receive()
        print("up", flush=True)
        await asyncio.sleep(hostile.FOR_EVER)


async def ends(how: Callable[[], object]) -> None:
    """Ends without closing its manager."""
    manager = await Manager().aopen()
    await (await plant(manager)).receive()
    print("up", flush=True)
    how()


def become_another() -> None:
    os.execvp("sleep", ["sleep", "1000"])


async def grows_in_threads() -> None:
    """Starts children from threads that end at once."""
    loop = asyncio.get_running_loop()
    async with Manager() as manager:

        def start_one() -> int:
            handle = asyncio.run_coroutine_threadsafe(manager.start(Process(hostile.tell_and_idle)), loop).result()
            asyncio.run_coroutine_threadsafe(handle.receive(), loop).result()
            return handle.pid or 0

        for _ in range(5):
            with ThreadPoolExecutor(1) as pool:
                print("child", await loop.run_in_executor(pool, start_one), flush=True)
        await plant(manager)
        print("up", flush=True)
        await asyncio.sleep(hostile.FOR_EVER)


async def comes_to(step: str, action: int) -> None:
    """Starts one child or command while a fault waits for it at *step*."""
    with FaultPoint(step, action) as point:
        async with Manager(spares=0) as manager:
            start = manager.start(Command("sleep", "1000") if "command" in step else Process(hostile.idle))
            task = asyncio.create_task(start)
            print("at", await asyncio.to_thread(point.wait_reached), flush=True)
            await task


def on_a_passing_thread(run: Callable[[Coroutine[Any, Any, None]], None]) -> None:
    """The loop, and the helpers, are started by a thread that ends; another one goes on with the loop."""
    loop = asyncio.new_event_loop()

    async def begin() -> Manager:
        manager = await Manager().aopen()
        await plant(manager)
        return manager

    def in_thread(coroutine: Coroutine[Any, Any, Any]) -> Any:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(loop.run_until_complete, coroutine).result()

    manager = in_thread(begin())

    async def check() -> None:
        handle = await manager.start(Process(hostile.tell_and_idle))
        await handle.receive()
        assert all(node.exit is None for node in manager.nodes()), manager.tree().text()
        print("up", flush=True)
        await asyncio.sleep(hostile.FOR_EVER)

    in_thread(check())


HOSTS: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
    "churns": churns,
    "stands": stands,
    "execs": partial(ends, become_another),
    "os_exits": partial(ends, partial(os._exit, 3)),
    "grows_in_threads": grows_in_threads,
}


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    factory = None
    if "uvloop" in sys.argv:
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(coroutine)


def main(name: str) -> None:
    if "deaf" in sys.argv:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    if "exits" in sys.argv:
        exit_on_demand()
    if name in ("stops_at", "dies_at"):
        run(comes_to(sys.argv[2], STOP if name == "stops_at" else DIE))
    elif name == "passing_thread":
        on_a_passing_thread(run)
    elif "thread" in sys.argv:
        thread = threading.Thread(target=lambda: run(HOSTS[name]()))
        thread.start()
        thread.join()
    else:
        run(HOSTS[name]())


if __name__ == "__main__":
    main(sys.argv[1])
