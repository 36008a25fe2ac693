"""Services that every manager of this process offers, whatever it was given; entered by whoever can answer."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncproc.abc import Service

everywhere: dict[int, Service] = {}
"""By the number that questions bear, see :mod:`asyncproc._ipc.frame`."""
