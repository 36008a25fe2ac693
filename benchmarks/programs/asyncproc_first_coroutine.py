"""The first coroutine in a child of a cold program, by asyncproc.

Prints the answer and the milliseconds from `Manager()` to the result.
"""

import asyncio
import importlib
import time
from typing import Any

from benchmarks import targets

asyncproc: Any = importlib.import_module("asyncproc")


async def main() -> None:
    """Time one run of a manager that is as cold as the program."""
    began = time.perf_counter()
    async with asyncproc.Manager() as manager:
        value = await manager.run(asyncproc.Process(targets.noop_async))
        took = time.perf_counter() - began
    print(value[2], took * 1e3)


asyncio.run(main())
