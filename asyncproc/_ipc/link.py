"""The child's end of the channel. Writing blocks: the manager never stops reading.

Nobody listens in the background. Whoever needs something, a value, room to send, whether a stop was asked, reads what has
arrived; with several threads one reads for all. So an idle child has one thread, and a target that never asks pays nothing:
a stop that it does not hear comes as a signal half a second later.
"""

from __future__ import annotations

from _struct import Struct
from _thread import allocate_lock, start_new_thread

from asyncproc._ipc.frame import (
    ACKNOWLEDGED,
    ANSWER,
    CONTROL,
    CREDIT,
    FELL,
    QUESTION,
    QUESTION_HEADER,
    REFUSAL,
    REPORT,
    STACKS,
    VALUE,
    WINDOW,
    FrameReader,
    bare,
    frame,
    split,
)
from asyncproc._ipc.wire import CODE
from asyncproc.errors import ChannelBroken, Stopping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from _thread import LockType
    from collections.abc import Callable
    from typing import Any, Never

    from asyncproc._ipc.wire import Wire

_MSG_DONTWAIT = 0x40
_READ_SIZE = 1 << 15
_DOUBLE = Struct(">d")
NEVER = 1e999
AT_ONCE = 3600.0
"""Seconds for an answer that comes at once: who waits without a limit is interrupted by a stop."""


class Link:
    """What both kinds of line stand on."""

    __slots__ = (
        "_asked", "_deadline", "_frame_lock", "_hearers", "_plain", "_reader", "_value_lock", "early", "line", "on_loop",
        "on_report", "on_stop", "socket", "threads", "wire",
    )  # fmt: skip

    def __init__(self, sock: socket, early: list[tuple[int, bytes]], wire: Wire = CODE) -> None:
        self.wire = wire
        self.socket = sock
        self.early = early
        self.threads = 0  # that listen here, and end with the process
        self._asked = 0
        self._deadline = NEVER
        self._hearers: tuple[Callable[[float], object], ...] = ()
        self._reader: FrameReader | None = None
        self._plain: PlainLine | None = None
        self._frame_lock = allocate_lock()  # whole frames
        self._value_lock = allocate_lock()  # whole values: a control frame may stand between two parts
        self.line: Callable[[], Any] = self._plain_line
        self.on_stop: Callable[[bool], bool] = _as_asked
        self.on_report: Callable[[], object] = _nothing
        self.on_loop: Callable[[Any], object] = _as_asked  # told of the loop that the child's code runs on, and None at its end

    def _plain_line(self) -> PlainLine:
        """One for all: what one of two had read would be lost to the other."""
        if self._plain is None:
            self._plain = PlainLine(self)
        return self._plain

    @property
    def has_plain_line(self) -> bool:
        """Whether somebody may hold the plain line: then nobody else may read."""
        return self._plain is not None

    def hear_end(self, call: Callable[[float], object]) -> None:
        """Tell *call*, on some thread, in how many seconds this child is killed: now if that is known, and when it is told."""
        self._hearers = (*self._hearers, call)
        if self._deadline < NEVER:
            call(self._deadline - _now())

    def forget_end(self, call: Callable[[float], object]) -> None:
        """Tell *call* no more."""
        self._hearers = tuple(each for each in self._hearers if each != call)

    def end_within(self, left: float) -> None:
        """It is asked to end, and killed in so many seconds."""
        if left < NEVER:
            self._deadline = _now() + left
            for call in self._hearers:
                call(left)

    def tell(self, tag: int) -> None:
        """Send a message without content."""
        self._write(frame(CONTROL, bare(tag)))

    def credit(self, count: int) -> None:
        """Say that *count* bytes of values have been taken."""
        self._write(frame(CONTROL, b"\x92" + bytes((CREDIT, 0xCE)) + count.to_bytes(4, "big")))

    def report(self, told: bytes) -> None:
        """Say how long the loops took, by :func:`report_frame`."""
        self._write(told)

    def stacks(self, text: str) -> None:
        """Say where the threads stand. In one frame: it may overtake a large value."""
        data = text.encode("utf-8", "backslashreplace")
        self._write(frame(CONTROL, bytes((0x92, STACKS, 0xDB)) + len(data).to_bytes(4, "big") + data))

    def value(self, kind: int, body: bytes, before: bytes = b"") -> None:
        """Send a value of any size, and whole frames *before* it: each write wakes the manager."""
        with self._value_lock:
            for part in split(kind, body):
                self._write(before + part)
                before = b""

    def question(self, service: int, body: bytes) -> int:
        """Ask the manager; returns the number that its answer will bear."""
        with self._value_lock:
            self._asked += 1
            number = self._asked
            for part in split(QUESTION, QUESTION_HEADER.pack(number, service) + body):
                self._write(part)
        return number

    def _write(self, data: bytes) -> None:
        try:
            with self._frame_lock:
                rest = memoryview(data)
                while rest:
                    rest = rest[self._send(rest) :]
        except OSError as error:
            raise ChannelBroken(f"the manager is gone: {error}") from None

    def _send(self, data: memoryview) -> int:
        while True:
            try:
                return self.socket.send(data)
            except BlockingIOError:  # a loop may have made it non-blocking
                _wait_until(self.socket, writable=True)

    def wait_readable(self) -> None:
        """Wait until there is something to be read, or the manager is gone."""
        if not self.early:
            _wait_until(self.socket, writable=False)

    def read(self, wait: bool) -> list[tuple[int, bytes]] | None:
        """The next frames, waited for or not; None when the manager is gone."""
        if self.early:
            early, self.early = self.early, []
            return early
        try:
            data = self.socket.recv(_READ_SIZE, 0 if wait else _MSG_DONTWAIT)
        except BlockingIOError:
            return []
        except OSError:
            return None
        if not data:
            return None
        if self._reader is None:
            self._reader = FrameReader()
        return self._reader.feed(data)


def fell_frame(phase: int, loop: int) -> bytes:
    """Says where the error was raised that comes next."""
    return frame(CONTROL, bytes((0x93, FELL, phase, 0xCF)) + loop.to_bytes(8, "big"))


def report_frame(count: int, *seconds: float) -> bytes:
    """Says how long the loops took: total, median, fastest, slowest, last."""
    numbers = b"".join(b"\xcb" + _DOUBLE.pack(number) for number in seconds)
    return frame(CONTROL, bytes((0x97, REPORT, 0xCF)) + count.to_bytes(8, "big") + numbers)


class Counts:
    """How much this side may still send, and what it owes the other side."""

    __slots__ = ("sent", "taken")

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
    """The line of plain code, in any of the child's threads.

    One thread reads at a time, the others wait until it has read something, and then look again. Who waits without a limit has
    no chance to look at ``stopping``: a stop raises ``Stopping`` there, as a cancellation would in a coroutine.
    """

    __slots__ = (
        "_answers", "_awaited", "_counts", "_cut", "_ear", "_gone", "_link", "_listened", "_reading", "_state", "_stopping",
        "_values", "_waiting",
    )  # fmt: skip

    def __init__(self, link: Link) -> None:
        self._link = link
        self._counts = Counts()
        self._stopping = False
        self._cut = False  # asked to end, and not only after the current work
        self._ear: Ear | None = None  # of the thread that listens
        self._awaited = 0  # how many threads wait for what comes next
        self._gone = False
        self._reading = False
        self._listened = False
        self._values: list[bytes] = []
        self._answers: dict[int, tuple[int, bytes] | None] = {}  # None: still to come
        self._waiting: list[LockType | Turn] = []
        self._state = allocate_lock()

    def _until(self, ready: Callable[[], Any], timeout: float | None) -> bool:
        """Read, or let another thread read, until *ready*; False after *timeout* seconds."""
        deadline = None if timeout is None else _now() + timeout
        while True:
            left = None if deadline is None else deadline - _now()
            with self._state:
                if ready():
                    return True
                if left is not None and left <= 0:
                    return False
                leads = not self._reading
                self._reading = True
                if not leads:
                    turn = self._queue_up()
            if leads:
                self._read(left)
            else:
                turn.acquire(True, -1 if left is None else left)

    def _queue_up(self) -> LockType:
        turn = allocate_lock()
        turn.acquire()
        self._waiting.append(turn)
        return turn

    def _read(self, patience: float | None) -> None:
        """Take the next frames and wake whoever waits; only the thread that has set ``_reading``."""
        frames: list[tuple[int, bytes]] | None = []
        try:
            if not patience or self._link.early or _wait_until(self._link.socket, writable=False, patience=patience):
                frames = self._link.read(patience is None)
        finally:
            with self._state:
                self._reading = False
                self._handle(frames)
                waiting, self._waiting = self._waiting, []
            for turn in waiting:
                turn.release()

    def _handle(self, frames: list[tuple[int, bytes]] | None) -> None:
        if frames is None:
            self._gone = True
        for kind, body in frames or ():
            if kind == VALUE:
                self._values.append(body)
            elif kind in (ANSWER, REFUSAL):
                number = int.from_bytes(body[:4], "little")
                if number in self._answers:  # else who asked has given up
                    self._answers[number] = kind, body[4:]
            else:
                self._obey(*control(body))

    def _obey(self, word: str, what: Any = None, left: float = NEVER) -> None:
        if word == "stop":
            self._stopping = True
            self._link.end_within(left)
            self._cut = self._link.on_stop(what) or self._cut
            self._link.tell(ACKNOWLEDGED)
        elif word == "credit":
            self._counts.sent -= what
        else:
            self._link.on_report()

    @property
    def cut(self) -> bool:
        """Whether it was asked to end, and not only after the current work."""
        return self._cut

    @property
    def stopping(self) -> bool:
        self.look()
        return self._stopping

    def look(self) -> None:
        """Hear what has been sent, without waiting."""
        with self._state:
            leads = not self._reading and not self._gone
            self._reading = self._reading or leads
        if leads:
            self._read(0)

    def hear_end(self, call: Callable[[float], object]) -> None:
        self._link.hear_end(call)
        self.start_listening()

    def forget_end(self, call: Callable[[float], object]) -> None:
        self._link.forget_end(call)

    def start_listening(self) -> None:
        """Hear whatever is sent, as it comes, in a thread of its own; once."""
        with self._state:
            listened, self._listened = self._listened, True
        if not listened:
            start_new_thread(self._listen, ())

    def _listen(self) -> None:
        ear = Ear(self._link.socket.fileno())
        with self._state:
            self._ear = ear
            ear.listen_for(not self._awaited)
        self._link.threads += 1
        self.look()  # what came with the first message cannot be polled for
        while not self._gone:
            ear.wait()  # without leading: who looks between two loops must not find it led
            with self._state:
                leads = not self._reading
                self._reading = True
                if not leads:
                    turn = self._queue_up()
            if leads:
                self._read(0)
            else:
                turn.acquire()
        self._link.threads -= 1

    def _await(self, more: int) -> None:
        """So many more threads wait for what comes; while any does, the one that listens is not to be woken by each frame."""
        with self._state:
            before = self._awaited
            self._awaited += more
            if self._ear is not None and not (before and self._awaited):
                self._ear.listen_for(not self._awaited)

    def wait_stopping_blocking(self, timeout: float | None) -> bool:
        return self._until(lambda: self._stopping or self._gone, timeout)

    def send_blocking(self, value: object, timeout: float | None) -> None:
        body = self._link.wire.encode(value, "value")
        room: list[bool] = []
        self._until_or_cut(lambda: self._take_room(len(body), room), timeout, "send: the manager took nothing")
        if not room:
            self._raise_end()
        self._link.value(VALUE, body)

    def _until_or_cut(self, ready: Callable[[], Any], timeout: float | None, what: str) -> None:
        """Wait for *ready*, or for what ends the wait: the manager has gone, or asks one to end who waits for ever."""
        if not self._until(lambda: ready() or self._gone or (timeout is None and self._cut), timeout):
            raise TimeoutError(f"{what} for {timeout} s")

    def _raise_end(self) -> Never:
        if self._gone:
            raise ChannelBroken("the manager is gone")
        raise Stopping("asked to end")

    def _take_room(self, size: int, room: list[bool]) -> bool:
        if self._counts.sent < WINDOW and not self._gone:
            self._counts.sent += size
            room.append(True)
        return bool(room)

    def receive_blocking(self, timeout: float | None) -> Any:
        taken: list[bytes] = []
        self._await(1)
        try:
            self._until_or_cut(lambda: self._take_value(taken), timeout, "receive: nothing came")
        finally:
            self._await(-1)
        return self._received(taken)

    def _received(self, taken: list[bytes]) -> Any:
        if not taken:
            self._raise_end()
        if credit := self._counts.take(len(taken[0])):
            self._link.credit(credit)
        return self._link.wire.decode(taken[0], "value")

    def _take_value(self, taken: list[bytes]) -> bool:
        if self._values:
            taken.append(self._values.pop(0))
        return bool(taken)

    def ask_blocking(self, service: int, question: object, timeout: float | None) -> Any:
        body = self._link.wire.encode(question, "question")
        self._await(1)  # before it is sent: the answer may be there before this thread runs again
        try:
            answer = self._ask(service, body, timeout)
        finally:
            self._await(-1)
        if answer is None:
            self._raise_end()
        return opened(*answer, self._link.wire)

    def _ask(self, service: int, body: bytes, timeout: float | None) -> tuple[int, bytes] | None:
        with self._state:
            number = self._link.question(service, body)
            self._answers[number] = None
        try:
            self._until_or_cut(lambda: self._answers[number], timeout, "ask: the manager did not answer")
            return self._answers[number]
        finally:
            del self._answers[number]

    def ask_at_once(self, service: int, question: object) -> Any:
        return self.ask_blocking(service, question, AT_ONCE)

    def ask_nowait(self, service: int, question: object) -> None:
        self._link.question(service, self._link.wire.encode(question, "question"))

    # --- on a loop that the user's code runs, in whichever thread ---------------------------------------------------------

    async def _until_on_loop(self, ready: Callable[[], Any]) -> None:
        """Wait until *ready*, or for what ends the wait; asked with the lock held. Another thread listens."""
        import asyncio

        self.start_listening()
        loop = asyncio.get_running_loop()
        while True:
            with self._state:
                if ready() or self._gone or self._cut:
                    return
                future = loop.create_future()
                self._waiting.append(Turn(loop, future))
            await future

    async def wait_stopping(self) -> None:
        await self._until_on_loop(lambda: self._stopping)

    async def ask(self, service: int, question: object) -> Any:
        body = self._link.wire.encode(question, "question")
        with self._state:
            number = self._link.question(service, body)
            self._answers[number] = None
        try:
            await self._until_on_loop(lambda: self._answers[number])
            answer = self._answers[number]
        finally:
            del self._answers[number]
        if answer is None:
            self._raise_end()
        return opened(*answer, self._link.wire)

    async def send(self, value: object) -> None:
        body = self._link.wire.encode(value, "value")
        room: list[bool] = []
        await self._until_on_loop(lambda: self._take_room(len(body), room))
        if not room:
            self._raise_end()
        self._link.value(VALUE, body)

    async def receive(self) -> Any:
        taken: list[bytes] = []
        await self._until_on_loop(lambda: self._take_value(taken))
        return self._received(taken)


class Ear:
    """What the listening thread waits with. What an epoll looks for can be changed without waking who waits; where there is
    none, it goes on listening, and each frame that somebody waits for wakes two threads that contend for the interpreter."""

    __slots__ = ("_epoll", "_fd", "wait")

    def __init__(self, fd: int) -> None:
        import select

        self._fd = fd
        self._epoll: Any = getattr(select, "epoll", _nothing)()
        poll = self._epoll or select.poll()
        poll.register(fd, select.POLLIN)
        self.wait: Callable[[], object] = poll.poll

    def listen_for(self, frames: bool) -> None:
        """Wake for *frames*, or for the manager's end alone."""
        if self._epoll is not None:
            self._epoll.modify(self._fd, int(frames))  # EPOLLIN is 1


class Turn:
    """Who waits on a loop; spelled as a lock."""

    __slots__ = ("_future", "_loop")

    def __init__(self, loop: Any, future: Any) -> None:
        self._loop = loop
        self._future = future

    def release(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._wake)
        except RuntimeError:  # that loop has ended
            pass

    def _wake(self) -> None:
        if not self._future.done():
            self._future.set_result(None)


def _as_asked(cut: Any) -> Any:
    return cut


def _nothing() -> None: ...


def opened(kind: int, body: bytes, wire: Wire) -> Any:
    """What an answer says, or raises."""
    if kind == ANSWER:
        return wire.decode(body, "answer")
    raise wire.unpack_error(body)


def control(body: bytes) -> tuple[Any, ...]:
    """A control message of the manager's, whom the child trusts."""
    import marshal

    message: tuple[Any, ...] = marshal.loads(body)
    return message


def _now() -> float:
    import time

    return time.monotonic()


def _wait_until(sock: socket, *, writable: bool, patience: float | None = None) -> bool:
    """Wait until the socket is writable, or else readable; False after *patience* seconds."""
    import select

    poll = select.poll()
    poll.register(sock.fileno(), select.POLLOUT if writable else select.POLLIN)
    return bool(poll.poll(None if patience is None else patience * 1000))
