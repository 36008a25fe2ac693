"""The limit: a hand-written zygote and a bare socket pair per child, without error handling, supervision or accounting."""

import asyncio
import pickle
import socket
import subprocess
import sys
import time

from benchmarks.contenders import zygote_main
from benchmarks.contenders.frames import AsyncFrames
from benchmarks.harness.contract import Contender, NoopRun


class Zygote(Contender):
    """Starts, holds and echoes."""

    pause = 0.0
    preloaded = True
    room = 1 << 20

    def __init__(self) -> None:
        self._held: list[AsyncFrames] = []

    async def aopen(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        code = f"from benchmarks.contenders.zygote_main import main; main({theirs.fileno()})"
        self._process = subprocess.Popen([sys.executable, "-P", "-c", code], pass_fds=[theirs.fileno()])
        theirs.close()
        (channel,) = self._open_children(zygote_main.noop, 1)  # returns when the zygote is ready
        await channel.receive()
        channel.close()

    async def run_noops(self, count: int) -> list[NoopRun]:
        channels = self._open_children(zygote_main.noop, count)
        runs = [NoopRun(await channel.receive(), time.perf_counter()) for channel in channels]
        for channel in channels:
            await channel.ended
            channel.close()
        return runs

    async def hold(self, count: int) -> list[int]:
        self._held = self._open_children(zygote_main.hold, count)
        return [await channel.receive() for channel in self._held]

    async def release(self) -> None:
        for channel in self._held:
            channel.shut()
        await asyncio.gather(*(channel.ended for channel in self._held))
        for channel in self._held:
            channel.close()
        self._held.clear()

    async def connect(self) -> int:
        self._held = self._open_children(zygote_main.echo, 1)
        pid: int = await self._held[0].receive()
        return pid

    async def send(self, value: bytes) -> None:
        self._held[0].send(value)

    async def receive(self) -> bytes:
        value: bytes = await self._held[0].receive()
        return value

    async def aclose(self) -> None:
        await self.release()
        self._control.close()
        self._process.wait(10)

    def _open_children(self, target: zygote_main.Target, count: int) -> list[AsyncFrames]:
        channels = []
        for _ in range(count):
            ours, theirs = socket.socketpair()
            socket.send_fds(self._control, [pickle.dumps(target, 5)], [theirs.fileno()])
            theirs.close()
            channels.append(AsyncFrames(ours))
        return channels
