"""A host with a three-deep, hostile tree, made to be killed: it starts and stops children for ever.

Arguments: any of ``fork`` (a forked copy of the host stays alive), ``deaf`` (SIGCHLD ignored), ``uvloop``. Prints "up" when the
first tree stands, then "round" after each round.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time

from asyncproc import Command, Concurrent, Manager, Process

DAEMON = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(1000)
    os._exit(0)
time.sleep(1000)
"""


def deep() -> None:
    """A child that leaves a daemon, ignores SIGTERM and has a child of its own that does the same."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for _ in range(2):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(1000)
            os._exit(0)
    os.posix_spawn(sys.executable, [sys.executable, "-S", "-c", DAEMON], os.environ)
    time.sleep(1000)


def plain() -> None:
    time.sleep(1000)


async def nested() -> None:
    async with Manager() as inner:
        await inner.run(Concurrent(Process(deep), Process(plain)))


async def main() -> None:
    async with Manager(grace=0.02) as manager:
        while True:
            await manager.start(Process(nested))
            await manager.start(Process(deep))
            await manager.start(Process(plain))
            await manager.start(Command(sys.executable, "-S", "-c", DAEMON))
            await manager.start(Command("sh", "-c", "setsid sleep 1000 & sleep 1000"))
            print("up", flush=True)
            await asyncio.sleep(0.05)
            await manager.stop()
            manager.forget_ended()
            print("round", flush=True)


if __name__ == "__main__":
    if "deaf" in sys.argv:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    if "fork" in sys.argv:
        asyncio.get_event_loop_policy()
    factory = None
    if "uvloop" in sys.argv:
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        if "fork" in sys.argv:

            async def forked() -> None:
                async with Manager() as manager:
                    await manager.start(Process(plain))
                    if os.fork() == 0:
                        os.closerange(0, 3)
                        time.sleep(1000)
                        os._exit(0)
                    await main()

            runner.run(forked())
        else:
            runner.run(main())
