"""The bodies of `lives.py` in the class form. Preloaded into the template, as a user preloads his own modules."""

from __future__ import annotations

import sys
from typing import Any

from asyncproc import Coroutine, Process, Thread, current
from benchmarks import lives


class EmptyProcess(lives.Empty, Process[Any]): ...


class EmptyAsyncProcess(lives.EmptyAsync, Process[Any]): ...


class EmptyThread(lives.Empty, Thread[Any]): ...


class EmptyAsyncThread(lives.EmptyAsync, Thread[Any]): ...


class EmptyCoroutine(lives.EmptyAsync, Coroutine[Any]): ...


class SleepingProcess(lives.Sleeping, Process[Any]): ...


class BusyProcess(lives.Busy, Process[Any]): ...


class RestingProcess(lives.Resting, Process[Any]): ...


class SleepingThread(lives.Sleeping, Thread[Any]): ...


class BusyThread(lives.Busy, Thread[Any]): ...


class RestingThread(lives.Resting, Thread[Any]): ...


class RestingCoroutine(lives.Resting, Coroutine[Any]): ...


class EchoProcess(Process[Any]):
    """Sends back what comes until None comes."""

    def loop(self) -> None:
        channel = current().sync
        while (value := channel.receive()) is not None:
            channel.send(value)


class EchoAsyncProcess(Process[Any]):
    """The same on a loop."""

    async def loop(self) -> None:
        while (value := await self.receive()) is not None:
            await self.send(value)


class WithoutUvloop:
    """Carried by a spec into its process, whose loop is then asyncio's: a child takes uvloop where that is imported."""

    def __reduce__(self) -> tuple[object, ...]:
        return _forget_uvloop, ()


def _forget_uvloop() -> None:
    sys.modules.pop("uvloop", None)
