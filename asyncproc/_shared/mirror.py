"""One reader's copy of a state: rebuilt where it has changed, and what a transaction has changed in a copy of its own."""

from __future__ import annotations

from _thread import RLock
from typing import TYPE_CHECKING, Any

from asyncproc._ipc.codec import decode, encode
from asyncproc._shared.reading import AskedBoard

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from asyncproc._core.fields import Fields
    from asyncproc._shared.board import Board
    from asyncproc._shared.reading import Asks, MappedBoard
    from asyncproc._shared.shape import Shape

_ATOMS = frozenset({int, str, bytes, float, bool, complex, type(None)})


class Mirror:
    """Of one child, or of the owner. Any of its threads may use it."""

    def __init__(self, line: Asks, shape: Shape, board: Board | MappedBoard | None) -> None:
        self.shape = shape
        self._line = line
        self._board: Board | MappedBoard | AskedBoard = AskedBoard(line) if board is None else board
        self._lock = RLock()  # rebuilding a value runs code of the user, who may look again
        self._fields: Fields | None = None
        self._values: dict[str, tuple[int, Any]] = {}
        self._view: Any = None

    def fields(self) -> Fields:
        """The picture of now, in bytes."""
        found = self._board.read(self._fields)
        if found is None:  # the shared memory has ended
            self._board = AskedBoard(self._line)
            found = self._board.read(self._fields)
        return found

    def view(self) -> Any:
        """The state as objects: the same one while nothing has changed, and of an earlier one all fields that have not."""
        return self.look()[1]

    def look(self) -> tuple[Fields, Any]:
        """The picture of now, and its view."""
        found = self.fields()
        if found is self._fields:
            return found, self._view
        with self._lock:
            if self._fields is None or found.version > self._fields.version:
                values: dict[str, tuple[int, Any]] = {}
                for name, (version, data) in found.table.items():
                    old = self._values.get(name)
                    same = old is not None and old[0] == version
                    values[name] = old if same and old is not None else (version, decode(data, f"namespace field {name}"))
                self._view = self.shape.build({name: value for name, (_, value) in values.items()})
                self._values = values
                self._fields = found
            return self._fields, self._view

    def copy(self) -> Copy:
        """A copy to be changed; whoever takes it holds the lock."""
        return Copy(self.shape, self.fields())


class Copy:
    """The state of one transaction."""

    def __init__(self, shape: Shape, fields: Fields) -> None:
        self._shape = shape
        self._table = fields.table
        self._before = {name: decode(data, f"namespace field {name}") for name, (_, data) in fields.table.items()}
        self.state: Any = shape.build(self._before)

    def changes(self) -> tuple[dict[str, bytes], tuple[str, ...]]:
        """The fields that are not what they were, and the names of those that are there no more.

        Raises:
            EncodeError, WrongType, UnknownField: a field cannot be shared; names it.
        """
        values = self._shape.values_of(self.state)
        changed = {name: data for name, value in values.items() if (data := self._changed(name, value)) is not None}
        return changed, tuple(name for name in self._table if name not in values)

    def _changed(self, name: str, value: Any) -> bytes | None:
        known = name in self._table
        atom = type(value) in _ATOMS
        if known and atom and value is self._before[name]:
            return None
        data = encode(value, f"namespace field {name}")
        if known:
            before = self._table[name][1]
            # The bytes of an equal value may differ after a round trip (its strings are shared in another way): not a change.
            if data == before or (not atom and data == encode(decode(before), f"namespace field {name}")):
                return None
        self._shape.check_value(name, value)
        return data


def changes_of(shape: Shape, values: Mapping[str, Any]) -> dict[str, bytes]:
    """Given values as bytes, each checked by name and type."""
    found: dict[str, bytes] = {}
    for name, value in values.items():
        shape.check_name(name)
        shape.check_value(name, value)
        found[name] = encode(value, f"namespace field {name}")
    return found


def check_names(shape: Shape, names: Collection[str]) -> None:
    """Raise UnknownField for the first that is no field."""
    for name in names:
        shape.check_name(name)
