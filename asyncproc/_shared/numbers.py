"""Adding to a number that is there as bytes, without running anybody's code: only what is a plain number is rebuilt."""

from __future__ import annotations

from _pickle import Unpickler, UnpicklingError
from io import BytesIO
from typing import Any

LONGEST = 1000
"""Bytes of a number that is added to here; a larger one its asker adds to himself."""


class _PlainOnly(Unpickler):
    """No class, no function: whatever names one is refused before it is looked up."""

    def find_class(self, module: str, name: str) -> Any:
        raise UnpicklingError(f"{module}.{name} is no plain number")


def add_numbers(data: bytes, amount: object) -> int | float | None:
    """The sum of a pickled int or float and *amount*; None when one of them is anything else."""
    if type(amount) not in (int, float) or len(data) > LONGEST:
        return None
    try:
        number = _PlainOnly(BytesIO(data)).load()
        return number + amount if type(number) in (int, float) else None
    except (UnpicklingError, OverflowError):
        return None
