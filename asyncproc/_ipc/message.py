"""What a child tells beside its values: small, typed, bounded; decoding one cannot run code.

A child writes them by hand (it does not pay for msgspec); the manager reads them as what they are.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from asyncproc._ipc import frame
from asyncproc.errors import DecodeError


class Ready(msgspec.Struct, frozen=True, array_like=True, tag=frame.READY):
    """The child is ready for its work."""


class Acknowledged(msgspec.Struct, frozen=True, array_like=True, tag=frame.ACKNOWLEDGED):
    """The child has heard that it should end."""


class Credit(msgspec.Struct, frozen=True, array_like=True, tag=frame.CREDIT):
    """The child has taken *count* bytes of values: as many more may be sent."""

    count: int


class Fell(msgspec.Struct, frozen=True, array_like=True, tag=frame.FELL):
    """Where the error was raised that comes next: the place of its phase in ``PHASES``, and the loop, 0 for none."""

    phase: int
    loop: int


class Report(msgspec.Struct, frozen=True, array_like=True, tag=frame.REPORT):
    """How long the child's loops took."""

    count: int
    total: float
    median: float
    fastest: float
    slowest: float
    last: float


class Stacks(msgspec.Struct, frozen=True, array_like=True, tag=frame.STACKS):
    """Where the child's threads and tasks stand, as text."""

    text: str


Message: TypeAlias = Ready | Acknowledged | Credit | Fell | Report | Stacks
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def decode_message(body: bytes) -> Message:
    """The message in a CONTROL frame.

    Raises:
        DecodeError: it is none.
    """
    try:
        return _decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise DecodeError(f"message: {error}") from None
