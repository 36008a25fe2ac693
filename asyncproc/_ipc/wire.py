"""How values cross a channel, as one thing that both ends hold.

*As code*, by pickle: what most children do, each trusted like the program that has started it. *As data*
(:mod:`asyncproc._ipc.data`): for a child that is not.
"""

from __future__ import annotations

from asyncproc._ipc.codec import decode, encode
from asyncproc._ipc.remote_error import pack_error, unpack_error

TYPE_CHECKING = False  # importing typing for this name alone costs a child 9 ms
if TYPE_CHECKING:
    from collections.abc import Callable


class Wire:
    """The four functions that all values go through."""

    __slots__ = ("decode", "encode", "is_data", "pack_error", "unpack_error")

    def __init__(
        self,
        encode: Callable[[object, str], bytes],
        decode: Callable[[bytes | memoryview, str], object],
        pack_error: Callable[[BaseException], bytes],
        unpack_error: Callable[[bytes | memoryview], BaseException],
        is_data: bool,
    ) -> None:
        self.encode = encode
        self.decode = decode
        self.pack_error = pack_error
        self.unpack_error = unpack_error
        self.is_data = is_data


CODE = Wire(encode, decode, pack_error, unpack_error, False)
