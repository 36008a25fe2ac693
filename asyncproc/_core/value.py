"""Frozen values: what events, actions, plans and exits are.

A :class:`Value` is a frozen, slotted dataclass in all that shows: equality, hash, repr, patterns, copies, pickles, and what
:mod:`dataclasses` can do with it. It differs in what it costs. A dataclass has six functions compiled when it is defined; with
forty kinds that was half of what importing a manager took. A kind of value has one, compiled when the first value is made, and
what it shows to :mod:`dataclasses` is made when somebody asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, dataclass_transform

if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import Field
    from typing import Never

V = TypeVar("V", bound="Value")

_NEEDED = object()
"""The default of a field that has none."""


@dataclass_transform(frozen_default=True)
class _Kind(type):
    """The class of classes of values: turns annotations into slots, and keeps their defaults beside them."""

    _fields: dict[str, Any]

    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> _Kind:
        own = {field: namespace.pop(field, _NEEDED) for field in namespace.get("__annotations__", ())}
        fields = {**getattr(bases[0], "_fields", {}), **own} if bases else {}
        namespace.update(__slots__=tuple(own), __match_args__=tuple(fields), _fields=fields, __init__=_first_init, **_LATE)
        return super().__new__(cls, name, bases, namespace)


class _Late:
    """An attribute of a kind, made when somebody asks for it first."""

    def __init__(self, name: str, make: Callable[[_Kind], Any]) -> None:
        self._name = name
        self._make = make

    def __get__(self, value: Value | None, kind: _Kind) -> Any:
        setattr(kind, self._name, made := self._make(kind))
        return made


def _first_init(value: Value, *args: Any, **kwargs: Any) -> None:
    kind = type(value)
    kind.__init__ = init = _init_of(kind)  # type: ignore[method-assign]  # from now on in place of this one
    init(value, *args, **kwargs)


def _init_of(kind: _Kind) -> Any:
    """Its ``__init__``: one call of a slot's own setter for each field, which beats going by its name."""
    defaults = {f"_default_{name}": default for name, default in kind._fields.items() if default is not _NEEDED}
    setters = {f"_set_{name}": getattr(kind, name).__set__ for name in kind._fields}
    given = [f"{name}=_default_{name}" if f"_default_{name}" in defaults else name for name in kind._fields]
    body = "; ".join(f"_set_{name}(self, {name})" for name in kind._fields) or "pass"
    space: dict[str, Any] = {}
    text = f"def __init__({', '.join(['self', *given])}): {body}"
    # Compiled apart: an exec of text makes CPython forget that a KeyboardInterrupt is what the program ends by.
    exec(compile(text, f"<{kind.__name__}>", "exec"), {**defaults, **setters}, space)
    return space["__init__"]


def _twin(kind: _Kind) -> Any:
    """The same as a dataclass proper."""
    from dataclasses import dataclass

    defaults = {name: default for name, default in kind._fields.items() if default is not _NEEDED}
    return dataclass(type(kind.__name__, (), {"__annotations__": dict.fromkeys(kind._fields, Any), **defaults}))


def _signature(kind: _Kind) -> Any:
    from inspect import signature

    return signature(_twin(kind))


_LATE = {
    "__dataclass_fields__": _Late("__dataclass_fields__", lambda kind: _twin(kind).__dataclass_fields__),
    "__signature__": _Late("__signature__", _signature),
}


class Value(metaclass=_Kind):
    """The base of frozen values: a subclass lists its fields as annotations, with defaults where there are some."""

    if TYPE_CHECKING:
        __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __setattr__(self, name: str, value: object) -> Never:
        from dataclasses import FrozenInstanceError

        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> Never:
        from dataclasses import FrozenInstanceError

        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def __eq__(self, other: object) -> bool:
        return _values(self) == _values(other) if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash(_values(self))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in type(self)._fields)
        return f"{type(self).__qualname__}({fields})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), _values(self)


def names_of(kind: type[Value]) -> tuple[str, ...]:
    """The names of its fields, in order."""
    return tuple(kind._fields)


def fields_of(value: Value) -> dict[str, Any]:
    """Its fields by name, in order."""
    return {name: getattr(value, name) for name in type(value)._fields}


def replaced(value: V, **changes: Any) -> V:
    """A copy with some fields changed; the value itself when none is."""
    for name, change in changes.items():
        if getattr(value, name) != change:
            return type(value)(**{**fields_of(value), **changes})
    return value


def _values(value: Any) -> tuple[Any, ...]:
    return tuple([getattr(value, name) for name in type(value)._fields])
