"""A node that runs every so often, one that waits for a time of the day, and a service that is restarted when its file changes.

What to see: the sampler runs at once and then every quarter of a second, a run that fails is one line, and the next one comes
all the same; the nightly job waits, says until when, and runs at once when it is asked to; writing a file starts the service
anew, and nobody else. Needs the extras ``schedule`` and ``watch``.
"""

import asyncio
import logging
import sys
import tempfile
from pathlib import Path

from asyncproc import Command, Coroutine, Handle, Manager, Sequential, State, Supervisor

samples = 0


async def sample() -> int:
    """Count, and fail the second time."""
    global samples
    samples += 1
    if samples == 2:
        raise OSError("the sensor is busy")
    return samples


async def until(handle: Handle[object], runs: int) -> None:
    """Until it has run so often, and rests."""
    await handle.wait_for(incarnation=runs)
    await handle.wait_for(state=State.WAITING)


async def main(folder: Path) -> None:
    config = folder / "greeting.txt"
    config.write_text("hello")
    greet = f"import pathlib, time; print(pathlib.Path({str(config)!r}).read_text(), flush=True); time.sleep(60)"
    tree = Supervisor(
        Coroutine(sample, schedule=0.25),
        Sequential(Command("uname"), Command("uname", "-m"), name="nightly", schedule="30 4 * * *"),
        Command(sys.executable, "-c", greet, name="service", watch=[config]),
    )
    async with Manager(tree) as manager:
        nightly, sampler, service = (manager.find(name) for name in ("nightly", "sample", "service"))
        print(manager.tree().text())
        await nightly.restart()
        await until(nightly, 1)
        print(f"nightly has run {nightly.incarnation} time, and waits again")
        await until(sampler, 4)
        print(f"sample has run {sampler.incarnation} times, {samples} samples")
        async for line in service.output():
            print(f"the service says {line}")
            if line == "good morning":
                break
            config.write_text("good morning")
        print(f"the service is in its {service.incarnation}nd incarnation: {service.exit and service.exit.explain()}")


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s", stream=sys.stdout)
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(main(Path(name)))
