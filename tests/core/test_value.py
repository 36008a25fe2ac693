"""Frozen values: all that a frozen dataclass shows, without what it costs."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from typing import Any, Generic, TypeVar

import pytest

from asyncproc._core.value import Value, fields_of, names_of, replaced

T = TypeVar("T")


class Point(Value):
    """Somewhere."""

    x: int
    y: int = 2

    @property
    def sum(self) -> int:
        return self.x + self.y


class Other(Value):
    x: int
    y: int = 2


class Deep(Point):
    z: str = "z"


class Box(Value, Generic[T]):
    content: T


class Empty(Value):
    pass


def test_made_by_place_and_by_name() -> None:
    """The first value of a kind and the ones after it take the same arguments."""
    assert [Point(1).y, Point(1, 3).y, Point(y=4, x=1).y] == [2, 3, 4]
    assert Point(1).sum == 3
    with pytest.raises(TypeError, match="x"):
        Point()  # type: ignore[call-arg]  # that is the point


def test_equal_within_one_kind() -> None:
    """Equal fields make equal values of one kind, and of no other."""
    assert Point(1) == Point(1, 2) != Point(1, 3)
    assert Point(1) != Other(1)
    assert hash(Point(1)) == hash(Point(1, 2))


def test_repr_names_fields() -> None:
    """It reads like the call that makes it."""
    assert repr(Point(1)) == "Point(x=1, y=2)"
    assert repr(Empty()) == "Empty()"


@pytest.mark.parametrize("name", ["x", "unknown"])
def test_frozen(name: str) -> None:
    """Nothing can be set or deleted, and there is no dict."""
    point: Any = Point(1)
    with pytest.raises(dataclasses.FrozenInstanceError, match=name):
        setattr(point, name, 5)
    with pytest.raises(dataclasses.FrozenInstanceError, match=name):
        delattr(point, name)
    assert not hasattr(point, "__dict__")


def test_pattern() -> None:
    """Fields match by place."""
    match Point(1, 5):
        case Point(x, y):
            assert (x, y) == (1, 5)


@pytest.mark.parametrize("value", [Point(1), Deep(1, z="deep"), Box("in"), Empty()])
def test_copies_and_pickles(value: Value) -> None:
    """What comes back is equal and of the same kind."""
    assert copy.copy(value) == copy.deepcopy(value) == pickle.loads(pickle.dumps(value)) == value


def test_fields_of_a_kind_below() -> None:
    """A kind of a kind has the fields of both, in order, whichever is made first."""
    assert fields_of(Point(7)) == {"x": 7, "y": 2}
    assert fields_of(Deep(1, 3)) == {"x": 1, "y": 3, "z": "z"}
    assert names_of(Deep) == ("x", "y", "z")


def test_replaced() -> None:
    """A copy with changes, and no copy without; the original stays."""
    point = Point(1)
    assert replaced(point, y=9) == Point(1, 9)
    assert replaced(point, x=1, y=2) is point
    assert point == Point(1)


def test_dataclasses_know_it() -> None:
    """What the standard library does with dataclasses works on values."""
    assert dataclasses.is_dataclass(Point) and dataclasses.is_dataclass(Point(1))
    assert dataclasses.asdict(Box(Point(1))) == {"content": {"x": 1, "y": 2}}
    assert dataclasses.replace(Deep(1), z="new") == Deep(1, z="new")
    assert [field.name for field in dataclasses.fields(Point)] == ["x", "y"]


def test_signature() -> None:
    """A notebook shows what it takes."""
    assert list(inspect.signature(Point).parameters) == ["x", "y"]
    assert inspect.signature(Point).parameters["y"].default == 2
