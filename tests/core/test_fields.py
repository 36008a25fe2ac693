"""Fields: what a change does to the versions."""

from __future__ import annotations

from asyncproc._core.fields import Fields


def test_change_raises_the_version_of_what_it_names() -> None:
    """And of nothing else; the picture from before stays what it was."""
    first = Fields.first({"a": b"1", "b": b"2"})
    second = first.changed({"a": b"3"})
    assert (second.version, dict(second.table)) == (2, {"a": (2, b"3"), "b": (1, b"2")})
    assert (first.version, dict(first.table)) == (1, {"a": (1, b"1"), "b": (1, b"2")})


def test_change_of_nothing_is_the_same_picture() -> None:
    """Also when what is to go was never there."""
    first = Fields.first({"a": b"1"})
    assert first.changed({}) is first and first.changed({}, ("b",)) is first


def test_removed_field_is_gone_and_its_version_is_zero() -> None:
    """A field that comes again is newer than what went."""
    first = Fields.first({"a": b"1", "b": b"2"})
    second = first.changed({}, ("a",))
    assert (second.version, list(second.table)) == (2, ["b"])
    assert second.versions(["a", "b"]) == {"a": 0, "b": 1}
    assert second.changed({"a": b"1"}).versions(["a"]) == {"a": 3}
