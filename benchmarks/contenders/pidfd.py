"""The limit of detection: pidfd_open and add_reader in the measured loop. Children: `sleep`, or a child of the bare zygote."""

import asyncio
import os
import signal
import subprocess

from benchmarks.contenders.zygote import Zygote
from benchmarks.harness.contract import Contender


class PidfdVictim:
    """A process watched through its pidfd.

    Args:
        ours: it is a child of this program, which reaps it and learns its signal. The zygote's children are reaped there, and
            their signal is taken on trust, because telling it would add to the limit.
    """

    def __init__(self, pid: int, ours: bool) -> None:
        self.pid = pid
        self._ours = ours
        self._pidfd = os.pidfd_open(pid)
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int] = self._loop.create_future()
        self._loop.add_reader(self._pidfd, self._on_end)

    async def wait(self) -> int:
        return await self._ended

    def _on_end(self) -> None:
        result = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED) if self._ours else None
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._ended.set_result(result.si_status if result else signal.SIGKILL)


class PidfdCommand(Contender):
    """Loses commands."""

    async def start_victim(self) -> PidfdVictim:
        process = subprocess.Popen(["sleep", "1000"])
        process.returncode = 0  # reaped by the victim; Popen must not wait for that pid later
        return PidfdVictim(process.pid, ours=True)


class PidfdPython(Contender):
    """Loses Python children that weigh what asyncproc's weigh."""

    def __init__(self) -> None:
        self._zygote = Zygote()

    async def aopen(self) -> None:
        await self._zygote.aopen()

    async def start_victim(self) -> PidfdVictim:
        await self._zygote.release()  # the earlier one has ended: only its socket is left
        (pid,) = await self._zygote.hold(1)
        return PidfdVictim(pid, ours=False)

    async def aclose(self) -> None:
        await self._zygote.aclose()
