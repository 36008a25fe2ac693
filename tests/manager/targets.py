"""What the children of these tests run. It imports nothing but asyncproc: every child that runs one of these imports it."""

from __future__ import annotations

import asyncio
import atexit
import os
import random
import resource
import select
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from asyncproc import Manager, Process, Stopping, current
from asyncproc.errors import EncodeError


def nothing() -> None:
    """End at once."""


async def nothing_async() -> None:
    """End at once."""


def echo(value: Any) -> Any:
    return value


async def echo_async(value: Any) -> Any:
    return value


def echo_pid() -> int:
    return os.getpid()


def fail(text: str) -> None:
    raise ValueError(text)


async def fail_async(text: str) -> None:
    raise ValueError(text)


def die(number: int = signal.SIGKILL) -> None:
    os.kill(os.getpid(), number)


def where() -> tuple[int, int]:
    """The round and the level that a child sees."""
    return current().round, current().level


async def where_async() -> tuple[int, int]:
    return current().round, current().level


def until_told(answer: Any = "told") -> Any:
    """Say that it is up, then wait for a word of the owner: an exception is raised, anything else ends it."""
    current().sync.send("up")
    word = current().sync.receive()
    if isinstance(word, Exception):
        raise word
    return answer


async def until_told_async(answer: Any = "told") -> Any:
    await current().send("up")
    word = await current().receive()
    if isinstance(word, Exception):
        raise word
    return answer


def deaf() -> None:
    """Ignore every wish but KILL."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    current().sync.send("up")
    threading.Event().wait()


def until_term() -> None:
    """Wait in plain code that never looks, and say what the signal made of it."""
    current().sync.send("up")
    try:
        signal.pause()
    except Stopping:
        current().sync.send("Stopping was raised")
        raise
    finally:
        current().sync.send("finally ran")


async def until_cancelled() -> None:
    """Wait for ever; say what the stop made of it."""
    try:
        await current().send("up")
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        await current().send("cancelled")
        raise
    finally:
        await current().send("finally ran")


def echo_mail() -> int:
    """Send back what comes, until None comes; how many there were."""
    count = 0
    while (value := current().sync.receive()) is not None:
        current().sync.send(value)
        count += 1
    return count


async def echo_mail_async() -> int:
    count = 0
    while (value := await current().receive()) is not None:
        await current().send(value)
        count += 1
    return count


class Square(Process[int]):
    """A class of the user's, with an ``__init__`` of its own and no super."""

    def __init__(self, side: int) -> None:
        self.side = side

    def loop(self) -> int:
        return self.side**2


def finish_when_asked() -> str:
    """Plain code that looks at ``stopping`` each time that something comes."""
    current().sync.send("up")
    while not current().stopping:
        select.select([3], [], [])  # the channel: whatever comes, it looks again
    return "ended by itself"


async def finish_when_asked_async() -> str:
    await current().send("up")
    await current().wait_stopping()
    return "ended by itself"


def finish_when_asked_in_thread() -> str:
    current().sync.send("up")
    asyncio.run(current().wait_stopping())
    return "ended by itself"


def send_all(count: int, size: int) -> None:
    """Send numbered blocks."""
    for number in range(count):
        current().sync.send((number, bytes(size)))


async def send_all_async(count: int, size: int) -> None:
    for number in range(count):
        await current().send((number, bytes(size)))


class Hidden:
    """Cannot be pickled, and says where it stands."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


def send_hidden() -> str:
    try:
        current().sync.send({"first": [1, Hidden()]})
    except EncodeError as error:
        current().sync.send("next")
        return str(error)
    return "sent"


def give_hidden() -> Any:
    return Hidden()


def chained(text: str) -> None:
    try:
        raise KeyError("inner")
    except KeyError as error:
        raise ValueError(text) from error


class Picky(Exception):
    """An exception of the user's with fields of its own."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.code}: {self.reason}"


class OneWay(Exception):
    """An exception that pickle cannot send: it holds a lock."""

    def __init__(self, code: int, *, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.lock = threading.Lock()


def fail_pickily() -> None:
    raise Picky(7, "because")


def fail_unpicklably() -> None:
    raise OneWay(9, reason="no way back")


def end_with(code: object) -> None:
    sys.exit(code)  # type: ignore[arg-type]  # anything is legal there


def exit_hard(code: int) -> None:
    os._exit(code)


def hold() -> None:
    """Say that it is up, then receive nothing until it is asked to stop."""
    current().sync.send("up")
    if threading.current_thread() is threading.main_thread():
        signal.pause()
    asyncio.run(current().wait_stopping())


async def hold_async() -> None:
    await current().send("up")
    await asyncio.Event().wait()


async def nested(depth: int) -> str:
    """A manager in a child, so many levels deep; the path of the deepest."""
    if not depth:
        return current().path
    async with Manager(name="inner") as manager:
        return str(await manager.run(Process(nested, depth - 1, name="b")))


def metadata() -> dict[str, Any]:
    return current().metadata


async def metadata_async() -> dict[str, Any]:
    return current().metadata


def setting(what: str) -> str:
    """One fact of this process, as text."""
    if what == "env":
        return f"{os.environ.get('OURS', '')}-{os.environ.get('HOME', '')}"
    if what == "cwd":
        return os.getcwd()
    if what == "umask":
        mask = os.umask(0)
        os.umask(mask)
        return oct(mask)
    if what == "nice":
        return str(os.getpriority(os.PRIO_PROCESS, 0))
    if what == "cpus":
        return ",".join(map(str, sorted(os.sched_getaffinity(0))))
    return " ".join(map(str, resource.getrlimit(resource.RLIMIT_NOFILE)))


def speak(stream: str, word: str) -> None:
    print(word, file=getattr(sys, stream))


def add(one: int, two: int) -> int:
    return one + two


class Counter:
    """Something whose methods are targets."""

    def __init__(self, value: int) -> None:
        self.value = value

    def plus(self, number: int) -> int:
        return self.value + number

    async def plus_async(self, number: int) -> int:
        return self.value + number

    def __call__(self, number: int) -> int:
        return self.value + number


def descriptors() -> list[int]:
    """What is open here, less the descriptor of the listing itself."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            os.fstat(int(name))
        except OSError:
            continue
        found.append(int(name))
    return sorted(found)


def draw() -> tuple[float, bytes]:
    return random.random(), os.urandom(8)


def leave_traces(folder: str) -> None:
    """Leave work to a thread and to atexit, and text in a buffer."""

    def late() -> None:
        threading.main_thread().join(0.05)
        Path(folder, "thread").write_text("ended")

    threading.Thread(target=late).start()
    atexit.register(lambda: Path(folder, "atexit").write_text("ran"))
    print("no newline", end="")


def modules() -> list[str]:
    return sorted(sys.modules)


async def modules_async() -> list[str]:
    return sorted(sys.modules)
