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


Message: TypeAlias = Ready | Acknowledged | Credit
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
