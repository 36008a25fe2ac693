"""Supervises as many `sleep` as it is told, by hand: asyncio's subprocesses and its pidfd watcher."""

import asyncio
import sys


async def keep() -> None:
    """One of them."""
    while True:
        process = await asyncio.create_subprocess_exec("sleep", "1000")
        await process.wait()


async def main(count: int) -> None:
    """Until somebody ends this program."""
    watcher = asyncio.PidfdChildWatcher()
    watcher.attach_loop(asyncio.get_running_loop())
    asyncio.set_child_watcher(watcher)
    await asyncio.gather(*(keep() for _ in range(count)))


asyncio.run(main(int(sys.argv[1])))
