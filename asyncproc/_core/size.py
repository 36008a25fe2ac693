"""Amounts of memory as people write them."""

from __future__ import annotations

_UNITS = {"": 1, "b": 1}
_UNITS |= {f"{letter}ib": 1 << 10 * power for power, letter in enumerate("kmgt", 1)}
_UNITS |= {f"{letter}b": 1000**power for power, letter in enumerate("kmgt", 1)}


def size_in_bytes(value: object) -> int | None:
    """What ``512``, ``"512MiB"``, ``"1.5 GB"`` mean in bytes; None for what is no amount of at least one byte.

    With an i the units are powers of 1024, without one of 1000; whether letters are large is all the same.
    """
    if isinstance(value, int):
        return value if value >= 1 and not isinstance(value, bool) else None
    if not isinstance(value, str):
        return None
    text = value.strip().lower()
    number = text.rstrip("bgikmt ")
    unit = _UNITS.get(text[len(number) :].strip())
    if unit is None or not number.replace(".", "", 1).isdecimal() or not number.isascii():
        return None
    return int(float(number) * unit) or None


def in_mib(size: int) -> str:
    """For people: whole MiB where that says enough."""
    mib = size / 2**20
    return f"{mib:.0f} MiB" if mib >= 100 or mib == round(mib) else f"{mib:.1f} MiB"
