"""The manager of whoever asks, and what a program does with one call of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, overload

from asyncproc._core.completed import Completed
from asyncproc._manager import Manager, entered, is_open_on, open_until_the_loop_ends
from asyncproc._spec.base import Path
from asyncproc._spec.command import Command
from asyncproc.errors import CommandError, Fault, SpecError, StartFailed, StateError

if TYPE_CHECKING:
    from typing import TypeAlias, Unpack

    from asyncproc._spec.base import RunCommandOptions
    from asyncproc._supervision.handle import Handle

Input: TypeAlias = "str | bytes | AsyncIterable[str | bytes] | None"

_own: dict[asyncio.AbstractEventLoop, Manager[Any]] = {}
"""The managers that were made here, one for each loop that runs."""


def current_manager() -> Manager[Any]:
    """The manager whose ``async with`` this task, or the one that has made it, is in; else this loop's own.

    The loop's own is made on first use, and closes when the loop ends and cancels its tasks, as ``asyncio.run`` does: what
    still runs in it then is stopped.

    Raises:
        StateError: no loop runs here.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        raise StateError("current_manager(): no loop runs here; asyncproc.blocking needs none") from None
    manager = entered.get()
    if manager is not None and is_open_on(manager, loop):
        return manager
    own = _own.get(loop)
    return own if own is not None and is_open_on(own, loop) else _made_for(loop)


def _made_for(loop: asyncio.AbstractEventLoop) -> Manager[Any]:
    for closed in [other for other in _own if other.is_closed()]:
        del _own[closed]
    manager = _own[loop] = Manager()
    open_until_the_loop_ends(manager)
    return manager


@overload
async def run_command(
    *argv: Path, check: bool = False, input: Input = None, encoding: str = "utf-8", **options: Unpack[RunCommandOptions]
) -> Completed[str]: ...
@overload
async def run_command(
    *argv: Path, check: bool = False, input: Input = None, encoding: None, **options: Unpack[RunCommandOptions]
) -> Completed[bytes]: ...
async def run_command(*argv: Path, check: bool = False, input: Input = None, **options: Any) -> Completed[Any]:
    """Run a program to its end, on :func:`current_manager`, and return what it left behind, whatever its code.

    Cancelled, it ends the program by its ladder before the cancellation goes on.

    Args:
        argv: the program and its arguments, never a shell; one string with ``shell=True``.
        check: raise CommandError for a code outside ``ok_codes``.
        input: what it reads from its standard input, also piece by piece as they come; one that does not want all of it is no
            error.
        options: as of :class:`~asyncproc.Command`, e.g. ``timeout``, ``cwd``, ``env``, ``max_output``.

    Raises:
        OSError: it could not be started, e.g. FileNotFoundError; its notes name the step.
        ChildTimeout: it took longer than ``timeout``; what it had written is in ``completed``.
        CommandError: see *check*. SpecError: an argument or an option is wrong.
    """
    manager = current_manager()
    try:
        if isinstance(input, AsyncIterable):
            return await _run_with_input(manager, Command(*argv, **options, stdin="pipe"), input)
        if input is not None:
            options["stdin"] = _bytes_of(input, options)
        return await manager.run(Command(*argv, **options))
    except CommandError as error:
        if check or not isinstance(error.completed, Completed):
            raise
        return error.completed


def _bytes_of(input: object, options: Mapping[str, Any]) -> bytes:
    encoding = options.get("encoding", "utf-8")
    if isinstance(input, str) and encoding is not None:
        return input.encode(encoding)
    if isinstance(input, bytes | bytearray | memoryview):
        return bytes(input)
    rule = "must be text, bytes or an async iterable of them" if encoding else "must be bytes with encoding=None, or async"
    raise SpecError([Fault("run_command", "input", input, rule)])


async def _run_with_input(manager: Manager[Any], spec: Command, input: AsyncIterable[str | bytes]) -> Completed[Any]:
    try:
        handle = await manager.start(spec)
    except StartFailed as failed:  # as in run()
        raise failed.__cause__ or failed from None
    async with handle:
        feeding = asyncio.create_task(_feed(handle, input))
        ending = asyncio.create_task(handle.wait())
        try:
            await asyncio.wait({feeding, ending}, return_when=asyncio.FIRST_COMPLETED)
            if feeding.done():
                feeding.result()  # what the input has failed by ends the command
            return await handle
        finally:
            feeding.cancel()
            await asyncio.wait({feeding})
            ending.cancel()


async def _feed(handle: Handle[Any], input: AsyncIterable[str | bytes]) -> None:
    async for piece in input:
        try:
            await handle.write(piece)
        except (BrokenPipeError, StateError):  # it reads no more, or has ended
            return
    with suppress(StateError):
        await handle.write_eof()
