"""What a state is made of: how it is taken apart into fields, and put together again as a copy.

Three kinds: a dataclass, a msgspec Struct, and a mapping, which becomes a plain object with free attributes. What counts is the
fields: a copy is made of them without running ``__init__``, and what else an instance carries stays where it is.

Children import this module: it loads nothing, and finds msgspec loaded where a Struct is.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from asyncproc.errors import UnknownField, WrongType

if TYPE_CHECKING:
    from collections.abc import Mapping


class Shape:
    """The fields of one class.

    Args:
        kind: the class; None for free attributes. names: its fields. node: whose state it is, for the texts of errors.
    """

    def __init__(self, kind: type | None, names: tuple[str, ...], node: str) -> None:
        self.kind = kind
        self.names = names
        self.node = node

    @property
    def title(self) -> str:
        """What the class is called."""
        return "namespace" if self.kind is None else self.kind.__name__

    def check_name(self, name: str) -> None:
        """Raise UnknownField for a name that is no field."""
        if name not in self.names:
            known = ", ".join(self.names) or "none"
            raise UnknownField(f"namespace of {self.node}: {self.title} has no field {name!r}, but: {known}")

    def check_value(self, name: str, value: object) -> None:
        """Raise WrongType for a value that cannot be in this field; only a Struct knows."""

    def build(self, values: Mapping[str, Any]) -> Any:
        """A new instance with these values."""
        assert self.kind is not None
        made: Any = object.__new__(self.kind)
        for name, value in values.items():
            object.__setattr__(made, name, value)
        return made

    def values_of(self, state: Any) -> dict[str, Any]:
        """The fields of an instance.

        Raises:
            UnknownField: it has attributes that its class does not know, or lacks a field.
        """
        for name in getattr(state, "__dict__", ()):
            if name not in self.names and not hasattr(self.kind, name):  # a cached_property is no field, and no mistake
                self.check_name(name)
        return {name: self._value_of(state, name) for name in self.names}

    def _value_of(self, state: Any, name: str) -> Any:
        try:
            return getattr(state, name)
        except AttributeError:
            raise UnknownField(f"namespace of {self.node}: field {name!r} of {self.title} was deleted") from None


class StructShape(Shape):
    """Of a msgspec Struct: values are checked by type."""

    def __init__(self, kind: type, names: tuple[str, ...], node: str) -> None:
        super().__init__(kind, names, node)
        msgspec: Any = sys.modules["msgspec"]
        self._types = {field.name: field.type for field in msgspec.structs.fields(kind)}

    def build(self, values: Mapping[str, Any]) -> Any:
        assert self.kind is not None
        return self.kind(**values)

    def check_value(self, name: str, value: object) -> None:
        msgspec: Any = sys.modules["msgspec"]
        try:
            msgspec.convert(value, self._types[name])
        except msgspec.ValidationError as error:
            raise WrongType(f"namespace of {self.node}: field {name!r} of {self.title}: {error}", "namespace") from None


class FreeShape(Shape):
    """Of a mapping: any attribute, which may come and go."""

    def check_name(self, name: str) -> None:
        if not name.isidentifier():
            raise UnknownField(f"namespace of {self.node}: {name!r} cannot be the name of a field")

    def build(self, values: Mapping[str, Any]) -> Any:
        return SimpleNamespace(**values)

    def values_of(self, state: Any) -> dict[str, Any]:
        return dict(vars(state))


def shape_of(kind: type | None, names: tuple[str, ...], node: str) -> Shape:
    """The shape of a class."""
    if kind is None:
        return FreeShape(None, names, node)
    return StructShape(kind, names, node) if hasattr(kind, "__struct_fields__") else Shape(kind, names, node)
