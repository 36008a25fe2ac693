"""Pickling by reference: functions and classes are named by their module. The faster of the two ways, tried first.

It gives up at the first thing that lives in ``__main__``, because the main file of a child is another file, or none. Here are
also the names and texts of what can go wrong, for those who report it.
"""

from __future__ import annotations

import sys
from _pickle import Pickler
from io import BytesIO
from types import FunctionType

TYPE_CHECKING = False  # importing typing for this name alone costs a child 9 ms
if TYPE_CHECKING:
    from typing import Any

PROTOCOL = 5


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
