"""Numbers by which what this process asks is told apart."""

from __future__ import annotations

from itertools import count

_tokens = count(1)


def next_token() -> int:
    """A number that nobody in this process has used."""
    return next(_tokens)
