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

import sys
from _pickle import Pickler, loads
from io import BytesIO
from types import FunctionType

from asyncproc.errors import DecodeError, EncodeError, Stopping

TYPE_CHECKING = False  # importing typing for this name alone costs a child 9 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, TypeAlias

    Call: TypeAlias = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]

PROTOCOL = 5


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


def encode_call(target: Callable[..., object], args: Sequence[object], kwargs: Mapping[str, object]) -> bytes:
    """Turn a call into bytes, all of it in one pickle: an object that two arguments share is still shared on arrival.

    Raises:
        EncodeError: as :func:`encode`; the text begins with the part to blame, e.g. ``argument 2 of digest``.
    """
    try:
        return dumps((target, tuple(args), dict(kwargs)))
    except Exception as error:
        from asyncproc._ipc.culprit import explain, parts_of_call

        raise EncodeError(explain(parts_of_call(target, args, kwargs), error)) from error


def decode_call(data: bytes | memoryview, what: str = "call") -> Call:
    """Rebuild what :func:`encode_call` made, as target, positional and keyword arguments.

    Raises:
        DecodeError: as :func:`decode`, or the bytes are no call.
    """
    call = decode(data, what)
    if not (type(call) is tuple and len(call) == 3 and callable(call[0])):
        raise DecodeError(f"{what}: is no call, but a {type_name(type(call))}")
    return call


def dumps(value: object) -> bytes:
    """Pickle by reference or else by value; raises what the pickler or user code raises."""
    data = by_reference(value)
    if data is not None:
        return data
    from asyncproc._ipc import by_value

    return by_value.dumps(value)


def by_reference(value: object) -> bytes | None:
    """The pickle of a value if everything in it can be named by its module, None if not (or if it cannot be pickled)."""
    if _modules_by_value():
        return None
    file = BytesIO()
    try:
        _ByReference(file, PROTOCOL).dump(value)
    except Exception:  # of which kind does not matter: by value tells whether, and why, it cannot be sent at all
        return None
    return file.getvalue()


class _ByReference(Pickler):
    """The C pickler, but nothing of ``__main__`` passes."""

    def reducer_override(self, obj: object) -> Any:
        # Asked of everything, not only of functions and classes: an lru_cache, a NewType and others that name themselves
        # carry it too, and an instance tells us early that its class will come. None makes pickle guess "__main__".
        module = getattr(obj, "__module__", "")
        if module == "__main__" or (module is None and isinstance(obj, FunctionType | type)):
            raise _InMain
        return NotImplemented


class _InMain(Exception):
    """Ends the attempt by reference."""


def _modules_by_value() -> bool:
    """Whether the user has registered modules with ``cloudpickle.register_pickle_by_value``."""
    cloudpickle = sys.modules.get("cloudpickle")
    return cloudpickle is not None and bool(cloudpickle.list_registry_pickle_by_value())


def type_name(kind: type) -> str:
    """The qualified name of a class, without its module for builtins; never runs code of its metaclass."""
    module = type.__dict__["__module__"].__get__(kind)
    name: str = type.__dict__["__qualname__"].__get__(kind)
    return name if module == "builtins" or type(module) is not str else f"{module}.{name}"


def error_text(error: BaseException) -> str:
    """``Class: message`` of any exception, also of one whose ``__str__`` raises."""
    name, text = type_name(type(error)), safe_str(error)
    return f"{name}: {text}" if text else name


def safe_str(value: object) -> str:
    """``str(value)`` as a plain ``str``, or a placeholder when that raises."""
    try:
        return str.__str__(str(value))  # a subclass of str would take its own __reduce__ along
    except BaseException:  # whatever a hostile __str__ raises must not replace what is being told
        return f"<str() of {type_name(type(value))} failed>"
