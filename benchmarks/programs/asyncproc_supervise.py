"""Supervises as many `sleep` as it is told, by asyncproc."""

import asyncio
import importlib
import sys
from typing import Any

asyncproc: Any = importlib.import_module("asyncproc")


async def main(count: int) -> None:
    """Until somebody ends this program."""
    sleep = asyncproc.Command("sleep", "1000", name="sleep", scale=count, stdout="inherit", stderr="inherit")
    async with asyncproc.Manager(asyncproc.Supervisor(sleep)):
        await asyncio.get_running_loop().create_future()


asyncio.run(main(int(sys.argv[1])))
