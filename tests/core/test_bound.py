"""How long a stop takes at most, from the graces and the order of what is there."""

from __future__ import annotations

import random
from collections import deque

import pytest

from asyncproc._core.exit import Exit, Reason
from asyncproc._core.supervision import bound as bounds
from asyncproc._core.supervision.action import Abandon, Start, Wait
from asyncproc._core.supervision.bound import SWEEP_SECONDS
from asyncproc._core.supervision.event import Exited, Readied, Spawned, StopAsked, TimerFired
from asyncproc._core.supervision.ladder import MAKE_SECONDS, REAP_SECONDS
from asyncproc._core.supervision.plan import Plan
from asyncproc._core.supervision.state import State
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


def plan_at_random(chance: random.Random, name: str, depth: int) -> Plan:
    """A supervisor, a chain or one with needs, or a concurrent group, of two to four; members may be groups again."""
    names = [f"{name}{number}" for number in range(chance.randint(2, 4))]
    chained = chance.random() < 0.5
    members = []
    for number, member in enumerate(names):
        needs = () if chained else tuple(chance.sample(names[:number], min(number, chance.randrange(3))))
        if depth and chance.random() < 0.4:
            made = plan_at_random(chance, member, depth - 1)
            members.append(Plan(made.name, made.kind, made.members, continues=made.continues, needs=needs))
        else:
            members.append(leaf(member, grace=chance.choice((0.0, 0.5, 2.0, 7.0)), needs=needs))
    if depth < 2 and chance.random() < 0.3:
        return concurrent(name, *(leaf(member.name, grace=member.grace) for member in members))
    chance.shuffle(members)
    return supervisor(name, *members)


def stand(tree: Tree) -> None:
    """All of it comes up."""
    tree.run()
    pending = deque(tree.actions)
    while pending:
        action = pending.popleft()
        if isinstance(action, Start):
            for event in (Spawned(action.node, action.incarnation, 42), Readied(action.node, action.incarnation)):
                tree.tell(event)
                pending += tree.actions


def longest_stop(tree: Tree) -> float:
    """Seconds that it takes when nobody listens and nobody dies: each is given up, the next is asked then."""
    tree.tell(StopAsked(tree.ids["app"], -1.0, "me"))
    pending, waits = deque(tree.actions), list[Wait]()
    while tree.state("app") is not State.ENDED:
        while pending:
            match pending.popleft():
                case Abandon(node=node, incarnation=incarnation):
                    tree.tell(Exited(node, incarnation, Exit("?", 0, Reason.LOST, killed=True)))
                    pending += tree.actions
                case Wait() as wait:
                    waits.append(wait)
        if tree.state("app") is not State.ENDED:
            wait = min(waits, key=lambda each: each.at)
            waits.remove(wait)
            tree.now = max(tree.now, wait.at)
            tree.tell(TimerFired(wait.node, wait.incarnation, wait.timer, wait.serial))
            pending += tree.actions
    return tree.now


@pytest.mark.parametrize("seed", range(100))
def test_bound_is_what_a_stop_takes_to_the_second_in_which_nobody_listens(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Played to its end by the machine itself: neither less, which would break the promise, nor more."""
    monkeypatch.setattr(bounds, "SWEEP_SECONDS", 0.0)  # who was given up leaves nothing behind that could be swept
    tree = Tree(plan_at_random(random.Random(seed), "app", 2))
    stand(tree)
    promised = bound(tree)
    assert longest_stop(tree) == pytest.approx(promised)


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
