"""What the children of these tests run. It imports nothing but asyncproc: every child that runs one of these imports it."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import sys
import threading
from typing import Any

from asyncproc import Process, Stopping, current
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
    await current().send("up")
    try:
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
    """An exception that pickle cannot rebuild: its arguments are not what it was made from."""

    def __init__(self, code: int, *, reason: str) -> None:
        super().__init__(f"{code}: {reason}")


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
