"""One program on both paths: with the chain of helper processes, which Linux gets, and on the portable path, as elsewhere.

What to see: the same results, whatever the path: of a group of processes, a command, a looping class, messages, a shared state,
and an error with its own class. What differs is what each path guarantees, and how long a start takes.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Any, Literal

from asyncproc import Command, Concurrent, Coroutine, Manager, Namespace, Process, Thread, current


@dataclass
class State:
    letters: int = 0


def count(word: str) -> int:
    Namespace.of(State).sync.add("letters", len(word))
    return len(word)


async def count_async(word: str) -> int:
    await Namespace.of(State).add("letters", len(word))
    return len(word)


class Countdown(Process[Any], loops=3):
    def on_start(self) -> dict[str, int]:
        return {"start": 10}

    def loop(self, start: int) -> int:
        return start - self.current_loop

    def on_finish(self) -> str:
        return f"{current().last_result} after {self.loop_report().count} loops"


def echo() -> None:
    current().sync.send(current().sync.receive()[::-1])


def fail() -> None:
    raise LookupError("nothing there")


TREE = Concurrent(
    *(Process(count, word, name=word) for word in ("one", "three", "eleven")),
    Thread(count, "seventeen", name="seventeen"),
    Coroutine(count_async, "four", name="four"),
    Command("sort", "-r", stdin="b\na\nc\n"),
    Countdown(),
)


async def program(manager: Manager[State]) -> list[str]:
    """Start to end; what it prints must not depend on the path."""
    said = []
    async with manager:
        results = await manager.run()
        said += [f"{name}: {getattr(value, 'stdout', value)!r}" for name, value in results.items()]
        said.append(f"letters: {manager.namespace.view.letters}")
        talker = await manager.start(Process(echo))
        await talker.send("stressed")
        said.append(f"{talker.path} said {await talker.receive()}")
        try:
            await manager.run(Process(fail))
        except LookupError as error:
            said += [f"{error!r}: {note}" for note in error.__notes__]
        stopped = await manager.start(Process(asyncio.Event().wait, name="endless"))
        said.append((await stopped.stop()).reason.value)
    return said


async def main() -> None:
    launchers: tuple[Literal["auto", "portable"], ...] = ("auto", "portable")
    said, guaranteed = [], []
    for launcher in launchers:
        manager = Manager(TREE, namespace=State(), launcher=launcher)
        guaranteed.append(manager.guarantees)
        began = time.perf_counter()
        said.append(await program(manager))
        print(f"{manager.guarantees['launcher']}: {time.perf_counter() - began:.2f} s from start to end")
    print(*said[0], sep="\n")
    print("the same on both paths:", said[0] == said[1])
    for promise, here in guaranteed[0].items():
        if here != guaranteed[1][promise]:
            print(f"  {promise}: {here} / {guaranteed[1][promise]}")


asyncio.run(main())
