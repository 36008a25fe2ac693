"""The first command of a cold program, by asyncio itself; prints the answer and the milliseconds."""

import asyncio
import time

from benchmarks import targets


async def main() -> None:
    """Time one `true`."""
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec("true")
    code = await process.wait()
    print(targets.ANSWER if code == 0 else code, (time.perf_counter() - began) * 1e3)


asyncio.run(main())
