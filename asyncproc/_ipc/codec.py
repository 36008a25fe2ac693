"""User values as bytes and back: whatever a target, its arguments or its result is made of.

Two ways lead out. *By reference*: the C pickler, which names functions and classes by their module. *By value*: cloudpickle,
which sends the code itself. By reference is faster and is tried first; it gives up at the first thing that lives in
``__main__``, because the main file of a child is another file (or none), and importing the user's again would run it again.
One that fails by reference (a lambda, a local class) is tried by value; one that fails there too cannot be sent.

User code runs here on both sides (``__reduce__``, ``__setstate__``). What it raises becomes one error of one transfer: the
receiver is often a manager, whose loop must not unwind because a child's result contained a ``SystemExit``.

This module is imported by every child, so it loads nothing but ``_pickle``; cloudpickle and the search for the culprit of a
failure come in only when they are needed.
"""

from __future__ import annotations

from _pickle import loads

from asyncproc._ipc.by_reference import by_reference, error_text, type_name
from asyncproc.errors import DecodeError, EncodeError, Stopping

TYPE_CHECKING = False  # importing typing for this name alone costs a child 9 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, TypeAlias

    Call: TypeAlias = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], Any]


def encode(value: object, what: str = "value") -> bytes:
    """Turn a value into bytes.

    Args:
        value: what to send.
        what: what the value is to the user, e.g. ``"result"``; begins the text of the error.

    Raises:
        EncodeError: it cannot be sent; the text names the type that stands in the way and where it is,
            ``__cause__`` is what the pickler or user code raised.
    """
    try:
        return dumps(value)
    except Exception as error:
        from asyncproc._ipc.culprit import explain

        raise EncodeError(explain([(what, value)], error)) from error


def decode(data: bytes | memoryview, what: str = "value") -> object:
    """Rebuild a value from what :func:`encode` made.

    Raises:
        DecodeError: it cannot be rebuilt here; ``__cause__`` is what unpickling raised, of whatever class: also a
            ``SystemExit`` or ``CancelledError`` of user code. Only :class:`~asyncproc.errors.Stopping` goes through.
    """
    try:
        return loads(data)
    except Stopping:  # raised by the signal handler of a child that is asked to end, not by the value
        raise
    except BaseException as error:
        raise DecodeError(f"{what}: cannot be rebuilt here: {error_text(error)}") from error


def encode_call(
    target: Callable[..., object], args: Sequence[object], kwargs: Mapping[str, object], setup: object = None
) -> bytes:
    """Turn a call into bytes, all of it in one pickle: an object that two arguments share is still shared on arrival.

    Args:
        setup: hooks that go with the target; None without any.

    Raises:
        EncodeError: as :func:`encode`; the text begins with the part to blame, e.g. ``argument 2 of digest``.
    """
    try:
        return dumps((target, tuple(args), dict(kwargs), setup))
    except Exception as error:
        from asyncproc._ipc.culprit import explain, parts_of_call

        raise EncodeError(
            explain([*parts_of_call(target, args, kwargs), *([] if setup is None else [("setup", setup)])], error)
        ) from error


def decode_call(data: bytes | memoryview, what: str = "call") -> Call:
    """Rebuild what :func:`encode_call` made, as target, positional and keyword arguments, and setup.

    Raises:
        DecodeError: as :func:`decode`, or the bytes are no call.
    """
    call = decode(data, what)
    if not (type(call) is tuple and len(call) == 4 and callable(call[0])):
        raise DecodeError(f"{what}: is no call, but a {type_name(type(call))}")
    return call


def dumps(value: object) -> bytes:
    """Pickle by reference or else by value; raises what the pickler or user code raises."""
    data = by_reference(value)
    if data is not None:
        return data
    from asyncproc._ipc import by_value

    return by_value.dumps(value)
