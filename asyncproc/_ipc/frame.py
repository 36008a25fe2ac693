"""Frames: how messages lie in a stream of bytes. Pure, and the same on both ends.

A frame is its body's length (4 bytes, little-endian), its kind (1 byte) and the body. A large value travels as PART frames
and a last one of its own kind, so that a control frame never waits behind more than one part.
"""

from __future__ import annotations

from _struct import Struct

from asyncproc.errors import DecodeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER = Struct("<IB")
QUESTION_HEADER = Struct("<IB")
"""A question begins with its number, unique in its child, and the service that it is for; answers begin with the number."""
GATES, NAMESPACE, CIRCUITS = range(1, 4)
"""The services that a child may ask."""
PART_SIZE = 1 << 16
"""Bytes of a value that one frame carries at most."""
MAX_BODY = 1 << 20
"""A longer body is no frame of ours: whoever claims one is cut off before any memory is taken."""
WINDOW = 1 << 20
"""Bytes of values that may be on their way to a receiver that has not taken them yet."""

CONTROL, PART, VALUE, RESULT, ERROR, SPAWN, QUESTION, ANSWER, REFUSAL = range(1, 10)
READY, ACKNOWLEDGED, CREDIT, FELL, REPORT, STACKS = range(1, 7)
"""Tags of what a child tells in a CONTROL frame, a msgpack array; see :mod:`asyncproc._ipc.message`."""
STACKS_SIGNAL = 58
"""Asks a Python child for its stacks: a realtime signal, so that no signal of the user's is taken."""


def frame(kind: int, body: bytes) -> bytes:
    """One frame, ready to be written."""
    return HEADER.pack(len(body), kind) + body


def bare(tag: int) -> bytes:
    """The body of a CONTROL frame that tells only this: a msgpack array of one."""
    return bytes((0x91, tag))


def split(kind: int, body: bytes) -> Iterator[bytes]:
    """The frames of a value of any size."""
    if len(body) <= PART_SIZE:
        yield frame(kind, body)
        return
    view = memoryview(body)
    last = (len(body) - 1) // PART_SIZE * PART_SIZE
    for start in range(0, last, PART_SIZE):
        yield HEADER.pack(PART_SIZE, PART) + view[start : start + PART_SIZE]
    yield HEADER.pack(len(body) - last, kind) + view[last:]


class FrameReader:
    """Cuts what arrives into frames, and joins the parts of a value."""

    __slots__ = ("_parts", "_rest")

    def __init__(self) -> None:
        self._rest = b""
        self._parts: list[bytes] = []

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The frames that are complete with *data*, as ``(kind, body)``; PARTs joined.

        Raises:
            DecodeError: this is no stream of frames.
        """
        if self._rest:
            data = self._rest + data
        frames: list[tuple[int, bytes]] = []
        at, end = 0, len(data)
        while end - at >= 5:
            size, kind = HEADER.unpack_from(data, at)
            if size > MAX_BODY or not CONTROL <= kind <= REFUSAL:
                raise DecodeError(f"frame: kind {kind} of {size} bytes is none of ours")
            if end - at - 5 < size:
                break
            self._take(kind, data[at + 5 : at + 5 + size], frames)
            at += 5 + size
        self._rest = data[at:] if at else data
        return frames

    def _take(self, kind: int, body: bytes, frames: list[tuple[int, bytes]]) -> None:
        if kind == PART:
            self._parts.append(body)
        elif self._parts and kind != CONTROL:
            frames.append((kind, b"".join([*self._parts, body])))
            self._parts.clear()
        else:
            frames.append((kind, body))
