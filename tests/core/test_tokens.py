"""Named resources and standing still, case by case."""

from __future__ import annotations

import pytest

from asyncproc._core.backoff import Backoff
from asyncproc._core.exit import Reason
from asyncproc._core.supervision.event import Timer, TimerFired
from asyncproc._core.supervision.plan import Ladder, Plan, Restart, Strategy
from asyncproc._core.supervision.state import State
from asyncproc.errors import SpecError, StateError
from tests.core.tree import Tree, concurrent, leaf, sequential, supervisor


def holder(name: str, restart: Restart = Restart.TEMPORARY, **amounts: float) -> Plan:
    return leaf(name, resources=tuple(sorted(amounts.items())), restart=restart)


class TestResources:
    def test_who_needs_what_is_held_waits_for_it(self) -> None:
        """Visibly, and in order; slots have numbers, the lowest first."""
        tree = Tree(concurrent("app", holder("a", gpu=1), holder("b", gpu=1), holder("c", gpu=1)), {"gpu": 2})
        assert tree.run() == ["start a gpu[0]", "start b gpu[1]"]
        assert tree.state("c") is State.WAITING
        assert tree.machine.missed_by(tree.ids["c"]) == ("gpu",)
        assert tree.up("a", "b")[-1] == "ready app"
        assert tree.exited("b") == ["finish b finished", "start c gpu[1]"]
        assert tree.machine.missed_by(tree.ids["c"]) == ()

    def test_nobody_overtakes_who_asks_for_the_same(self) -> None:
        """A large wish is served in its turn; one for other things goes by."""
        members = holder("a", gpu=1), holder("both", gpu=2), holder("small", gpu=1), holder("other", x=0.5)
        tree = Tree(concurrent("app", *members), {"gpu": 2, "x": 1.0})
        assert tree.run() == ["start a gpu[0]", "start other x[]"]
        assert tree.exited("a") == ["ready a", "finish a finished", "start both gpu[0, 1]"]
        assert tree.exited("both") == ["ready both", "finish both finished", "start small gpu[0]"]

    def test_what_is_not_enough_for_the_first_is_kept_for_it(self) -> None:
        """Who comes after it and asks for the same waits, though there would be enough; one for other things does not."""
        members = (
            holder("a", gpu=1),
            holder("b", gpu=1, x=1.0),
            holder("both", gpu=2),
            holder("small", gpu=1),
            holder("other", x=1.0),
        )
        tree = Tree(concurrent("app", *members), {"gpu": 2, "x": 1.0})
        assert tree.run() == ["start a gpu[0]", "start b x[] gpu[1]"]
        assert tree.exited("a") == ["ready a", "finish a finished"]
        assert tree.exited("b") == ["ready b", "ready app", "finish b finished", "start both gpu[0, 1]", "start other x[]"]
        assert tree.exited("both")[1:] == ["finish both finished", "start small gpu[0]"]

    def test_who_waits_for_tokens_starts_only_while_what_it_needs_is_up(self) -> None:
        """Its turn had come; the tokens come when its need has just fallen, and let them go."""
        db = leaf("db", resources=(("gpu", 2),), restart=Restart.PERMANENT, backoff=Backoff(5.0, jitter=None))
        web = leaf("web", resources=(("gpu", 1),), restart=Restart.PERMANENT, needs=("db",))
        other = holder("other", gpu=1)
        tree = Tree(supervisor("app", db, web), {"gpu": 2})
        tree.run()
        tree.up("db")
        tree.add(other)
        tree.run("other")
        assert [tree.state(name) for name in ("web", "other")] == [State.WAITING] * 2
        assert tree.fails("db") == ["start other gpu[0]"]
        assert tree.fires("db", Timer.BACKOFF, 5.0) == []
        assert tree.exited("other") == ["ready other", "finish other finished", "start db gpu[0, 1]"]

    def test_who_is_to_come_back_with_others_lets_those_behind_it_go(self) -> None:
        """It is asked for nothing twice: this ended never."""
        x = leaf("x", resources=(("gpu", 1),), restart=Restart.PERMANENT)
        a, b = (leaf(name, restart=Restart.PERMANENT) for name in "ab")
        group = supervisor("s", a, b, x, strategy=Strategy.ONE_FOR_ALL)
        tree = Tree(concurrent("app", holder("first", gpu=1), group, continues=True), {"gpu": 1})
        tree.run()
        tree.up("first", "a", "b")
        tree.add(holder("last", gpu=1))
        tree.run("last")
        assert tree.fails("a") == ["ask b"]
        assert tree.exited("first") == ["finish first finished", "start last gpu[0]"]
        assert tree.exited("b") == ["start a"]

    def test_parts_of_a_slot_share_it(self) -> None:
        """Where there is just enough room: whole slots stay whole."""
        tree = Tree(concurrent("app", *(holder(f"h{n}", gpu=0.5) for n in range(3)), holder("w", gpu=1)), {"gpu": 2})
        assert tree.run() == ["start h0 gpu[0]", "start h1 gpu[0]", "start h2 gpu[1]"]
        tree.exited("h0")
        assert tree.exited("h2") == ["ready h2", "finish h2 finished", "start w gpu[1]"]

    def test_quantity_has_no_numbers(self) -> None:
        """A capacity that is a float is an amount; thirds add up."""
        tree = Tree(concurrent("app", *(holder(f"t{n}", x=1 / 3) for n in range(3)), holder("more", x=0.1)), {"x": 1.0})
        assert tree.run() == ["start t0 x[]", "start t1 x[]", "start t2 x[]"]
        assert tree.exited("t1")[-1] == "start more x[]"

    @pytest.mark.parametrize(
        ("amounts", "rule"),
        [
            ({"gpu": 3}, "more than there is: 2"),
            ({"disk": 1}, "there is not"),
            ({"gpu": 1.5}, "whole number"),
            ({"x": 1.1}, "more"),
        ],
    )
    def test_what_can_never_be_had_is_refused(self, amounts: dict[str, float], rule: str) -> None:
        """Before anything starts."""
        tree = Tree(concurrent("app", leaf("other"), holder("a", **amounts)), {"gpu": 2, "x": 1.0})
        with pytest.raises(SpecError, match=rule):
            tree.run()
        assert tree.state("other") is State.CREATED

    def test_group_holds_for_all_that_is_in_it(self) -> None:
        """Its members get its slots, and can ask for no others: that could last for ever."""
        tree = Tree(
            concurrent("app", sequential("g", leaf("x"), leaf("y"), resources=(("gpu", 1),)), holder("a", gpu=1)), {"gpu": 1}
        )
        assert tree.run() == ["start x gpu[0]"]
        assert tree.exited("x") == ["ready x", "ready g", "ready app", "finish x finished", "start y gpu[0]"]
        assert tree.exited("y")[-1] == "start a gpu[0]"
        tree = Tree(sequential("g", holder("x", y=1), resources=(("gpu", 1),)), {"gpu": 1, "y": 1})
        with pytest.raises(SpecError, match="in addition to those of g"):
            tree.run("g")

    def test_stop_of_who_waits_lets_the_next_one_go(self) -> None:
        """It waits no longer, and nobody waits behind it."""
        tree = Tree(concurrent("app", holder("a", gpu=1), holder("both", gpu=2), holder("small", gpu=1)), {"gpu": 2})
        tree.run()
        assert tree.stop("both") == ["finish both stopped", "start small gpu[1]"]

    def test_stop_of_all_starts_nobody(self) -> None:
        """What is given back goes to nobody."""
        tree = Tree(concurrent("app", holder("a", gpu=1), holder("b", gpu=1)), {"gpu": 1})
        tree.run()
        tree.up("a")
        assert tree.stop() == ["finish b skipped", "ask a"]
        assert tree.exited("a") == ["finish a stopped", "finish app stopped"]

    def test_stop_of_a_supervisor_lets_nobody_in_who_waits_for_a_slot(self) -> None:
        """Also when who has the slot has not begun either."""
        tree = Tree(supervisor("app", leaf("a"), limit=1), {"gpu": 1})
        tree.run()
        tree.up("a")
        tree.add(holder("held", gpu=1))
        assert tree.run("held") == ["start held gpu[0]"]
        assert tree.join(holder("x", gpu=1)) == []
        assert tree.join(leaf("y")) == []
        assert [word for word in tree.stop() if word.startswith("start")] == []

    def test_who_rests_holds_nothing_and_queues_again(self) -> None:
        """Between two incarnations somebody else may have it."""
        members = holder("a", Restart.PERMANENT, gpu=1), holder("b", Restart.PERMANENT, gpu=1)
        tree = Tree(supervisor("app", *members), {"gpu": 1})
        assert tree.run() == ["start a gpu[0]"]
        tree.up("a")
        assert tree.state("b") is State.WAITING
        assert tree.fails("a") == ["start b gpu[0]"]
        assert tree.state("a") is State.WAITING

    def test_who_is_to_come_back_with_others_does_not_take_it_meanwhile(self) -> None:
        """Those end first, and it starts in its turn."""
        plain = {"restart": Restart.PERMANENT}
        members = leaf("a", **plain), leaf("c", **plain), holder("b", Restart.PERMANENT, gpu=1)
        tree = Tree(supervisor("app", *members, strategy=Strategy.ONE_FOR_ALL), {"gpu": 1})
        tree.add(holder("other", gpu=1))
        tree.run("other")
        tree.run()
        tree.up("a")
        tree.up("c")
        assert tree.machine.missed_by(tree.ids["b"]) == ("gpu",)
        assert tree.fails("a") == ["ask c"]
        assert tree.exited("other") == ["ready other", "finish other finished"]
        assert tree.exited("c")[0] == "start a"

    def test_who_comes_back_with_others_gets_it_when_those_have_ended(self) -> None:
        """And lets others have it before."""
        members = leaf("a", restart=Restart.PERMANENT), holder("b", Restart.PERMANENT, gpu=1)
        tree = Tree(supervisor("app", *members, strategy=Strategy.ONE_FOR_ALL), {"gpu": 1})
        tree.run()
        tree.up("a")
        tree.up("b")
        assert tree.fails("a") == ["ask b"]
        assert tree.exited("b") == ["start a"]
        assert tree.up("a") == ["ready a", "start b gpu[0]"]


class TestPause:
    def test_process_stands_still_and_goes_on(self) -> None:
        """The time between counts for none of its limits."""
        tree = Tree(leaf("app", timeout=10.0))
        tree.run()
        tree.up("app")
        tree.now = 4.0
        assert tree.pause("app") == ["pause app"]
        assert tree.pause("app") == []
        timeout = TimerFired(tree.ids["app"], 1, Timer.TIMEOUT, 1)
        tree.now = 10.0
        assert tree.tell(timeout) == []
        tree.now = 24.0
        assert tree.resume("app") == ["resume app"]
        assert tree.waits == [("app", "timeout", 30.0)]
        assert tree.tell(timeout) == []
        assert tree.fires("app", Timer.TIMEOUT, 30.0) == ["ask app"]

    def test_join_time_that_was_over_is_not_set_again(self) -> None:
        """It ends after its current work already."""
        tree = Tree(leaf("app", join_in=1.0))
        tree.run()
        tree.up("app")
        assert tree.fires("app", Timer.JOIN, 1.0) == ["finish app"]
        tree.now = 2.0
        tree.pause("app")
        tree.resume("app")
        assert tree.waits == []

    def test_stop_lets_it_go_on_first(self) -> None:
        """One that stands still hears nothing."""
        tree = Tree(leaf("app"))
        tree.run()
        tree.up("app")
        tree.pause("app")
        assert tree.stop() == ["resume app", "ask app"]

    def test_paused_one_that_is_killed_comes_back_running(self) -> None:
        """Its next incarnation was never told to stand still."""
        tree = Tree(supervisor("app", leaf("a", restart=Restart.PERMANENT, backoff=Backoff(1.0))))
        tree.run()
        tree.up("a")
        tree.pause("a")
        assert tree.cut("a") == []
        assert tree.moves == ["a paused backoff"]
        tree.fires("a", Timer.BACKOFF, 1.0)
        assert tree.up("a") == ["ready a"]

    def test_group_pauses_what_can_be_paused(self) -> None:
        """And what becomes ready in it meanwhile."""
        tree = Tree(concurrent("app", leaf("a"), leaf("t", ladder=Ladder.TASK), leaf("b"), limit=2))
        tree.run()
        tree.up("a", "t")
        assert tree.pause("app") == ["pause a"]
        assert tree.exited("t") == ["finish t finished", "start b"]
        assert tree.up("b") == ["ready b", "pause b"]
        assert tree.resume("app") == ["resume a", "resume b"]
        assert tree.state("app") is State.RUNNING

    def test_who_ends_well_below_a_paused_group_is_not_told_to_stand_still(self) -> None:
        """It is gone."""
        tree = Tree(sequential("app", leaf("a"), leaf("b")))
        tree.run()
        tree.up("a")
        tree.pause("app")
        tree.exited("a")
        tree.spawn("b")
        assert tree.exited("b", Reason.FINISHED) == ["ready b", "finish b finished", "finish app finished"]

    @pytest.mark.parametrize(("plan", "rule"), [(leaf("app"), "only what runs"), (leaf("app", ladder=Ladder.TASK), "thread")])
    def test_what_cannot_be_paused_is_refused(self, plan: Plan, rule: str) -> None:
        """What does not run, and what has no process."""
        tree = Tree(plan)
        tree.run()
        if plan.ladder is Ladder.TASK:
            tree.up("app")
        with pytest.raises(StateError, match=rule):
            tree.pause("app")
