"""Supervisors of this program's own loop: asyncproc's, and one by hand. And bare starts of a child, to compare with."""

import asyncio
import functools
import os
import signal
from pathlib import Path
from typing import Any, Literal

from benchmarks import targets
from benchmarks.contenders import frames, zygote_main
from benchmarks.contenders.asyncproc import _Managed, load
from benchmarks.contenders.zygote import Zygote
from benchmarks.harness.contract import Contender, WrongWork

REPORT = str(Path(__file__).resolve().parents[1] / "programs" / "report.sh")
"""The shell script that every command is: it writes its pid, then waits."""


class Keeper(Contender):
    """One whose children come back by themselves."""

    async def prepare(self, pid: int) -> None:
        """Nothing."""

    def replace(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)


class HandLoop(Keeper):
    """`create_subprocess_exec` and `wait` in a loop, a task for each child."""

    def __init__(self, watcher: Literal["default", "pidfd"] = "default") -> None:
        self._watcher = watcher
        self._tasks: list[asyncio.Task[None]] = []
        self._processes: dict[int, asyncio.subprocess.Process] = {}

    async def aopen(self) -> None:
        if self._watcher == "pidfd":
            watcher = asyncio.PidfdChildWatcher()
            watcher.attach_loop(asyncio.get_running_loop())
            asyncio.set_child_watcher(watcher)

    async def keep(self, report: str, count: int) -> None:
        self._tasks = [asyncio.create_task(self._keep(number, report)) for number in range(count)]

    async def _keep(self, number: int, report: str) -> None:
        while True:
            self._processes[number] = process = await asyncio.create_subprocess_exec("/bin/sh", REPORT, report)
            await process.wait()

    async def aclose(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for process in self._processes.values():
            if process.returncode is None:
                process.kill()
                await process.wait()


class AsyncprocKeeper(Keeper):
    """Members of a Supervisor, as many restarts as it takes, without delay.

    Args:
        kind: what they are. spares: of the manager; None: its default.
    """

    def __init__(self, kind: Literal["command", "python"] = "command", spares: int | None = None) -> None:
        package = self._asyncproc = load()
        self._kind = kind
        options = {} if spares is None else {"spares": spares}
        tree = package.Supervisor(intensity=None)
        self._manager = package.Manager(tree, preload=["benchmarks.targets"], **options)

    async def aopen(self) -> None:
        await self._manager.aopen()

    async def keep(self, report: str, count: int) -> None:
        group = self._manager.find("app")
        await asyncio.gather(*(group.start(self._spec(report, f"kept-{number}")) for number in range(count)))

    def _spec(self, report: str, name: str) -> Any:
        shared = {"name": name, "backoff": None, "stderr": "inherit"}
        if self._kind == "python":
            return self._asyncproc.Process(targets.report_and_sleep, report, **shared)
        return self._asyncproc.Command("/bin/sh", REPORT, report, stdout="inherit", **shared)

    async def aclose(self) -> None:
        report = await self._manager.stop()
        await self._manager.aclose()
        if report.left:
            raise WrongWork(f"stop left {report.left}")


class AsyncprocStarts(_Managed):
    """No supervisor: starts another child, when the last one has ended."""

    def __init__(self) -> None:
        super().__init__(spares=0)
        self._report = ""
        self._handle: Any = None
        self._starting: asyncio.Task[Any] | None = None

    async def keep(self, report: str, count: int) -> None:
        self._report = report
        self._handle = await self._start()

    def _start(self) -> Any:
        return self._manager.start(self._asyncproc.Process(targets.report_and_sleep, self._report, stderr="inherit"))

    async def prepare(self, pid: int) -> None:
        if self._starting is not None:
            self._handle = await self._starting
        os.kill(pid, signal.SIGKILL)
        await self._handle.wait()

    def replace(self, pid: int) -> None:
        self._starting = asyncio.create_task(self._start())

    async def aclose(self) -> None:
        await self._manager.kill()
        await super().aclose()


class ZygoteStarts(Zygote):
    """The same by the bare zygote."""

    def __init__(self) -> None:
        super().__init__()
        self._report = ""

    async def keep(self, report: str, count: int) -> None:
        self._report = report
        self.replace(0)

    async def prepare(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        await self.release()

    def replace(self, pid: int) -> None:
        self._held: list[frames.AsyncFrames] = self._open_children(functools.partial(zygote_main.report, self._report), 1)
