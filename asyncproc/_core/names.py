"""Names and paths of nodes: what is legal, and what a node is called that nobody named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

LONGEST = 100
_LEGAL = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:[]@")


def name_fault(name: object) -> str | None:
    """The rule that *name* breaks, or None."""
    if not isinstance(name, str):
        return "must be a str"
    if not name or len(name) > LONGEST or not _LEGAL.issuperset(name):
        return f"must be 1 to {LONGEST} letters, digits and ._-:[]@"
    return None


def legal(text: str) -> str:
    """The nearest legal name: what a target or a program is called may hold anything."""
    if text == "<lambda>":
        return "lambda"
    kept = "".join(letter if letter in _LEGAL else "-" for letter in text).strip("-")
    return kept[:LONGEST] or "node"


def distinct(wanted: Sequence[tuple[str, bool]]) -> tuple[list[str], list[str]]:
    """Names for siblings, and the given ones that are equal.

    Args:
        wanted: for each sibling its name and whether somebody gave it. A made name that is not alone is numbered:
            ``stamp``, ``stamp-2``.

    Returns:
        The names in order, and the given names that stand there twice (each once).
    """
    given = Counter(name for name, was_given in wanted if was_given)
    taken = set(given)
    names: list[str] = []
    next_number: dict[str, int] = {}
    for name, was_given in wanted:
        if not was_given:
            name = _free(name, taken, next_number)
            taken.add(name)
        names.append(name)
    return names, [name for name, count in given.items() if count > 1]


def _free(name: str, taken: set[str], next_number: dict[str, int]) -> str:
    candidate, number = name, next_number.get(name, 1)
    while candidate in taken:
        number += 1
        candidate = f"{name[: LONGEST - 8]}-{number}"
    next_number[name] = number
    return candidate
