"""Amounts of memory as people write them."""

from __future__ import annotations

from asyncproc._core.size import in_mib, size_in_bytes

MIB = 1 << 20


def test_sizes_are_read_as_people_write_them() -> None:
    """Powers of 1024 with an i, of 1000 without; what is no size is none."""
    good = {
        1: 1,
        512: 512,
        "512": 512,
        "512MiB": 512 * MIB,
        "1GB": 10**9,
        "1.5 gib": 3 << 29,
        "10 kB": 10_000,
        "7b": 7,
        "2TiB": 2 << 40,
    }
    assert {text: size_in_bytes(text) for text in good} == good
    for bad in (0, -1, True, 1.5, "", "MiB", "x", "1 XB", "-1MB", "1e3", "1..5MB", "0", "٣MB", None, b"1MB", "1 2MB"):
        assert size_in_bytes(bad) is None, bad
    assert (in_mib(530 * MIB), in_mib(3 * MIB // 2)) == ("530 MiB", "1.5 MiB")
