"""The line of a coroutine function in a child: its own loop listens, and a stop cancels it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

from asyncproc._ipc.frame import ACKNOWLEDGED, ANSWER, REFUSAL, VALUE, WINDOW
from asyncproc._ipc.link import NEVER, Counts, Link, control, opened
from asyncproc.errors import ChannelBroken


class AsyncLine:
    """Both the runner of the target and its line.

    Args:
        listens: False when code of the child has used a plain line already, which then stays its line: this only runs.
    """

    def __init__(self, link: Link, listens: bool = True) -> None:
        self._link = link
        self._listens = listens
        self._counts = Counts()
        self._gone = False
        self._values: list[bytes] = []
        self._answers: dict[int, tuple[int, bytes] | None] = {}  # None: still to come
        self._waiters: list[asyncio.Future[None]] = []
        self._task: asyncio.Task[Any] | None = None

    def run(self, main: Callable[[], Any]) -> Any:
        """Await what *main* gives, on a loop of its own."""
        uvloop = sys.modules.get("uvloop")
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop if uvloop else None) as runner:
                return runner.run(self._main(main))
        finally:
            self._link.on_loop(None)

    async def _main(self, main: Callable[[], Any]) -> Any:
        self._loop = asyncio.get_running_loop()
        self._stop_asked = asyncio.Event()
        self._link.on_loop(self._loop)
        self._task = asyncio.current_task()
        if not self._listens:
            return await main()
        self._loop.add_reader(self._link.socket.fileno(), self._readable)
        self._handle(self._link.read(False) if self._link.early else [])
        try:
            return await main()
        finally:
            self._loop.remove_reader(self._link.socket.fileno())

    def _readable(self) -> None:
        self._handle(self._link.read(False))

    def _handle(self, frames: list[tuple[int, bytes]] | None) -> None:
        if frames is None:
            self._gone = True
            self._loop.remove_reader(self._link.socket.fileno())
        for kind, body in frames or ():
            if kind == VALUE:
                self._values.append(body)
            elif kind in (ANSWER, REFUSAL):
                number = int.from_bytes(body[:4], "little")
                if number in self._answers:  # else who asked has given up
                    self._answers[number] = kind, body[4:]
            else:
                self._obey(*control(body))
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _obey(self, word: str, what: Any = None, left: float = NEVER) -> None:
        if word == "stop":
            self._stop_asked.set()
            self._link.end_within(left)
            self._link.tell(ACKNOWLEDGED)
            if self._link.on_stop(what):
                self.cancel_now()
        elif word == "credit":
            self._counts.sent -= what
        else:
            self._link.on_report()

    @property
    def running(self) -> bool:
        """Whether code of the main task runs, so that something can be raised there. Where the loop waits, nobody would hear it
        (uvloop drops it)."""
        return asyncio.current_task(self._loop) is self._task

    @property
    def waits(self) -> bool:
        """Whether the loop waits, or runs nothing that could be told."""
        return asyncio.current_task(self._loop) is None

    def soon(self, call: Callable[..., object], *args: Any) -> None:
        """Call it on the loop, if that still runs; from any thread."""
        try:
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:  # it has just ended
            pass

    def cancel_now(self) -> None:
        """Cancel the main task; on its loop."""
        if self._task is not None:
            self._task.cancel("asked to end")

    @property
    def stopping(self) -> bool:
        return self._stop_asked.is_set()

    def hear_end(self, call: Callable[[float], object]) -> None:
        self._link.hear_end(call)

    def forget_end(self, call: Callable[[float], object]) -> None:
        self._link.forget_end(call)

    async def wait_stopping(self) -> None:
        await self._stop_asked.wait()

    async def _wait_until(self, ready: Callable[[], Any]) -> None:
        while not ready():
            if self._gone:
                raise ChannelBroken("the manager is gone")
            waiter = self._loop.create_future()
            self._waiters.append(waiter)
            await waiter

    async def send(self, value: object) -> None:
        body = self._link.wire.encode(value, "value")
        await self._wait_until(lambda: self._counts.sent < WINDOW)
        self._counts.sent += len(body)
        self._link.value(VALUE, body)

    async def receive(self) -> Any:
        await self._wait_until(lambda: self._values)
        body = self._values.pop(0)
        if credit := self._counts.take(len(body)):
            self._link.credit(credit)
        return self._link.wire.decode(body, "value")

    async def ask(self, service: int, question: object) -> Any:
        if asyncio._get_running_loop() is not self._loop:  # that of another thread
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self.ask(service, question), self._loop))
        number = self._link.question(service, self._link.wire.encode(question, "question"))
        self._answers[number] = None
        try:
            await self._wait_until(lambda: self._answers[number])
            answer = self._answers[number]
        finally:
            del self._answers[number]
        assert answer is not None
        return opened(*answer, self._link.wire)

    def ask_at_once(self, service: int, question: object) -> Any:
        """On our own loop nothing else runs meanwhile; what arrives is handled as ever."""
        if asyncio._get_running_loop() is not self._loop:
            return self.ask_blocking(service, question, None)
        number = self._link.question(service, self._link.wire.encode(question, "question"))
        self._answers[number] = None
        try:
            while (answer := self._answers[number]) is None:
                if self._gone:
                    raise ChannelBroken("the manager is gone")
                self._link.wait_readable()
                self._handle(self._link.read(False))
        finally:
            del self._answers[number]
        return opened(*answer, self._link.wire)

    def ask_nowait(self, service: int, question: object) -> None:
        self._link.question(service, self._link.wire.encode(question, "question"))

    def send_blocking(self, value: object, timeout: float | None) -> None:
        self._from_thread(self.send(value), timeout)

    def receive_blocking(self, timeout: float | None) -> Any:
        return self._from_thread(self.receive(), timeout)

    def ask_blocking(self, service: int, question: object, timeout: float | None) -> Any:
        return self._from_thread(self.ask(service, question), timeout)

    def wait_stopping_blocking(self, timeout: float | None) -> bool:
        try:
            self._from_thread(self.wait_stopping(), timeout)
        except TimeoutError:
            return False
        return True

    def _from_thread(self, call: Any, timeout: float | None) -> Any:
        return asyncio.run_coroutine_threadsafe(call, self._loop).result(timeout)
