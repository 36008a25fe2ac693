"""Messages: what a handle sends a child receives, and the other way round.

What to see: the same conversation with a process and with a coroutine. Any value that pickles travels, in order; a sender waits
when the other side does not keep up. The child hears of the end as it hears of everything else: by a message.
"""

import asyncio

import asyncproc
from asyncproc import Coroutine, Handle, Process


def add_up() -> float:
    """Plain code: the blocking face of current() is `.sync`."""
    me, total = asyncproc.current(), 0.0
    while (number := me.sync.receive()) is not None:
        total += number
        me.sync.send({"so far": total, "pid": me.pid})
    return total


async def add_up_async() -> float:
    """The same with await."""
    me, total = asyncproc.current(), 0.0
    while (number := await me.receive()) is not None:
        total += number
        await me.send({"so far": total, "pid": me.pid})
    return total


async def talk(child: Handle[float]) -> None:
    for number in (1, 20, 0.5):
        await child.send(number)
        print(f"{child.path}: sent {number}, got {await child.receive()}")
    await child.send(None)
    print(f"{child.path}: its result is {await child}")


async def main() -> None:
    async with asyncproc.Manager() as manager:
        process = await manager.start(Process(add_up, name="process"))
        coroutine = await manager.start(Coroutine(add_up_async, name="coroutine"))
        await asyncio.gather(talk(process), talk(coroutine))


asyncproc.run(main())
