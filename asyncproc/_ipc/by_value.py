"""Pickling with the code inside: functions and classes that the receiver cannot import.

cloudpickle does the work; this module changes four things about it.

*Classes go home untouched.* cloudpickle gives each class that it sends an id, by which both ends find it again, so that
instances keep their class on a round trip. But it also writes the arriving copy over the class that it has found: a result
would replace the methods of the host's own class by copies that see a copy of its globals. Here only classes that came from
outside are brought up to date; where a class was defined, it stays as it is.

*Classes keep their form*: ``__slots__`` and the qualified name, which cloudpickle drops.

*Things that name themselves* (``lru_cache``, ``NewType``) are rebuilt; cloudpickle would send the name, e.g. ``__main__.f``.
So is ``cached_property``, whose lock it cannot send.

*Big copies are told.* Globals and closure of a function travel with it, which nobody sees in the source.

Imported only when something has to go by value, on both sides: it loads cloudpickle (about 25 ms).
"""

from __future__ import annotations

import functools
import warnings
from io import BytesIO
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple, NewType, ParamSpec, TypeVarTuple
from weakref import WeakSet

import cloudpickle  # type: ignore[import-untyped]  # it has no types
from cloudpickle import cloudpickle as tracking

from asyncproc._ipc.by_reference import PROTOCOL, by_reference

if TYPE_CHECKING:
    from collections.abc import Callable

BIG_COPY = 1 << 20  # bytes

_LruCache = type(functools.lru_cache(lambda: None))
_guests: WeakSet[type] = WeakSet()  # classes that were defined in another process
_measured: WeakSet[CodeType] = WeakSet()


def dumps(value: object) -> bytes:
    """Pickle a value; warns when a function brings more than 1 MiB of globals and closure along, once for each function."""
    data, functions = _dump(value)
    if len(data) > BIG_COPY:
        _warn_of_big_copies(functions)
    return data


def _dump(value: object) -> tuple[bytes, list[FunctionType]]:
    file = BytesIO()
    pickler = ByValue(file)
    pickler.dump(value)
    return file.getvalue(), pickler.functions


class ByValue(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
    """The pickler; *functions* are those that went by value, outer ones first."""

    def __init__(self, file: BytesIO) -> None:
        super().__init__(file, protocol=PROTOCOL)
        self.functions: list[FunctionType] = []

    def reducer_override(self, obj: Any) -> Any:
        if type(obj) in _REBUILD:
            return NotImplemented if by_reference(obj) else _REBUILD[type(obj)](obj)
        reduced = super().reducer_override(obj)
        if type(reduced) is tuple and len(reduced) == 6:
            if isinstance(obj, type):
                return _class_that_goes_home(obj, reduced)
            self.functions.append(obj)
        return reduced


def _class_that_goes_home(cls: type, reduced: tuple[Any, ...]) -> tuple[object, ...]:
    make, args, state, _, _, fill = reduced
    if make is tracking._make_skeleton_class:
        args = (*args[:3], args[3] | _fixed_when_made(cls), *args[4:])
    return find_or_make, (tracking._get_or_create_tracker_id(cls), make, args), (fill, state), None, None, fill_guest


def _fixed_when_made(cls: type) -> dict[str, object]:
    """What cloudpickle drops: an instance would come home with a ``__dict__`` that its class has not, or under another name."""
    fixed: dict[str, object] = {"__qualname__": cls.__qualname__}
    if "__slots__" in cls.__dict__ and NamedTuple not in getattr(cls, "__orig_bases__", ()):  # which makes its own, empty
        fixed["__slots__"] = cls.__dict__["__slots__"]
    return fixed


def find_or_make(tracker_id: str, make: Callable[..., type], args: tuple[object, ...]) -> type:
    """In the receiver: the class of this id. Made only if it is new here: making it runs ``__init_subclass__``."""
    cls: type | None = tracking._DYNAMIC_CLASS_TRACKER_BY_ID.get(tracker_id)
    if cls is None:
        cls = make(*args)
        _guests.add(cls)
    return cls


def fill_guest(cls: type, state: tuple[Callable[[type, object], object], object]) -> None:
    """In the receiver: give a class from outside its methods and attributes, as the sender has them now."""
    if cls in _guests:
        fill, content = state
        fill(cls, content)


def _reduce_lru_cache(cached: Any) -> tuple[object, ...]:
    return make_lru_cache, (cached.__wrapped__, cached.cache_parameters())


def make_lru_cache(function: Callable[..., object], parameters: dict[str, Any]) -> object:
    """In the receiver: the same cache, empty."""
    return functools.lru_cache(**parameters)(function)


def make_cached_property(function: Callable[[Any], object], name: str | None) -> object:
    """In the receiver: the same property; a class that is filled after it was made does not tell it its name."""
    made = functools.cached_property(function)
    made.attrname = name
    return made


_REBUILD: dict[type, Callable[[Any], tuple[object, ...]]] = {
    functools.cached_property: lambda obj: (make_cached_property, (obj.func, obj.attrname)),
    _LruCache: _reduce_lru_cache,
    NewType: lambda obj: (object.__new__, (NewType,), obj.__dict__),
    ParamSpec: lambda obj: (ParamSpec, (obj.__name__,)),
    TypeVarTuple: lambda obj: (TypeVarTuple, (obj.__name__,)),
}


def _warn_of_big_copies(functions: list[FunctionType]) -> None:
    for function in functions:
        # Each is measured once, also if it turns out to be small: measuring means pickling it a second time.
        if function.__code__ in _measured:
            continue
        _measured.add(function.__code__)
        size = len(_dump(function)[0])
        if size > BIG_COPY:
            text = (
                f"{function.__module__}.{function.__qualname__} takes a copy of its globals and closure along, "
                f"{size / BIG_COPY:.1f} MiB each time it is sent: pass large data as an argument, or move it to a module"
            )
            warnings.warn(text, RuntimeWarning, stacklevel=5)
            return  # the functions that follow are mostly those that this one uses
