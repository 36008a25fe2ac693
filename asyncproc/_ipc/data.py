"""Values as data: MessagePack, in which nothing can be said that runs code in the receiver.

For children that are not trusted like the program that has started them. What is sent is what :mod:`msgspec` takes for data:
None, bool, int (64 bits), float, str, bytes, list, tuple, set, dict, datetimes, enums, dataclasses and its own structs. It
arrives as what MessagePack has: a tuple or set as a list, a dataclass as a dict, an enum as its value. Everything else is
refused where it is sent. An exception arrives as a :class:`~asyncproc.errors.RemoteError`, with its class's name, text and
traceback.

Towards the child a call names its target by module and name. What cannot be named so (a lambda, a function of ``__main__``, a
method of a class form's instance, a setup) is pickled: a child trusts its manager, in whose hands it is anyway. Its arguments
are data all the same.

Loaded only where such a child is: msgspec takes five milliseconds.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import msgspec

from asyncproc._ipc.by_reference import error_text, safe_str, type_name
from asyncproc._ipc.codec import decode as decode_code
from asyncproc._ipc.codec import encode_call as encode_code_call
from asyncproc._ipc.remote_error import MAX_NODES, notes_of, shortened, whole_text
from asyncproc._ipc.wire import Wire
from asyncproc.errors import DecodeError, EncodeError, RemoteError, Stopping

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from asyncproc._ipc.codec import Call


def _no_data(value: object) -> object:
    raise TypeError(f"{type_name(type(value))} is no data")


def _no_extension(code: int, body: memoryview) -> object:
    raise TypeError(f"an extension of type {code} is no data")


_encoder = msgspec.msgpack.Encoder(enc_hook=_no_data)
_decoder = msgspec.msgpack.Decoder(ext_hook=_no_extension)
_error_decoder = msgspec.msgpack.Decoder(tuple[str, str, str, list[str]])
_call_decoder = msgspec.msgpack.Decoder(tuple[str, str, bytes, list[Any], dict[str, Any]])


def encode(value: object, what: str = "value") -> bytes:
    """Turn a value into bytes.

    Raises:
        EncodeError: it is no data; the text names the type that is none.
    """
    try:
        return _encoder.encode(value)
    except Exception as error:
        raise EncodeError(f"{what}: {safe_str(error)}; this child exchanges data only") from error


def decode(data: bytes | memoryview, what: str = "value") -> object:
    """Rebuild a value.

    Raises:
        DecodeError: the bytes are no data.
    """
    try:
        return _decoder.decode(data)
    except Exception as error:
        raise DecodeError(f"{what}: is no data: {error_text(error)}") from error


def encode_call(
    target: Callable[..., object], args: Sequence[object], kwargs: Mapping[str, object], setup: object = None
) -> bytes:
    """Turn a call into bytes; no pickle begins as they do.

    Raises:
        EncodeError: an argument is no data, or the target cannot be sent.
    """
    for index, value in enumerate(args, 1):
        encode(value, f"argument {index}")
    for name, value in kwargs.items():
        encode(value, f"argument {name!r}")
    module, name = ("", "") if setup is not None else _named(target)
    code = b"" if module else encode_code_call(target, (), {}, setup)
    return _encoder.encode((module, name, code, list(args), dict(kwargs)))


def decode_call(data: bytes | memoryview, what: str = "call") -> Call:
    """Rebuild what :func:`encode_call` made, in the child: as target, positional and keyword arguments, and setup.

    Raises:
        DecodeError: the target is not to be found here.
    """
    module, name, code, args, kwargs = _call_decoder.decode(data)
    if code:
        call: Any = decode_code(code, "call")  # the manager's, whom we trust
        return call[0], tuple(args), kwargs, call[3]
    try:
        __import__(module)
        return _found(module, name), tuple(args), kwargs, None
    except Stopping:
        raise
    except BaseException as error:
        raise DecodeError(f"{what}: cannot be rebuilt here: {error_text(error)}") from error


def _named(target: object) -> tuple[str, str]:
    """The module and the name by which a target is found elsewhere; empty when it cannot be."""
    module, name = getattr(target, "__module__", None), getattr(target, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or module == "__main__" or module not in sys.modules:
        return "", ""
    try:
        return (module, name) if _found(module, name) is target else ("", "")
    except AttributeError:  # a lambda, or what is defined within a function
        return "", ""


def _found(module: str, name: str) -> Any:
    found: Any = sys.modules[module]
    for part in name.split("."):
        found = getattr(found, part)
    return found


def pack_error(error: BaseException) -> bytes:
    """Turn an exception into bytes: what it was, as text. Never raises."""
    texts = [type_name(type(error)), shortened(safe_str(error)), whole_text(error)]
    return _encoder.encode((*map(_clean, texts), [_clean(note) for note in notes_of(error)]))


def _clean(text: str) -> str:
    """Without halves of surrogate pairs, which are no text."""
    return text.encode("utf-8", "backslashreplace").decode()


def unpack_error(data: bytes | memoryview) -> BaseException:
    """The proxy of an exception. What ends a child that obeys has its own class: that is how an end is told from a failure."""
    try:
        name, text, traceback, notes = _error_decoder.decode(data)
    except Exception as failure:
        return RemoteError(f"an exception arrived that cannot be read: {error_text(failure)}")
    error: BaseException
    if name == "asyncio.exceptions.CancelledError":
        from asyncio import CancelledError

        error = CancelledError(shortened(text))
    elif name == "asyncproc.errors.Stopping":
        error = Stopping(shortened(text))
    else:
        name = name[:MAX_NAME]
        message = name.rpartition(".")[2] + (f": {shortened(text)}" if text else "")
        error = RemoteError(message, type_name=name, traceback=shortened(traceback))
    for note in notes[:MAX_NODES]:
        error.add_note(shortened(note))
    return error


MAX_NAME = 1000

DATA = Wire(encode, decode, pack_error, unpack_error, True)
