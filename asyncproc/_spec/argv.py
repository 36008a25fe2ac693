"""What is wrong with the words of a command line, given one by one."""

from __future__ import annotations

import os
from typing import Any


def argv_faults(argv: tuple[Any, ...], spelled: str) -> list[tuple[str, object, str]]:
    """Field, value and rule of each fault; *spelled* is whose words they are, for the hint."""
    if not argv:
        return [("argv", argv, "needs a program")]
    if len(argv) == 1 and isinstance(argv[0], list | tuple):
        hint = ", ".join(map(repr, argv[0]))
        return [("argv", argv[0], f"is given word by word: {spelled}({hint}) or {spelled}(*argv)")]
    faults: list[tuple[str, object, str]] = []
    for index, word in enumerate(argv):
        if not isinstance(word, str | os.PathLike):
            faults.append((f"argv[{index}]", word, "must be a str or a path"))
        elif "\0" in os.fsdecode(word):
            faults.append((f"argv[{index}]", word, "must not hold NUL"))
    return faults
