"""A test that users can point at their own state: do all changes arrive when several children make them at once?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asyncproc._spec.current import current

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asyncproc._manager import Manager
    from asyncproc._spec.leaf import Coroutine, Process, Thread


class LostUpdates(AssertionError):
    """Some changes did not arrive, or arrived more than once.

    Attributes:
        expected: how much the total should have risen by. found: how much it did.
    """

    def __init__(self, expected: float, found: float) -> None:
        super().__init__(expected, found)
        self.expected = expected
        self.found = found

    def __str__(self) -> str:
        difference = self.expected - self.found
        what = f"{difference} of {self.expected} updates were lost" if difference > 0 else f"{-difference} updates too many"
        return f"{what}: the total should have risen by {self.expected}, and rose by {self.found}"


async def lost_update(
    manager: Manager[Any],
    increment: Callable[[], object],
    total: Callable[[], float | Awaitable[float]],
    *,
    writers: int = 4,
    times: int = 250,
    kind: type[Process[Any] | Thread[Any] | Coroutine[Any]] | None = None,
) -> None:
    """Let several children raise one total at once, and see whether all of it arrives.

    Args:
        manager: an open one; it runs the children. increment: what each child calls, plain or async; it raises the total by 1.
        total: called here, before and after. writers: children. times: calls of each.
        kind: of the children; None: Process.

    Raises:
        LostUpdates: says how many. What a child raises comes out as it is.
    """
    from asyncproc._spec.callables import is_async  # here: a child that runs _repeat needs none of it
    from asyncproc._spec.leaf import Process

    made: Any = Process if kind is None else kind
    before = await _read(total)
    repeat = _repeat_async if is_async(increment) else _repeat
    children = [await manager.start(made(repeat, increment, times)) for _ in range(writers)]
    for child in children:  # all at once, and not one after the other as they are born
        await child.send("go")
    for child in children:
        await child
    found = await _read(total) - before
    if found != writers * times:
        raise LostUpdates(writers * times, found)


async def _read(total: Callable[[], float | Awaitable[float]]) -> float:
    found = total()
    return found if isinstance(found, int | float) else await found


def _repeat(increment: Callable[[], object], times: int) -> None:
    current().sync.receive()
    for _ in range(times):
        increment()


async def _repeat_async(increment: Callable[[], Awaitable[object]], times: int) -> None:
    await current().receive()
    for _ in range(times):
        await increment()
