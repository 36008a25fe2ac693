"""The root of a child process: its line to the manager, its ``current()``, and the run of its target.

Started by name in a fresh fork (:mod:`asyncproc._runtime.bootstrap`), never imported by anything below. It loads asyncio only
for a coroutine function, and a thread that listens only for plain code that asks for it: an idle child costs about a megabyte.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C half of signal: loading that one costs 3 ms
import sys
from _thread import allocate_lock
from types import ModuleType

from asyncproc._ipc.codec import decode, decode_call, encode
from asyncproc._ipc.frame import (
    ACKNOWLEDGED,
    CONTROL,
    CREDIT,
    ERROR,
    READY,
    RESULT,
    VALUE,
    WINDOW,
    FrameReader,
    frame,
    split,
)
from asyncproc._ipc.remote_error import pack_error
from asyncproc._spec.current import Current, set_current
from asyncproc.errors import ChannelBroken, Stopping

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    import threading
    from _socket import socket
    from collections.abc import Callable
    from typing import Any


def main(sock: socket, spawn: dict[str, Any], reader: FrameReader) -> int:
    """Run what *spawn* describes; returns the exit code of the process."""
    link = Link(sock, reader, spawn["early"])
    _fresh_main(spawn["main_file"])
    line = (AsyncLine if spawn["loop"] else PlainLine)(link)
    set_current(
        Current(line, spawn["node"], spawn["incarnation"], spawn["round"], spawn["level"], spawn["metadata"]), process=True
    )
    _signal.signal(_signal.SIGTERM, _stop_here)
    try:
        target, args, kwargs = _target(spawn)
        link.tell(READY)
        result = line.run(target, args, kwargs)
        body = encode(result, "result")
    except SystemExit as end:
        return _finish(link, ERROR if end.code else RESULT, pack_error(end) if end.code else encode(None), _code_of(end))
    except BaseException as error:
        return _finish(link, ERROR, pack_error(error), 1)
    return _finish(link, RESULT, body, 0)


def _target(spawn: dict[str, Any]) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    refused = spawn.get("refused")
    if refused is not None:
        refused.add_note(f"step: {spawn['step']}")
        raise refused
    return decode_call(spawn["call"])


def _stop_here(number: int, stack: object) -> None:
    _signal.signal(number, _signal.SIG_IGN)  # once: clean-up is not to be cut by a second one
    raise Stopping("asked to end")


def _fresh_main(file: str | None) -> None:
    module = ModuleType("__main__")
    if file is not None:
        module.__file__ = file
    sys.modules["__main__"] = module


def _code_of(end: SystemExit) -> int:
    if isinstance(end.code, int):
        return end.code & 0xFF
    return 0 if end.code is None else 1


def _finish(link: Link, kind: int, body: bytes, code: int) -> int:
    """Hand over the outcome, then end as an interpreter does: join threads, run ``atexit``, flush."""
    _signal.signal(_signal.SIGTERM, _signal.SIG_IGN)
    try:
        link.value(kind, body)
    except ChannelBroken:
        return 70
    if "threading" in sys.modules:
        sys.modules["threading"]._shutdown()
    import atexit

    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):  # closed, or read by nobody
            pass
    return code


class Link:
    """The child's end of the channel. Writing blocks: the manager never stops reading."""

    def __init__(self, sock: socket, reader: FrameReader, early: list[tuple[int, bytes]]) -> None:
        self.socket = sock
        self._reader = reader
        self.early = early
        self._frame_lock = allocate_lock()  # whole frames
        self._value_lock = allocate_lock()  # whole values: a control frame may stand between two parts

    def tell(self, tag: int) -> None:
        """Send a message without content."""
        self._write(frame(CONTROL, bytes((0x91, tag))))

    def credit(self, count: int) -> None:
        """Say that *count* bytes of values have been taken."""
        self._write(frame(CONTROL, b"\x92" + bytes((CREDIT, 0xCE)) + count.to_bytes(4, "big")))

    def value(self, kind: int, body: bytes) -> None:
        """Send a value of any size."""
        with self._value_lock:
            for part in split(kind, body):
                self._write(part)

    def _write(self, data: bytes) -> None:
        try:
            with self._frame_lock:
                self.socket.sendall(data)
        except OSError as error:
            raise ChannelBroken(f"the manager is gone: {error}") from None

    def read(self) -> list[tuple[int, bytes]] | None:
        """Wait for the next frames; None when the manager is gone."""
        if self.early:
            early, self.early = self.early, []
            return early
        try:
            data = self.socket.recv(1 << 16)
        except OSError:
            return None
        return self._reader.feed(data) if data else None


class _Window:
    """How much this side may still send, and what it owes the other side: the same count in both directions."""

    def __init__(self) -> None:
        self.sent = 0
        self.taken = 0

    def take(self, count: int) -> int:
        """Note that *count* bytes were taken; what is to be credited now (0: later, with more)."""
        self.taken += count
        if self.taken < WINDOW // 4:
            return 0
        credit, self.taken = self.taken, 0
        return credit


class PlainLine:
    """The line of plain code: a small thread listens once somebody asks for it."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._window = _Window()
        self._stopping = False
        self._gone = False
        self._values: list[bytes] = []
        self._news: threading.Condition | None = None

    def run(self, target: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return target(*args, **kwargs)

    def _listen(self) -> threading.Condition:
        if self._news is None:
            import threading

            self._news = threading.Condition()
            threading.Thread(target=self._listener, name="asyncproc-listener", daemon=True).start()
        return self._news

    def _listener(self) -> None:
        news = self._news
        assert news is not None
        while (frames := self._link.read()) is not None:
            for kind, body in frames:
                self._heard(kind, body, news)
        with news:
            self._gone = True
            news.notify_all()

    def _heard(self, kind: int, body: bytes, news: threading.Condition) -> None:
        with news:
            if kind == VALUE:
                self._values.append(body)
            elif _is_stop(message := _control(body)):
                self._stopping = True
                self._link.tell(ACKNOWLEDGED)
            else:
                self._window.sent -= message[1]
            news.notify_all()

    @property
    def stopping(self) -> bool:
        self._listen()
        return self._stopping

    def send_blocking(self, value: object, timeout: float | None) -> None:
        body = encode(value, "value")
        news = self._listen()
        with news:
            if not news.wait_for(lambda: self._gone or self._window.sent < WINDOW, timeout):
                raise TimeoutError(f"send: the manager took nothing for {timeout} s")
            self._raise_if_gone()
            self._window.sent += len(body)
        self._link.value(VALUE, body)

    def receive_blocking(self, timeout: float | None) -> Any:
        news = self._listen()
        with news:
            if not news.wait_for(lambda: self._values or self._gone, timeout):
                raise TimeoutError(f"receive: nothing came for {timeout} s")
            if not self._values:
                self._raise_if_gone()
            body = self._values.pop(0)
            credit = self._window.take(len(body))
        if credit:
            self._link.credit(credit)
        return decode(body, "value")

    def _raise_if_gone(self) -> None:
        if self._gone:
            raise ChannelBroken("the manager is gone")

    async def wait_stopping(self) -> None:
        import asyncio

        news = self._listen()

        def wait() -> None:
            with news:
                news.wait_for(lambda: self._stopping or self._gone)

        await asyncio.to_thread(wait)

    async def send(self, value: object) -> None:
        import asyncio

        await asyncio.to_thread(self.send_blocking, value, None)

    async def receive(self) -> Any:
        import asyncio

        return await asyncio.to_thread(self.receive_blocking, None)


class AsyncLine:
    """The line of a coroutine function: its own loop listens."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._window = _Window()
        self._gone = False
        self._values: list[bytes] = []
        self._task: asyncio.Task[Any] | None = None

    def run(self, target: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        import asyncio

        uvloop = sys.modules.get("uvloop")
        with asyncio.Runner(loop_factory=uvloop.new_event_loop if uvloop else None) as runner:
            return runner.run(self._main(target, args, kwargs))

    async def _main(self, target: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        import asyncio

        self._loop = asyncio.get_running_loop()
        self._stop_asked = asyncio.Event()
        self._waiters: list[asyncio.Future[None]] = []
        self._task = asyncio.current_task()
        self._loop.add_reader(self._link.socket.fileno(), self._readable)
        self._handle(self._link.read() if self._link.early else [])
        try:
            return await target(*args, **kwargs)
        finally:
            self._loop.remove_reader(self._link.socket.fileno())

    def _readable(self) -> None:
        self._handle(self._link.read())

    def _handle(self, frames: list[tuple[int, bytes]] | None) -> None:
        if frames is None:
            self._gone = True
            self._loop.remove_reader(self._link.socket.fileno())
        for kind, body in frames or ():
            if kind == VALUE:
                self._values.append(body)
            elif _is_stop(message := _control(body)):
                self._stop(message[1])
            else:
                self._window.sent -= message[1]
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _stop(self, cancel: bool) -> None:
        self._stop_asked.set()
        self._link.tell(ACKNOWLEDGED)
        if cancel and self._task is not None:
            self._task.cancel("asked to end")

    @property
    def stopping(self) -> bool:
        return self._stop_asked.is_set()

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
        body = encode(value, "value")
        await self._wait_until(lambda: self._window.sent < WINDOW)
        self._window.sent += len(body)
        self._link.value(VALUE, body)

    async def receive(self) -> Any:
        await self._wait_until(lambda: self._values)
        body = self._values.pop(0)
        if credit := self._window.take(len(body)):
            self._link.credit(credit)
        return decode(body, "value")

    def _from_thread(self, call: Any, timeout: float | None) -> Any:
        import asyncio

        return asyncio.run_coroutine_threadsafe(call, self._loop).result(timeout)

    def send_blocking(self, value: object, timeout: float | None) -> None:
        self._from_thread(self.send(value), timeout)

    def receive_blocking(self, timeout: float | None) -> Any:
        return self._from_thread(self.receive(), timeout)


def _control(body: bytes) -> tuple[Any, ...]:
    import marshal

    message: tuple[Any, ...] = marshal.loads(body)
    return message


def _is_stop(message: tuple[Any, ...]) -> bool:
    return bool(message[0] == "stop")
