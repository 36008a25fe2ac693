"""The core of what is promised, in a few seconds: to be run wherever a host may put it. Each raises where a promise is broken.

Also what tests of embedding compare before and after: the host's handlers of signals.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Any

from asyncproc import Backoff, Command, Coroutine, Manager, Process, Reason, State, Supervisor, Thread, current
from asyncproc.errors import ChildCrashed, CommandError, StartFailed
from asyncproc.testing import hostile
from tests.faults.harness import ended


def fail() -> None:
    raise ValueError("its own")


def kill_itself(number: int) -> None:
    os.kill(os.getpid(), number)


async def answer() -> int:
    return 42


def echo() -> str:
    word = current().sync.receive()
    current().sync.send(word * 2)
    return "over"


def fail_until(incarnation: int) -> None:
    """Fail at once, but for that incarnation, which says so and stays."""
    if current().incarnation < incarnation:
        raise ValueError(f"incarnation {current().incarnation}")
    hostile.tell_and_idle()


async def starts() -> None:
    async with Manager() as manager:
        assert await manager.run(Process(hostile.return_it, 7)) == 7
        assert await manager.run(Process(answer)) == 42
        assert await manager.run(Coroutine(answer)) == 42
        assert await manager.run(Thread(hostile.return_it, 8)) == 8
        assert (await manager.run(Command("echo", "on"))).stdout == "on\n"
        assert (await asyncio.gather(*(manager.run(Process(hostile.return_it, number)) for number in range(5)))) == [*range(5)]


async def fails() -> None:
    async with Manager() as manager:
        for target in (fail, hostile.exit_at_once):
            spec: Any = Process(target, *([3] if target is not fail else []))
            exit = await (await _begun(manager, spec)).wait()
            assert (exit.reason, exit.code) == (Reason.CRASHED, 1 if target is fail else 3), exit
        exit = await (await _begun(manager, Process(kill_itself, int(signal.SIGKILL)))).wait()
        assert (exit.reason, exit.signal, exit.code) == (Reason.CRASHED, signal.SIGKILL, None), exit
        with _raises(ValueError, "its own"):
            await manager.run(Process(fail))
        with _raises(ChildCrashed):
            await manager.run(Process(kill_itself, int(signal.SIGKILL)))
        with _raises(CommandError, "7"):
            await manager.run(Command("sh", "-c", "exit 7"))
        with _raises(StartFailed):
            await manager.start(Command("/does/not/exist"))


async def _begun(manager: Manager, spec: Any) -> Any:
    """Its handle, whether its end came before or after it was ready."""
    handle = manager.add(spec)
    try:
        await handle.restart()
    except StartFailed:
        pass
    return handle


class _raises:  # noqa: N801  # reads as pytest's, which a host does not import
    def __init__(self, kind: type[BaseException], words: str = "") -> None:
        self.kind, self.words = kind, words

    def __enter__(self) -> None: ...
    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        assert isinstance(error, self.kind) and self.words in str(error), f"expected {self.kind.__name__}, got {error!r}"
        return True


async def stops() -> None:
    async with Manager(grace=0.3) as manager:
        deaf = await manager.start(Process(hostile.ignore_term))
        daemon = await manager.start(Process(hostile.leave_daemon))
        shell = await manager.start(Command("sh", "-c", "sleep 1000 & sleep 1000"))
        left = await daemon.receive()
        await deaf.receive()
        assert (await shell.stop()).signal is signal.SIGTERM
        exit = await deaf.stop()
        assert (exit.reason, exit.killed, exit.signal) == (Reason.STOPPED, True, signal.SIGKILL), exit
        killed = await daemon.kill()
        assert (killed.reason, killed.killed) == (Reason.STOPPED, True), killed
        await ended(left)
        last = await manager.start(Process(hostile.idle))
    assert last.exit is not None and last.exit.reason is Reason.STOPPED
    assert not os.path.exists(f"/proc/{last.pid}")


async def restarts() -> None:
    tree = Supervisor(
        Process(fail_until, 3, name="flaps"),
        Command("sleep", "1000", name="stays"),
        backoff=Backoff(0.0),
        grace=0.3,
        intensity=5,
    )
    async with Manager(tree) as manager:
        flaps, stays = manager.find("flaps"), manager.find("stays")
        before = stays.pid
        await flaps.wait_for(state=State.RUNNING, incarnation=3)
        assert await flaps.receive() == "up"
        await stays.restart()
        assert (stays.incarnation, flaps.incarnation) == (2, 3) and stays.pid != before
        os.kill(stays.pid or 0, signal.SIGKILL)
        await stays.wait_for(state=State.RUNNING, incarnation=3)


async def talks() -> None:
    async with Manager() as manager:
        handle = await manager.start(Process(echo))
        await handle.send("ab")
        assert await handle.receive() == "abab"
        assert await handle == "over"
        command = await manager.start(Command("sh", "-c", "echo one; echo two >&2; echo three; exec sleep 1000"))
        seen = set()
        async for line in command.output():
            seen.add((str(line), line.stream))
            if len(seen) == 3:
                break
        assert seen == {("one", "stdout"), ("two", "stderr"), ("three", "stdout")}
        await command.stop()
        done = await manager.run(Command("cat", stdin="in"))
        assert done.stdout == "in"


SELECTION = (starts, fails, stops, restarts, talks)


async def everything() -> None:
    """All of it, one after the other."""
    for behaviour in SELECTION:
        async with asyncio.timeout(20.0):
            await behaviour()


def handlers() -> dict[int, Callable[..., Any] | int | None]:
    """The host's handler of each signal, and what a write to its loop goes through."""
    return {number: signal.getsignal(number) for number in signal.valid_signals()}
