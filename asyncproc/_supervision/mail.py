"""Values between the holder of a handle and its child: bounded, in order, each end told when the other is gone."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from asyncproc._ipc.frame import WINDOW
from asyncproc.errors import ChannelBroken, EndOfChannel

if TYPE_CHECKING:
    from asyncproc._core.exit import Exit
    from asyncproc.abc import Child


class Mail:
    """The mail of one node, over its incarnations. Made when somebody first sends or receives."""

    __slots__ = ("_ended", "_values", "_waiting", "child", "sent", "taken")

    def __init__(self) -> None:
        self._values: deque[tuple[Callable[[], Any], int]] = deque()
        self._waiting: list[asyncio.Future[None]] = []
        self._ended: Exit | None = None
        self.child: Child | None = None
        self.sent = 0
        self.taken = 0

    def connect(self, child: Child) -> None:
        """An incarnation exists: what was sent to the last one is no longer counted."""
        self.child = child
        self._ended = None
        self.sent = self.taken = 0
        self._wake()

    def disconnect(self) -> None:
        """The incarnation has ended; what it sent stays to be received, and another may come in the next round."""
        self.child = None

    def end(self, exit: Exit) -> None:
        """The node has ended for good: nothing more will come."""
        self._ended = exit
        self._wake()

    def arrived(self, take: Callable[[], Any], size: int) -> None:
        self._values.append((take, size))
        self._wake()

    def credited(self, count: int) -> None:
        self.sent -= count
        self._wake()

    async def send(self, value: object, path: str) -> None:
        while self.child is None or self.sent >= WINDOW:
            self._raise_if_ended(path, f"nothing can be sent to {path}")
            await self._news()
        self.sent += self.child.send_value(value)

    async def receive(self, path: str) -> Any:
        while not self._values:
            self._raise_if_ended(path, f"nothing more will come from {path}")
            await self._news()
        take, size = self._values.popleft()
        self.taken += size
        if self.child is not None and self.taken >= WINDOW // 4:
            self.child.send_credit(self.taken)
            self.taken = 0
        return take()

    def _raise_if_ended(self, path: str, text: str) -> None:
        if self._ended is not None:
            raise (EndOfChannel if self._ended.ok else ChannelBroken)(f"{text}: {self._ended.explain()}")

    async def _news(self) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await future

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)
