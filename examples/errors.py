"""Errors: what a child raises is what its awaiter catches, with the traceback of the place where it happened.

What to see: an exception of a class of this file comes back with its attributes, and its cause shows the child's own lines; the
failures of a group come as one ExceptionGroup; a child that was killed by somebody else says by which signal.
"""

import os
import signal
import textwrap

import asyncproc
from asyncproc import ChildCrashed, Concurrent, Process, Sequential


class OutOfPaper(Exception):
    """An exception of this file; no module that a child could import has it."""

    def __init__(self, tray: int) -> None:
        super().__init__(f"tray {tray} is empty")
        self.tray = tray


def print_page(tray: int) -> None:
    raise OutOfPaper(tray)


def divide() -> float:
    return 1 / 0


def vanish() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def main() -> None:
    async with asyncproc.Manager() as manager:
        try:
            await manager.run(Process(print_page, 3))
        except OutOfPaper as error:
            print(f"an {type(error).__name__}, tray {error.tray}; {error.__notes__[0]}")
            print(textwrap.indent(str(error.__cause__), "    | "))

        results = await manager.run(Concurrent(Process(print_page, 1), Sequential(divide, vanish), on_failure="continue"))
        print("skipped, and because of what:", results.skipped)
        try:
            results.check()
        except* OutOfPaper as group:
            print("of the group, out of paper:", *group.exceptions)
        except* ZeroDivisionError as group:
            print("of the group, nested as it is:", *group.exceptions)

        try:
            await manager.run(vanish)
        except ChildCrashed as crash:
            assert crash.exit is not None and crash.exit.signal is not None
            print(f"{crash.exit.path} {crash.exit.reason.value}: {crash.exit.signal.name}")


asyncproc.run(main())
