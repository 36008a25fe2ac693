"""One child: start it, look at it, await it.

What to see: the pid, the state and the path of a child process; its result, awaited like any other awaitable; and how a child
that has no end of its own is stopped when the block is left.
"""

import asyncio
import hashlib
import os
import sys

import asyncproc


def digest(path: str) -> str:
    """A plain function of this very file: it needs no module of its own, and no main guard."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def idle() -> None:
    """A coroutine function has a loop of its own in the child. A stop cancels it at its await, so clean-up works as ever."""
    try:
        await asyncio.Event().wait()
    finally:
        print("idle: cleaning up")


async def main() -> None:
    async with asyncproc.Manager() as manager:
        waiting = await manager.start(asyncproc.Process(idle))  # returns when it is ready
        print(f"{waiting.path} is {waiting.state.value}, pid {waiting.pid}; this is {os.getpid()}")
        handle = await manager.start(asyncproc.Process(digest, __file__, name="digest"))
        print(f"{handle.path} of this file:", await handle)  # its result, or its own exception
        print("and of this Python:", await manager.run(asyncproc.Process(digest, sys.executable)))  # start and await in one
    # Leaving the block has stopped what still ran, children before parents. A handle can be asked afterwards too.
    assert waiting.exit is not None
    print(waiting.exit.explain())


print("without a loop at hand:", asyncproc.run(asyncproc.Process(digest, __file__)))
asyncproc.run(main())
