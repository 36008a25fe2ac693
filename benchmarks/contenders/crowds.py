"""Thousands of Python children that answer: asyncproc's, the bare zygote's, and multiprocessing's."""

import asyncio
import os
import signal
from typing import Any

from benchmarks import targets
from benchmarks.contenders import frames, zygote_main
from benchmarks.contenders.asyncproc import load
from benchmarks.contenders.multiprocessing import Multiprocessing
from benchmarks.contenders.zygote import Zygote
from benchmarks.harness.contract import Contender, Unavailable, WrongWork

_AT_ONCE = 64
"""How many are started at once: each start under way takes two descriptors, and there are fewer than two for each child."""
_MOST_OF_MULTIPROCESSING = 500
"""Each of its children takes 8 MiB."""


class AsyncprocCrowd(Contender):
    """Members of a Supervisor that comes to have so many.

    Args:
        grace: seconds for the stop of all of them: they end one after the other, as the processors come to it.
    """

    def __init__(self, grace: float) -> None:
        package = self._asyncproc = load()
        tree = package.Supervisor(intensity=None)
        self._manager = package.Manager(tree, grace=grace, preload=["benchmarks.targets"])
        self._handles: list[Any] = []
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def aopen(self) -> None:
        await self._manager.aopen()

    async def hold(self, count: int) -> list[int]:
        self._handles = await asyncio.gather(*map(self._start, range(count)))
        return [handle.pid for handle in self._handles]

    async def _start(self, number: int) -> Any:
        spec = self._asyncproc.Process(
            targets.echo_asyncproc,
            name=f"member-{number}",
            backoff=None,
            stdout="inherit",
            stderr="inherit",
            start_timeout=None,
        )
        async with self._room:
            return await self._manager.find("app").start(spec)

    async def ask(self, question: bytes) -> list[bytes]:
        for handle in self._handles:
            await handle.send(question)
        return [await handle.receive() for handle in self._handles]

    async def lose(self, pids: list[int]) -> list[int]:
        lost = [handle for handle in self._handles if handle.pid in set(pids)]
        incarnations = [handle.incarnation for handle in lost]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        running = self._asyncproc.State.RUNNING
        for handle, before in zip(lost, incarnations, strict=True):
            await handle.wait_for(state=running, incarnation=before + 1)
        return [handle.pid for handle in lost]

    async def release(self) -> None:
        report = await self._manager.stop()
        if report.left:
            raise WrongWork(f"stop left {len(report.left)}")

    async def aclose(self) -> None:
        await self._manager.aclose()


class ZygoteCrowd(Zygote):
    """Bare forks of one process; who is lost is started again by hand."""

    def __init__(self) -> None:
        super().__init__()
        self._pids: list[int] = []

    async def hold(self, count: int) -> list[int]:
        self._held: list[frames.AsyncFrames] = []
        while len(self._held) < count:
            new = self._open_children(zygote_main.echo, min(_AT_ONCE, count - len(self._held)))
            self._pids += [await channel.receive() for channel in new]
            self._held += new
        return self._pids

    async def ask(self, question: bytes) -> list[bytes]:
        for channel in self._held:
            channel.send(question)
        return [await channel.receive() for channel in self._held]

    async def lose(self, pids: list[int]) -> list[int]:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        places = [self._pids.index(pid) for pid in pids]
        for place in places:
            await self._held[place].ended
            self._held[place].close()
        new = self._open_children(zygote_main.echo, len(places))
        for place, channel in zip(places, new, strict=True):
            self._held[place] = channel
            self._pids[place] = await channel.receive()
        return [self._pids[place] for place in places]


class MultiprocessingCrowd(Multiprocessing):
    """A fork server with preload; who is lost is started again by hand."""

    def __init__(self) -> None:
        super().__init__("forkserver", ("benchmarks.targets", "asyncio"))

    async def hold(self, count: int) -> list[int]:
        if count > _MOST_OF_MULTIPROCESSING:
            raise Unavailable(f"each child takes 8 MiB: not more than {_MOST_OF_MULTIPROCESSING} are tried")
        self._held = [self._start(targets.echo_pipe) for _ in range(count)]
        return [process.pid or 0 for process, _ in self._held]

    async def ask(self, question: bytes) -> list[bytes]:
        for _, pipe in self._held:
            pipe.send(question)
        return [pipe.recv() for _, pipe in self._held]

    async def lose(self, pids: list[int]) -> list[int]:
        places = [place for place, (process, _) in enumerate(self._held) if process.pid in pids]
        for place in places:
            process, pipe = self._held[place]
            process.kill()
            process.join()
            pipe.close()
            self._held[place] = self._start(targets.echo_pipe)
        return [self._held[place][0].pid or 0 for place in places]

    async def aclose(self) -> None:
        await self.release()
