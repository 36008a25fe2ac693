"""The life of a child: as a class, as a function with a setup, and held by its parent at each phase.

What to see: the class ends itself when its memory is high, and its result is what `on_finish` returned; the function does the
same work until its parent has heard enough; the child that is held gets its arguments at its parent's gates, and steps from
loop to loop. The sensor is a server in this process; the model is how often letters occur in the standard library.
"""

import asyncio
import atexit
import collections
import json
import os
import shutil
import sysconfig
import tempfile
from collections.abc import AsyncIterator, Generator
from pathlib import Path
from typing import Any, Self

import asyncproc
from asyncproc import Current

FOLDER = Path(tempfile.mkdtemp(prefix="life-"))
atexit.register(shutil.rmtree, FOLDER)
SENSOR = str(FOLDER / "sensor")
READING = 1 << 19  # bytes
HIGH = 48 << 20  # bytes


# --- what the children use ----------------------------------------------------------------------------------------------


class Bus:
    """A connection to the sensor, which is awaited or entered. It keeps what it has read, so its memory grows."""

    def __await__(self) -> Generator[Any, None, Self]:
        return self.__aenter__().__await__()

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_unix_connection(SENSOR, limit=READING)
        self.readings: list[bytes] = []
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.writer.close()
        await self.writer.wait_closed()

    async def read(self) -> float:
        """The mean of one reading."""
        self.writer.write(b"read\n")
        self.readings.append(await self.reader.readexactly(READING))
        few = self.readings[-1][::100]
        return round(sum(few) / len(few), 2)


def connect(name: str) -> Bus:
    print(f"{name} connects to the sensor", flush=True)
    return Bus()


def memory_is_high() -> bool:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") > HIGH


async def read_sensor(bus: Bus, label: str, previous: float | None = None) -> float:
    value = await bus.read()
    await asyncproc.current().send((label, value, previous))
    return value


letters: collections.Counter[str] = collections.Counter()  # a child gets a copy, and keeps it from loop to loop


def train(config: dict[str, int], batch: str) -> str:
    letters.update(filter(str.isalpha, batch.lower()))
    if letters.total() >= config["enough"]:
        asyncproc.current().rejoin()  # this loop is the last
    return "".join(letter for letter, _ in letters.most_common(config["first"]))


# --- what the parent uses -----------------------------------------------------------------------------------------------


async def serve_sensor(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The sensor measures noise: each line that it gets asks for a reading."""
    while await reader.readline():
        writer.write(os.urandom(READING))
    writer.close()


async def fetch_config() -> Any:
    text = await asyncio.to_thread((FOLDER / "config.json").read_text)
    return json.loads(text)


(FOLDER / "config.json").write_text('{"enough": 250000, "first": 6}')
batches = (file.read_text() for file in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")))


# --- the class form -----------------------------------------------------------------------------------------------------


class Meter(asyncproc.Process[Any]):  # or Thread, or Coroutine: same lifecycle
    """Sample a sensor until told to stop."""

    async def on_start(self) -> None:
        self.bus = await connect(self.name)

    async def before_loop(self) -> None:
        self.label = f"{self.name}-{self.current_loop}"

    async def loop(self) -> float:
        return await self.bus.read()

    async def after_loop(self, result: float) -> None:
        if memory_is_high():
            self.rejoin()  # this loop's after_loop and on_finish still run

    async def on_finish(self) -> asyncproc.LoopReport:
        return self.loop_report()  # the node's result


meter = Meter(name="meter", loops=None, join_in=60.0)  # join_in: seconds; loops: count; None: until stopped


# --- the setup form -----------------------------------------------------------------------------------------------------

setup = asyncproc.Setup()  # the same for a function: phases are async context managers


@setup.on_start
async def resources(child: Current) -> AsyncIterator[dict[str, Bus]]:  # entered in OnStart, left in OnFinish, also on errors
    async with connect(child.name) as bus:
        yield {"bus": bus}  # joins the keyword arguments of every loop


@setup.before_loop
def label(child: Current) -> dict[str, str]:  # plain functions too
    return {"label": f"{child.name}-{child.current_loop}"}  # joins this loop's keyword arguments


@setup.after_loop(add_for_next=True)
def keep(child: Current, result: float) -> dict[str, float]:
    return {"previous": result}  # joins the next loop's keyword arguments


@setup.on_finish
async def report(child: Current) -> str:
    return f"{child.name} has ended by {child.error}, with {child.loop_report().count} loops"


meter_by_setup = asyncproc.Process(read_sensor, setup=setup, loops=None)


# --- all of it ----------------------------------------------------------------------------------------------------------


async def main() -> None:
    async with await asyncio.start_unix_server(serve_sensor, SENSOR), asyncproc.Manager() as manager:
        print(await manager.run(meter))

        heard = await manager.start(meter_by_setup)
        for _ in range(3):
            name, value, previous = await heard.receive()
            print(f"{name}: {value}, before: {previous}")
        heard.rejoin()
        print(await heard)

        # A node that has not started; it waits at each gate. (kwargs={} is for type checkers: the gates add what is missing.)
        handle = manager.add(asyncproc.Process(train, kwargs={}, loops=None), hold=True)
        async with asyncproc.OnStart(handle) as start:  # starts it and holds it; leaving lets it go on, an exception stops it
            start.add(config=await fetch_config())  # the child's main function gets config=...
        async for before in handle.steps():  # held before each loop
            before.add(batch=next(batches))  # asking for the next one lets it run
        order = await handle
        print(f"trained in {(await handle.loop_report()).count} loops; the most frequent letters: {order}")


asyncproc.run(main())
