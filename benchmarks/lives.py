"""What the looping children of `life` do, for whoever loops them: phases that are empty, and loops that note when they ran.

The clock is CLOCK_MONOTONIC, the same in all processes: what a child notes can be compared with what its parent notes.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Literal

Times = tuple[float, float, bool]
Noted = list[tuple[float, float]]
Form = Literal["plain", "async"]
Work = Literal["sleep", "busy", "rest"]

REST = 0.001  # seconds
_ROUNDS = 4000  # about 100 us of Python code


class Empty:
    """Empty phases; OnFinish tells (seconds, seconds of CPU, whether uvloop ran them) from OnStart on."""

    _began = _cpu = 0.0

    def on_start(self) -> None:
        self._began = time.monotonic()
        self._cpu = time.process_time()

    def before_loop(self) -> None:
        pass

    def loop(self) -> None:
        pass

    def after_loop(self, result: None) -> None:
        pass

    def on_finish(self) -> Times:
        return time.monotonic() - self._began, time.process_time() - self._cpu, runs_uvloop()


class EmptyAsync(Empty):
    """The same as coroutine functions."""

    async def on_start(self) -> None:  # type: ignore[override]  # the framework awaits it
        Empty.on_start(self)

    async def before_loop(self) -> None:  # type: ignore[override]  # as above
        pass

    async def loop(self) -> None:  # type: ignore[override]  # as above
        pass

    async def after_loop(self, result: None) -> None:  # type: ignore[override]  # as above
        pass

    async def on_finish(self) -> Times:  # type: ignore[override]  # as above
        return Empty.on_finish(self)


class _Noting:
    """OnFinish tells when the last loops began and ended."""

    def on_start(self) -> None:
        self.noted: deque[tuple[float, float]] = deque(maxlen=256)

    def on_finish(self) -> Noted:
        return list(self.noted)


class Sleeping(_Noting):
    """Blocks in a sleep."""

    def loop(self) -> None:
        began = time.monotonic()
        time.sleep(REST)
        self.noted.append((began, time.monotonic()))


class Busy(_Noting):
    """Never lets go of the processor."""

    def loop(self) -> None:
        began = time.monotonic()
        for _ in range(_ROUNDS):
            pass
        self.noted.append((began, time.monotonic()))


class Resting(_Noting):
    """Sleeps on a loop."""

    async def loop(self) -> None:
        began = time.monotonic()
        await asyncio.sleep(REST)
        self.noted.append((began, time.monotonic()))


WORKS: dict[Work, type[Any]] = {"sleep": Sleeping, "busy": Busy, "rest": Resting}


def runs_uvloop() -> bool:
    """Whether this code runs on one of uvloop's loops."""
    loop = asyncio._get_running_loop()
    return loop is not None and type(loop).__module__.startswith("uvloop")


# --- looping them by hand: what a program without a framework does ---------------------------------------------------------


def play_empty(goes_on: Callable[[], bool], count: int) -> Times:
    """Empty phases, *count* times, as long as *goes_on*."""
    body = Empty()
    body.on_start()
    for _ in range(count):
        if not goes_on():
            break
        body.before_loop()
        body.after_loop(body.loop())  # type: ignore[func-returns-value]  # passed on as the framework does
    return body.on_finish()


async def play_empty_async(goes_on: Callable[[], bool], count: int) -> Times:
    """The same with coroutines; each loop lets others run once."""
    body = EmptyAsync()
    await body.on_start()
    for _ in range(count):
        if not goes_on():
            break
        await body.before_loop()
        await asyncio.sleep(0)
        await body.after_loop(await body.loop())  # type: ignore[func-returns-value]  # as above
    return await body.on_finish()


def play(work: Work, goes_on: Callable[[], bool], begun: Callable[[], object]) -> Noted:
    """Loop *work* as long as *goes_on*; *begun* is called before the first loop."""
    body = WORKS[work]()
    body.on_start()
    begun()
    while goes_on():
        body.loop()
    noted: Noted = body.on_finish()
    return noted


async def play_async(work: Work, goes_on: Callable[[], bool], begun: Callable[[], object]) -> Noted:
    """The same for one that awaits."""
    body = WORKS[work]()
    body.on_start()
    begun()
    while goes_on():
        await body.loop()
    noted: Noted = body.on_finish()
    return noted
