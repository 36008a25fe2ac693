"""A Python child process, as the manager holds it: one channel, its streams, and how it ended.

*The order of the last things.* What a child has sent is in our socket before its keeper can tell its end, but the loop may hand
out the two in either order. So the end drains the channel first, then settles; it never waits for end-of-file, which a
grandchild may hold back. End-of-file without an end: the connection is lost, the process is not; it gets a second, then KILL.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any

from asyncproc._core.exit import Exit, Phase, Reason
from asyncproc._core.lifecycle.action import PHASES
from asyncproc._core.lifecycle.loop_times import LoopReport
from asyncproc._core.supervision.action import Rung
from asyncproc._ipc.channel import Channel
from asyncproc._ipc.frame import (
    ACKNOWLEDGED,
    ANSWER,
    CONTROL,
    ERROR,
    QUESTION,
    QUESTION_HEADER,
    READY,
    REFUSAL,
    RESULT,
    STACKS_SIGNAL,
    VALUE,
    bare,
)
from asyncproc._ipc.wire import CODE
from asyncproc.errors import ChannelBroken, ChildCrashed, DecodeError, EncodeError, StateError

if TYPE_CHECKING:
    from asyncproc._ipc.wire import Wire
    from asyncproc._runtime.keeper_link import Numbers, Reach
    from asyncproc._runtime.page import Page
    from asyncproc._runtime.stdio import Streams
    from asyncproc.abc import Order, Usage, Watcher

SILENT_TOO_LONG = 1.0
"""Seconds that a child may live on after its connection has ended."""
TOO_LONG_FOR_STACKS = 1.0
"""Seconds that a child may take to tell its stacks; after that, what faulthandler could write counts."""
STOPPED = ("T", "t")
"""The letters of what a signal, or a debugger, has stopped."""
ONLY_READY, ONLY_ACKNOWLEDGED = bare(READY), bare(ACKNOWLEDGED)
"""All that most children ever tell; what decodes the rest takes 5 ms to load."""


class ProcessChild:
    """A Python child, from the request for it to its exit."""

    __slots__ = (
        "_acknowledged",
        "_asked",
        "_broken",
        "_cancels",
        "_channel",
        "_chain",
        "_error",
        "_fell",
        "_group",
        "_index",
        "_link",
        "_loop",
        "_number",
        "_order",
        "_outcome",
        "_page",
        "_ready",
        "_stacks",
        "_started",
        "_watcher",
        "_wire",
        "ended",
        "pid",
        "streams",
    )

    def __init__(
        self, loop: asyncio.AbstractEventLoop, chain: Numbers, sock: socket.socket, number: int, index: int, link: Reach
    ) -> None:
        self.pid: int | None = None
        self.ended = False
        self._loop = loop
        self._chain = chain
        self._link = link
        self._number = number
        self._index = index
        self._group: str | None = None
        self._order: Order | None = None
        self._watcher: Watcher | None = None
        self.streams: Streams | None = None
        self._started = loop.time()
        self._ready = False
        self._acknowledged = False
        self._asked = False
        self._cancels = True
        self._wire = CODE
        self._error: BaseException | None = None
        self._page: Page | None = None  # of one that has a heartbeat
        self._stacks: asyncio.Future[str] | None = None  # somebody waits for them
        self._outcome: tuple[int, bytes] | None = None
        self._fell: tuple[int, int] | None = None
        self._broken: asyncio.TimerHandle | None = None
        self._channel = Channel(loop, sock, self._on_frame, self._on_channel_end)
        link.children[number] = self

    @property
    def waits(self) -> bool:
        """Whether this spare is still there, waiting to be told what it is."""
        self._channel.drain()
        return self._broken is None and not self.ended

    def assign(
        self,
        order: Order,
        description: bytes,
        streams: Streams,
        watcher: Watcher,
        cancels: bool,
        wire: Wire = CODE,
        page: Page | None = None,
    ) -> None:
        """Tell the process what it is."""
        self._wire = wire
        self._order = order
        self._watcher = watcher
        self.streams = streams
        self._cancels = cancels
        self._started = self._loop.time()
        self._page = page
        self._channel.spawn(description, streams.fds if page is None else [*streams.fds, page.fd])
        streams.handed_over()
        if page is not None:
            page.handed_over()
        if self.pid is not None:
            watcher.on_spawned(self.pid)

    def live_in(self, group: str) -> None:
        """It will be in this control group."""
        self._group = group

    @property
    def origin(self) -> tuple[int, frozenset[int]]:
        """The index of its stamp, and the processes that whatever comes from it descends from."""
        return self._index, frozenset((self.pid or 0, *self._chain.keepers))

    # --- what its keeper tells ------------------------------------------------------------------------------------------

    def on_spawned(self, pid: int) -> None:
        self.pid = pid
        if self._watcher is not None:
            self._watcher.on_spawned(pid)
            if self._ready:
                self._watcher.on_ready()

    def on_start_failed(self, step: str, errno: int) -> None:
        error = OSError(errno, os.strerror(errno))
        error.add_note(f"step: {step}")
        if self.streams is not None:
            self.streams.close()  # nothing was written
        self._settle(Reason.CRASHED, error=error)

    def on_process_ended(self, status: int, cpu: float, peak_memory: int) -> None:
        self._channel.drain()
        killed_by = signal.Signals(os.WTERMSIG(status)) if os.WIFSIGNALED(status) else None
        code = None if killed_by else os.WEXITSTATUS(status)
        well = self._outcome is not None and self._outcome[0] == RESULT
        reason = Reason.FINISHED if well else Reason.CRASHED
        if self._asked and self._outcome is None and code is not None and self._error is None and self._order is not None:
            # It was asked to end and did, but what it had to say is lost: that is no good end.
            self._error = ChildCrashed(f"{self._order.path} ended with code {code} and told no outcome")
        self._settle(reason, code=code, signal=None if well else killed_by, cpu=cpu, peak_memory=peak_memory)

    def on_lost(self) -> None:
        self._channel.drain()
        well = self._outcome is not None and self._outcome[0] == RESULT
        self._settle(Reason.FINISHED if well else Reason.LOST if self._outcome is None else Reason.CRASHED)

    # --- what the child tells -------------------------------------------------------------------------------------------

    def _on_frame(self, kind: int, body: bytes) -> None:
        watcher = self._watcher
        if watcher is None or self._order is None:
            return
        if kind == VALUE:
            watcher.on_value(partial(self._wire.decode, body, "value"), len(body))
        elif kind in (RESULT, ERROR):
            self._outcome = (kind, body)
        elif kind == CONTROL:
            self._on_message(body, watcher)
        elif kind == QUESTION and len(body) >= QUESTION_HEADER.size:
            question = Asked(self._channel, body, self._wire)
            if self._wire.is_data:  # what those services are told, and tell, holds pickles within
                question.refuse(StateError(f"{self._order.path} exchanges data only: it has no namespace and no gates"))
            else:
                watcher.on_question(question)

    def _on_message(self, body: bytes, watcher: Watcher) -> None:
        if body == ONLY_READY:
            self._on_ready(watcher)
            return
        if body == ONLY_ACKNOWLEDGED:
            watcher.on_acknowledged()
            return
        from asyncproc._ipc.message import Acknowledged, Credit, Fell, Ready, Report, Stacks, decode_message

        try:
            message = decode_message(body)
        except DecodeError as error:
            self._on_channel_end(error)
            return
        match message:
            case Ready():
                self._on_ready(watcher)
            case Acknowledged():
                watcher.on_acknowledged()
            case Credit(count):
                watcher.on_credit(count)
            case Stacks(text):
                self._show(text)
            case Fell(phase, loop):
                self._fell = phase, loop
            case Report():
                name = "" if self._order is None else f"{self._order.name} loop times report"
                seconds = message.total, message.median, message.fastest, message.slowest, message.last
                watcher.on_report(LoopReport(name, message.count, *seconds))

    def _on_ready(self, watcher: Watcher) -> None:
        self._ready = True
        if self.pid is not None:
            watcher.on_ready()

    def _on_channel_end(self, error: DecodeError | None) -> None:
        if self._broken is None:
            self._error = error
            if error is not None:  # it talks nonsense: its word is worth nothing any more
                self._channel.close()
                self._kill()
            self._broken = self._loop.call_later(SILENT_TOO_LONG, self._on_silence)

    def _on_silence(self) -> None:
        if self._error is None and self._outcome is None and self._order is not None:
            self._error = ChannelBroken(f"{self._order.path} closed its channel and lived on")
        if self._outcome is None:
            self._kill()

    # --- what the manager wants -----------------------------------------------------------------------------------------

    def take_rung(self, rung: Rung) -> None:
        if not self._asked:
            self._asked = True
            self._link.request("ending", self._number, self._group, owes=True)
        if rung is Rung.KILL:
            self._kill()
        elif rung is Rung.TERM:
            self.signal(signal.SIGTERM)
            self.signal(signal.SIGCONT)
        else:
            left = inf if self._watcher is None else self._watcher.time_left()
            self._channel.control("stop", rung is Rung.ASK and self._cancels, left)

    def signal(self, number: int) -> None:
        self._link.request("signal", self._number, int(number), False)

    def _kill(self) -> None:
        self._link.request("kill", self._number, self._group)

    def pause(self) -> None:
        self._link.request("signal", self._number, int(signal.SIGSTOP), True)

    def resume(self) -> None:
        self._link.request("signal", self._number, int(signal.SIGCONT), True)

    def abandon(self) -> None:
        if self.pid is None:  # it was never there to be killed: it is when it comes
            self._kill()
        self._link.children.pop(self._number, None)
        self._settle(Reason.LOST, killed=True)

    def send_value(self, value: object) -> int:
        body = self._wire.encode(value, "value")
        self._channel.value(VALUE, body)
        return len(body)

    def ask_for_report(self) -> None:
        self._channel.control("report")

    def send_credit(self, count: int) -> None:
        self._channel.control("credit", count)

    # --- how it is ------------------------------------------------------------------------------------------------------

    @property
    def vitals(self) -> ProcessChild | None:
        return None if self._page is None else self

    def beats(self) -> tuple[float, float]:
        return (0.0, 0.0) if self._page is None else self._page.beats()

    def condition(self) -> str:
        return "" if self._page is None or self.pid is None else self._page.condition(self.pid)

    def usage(self) -> Usage:
        from asyncproc._runtime.usage import usage_of
        from asyncproc.abc import Usage

        return Usage() if self.pid is None else usage_of(self.pid, None if self._page is None else self._page.number or None)

    async def stacks(self) -> str:
        from asyncproc._runtime.usage import LINUX, catches, state_of

        if self.pid is None or not LINUX:
            return "its process cannot be asked for its stacks here" if self.pid else "its process is not there yet"
        if state_of(self.pid) in STOPPED:
            return _stopped(self.pid)
        if not catches(self.pid, STACKS_SIGNAL):
            return f"process {self.pid} runs no code of its child (yet, or any more)"
        if self._stacks is None:
            self._stacks = self._loop.create_future()
            if self._page is not None:
                self._page.clear_text()
            self.signal(STACKS_SIGNAL)
        waiting = self._stacks
        await asyncio.wait([waiting], timeout=TOO_LONG_FOR_STACKS)
        return waiting.result() if waiting.done() else self._silent_stacks()

    def _silent_stacks(self) -> str:
        """What can be said of a child that does not answer: the next who asks tries again."""
        from asyncproc._runtime.usage import state_of

        self._stacks = None
        pid = self.pid or 0
        state = state_of(pid)
        if state in STOPPED:
            return _stopped(pid)
        text = f"process {pid} (state {state}) did not come to run Python code in {TOO_LONG_FOR_STACKS} s"
        if self._page is not None and (written := self._page.text):
            return f"{text}; where its threads stand:\n{written}"
        return f"{text}, so its stacks are not known" + ("" if self._page else ": with heartbeat= they would be")

    def _show(self, text: str) -> None:
        waiting, self._stacks = self._stacks, None
        if waiting is not None and not waiting.done():
            waiting.set_result(text)

    def dismiss(self) -> None:
        """Let a spare go: it ends when its channel does."""
        self._channel.close()

    # --- the end --------------------------------------------------------------------------------------------------------

    def _settle(self, reason: Reason, **facts: Any) -> None:
        if self._broken is not None:
            self._broken.cancel()
        self._channel.close()
        if self._group is not None:
            self._chain.free_leaf(self._group)
        self._chain.free_index(self._index)
        self.ended = True
        self._show("it has ended")
        if self._page is not None:
            self._page.close()
            self._page = None
        if self._watcher is None or self._order is None or self.streams is None:
            return
        result, error = self._result()
        if error is not None and reason is Reason.FINISHED:
            reason = Reason.CRASHED
        facts.setdefault("error", error or self._error if reason is not Reason.FINISHED else None)
        self.streams.wind_down()
        exit = Exit(
            self._order.path,
            self._order.incarnation,
            reason,
            pid=self.pid,
            phase=self._phase if error is not None else None,
            loop=self._fell[1] or None if error is not None and self._fell is not None else None,
            duration=self._loop.time() - self._started,
            stderr_tail=self.streams.stderr_tail(),
            **facts,
        )
        self._watcher.on_exit(exit, result)

    @property
    def _phase(self) -> Phase | None:
        return Phase(PHASES[self._fell[0]]) if self._fell is not None and self._fell[0] < len(PHASES) else None

    def _result(self) -> tuple[Any, BaseException | None]:
        if self._outcome is None:
            return None, None
        kind, body = self._outcome
        if kind == ERROR:
            return None, self._wire.unpack_error(body)
        try:
            return self._wire.decode(body, "result"), None
        except DecodeError as error:
            return None, error


def _stopped(pid: int) -> str:
    return f"process {pid} is stopped: it shows its stacks when it is continued"


class Asked:
    """A question that came over a channel."""

    __slots__ = ("_body", "_channel", "_number", "_wire", "service")

    def __init__(self, channel: Channel, body: bytes, wire: Wire) -> None:
        self._wire = wire
        number, self.service = QUESTION_HEADER.unpack_from(body)
        self._number = number.to_bytes(4, "little")
        self._body = body
        self._channel = channel

    def take(self) -> Any:
        return self._wire.decode(self._body[QUESTION_HEADER.size :], "question")

    def answer(self, value: object) -> None:
        try:
            body = self._wire.encode(value, "answer")
        except EncodeError as error:
            self.refuse(error)
        else:
            self._channel.value(ANSWER, self._number + body)

    def refuse(self, error: BaseException) -> None:
        self._channel.value(REFUSAL, self._number + self._wire.pack_error(error))
