"""How long a stop takes at most, from the graces and the order of what is there."""

from __future__ import annotations

import pytest

from asyncproc._core.supervision.bound import SWEEP_SECONDS
from asyncproc._core.supervision.ladder import MAKE_SECONDS, REAP_SECONDS
from asyncproc._core.supervision.plan import Plan
from tests.core.tree import Tree, concurrent, leaf, sequential, supervisor

REST = REAP_SECONDS + SWEEP_SECONDS


def bound(tree: Tree, name: str = "app") -> float | None:
    return tree.machine.stop_bound(tree.ids[name])


@pytest.mark.parametrize(
    ("plan", "seconds"),
    [
        (leaf("app", grace=2.0), 2.0 + REST),
        (leaf("app", grace=0.0), REST),
        (leaf("app", grace=None), None),
        (concurrent("app", leaf("a", grace=2.0), leaf("b", grace=3.0)), 3.0 + REST),
        (sequential("app", leaf("a", grace=2.0), leaf("b", grace=3.0)), 3.0 + REST),
        (concurrent("app", leaf("a"), leaf("b", grace=None)), None),
        (concurrent("app"), 0.0),
        (supervisor("app"), 0.0),
        (supervisor("app", leaf("a", grace=2.0), leaf("b", grace=3.0)), 5.0 + 2 * REST),
        (supervisor("app", leaf("a", grace=2.0), supervisor("s", leaf("b", grace=3.0))), 5.0 + 2 * REST),
        (supervisor("app", leaf("a", grace=None), leaf("b")), None),
        (supervisor("app", leaf("db", grace=2.0), leaf("web", grace=3.0, needs=("db",)), leaf("x", grace=4.0)), 5.0 + 2 * REST),
        (supervisor("app", leaf("db", grace=1.0), leaf("x", grace=9.0), leaf("web", grace=1.0, needs=("db",))), 9.0 + REST),
        (supervisor("app", leaf("web", grace=1.0, needs=("db",)), leaf("db", grace=2.0)), 3.0 + 2 * REST),
    ],
)
def test_stop_takes_the_longest_way_through_those_that_end_one_after_the_other(plan: Plan, seconds: float | None) -> None:
    """In a supervisor they do; in any other group all end together. A way without end makes all of it endless."""
    assert bound(Tree(plan)) == (None if seconds is None else pytest.approx(seconds))


def test_members_that_joined_end_together_before_the_others() -> None:
    """The longest of them, then each planned one."""
    tree = Tree(supervisor("app", leaf("a", grace=1.0), leaf("b", grace=1.0)))
    tree.run()
    tree.up("a", "b")
    tree.join(leaf("x", grace=4.0))
    tree.join(leaf("y", grace=3.0))
    tree.up("x", "y")
    assert bound(tree) == pytest.approx(4.0 + 2.0 + 3 * REST)


def test_what_is_still_being_made_may_take_its_time() -> None:
    """Until it is there, or is given up."""
    tree = Tree(leaf("app", grace=1.0))
    tree.run()
    assert bound(tree) == pytest.approx(1.0 + MAKE_SECONDS + REST)
    tree.spawn("app")
    assert bound(tree) == pytest.approx(1.0 + REST)


def test_what_has_ended_for_good_takes_no_time_but_what_was_added_below_it_may() -> None:
    """Each for itself."""
    tree = Tree(concurrent("app", continues=True))
    tree.add(leaf("a", grace=2.0))
    tree.add(leaf("b", grace=1.0), "a")
    tree.run("a")
    tree.run("b")
    tree.up("a", "b")
    tree.exited("a")
    assert bound(tree) == pytest.approx(1.0 + REST)
    tree.exited("b")
    assert bound(tree) == 0.0
