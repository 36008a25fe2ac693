"""Named values as bytes, each with the version at which it changed last. Never changed in place: a reader keeps what it has."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TypeAlias

Table: TypeAlias = Mapping[str, tuple[int, bytes]]


@dataclass(frozen=True, slots=True)
class Fields:
    """A consistent picture of all values.

    Attributes:
        version: counts changes, from 1. table: by name the version of its last change, and the bytes.
    """

    version: int
    table: Table

    @staticmethod
    def first(values: Mapping[str, bytes]) -> Fields:
        """The picture at version 1."""
        return Fields(1, {name: (1, data) for name, data in values.items()})

    def changed(self, values: Mapping[str, bytes], removed: Collection[str] = ()) -> Fields:
        """The picture after one change of all that is named; this very picture when that is nothing."""
        gone = [name for name in removed if name in self.table]
        if not values and not gone:
            return self
        version = self.version + 1
        table = {**self.table, **{name: (version, data) for name, data in values.items()}}
        for name in gone:
            del table[name]
        return Fields(version, table)

    def versions(self, names: Collection[str]) -> dict[str, int]:
        """When each of *names* changed last; 0 for one that is not there."""
        return {name: self.table[name][0] if name in self.table else 0 for name in names}
