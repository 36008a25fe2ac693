"""asyncproc, written against API.md. Besides this file only `targets.py` and `programs/asyncproc_*` know the package.

The package is loaded by name, so that the peers can be measured while it is not there.
"""

import asyncio
import importlib
import time
from typing import Any

from benchmarks import targets
from benchmarks.harness.contract import Contender, NoopRun, Unavailable, WrongWork

_NEEDED = ("Manager", "Process", "Command", "run", "current")
_REFILL = 0.05  # untimed pause in which a spare is made again: five times a fork and its warming up
_TICK = 0.02  # births are known to 10 ms


def load() -> Any:
    """Import the package; Unavailable says what it lacks."""
    try:
        package = importlib.import_module("asyncproc")
        missing = [name for name in _NEEDED if not hasattr(package, name)]
    except ImportError as error:
        raise Unavailable(f"asyncproc cannot be imported: {error}") from error
    if missing:
        raise Unavailable(f"asyncproc has no {', '.join(missing)} yet")
    return package


class AsyncprocVictim:
    """A running child, by its handle."""

    def __init__(self, handle: Any) -> None:
        self.pid: int = handle.pid
        self._handle = handle

    async def wait(self) -> int:
        end = await self._handle.wait()
        return int(end.signal or 0)


class _Managed(Contender):
    """Opens a manager and holds handles."""

    def __init__(self, **options: Any) -> None:
        self._asyncproc = load()
        self._manager: Any = self._asyncproc.Manager(preload=["benchmarks.targets"], **options)

    async def aopen(self) -> None:
        await self._manager.aopen()

    async def release(self) -> None:
        report = await self._manager.stop()
        if report.left:
            raise WrongWork(f"stop left {report.left}")

    async def aclose(self) -> None:
        await self._manager.aclose()

    async def _start_all(self, specs: list[Any]) -> list[Any]:
        handles: list[Any] = await asyncio.gather(*(self._manager.start(spec) for spec in specs))
        return handles


class AsyncprocProcess(_Managed):
    """Python children: starts, holds, loses and echoes.

    Args:
        spares: warm spares that the manager keeps; 0: every start is a fork. None: the package's default.
    """

    preloaded = True
    room = 1 << 20

    def __init__(self, spares: int | None = None) -> None:
        super().__init__(**({} if spares is None else {"spares": spares}))
        self._spares = spares
        self._echo: Any = None
        self.pause = _REFILL if spares else 0.0

    async def run_noops(self, count: int) -> list[NoopRun]:
        process, run = self._asyncproc.Process, self._manager.run
        if count == 1:
            return [NoopRun(await run(process(targets.noop)), time.perf_counter())]
        values = await asyncio.gather(*(run(process(targets.noop, name=f"noop-{number}")) for number in range(count)))
        ended = time.perf_counter()
        return [NoopRun(value, ended) for value in values]

    async def verify(self) -> None:
        """A spare was born before it was asked for, a cold fork after."""
        if self._spares is None:
            return
        await asyncio.sleep(_REFILL + 2 * _TICK)
        asked = time.clock_gettime(time.CLOCK_BOOTTIME)
        born = await self._manager.run(self._asyncproc.Process(targets.birth))
        if (born < asked - _TICK) != bool(self._spares):
            raise WrongWork(f"with spares={self._spares} the child was forked {asked - born:.3f} s before it was asked for")

    async def hold(self, count: int) -> list[int]:
        process = self._asyncproc.Process
        handles = await self._start_all(
            [process(targets.hold_asyncproc, name=f"hold-{number}", stderr="inherit") for number in range(count)]
        )
        said = [await handle.receive() for handle in handles]
        if said != [handle.pid for handle in handles]:
            raise WrongWork("a handle's pid is not the pid that its child says")
        return said

    async def start_victim(self) -> AsyncprocVictim:
        return AsyncprocVictim(await self._manager.start(self._asyncproc.Process(targets.sleep_forever, stderr="inherit")))

    async def connect(self) -> int:
        self._echo = await self._manager.start(self._asyncproc.Process(targets.echo_asyncproc))
        return int(self._echo.pid)

    async def send(self, value: bytes) -> None:
        await self._echo.send(value)

    async def receive(self) -> bytes:
        value: bytes = await self._echo.receive()
        return value

    async def aclose(self) -> None:
        if self._echo is not None:
            await self._echo.send(None)
            await self._echo.wait()
        await super().aclose()


class AsyncprocBeating(_Managed):
    """Python children that beat, or do not: holds.

    Args:
        heartbeat: seconds; None: none. loop: whether the children run an event loop.
    """

    preloaded = True

    def __init__(self, heartbeat: float | None, loop: bool) -> None:
        super().__init__(spares=0)
        self._options: dict[str, Any] = {} if heartbeat is None else {"heartbeat": heartbeat}
        self._target = targets.hold_asyncproc_loop if loop else targets.hold_asyncproc

    async def hold(self, count: int) -> list[int]:
        process = self._asyncproc.Process
        specs = [process(self._target, name=f"hold-{number}", stderr="inherit", **self._options) for number in range(count)]
        handles = await self._start_all(specs)
        return [await handle.receive() for handle in handles]


class AsyncprocCommand(_Managed):
    """Commands with inherited streams: holds and loses."""

    async def hold(self, count: int) -> list[int]:
        handles = await self._start_all([self._sleep(name=f"sleep-{number}") for number in range(count)])
        return [handle.pid for handle in handles]

    async def start_victim(self) -> AsyncprocVictim:
        return AsyncprocVictim(await self._manager.start(self._sleep()))

    def _sleep(self, **options: Any) -> Any:
        return self._asyncproc.Command("sleep", "1000", stdout="inherit", stderr="inherit", **options)
