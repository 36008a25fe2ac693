"""Supervisors, case by case: who starts and ends when, who comes back, and what happens when that is too often."""

from __future__ import annotations

from signal import SIGKILL, SIGTERM

import pytest

from asyncproc._core.backoff import Backoff
from asyncproc._core.exit import Exit, Reason
from asyncproc._core.supervision.event import OWN, LimitSet, NodeId, Timer, TimerFired
from asyncproc._core.supervision.ladder import Descent
from asyncproc._core.supervision.plan import AtLimit, AutoShutdown, Plan, Restart, Strategy
from asyncproc._core.supervision.restart import admitted
from asyncproc._core.supervision.state import State
from asyncproc.errors import RestartLimitReached, SpecError, StartFailed, StateError
from tests.core.tree import Tree, concurrent, leaf, sequential, supervisor

PERMANENT, TRANSIENT, TEMPORARY, JUDGED = Restart.PERMANENT, Restart.TRANSIENT, Restart.TEMPORARY, Restart.JUDGED
ALL, REST = Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE


def child(name: str, *needs: str, restart: Restart = PERMANENT, **options: object) -> Plan:
    return leaf(name, needs=needs, restart=restart, **options)


def running(*members: Plan, **options: object) -> Tree:
    """A supervisor whose members are all up."""
    tree = Tree(supervisor("app", *members, **options))
    tree.run()
    bring_up(tree)
    assert tree.state("app") is State.RUNNING
    return tree


def bring_up(tree: Tree) -> list[str]:
    """Whoever starts becomes ready; in which order they did."""
    order: list[str] = []
    while starting := [name for name in tree.ids if tree.state(name) is State.STARTING and not tree[name].plan.members]:
        for name in starting:
            order.append(name)
            tree.up(name)
    return order


def bring_down(tree: Tree, *said: str) -> list[str]:
    """Whoever is asked to end does, together with those asked at the same time; the order, those together in one word."""
    order = []
    while names := [word.split()[1] for word in said if word.startswith("ask ")]:
        order.append("+".join(sorted(names)))
        said = tuple(word for name in names for word in tree.exited(name))
    return order


class TestStart:
    def test_each_starts_when_the_one_before_it_is_ready(self) -> None:
        """In order, and the supervisor is ready after the last."""
        tree = Tree(supervisor("app", child("a"), child("b"), child("c")))
        assert tree.run() == ["start a"]
        assert tree.spawn("a") == []
        assert tree.ready("a") == ["ready a", "start b"]
        assert tree.up("b") == ["ready b", "start c"]
        assert tree.state("app") is State.STARTING
        assert tree.up("c") == ["ready c", "ready app"]

    def test_with_needs_they_alone_are_the_order(self) -> None:
        """Who needs nobody starts at once."""
        tree = Tree(supervisor("app", child("db"), child("web", "db", "cache"), child("cache"), child("job", "db")))
        assert tree.run() == ["start db", "start cache"]
        assert tree.up("cache") == ["ready cache"]
        assert tree.up("db") == ["ready db", "start web", "start job"]

    def test_who_has_ended_well_is_as_good_as_ready(self) -> None:
        """A step that prepares the next ones."""
        tree = Tree(supervisor("app", child("migrate", restart=TRANSIENT), child("web")))
        tree.run()
        assert tree.exited("migrate") == ["ready migrate", "start web", "finish migrate finished"]

    def test_first_start_that_fails_ends_all_in_reverse(self) -> None:
        """Those started are stopped, no other begins, and the error names who it was."""
        tree = Tree(supervisor("app", child("a"), child("b"), child("c"), child("d")))
        tree.run()
        tree.up("a")
        tree.up("b")
        tree.spawn("c")
        assert tree.fails("c") == ["finish c crashed", "finish d skipped", "ask b"]
        assert tree.exited("b") == ["finish b stopped", "ask a"]
        assert tree.exited("a") == ["finish a stopped", "finish app crashed"]
        error = tree.exit("app").error
        assert isinstance(error, StartFailed)
        assert "app/c" in str(error)
        assert isinstance(error.__cause__, ValueError)
        assert tree["app"].culprit == tree.ids["c"]

    def test_first_start_that_fails_because_the_system_has_nothing_left_is_repeated(self) -> None:
        """EAGAIN and the like say nothing about the child; those after it wait."""
        tree = Tree(supervisor("app", child("a", backoff=Backoff(1.0, jitter=None)), child("b")))
        tree.run()
        assert tree.exited("a", Reason.CRASHED, error=OSError(11, "try again")) == []
        assert tree.state("a") is State.BACKOFF
        assert tree.fires("a", Timer.BACKOFF, 1.0) == ["start a"]
        assert tree.up("a") == ["ready a", "start b"]

    def test_supervisor_without_members_goes_on_until_it_is_stopped(self) -> None:
        """It waits for those that will join."""
        tree = Tree(supervisor("app"))
        assert tree.run() == ["ready app"]
        assert tree.join(child("a")) == ["start a"]
        tree.up("a")
        assert tree.stop("a") == ["ask a"]
        assert tree.exited("a") == ["finish a stopped"]
        assert tree.state("app") is State.RUNNING
        assert tree.stop() == ["finish app stopped"]

    def test_supervisor_ends_when_all_its_members_have(self) -> None:
        """There is nothing left to supervise."""
        tree = running(child("a", restart=TRANSIENT), child("b", restart=TEMPORARY))
        tree.fails("b")
        assert tree.exited("a") == ["finish a finished", "finish app finished"]

    def test_member_that_ends_well_before_it_has_said_that_it_is_ready_has_not_started(self) -> None:
        """Where its spec says how it becomes ready; what it was before it came back does not count."""
        tree = Tree(supervisor("app", child("a", says_ready=True), child("b")))
        tree.run()
        tree.spawn("a")
        assert tree.exited("a") == ["finish a finished", "finish b skipped", "finish app crashed"]
        assert isinstance(tree.exit("app").error, StartFailed)
        tree = running(child("a", says_ready=True), child("b"))
        assert tree.exited("a") == ["start a"]
        tree.spawn("a")
        assert tree.exited("a") == ["start a"]
        tree = running(child("b"))
        tree.join(child("x", says_ready=True))
        tree.spawn("x")
        assert tree.exited("x") == ["finish x finished"]


class TestStop:
    def test_they_end_in_reverse_each_after_the_next(self) -> None:
        """One at a time."""
        tree = running(child("a"), child("b"), child("c"))
        assert bring_down(tree, *tree.stop()) == ["c", "b", "a"]
        assert tree.exit("app").reason is Reason.STOPPED

    def test_with_needs_the_independent_end_together(self) -> None:
        """Nobody ends before those that need it."""
        tree = running(child("db"), child("cache"), child("web", "db", "cache"), child("job", "db"))
        assert bring_down(tree, *tree.stop()) == ["job+web", "cache+db"]
        assert tree.state("app") is State.ENDED

    def test_need_waits_for_all_that_need_it(self) -> None:
        """Also when one of them takes its time."""
        tree = running(child("db"), child("web", "db"), child("job", "db"))
        assert sorted(tree.stop()) == ["ask job", "ask web"]
        assert tree.exited("web") == ["finish web stopped"]
        assert tree.exited("job") == ["finish job stopped", "ask db"]

    def test_kill_ends_all_at_once(self) -> None:
        """Order is for those that have time."""
        tree = running(child("a"), child("b"))
        assert tree.kill() == ["kill b", "kill a"]

    def test_kill_overtakes_a_stop(self) -> None:
        """Those whose turn has not come are killed as well."""
        tree = running(child("a"), child("b"), child("c"))
        tree.stop()
        assert tree.kill() == ["kill c", "kill b", "kill a"]
        for name in "cba":
            tree.exited(name, Reason.CRASHED, signal=SIGKILL)
        assert tree.state("app") is State.ENDED

    def test_grace_of_a_stop_is_for_each_in_its_turn(self) -> None:
        """The ladder of each begins when its turn has come."""
        tree = running(child("a"), child("b"))
        tree.stop(grace=2.0)
        tree.now = 1.0
        tree.exited("b")
        assert tree.waits == [("a", "rung", 1.5)]

    def test_who_ends_before_its_turn_is_not_started_again(self) -> None:
        """Whatever its policy and however it ends."""
        tree = running(child("a"), child("b"), child("c", restart=TRANSIENT))
        tree.stop()
        assert tree.fails("a") == ["finish a crashed"]
        assert tree.exited("c") == ["finish c stopped", "ask b"]
        assert tree.exited("b") == ["finish b stopped", "finish app stopped"]

    def test_stop_while_starting_skips_the_rest(self) -> None:
        """Nothing starts later."""
        tree = Tree(supervisor("app", child("a"), child("b"), child("c")))
        tree.run()
        tree.up("a")
        tree.spawn("b")
        assert tree.stop() == ["finish c skipped", "ask b"]
        assert tree.exited("b") == ["finish b stopped", "ask a"]

    def test_stop_in_backoff_ends_at_once(self) -> None:
        """And nothing starts when the time comes."""
        tree = running(child("a", backoff=Backoff(1.0)))
        tree.fails("a")
        assert tree.stop() == ["finish a stopped", "finish app stopped"]
        assert tree.exit("a").incarnation == 1
        assert tree.tell(TimerFired(tree.ids["a"], 1, Timer.BACKOFF, 1)) == []

    def test_what_was_started_below_it_ends_before_its_members(self) -> None:
        """What came last ends first."""
        tree = running(child("a"), child("b"))
        tree.add(leaf("x"))
        tree.run("x")
        tree.up("x")
        assert bring_down(tree, *tree.stop()) == ["x", "b", "a"]

    def test_empty_groups_end_in_turn_without_depth(self) -> None:
        """Whoever ends at once does not end inside of who came before."""
        tree = Tree(supervisor("app", *(supervisor(f"s{number}") for number in range(2000))))
        tree.run()
        assert tree.state("app") is State.RUNNING
        assert tree.stop()[-1] == "finish app stopped"

    def test_nobody_ends_before_one_that_needs_it_and_is_ending_already(self) -> None:
        """Also when it is stopped by hand while the supervisor falls."""
        tree = running(child("db"), child("web", "db"), child("job", essential=True, restart=TEMPORARY))
        assert tree.stop("web") == ["ask web"]
        assert tree.fails("job") == ["finish job crashed"]
        assert tree.exited("web") == ["finish web stopped", "ask db"]

    def test_nobody_who_waits_for_a_slot_gets_it_from_one_that_is_stopped_with_it(self) -> None:
        """The door is held while they are told."""
        tree = Tree(supervisor("app", child("a", backoff=Backoff(1.0)), limit=1))
        tree.run()
        tree.up("a")
        tree.join(child("x", backoff=Backoff(1.0)))
        tree.up("x")
        tree.join(child("y"))
        tree.fails("x")
        assert tree.stop() == ["finish y skipped", "finish x stopped", "ask a"]

    def test_what_runs_by_itself_below_a_group_that_ends_before_its_turn_is_stopped_too(self) -> None:
        """The group has nothing left when it hears of the stop."""
        tree = running(child("a"), concurrent("g", child("x", restart=TRANSIENT, backoff=Backoff(9.0))))
        tree.fails("x")
        tree.add(leaf("own"), "g")
        tree.run("own")
        tree.up("own")
        assert tree.stop() == ["finish x stopped", "finish g stopped", "ask own", "ask a"]

    def test_what_runs_by_itself_below_a_group_is_stopped_when_that_ends_while_it_waits_for_its_turn(self) -> None:
        """Nobody comes to tell it later."""
        tree = running(concurrent("g", child("x")), child("b"))
        tree.add(leaf("own"), "g")
        tree.run("own")
        tree.up("own")
        assert tree.stop() == ["ask b"]
        assert tree.fails("x") == ["finish x crashed", "finish g stopped", "ask own"]

    def test_what_runs_by_itself_below_a_group_that_fails_does_not_come_back(self) -> None:
        """It ends with it, whatever its own rule."""
        tree = Tree(concurrent("app", concurrent("g", child("x"), leaf("y")), continues=True))
        tree.run()
        tree.up("x", "y")
        tree.add(child("own"), "g")
        tree.run("own")
        tree.up("own")
        tree.tell(TimerFired(tree.ids["g"], 1, Timer.TIMEOUT, 1))
        assert tree.exited("x") == ["finish x stopped"]
        assert tree.exited("y") == ["finish y stopped", "finish g timed_out", "finish app finished"]
        assert tree.exited("own") == ["finish own stopped"]

    def test_member_that_runs_by_itself_goes_on_when_its_supervisor_ends(self) -> None:
        """It was started before that ran, and has no part in its run."""
        tree = Tree(supervisor("app", child("a"), supervisor("g", child("y", restart=TRANSIENT))))
        tree.run()
        tree.add(child("x"), "g", joins=True)
        tree.run("x")
        tree.up("x")
        tree.up("a")
        assert tree.exited("y") == ["ready y", "ready g", "ready app", "finish y finished", "finish g finished"]
        assert tree.state("x") is State.RUNNING

    def test_delay_that_was_overtaken_by_the_next_one(self) -> None:
        """Its timer stands for nothing any more."""
        tree = running(child("a", backoff=Backoff(1.0, jitter=None)))
        tree.fails("a")
        node = tree["a"]
        assert tree.tell(TimerFired(node.id, node.incarnation, Timer.BACKOFF, -1)) == []

    def test_members_that_run_by_themselves_below_one_that_does_not_run_are_stopped_at_once(self) -> None:
        """There is no order among them."""
        tree = Tree(supervisor("app", child("a"), child("b")))
        tree.run("a")
        tree.run("b")
        tree.up("a", "b")
        assert tree.stop() == ["ask b", "ask a", "finish app stopped"]

    def test_restart_of_one_does_not_concern_members_that_run_by_themselves(self) -> None:
        """One that was started while its supervisor did not run is no part of its run."""
        tree = Tree(supervisor("app", child("a"), strategy=ALL))
        tree.add(child("x"), joins=True)
        tree.run("x")
        tree.up("x")
        with pytest.raises(StateError, match="x: is running"):
            tree.run()
        tree.stop("x")
        tree.exited("x")
        tree.run()
        assert bring_up(tree) == ["a", "x"]

    def test_who_ends_as_it_becomes_ready_is_not_told_to_end(self) -> None:
        """It is gone already, though what its readiness starts ends the supervisor."""
        tree = Tree(supervisor("app", child("a", restart=TRANSIENT), concurrent("job", essential=True)))
        tree.run()
        tree.spawn("a")
        said = tree.exited("a")
        assert "ready a" in said
        assert not any(word.startswith("ask") for word in said)
        assert tree.state("app") is State.ENDED

    @pytest.mark.parametrize("hurries", [False, True], ids=["the same", "sooner"])
    def test_a_wish_to_end_costs_as_much_the_hundredth_time(self, hurries: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        """Below supervisors in each other: what was told before is not told again with it."""
        pressed: list[float | None] = []
        press = Descent.press

        def count(descent: Descent, grace: float | None, plan: Plan, now: float) -> None:
            pressed.append(grace)
            press(descent, grace, plan, now)

        monkeypatch.setattr(Descent, "press", count)
        tree = running(supervisor("s", supervisor("t", child("a"), child("b"))))
        costs = []
        for number in range(100):
            pressed.clear()
            tree.stop(grace=200.0 - number if hurries else OWN)
            costs.append(len(pressed))
        assert set(costs[2:]) == {costs[2]}
        assert costs[2] <= (4 if hurries else 1)

    def test_stops_without_end_cost_no_more_than_one_each(self) -> None:
        """Each is passed on once, and only when it is news: with five supervisors in each other this would take for ever."""
        plan = supervisor("s", leaf("a"), leaf("b"))
        for depth in range(5):
            plan = supervisor(f"s{depth}", plan, leaf(f"b{depth}"))
        tree = Tree(supervisor("app", plan))
        tree.run()
        bring_up(tree)
        for second in range(100):
            tree.now = second / 1000
            tree.stop(grace=9.0 - second / 1000, by=f"me {second}")
        assert tree.waits == []
        for depth in reversed(range(5)):
            tree.exited(f"b{depth}", signal=SIGTERM)
        tree.exited("b")
        assert tree.exit("b").asked_by == "me 0"
        tree.exited("a")
        assert tree.state("app") is State.ENDED


class TestWhoComesBack:
    ENDS = {
        "well": {"reason": Reason.FINISHED},
        "error": {"reason": Reason.CRASHED, "error": ValueError("boom")},
        "signal": {"reason": Reason.CRASHED, "signal": SIGKILL},
        "lost": {"reason": Reason.LOST},
    }

    @pytest.mark.parametrize("end", ENDS)
    @pytest.mark.parametrize("restart", [PERMANENT, TRANSIENT, TEMPORARY])
    def test_kind_and_end_decide(self, restart: Restart, end: str) -> None:
        """permanent: always; transient: after a failure; temporary: never."""
        tree = running(child("a", restart=restart), child("other"))
        said = tree.exited("a", **self.ENDS[end])  # type: ignore[arg-type]  # reason and facts
        again = restart is PERMANENT or (restart is TRANSIENT and end != "well")
        assert said == (["start a"] if again else [f"finish a {tree.exit('a').reason.value}"])
        assert tree["a"].incarnation == 1 + again

    def test_predicate_decides_with_the_exit(self) -> None:
        """It is asked each time; until it has answered the node rests."""
        tree = running(child("a", restart=JUDGED), child("other"))
        assert tree.fails("a") == ["judge a"]
        assert tree.state("a") is State.BACKOFF
        assert tree.judge("a", True) == ["start a"]
        tree.up("a")
        assert tree.exited("a") == ["judge a"]
        assert tree.judge("a", False) == ["finish a finished"]
        assert tree.judge("a", True) == []

    def test_predicate_that_is_overtaken_by_a_stop(self) -> None:
        """Its answer comes too late."""
        tree = running(child("a", restart=JUDGED))
        tree.fails("a")
        assert tree.stop("a") == ["finish a stopped", "finish app finished"]
        assert tree.judge("a", True) == []

    def test_who_was_asked_to_end_does_not_come_back(self) -> None:
        """A stop of one member is for good, and no failure."""
        tree = running(child("a"), child("b"))
        assert tree.stop("a") == ["ask a"]
        assert tree.fails("a") == ["finish a stopped"]

    def test_timeout_and_condemnation_are_failures(self) -> None:
        """What we end because it is not well comes back."""
        tree = running(child("a", timeout=5.0, restart=TRANSIENT))
        tree.now = 5.0
        timeout = TimerFired(tree.ids["a"], 1, Timer.TIMEOUT, 1)
        assert tree.tell(timeout) == ["ask a"]
        assert tree.cut("a") == ["start a"]
        assert tree.exit("a").reason is Reason.TIMED_OUT
        assert "a stopping backoff" in tree.moves

    def test_group_as_a_member_comes_back_as_a_whole(self) -> None:
        """Its members begin again; those who wait for them go on waiting."""
        tree = running(concurrent("g", leaf("x"), leaf("y"), restart=PERMANENT))
        assert tree.fails("x") == ["ask y"]
        assert tree.exited("y") == ["start x", "start y"]
        assert not tree["x"].finished
        assert (tree["g"].incarnation, tree["x"].incarnation) == (2, 2)
        bring_up(tree)
        tree.exited("x")
        assert tree.stop() == ["ask y"]
        assert tree.exited("y") == ["finish y stopped", "finish g stopped", "finish app stopped"]

    def test_member_of_a_group_that_comes_back_no_more_is_told(self) -> None:
        """Waiting for the group's fate has an end."""
        tree = running(sequential("g", leaf("x"), leaf("y"), restart=TRANSIENT), intensity=0)
        said = tree.fails("x")
        assert sorted(said[:3]) == ["finish g crashed", "finish x crashed", "finish y skipped"]
        assert said[3:] == ["finish app crashed"]

    def test_step_of_a_sequence_is_repeated_before_the_next(self) -> None:
        """It keeps its turn while it rests."""
        tree = Tree(sequential("app", child("a", restart=TRANSIENT, backoff=Backoff(1.0)), leaf("b")))
        tree.run()
        tree.up("a")
        assert tree.fails("a") == []
        assert tree.fires("a", Timer.BACKOFF, 1.0) == ["start a"]
        assert tree.exited("a") == ["ready a", "finish a finished", "start b"]

    def test_node_of_its_own_that_comes_back_has_its_own_limit(self) -> None:
        """Three failures in thirty seconds; the exits that counted are kept."""
        tree = Tree(concurrent("app", continues=True))
        tree.add(child("a", restart=TRANSIENT))
        tree.run("a")
        for _ in range(3):
            tree.up("a")
            assert tree.fails("a") == ["start a"]
        tree.up("a")
        assert tree.fails("a") == ["finish a crashed"]
        assert [exit.incarnation for exit in tree["a"].spent] == [1, 2, 3, 4]

    def test_first_start_of_a_node_that_fails_is_not_repeated(self) -> None:
        """Who started it is told; a later one counts and is repeated."""
        tree = Tree(child("app"))
        tree.run()
        assert tree.fails("app") == ["finish app crashed"]
        tree.run()
        tree.up("app")
        assert tree.fails("app") == ["start app"]
        assert tree.fails("app") == ["start app"]


class TestStrategy:
    def test_one_for_one_concerns_nobody_else(self) -> None:
        """The others do not notice."""
        tree = running(child("a"), child("b"), child("c"))
        assert tree.fails("b") == ["start b"]
        assert tree.moves == ["b running backoff", "b backoff starting"]

    def test_one_for_all_ends_all_in_reverse_and_starts_them_in_order(self) -> None:
        """As if it had just begun."""
        tree = running(child("a"), child("b"), child("c"), strategy=ALL)
        assert bring_down(tree, *tree.fails("b")) == ["c", "a"]
        assert bring_up(tree) == ["a", "b", "c"]
        assert tree.exit("c").asked_by == "restart of app/b"

    def test_rest_for_one_concerns_those_that_started_later(self) -> None:
        """Those before it do not notice."""
        tree = running(child("a"), child("b"), child("c"), child("d"), strategy=REST)
        assert bring_down(tree, *tree.fails("b")) == ["d", "c"]
        assert bring_up(tree) == ["b", "c", "d"]
        assert tree["a"].incarnation == 1

    def test_rest_for_one_with_needs_concerns_those_that_need_it(self) -> None:
        """Directly or not, wherever they stand."""
        tree = running(
            child("web", "db"), child("db"), child("page", "web"), child("cache"), child("job", "cache"), strategy=REST
        )
        assert bring_down(tree, *tree.fails("db")) == ["page", "web"]
        assert bring_up(tree) == ["db", "web", "page"]
        assert (tree["cache"].incarnation, tree["job"].incarnation) == (1, 1)

    def test_one_that_was_given_up_does_not_come_back_with_the_others(self) -> None:
        """It stays as it is until somebody starts it by hand."""
        tree = running(child("a"), child("b"), strategy=ALL, intensity=1, at_limit=AtLimit.STAY)
        bring_down(tree, *tree.fails("a"))
        bring_up(tree)
        assert tree.fails("a") == ["finish a crashed"]
        tree.now = 100.0
        assert tree.fails("b") == ["start b"]
        assert tree.restart("a") == ["start a"]
        assert sorted(bring_up(tree)) == ["a", "b"]

    def test_essential_one_that_ends_for_good_with_the_others_ends_all(self) -> None:
        """The one that was to come back is stopped while it rests."""
        tree = running(child("a"), strategy=ALL)
        tree.join(supervisor("job", essential=True))
        assert tree.fails("a") == ["finish job stopped", "finish a stopped", "finish app finished"]

    def test_backoff_holds_all_that_are_to_come_back(self) -> None:
        """They have ended at once, and start after the delay."""
        tree = running(child("a"), child("b", backoff=Backoff(1.0)), child("c"), strategy=ALL)
        assert bring_down(tree, *tree.fails("b")) == ["c", "a"]
        assert [tree.state(name) for name in "abc"] == [State.WAITING, State.BACKOFF, State.WAITING]
        assert tree.fires("b", Timer.BACKOFF, 1.0) == ["start a"]

    def test_delay_that_is_over_waits_for_those_that_still_end(self) -> None:
        """One live incarnation per node."""
        tree = running(child("a", backoff=Backoff(1.0)), child("b"), strategy=ALL)
        assert tree.fails("a") == ["ask b"]
        assert tree.fires("a", Timer.BACKOFF, 1.0) == []
        assert tree.exited("b") == ["start a"]

    def test_temporary_bystander_is_ended_and_does_not_come_back(self) -> None:
        """Not even with its group."""
        tree = running(child("a"), child("b", restart=TEMPORARY), strategy=ALL)
        assert tree.fails("a") == ["ask b"]
        assert tree.exited("b") == ["finish b stopped", "start a"]
        assert bring_up(tree) == ["a"]

    def test_transient_bystander_comes_back_also_when_it_had_ended_well(self) -> None:
        """With its group it starts again."""
        tree = running(child("a", restart=TRANSIENT), child("b", restart=TRANSIENT), strategy=ALL)
        assert tree.exited("a") == ["finish a finished"]
        assert tree.fails("b") == ["start a"]
        assert bring_up(tree) == ["a", "b"]
        assert not tree["a"].finished

    def test_failure_of_a_temporary_one_concerns_nobody(self) -> None:
        """It is not started again, so nobody is with it."""
        tree = running(child("a"), child("b", restart=TEMPORARY), strategy=ALL)
        assert tree.fails("b") == ["finish b crashed"]

    def test_one_for_all_member_that_fails_on_the_way_back(self) -> None:
        """Those started in this attempt are stopped, and it begins again; each attempt counts."""
        tree = running(child("a"), child("b"), child("c"), strategy=ALL, intensity=2)
        bring_down(tree, *tree.fails("a"))
        tree.up("a")
        tree.spawn("b")
        assert tree.fails("b") == ["ask a"]
        assert tree.exited("a") == ["start a"]
        tree.up("a")
        assert tree.fails("b") == ["finish b crashed", "finish c stopped", "ask a"]
        assert tree.exited("a")[-1] == "finish app crashed"
        assert isinstance(tree.exit("app").error, RestartLimitReached)

    def test_rest_for_one_member_that_fails_on_the_way_back(self) -> None:
        """Those before the failing one are not started again once more."""
        tree = running(child("a"), child("b"), child("c"), child("d"), strategy=REST)
        bring_down(tree, *tree.fails("b"))
        tree.up("b")
        tree.spawn("c")
        assert tree.fails("c") == ["start c"]
        tree.up("c")
        assert tree["b"].incarnation == 2
        assert bring_up(tree) == ["d"]

    def test_bystander_that_fails_while_it_waits_for_its_turn_counts_for_nothing(self) -> None:
        """It was to end anyway."""
        tree = running(child("a"), child("b"), child("c"), strategy=ALL, intensity=1)
        assert tree.fails("a") == ["ask c"]
        assert tree.fails("b") == []
        assert tree.exited("c") == ["start a"]

    def test_an_earlier_member_that_fails_meanwhile_widens_the_restart(self) -> None:
        """Both count, and all start again in order."""
        tree = running(child("a"), child("b"), child("c"), strategy=REST)
        assert tree.fails("b") == ["ask c"]
        assert tree.fails("a") == []
        assert tree.exited("c") == ["start a"]
        assert bring_up(tree) == ["a", "b", "c"]

    def test_who_is_needed_along_two_ways_concerns_each_once(self) -> None:
        """A diamond."""
        tree = running(child("db"), child("a", "db"), child("b", "db"), child("top", "a", "b"), strategy=REST)
        assert bring_down(tree, *tree.fails("db")) == ["top", "a+b"]
        assert bring_up(tree) == ["db", "a", "b", "top"]

    def test_member_of_a_group_that_ends_because_of_another_is_not_started_again(self) -> None:
        """Whatever its own rule: the group fails."""
        tree = Tree(concurrent("app", child("a"), leaf("b")))
        tree.run()
        tree.up("a", "b")
        assert tree.fails("b") == ["finish b crashed", "ask a"]
        assert tree.fails("a") == ["finish a crashed", "finish app crashed"]

    def test_stop_of_the_supervisor_overtakes_a_restart(self) -> None:
        """Nobody comes back."""
        tree = running(child("a"), child("b"), child("c"), strategy=ALL)
        tree.fails("a")
        assert tree.stop() == ["finish a stopped"]
        assert bring_down(tree, *tree.exited("c")) == ["b"]
        assert tree.state("app") is State.ENDED

    def test_restart_by_hand_concerns_nobody_else(self) -> None:
        """And counts for no limit."""
        tree = running(child("a"), child("b"), strategy=ALL, intensity=0)
        assert tree.restart("a") == ["ask a"]
        assert tree.exited("a") == ["start a"]


class TestLimit:
    PERIOD = 10.0

    @pytest.mark.parametrize(("age", "within"), [(PERIOD - 0.001, True), (PERIOD, True), (PERIOD + 0.001, False)])
    def test_failure_that_is_exactly_a_period_old_still_counts(self, age: float, within: bool) -> None:
        """The window is inclusive; its clock is a float."""
        tree = running(child("a"), intensity=1, period=self.PERIOD)
        assert tree.fails("a") == ["start a"]
        tree.up("a")
        tree.now += age
        assert (tree.fails("a") == ["start a"]) is not within

    @pytest.mark.parametrize("begun", [0.1, 1000.3, 1023.7, 65535.9])
    @pytest.mark.parametrize("period", [0.3, 10.0, 30.0])
    def test_failure_that_is_a_period_old_as_floats_add_up_still_counts(self, begun: float, period: float) -> None:
        """A clock shows the sum rounded, mostly where it passes a power of two: what is lost there is no age."""
        tree = running(child("a"), intensity=1, period=period)
        tree.now = begun
        assert tree.fails("a") == ["start a"]
        tree.up("a")
        tree.now = begun + period
        assert tree.fails("a") == ["finish a crashed", "finish app crashed"]

    @pytest.mark.parametrize("intensity", [0, 1, 3])
    def test_so_many_restarts_are_allowed_and_the_next_is_not(self, intensity: int) -> None:
        """Exactly *intensity*; 0: the first failure is the last."""
        tree = running(child("a"), child("b"), intensity=intensity)
        for _ in range(intensity):
            assert tree.fails("a") == ["start a"]
            tree.up("a")
        assert tree.fails("a") == ["finish a crashed", "ask b"]
        tree.exited("b")
        error = tree.exit("app").error
        assert isinstance(error, RestartLimitReached)
        assert len(error.exits) == intensity + 1
        assert error.__cause__ is tree.exit("a").error

    def test_members_add_up(self) -> None:
        """The counter is the supervisor's."""
        tree = running(child("a"), child("b"), intensity=1)
        tree.fails("a")
        tree.up("a")
        assert tree.fails("b") == ["finish b crashed", "ask a"]

    def test_restart_of_a_group_counts_once(self) -> None:
        """However many come back."""
        tree = running(child("a"), child("b"), child("c"), strategy=ALL, intensity=1)
        bring_down(tree, *tree.fails("a"))
        bring_up(tree)
        assert len(tree["app"].history) == 1  # type: ignore[attr-defined]  # the record behind the view

    def test_good_end_of_a_permanent_child_counts_for_nothing(self) -> None:
        """It comes back, at once when it was stable, else after the delay."""
        tree = running(child("a", backoff=Backoff(1.0, stable_after=10.0)), intensity=0)
        assert tree.exited("a") == []
        assert tree.fires("a", Timer.BACKOFF, 1.0) == ["start a"]
        tree.up("a")
        tree.now += 10.0
        assert tree.exited("a") == ["start a"]

    def test_no_intensity_has_no_limit(self) -> None:
        """And keeps no history."""
        tree = running(child("a"), intensity=None)
        for _ in range(100):
            assert tree.fails("a") == ["start a"]
            tree.up("a")

    def test_restart_that_fails_counts_each_time(self) -> None:
        """A start is no success before it is ready."""
        tree = running(child("a"), intensity=2)
        assert tree.fails("a") == ["start a"]
        assert tree.fails("a") == ["start a"]
        assert tree.fails("a") == ["finish a crashed", "finish app crashed"]

    def test_escalation_goes_up_level_by_level(self) -> None:
        """To the outer supervisor it is an ordinary failure; each level has its own limit, and the causes are chained."""
        inner = supervisor("inner", child("a"), intensity=1, restart=PERMANENT)
        tree = Tree(supervisor("app", supervisor("mid", inner, intensity=1, restart=PERMANENT), intensity=0))
        tree.run()
        for _ in range(3):
            bring_up(tree)
            assert tree.fails("a") == ["start a"]
        bring_up(tree)
        said = tree.fails("a")
        assert said[-1] == "finish app crashed"
        error = tree.exit("app").error
        chain: list[str] = []
        while error is not None:
            chain.append(type(error).__name__)
            error = error.__cause__
        assert chain == ["RestartLimitReached", "RestartLimitReached", "RestartLimitReached", "ValueError"]
        assert all(tree.state(name) is State.ENDED for name in tree.ids)
        assert all(tree[name].finished for name in tree.ids)

    def test_inner_supervisor_that_comes_back_begins_with_a_clean_slate(self) -> None:
        """Its history is its incarnation's."""
        tree = running(supervisor("inner", child("a"), intensity=0, restart=PERMANENT))
        assert tree.fails("a") == ["start a"]
        assert (tree["inner"].incarnation, tree["a"].incarnation) == (2, 2)
        assert not tree["a"].finished

    def test_stay_leaves_it_ended_and_the_others_alone(self) -> None:
        """It can be started by hand; the supervisor goes on, also when nobody else is left."""
        tree = running(child("a"), child("b"), intensity=0, at_limit=AtLimit.STAY)
        assert tree.fails("a") == ["finish a crashed"]
        assert tree.fails("b") == ["finish b crashed"]
        assert tree.state("app") is State.RUNNING
        assert tree.restart("a") == ["start a"]
        tree.up("a")
        tree.forget("b")
        assert tree.stop("a") == ["ask a"]
        assert tree.exited("a") == ["finish a stopped", "finish app finished"]

    def test_stay_ends_with_the_supervisor(self) -> None:
        """Nothing holds a supervisor that is to end."""
        tree = running(child("a"), child("b"), intensity=0, at_limit=AtLimit.STAY)
        tree.fails("a")
        assert tree.stop() == ["ask b"]
        assert tree.exited("b") == ["finish b stopped", "finish app stopped"]

    def test_who_needs_one_that_stays_ended_waits_for_it(self) -> None:
        """Until somebody starts it."""
        tree = running(child("db"), child("web", "db"), intensity=0, at_limit=AtLimit.STAY, strategy=REST)
        tree.fails("db")
        assert tree.restart("web") == ["ask web"]
        tree.stop("web")
        tree.exited("web")
        assert tree.restart("db") == ["start db"]

    def test_pause_lets_it_wait_for_a_period_and_forgets(self) -> None:
        """At random a little longer; the others go on."""
        tree = running(child("a"), child("b"), intensity=0, period=10.0, at_limit=AtLimit.PAUSE)
        assert tree.fails("a") == []
        assert tree.waits == [("a", "backoff", 10.0)]
        assert tree.latest == [15.0]
        assert tree.fires("a", Timer.BACKOFF, 12.0) == ["start a"]


class TestBackoff:
    def test_delays_grow_to_the_cap_and_begin_anew_after_a_stable_time(self) -> None:
        """first * factor ** (n - 1), at most cap."""
        tree = running(child("a", backoff=Backoff(0.1, 1.0, jitter=None, stable_after=5.0)), intensity=None)
        delays = []
        for _ in range(6):
            tree.fails("a")
            at = tree.waits[0][2]
            delays.append(round(at - tree.now, 6))
            tree.fires("a", Timer.BACKOFF, at)
            tree.up("a")
        assert delays == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
        tree.now += 5.0
        tree.fails("a")
        assert tree.waits[0][2] - tree.now == pytest.approx(0.1)

    def test_full_jitter_is_left_to_who_waits(self) -> None:
        """Anything from nothing to the delay."""
        assert Backoff(1.0, 30.0).delay(4) == (0.0, 8.0)
        assert Backoff(1.0, 30.0, jitter=None).delay(100_000) == (30.0, 30.0)
        assert Backoff(1.0, 30.0, factor=1.0, jitter=None).delay(100_000) == (1.0, 1.0)
        assert Backoff(0.0).delay(5) == (0.0, 0.0)

    def test_restart_by_hand_skips_the_delay(self) -> None:
        """The timer that comes later is in vain."""
        tree = running(child("a", backoff=Backoff(9.0, jitter=None)))
        tree.fails("a")
        assert tree.restart("a") == ["start a"]
        assert tree.tell(TimerFired(tree.ids["a"], 1, Timer.BACKOFF, 99)) == []

    def test_slow_flapper_is_never_given_up(self) -> None:
        """One failure each period and a little is within every limit."""
        tree = running(child("a", backoff=Backoff(0.1, 1.0, jitter=None, stable_after=60.0)), intensity=1, period=10.0)
        delays = []
        for _ in range(20):
            tree.now += 10.001
            tree.fails("a")
            at = tree.waits[0][2]
            delays.append(round(at - tree.now, 6))
            assert tree.fires("a", Timer.BACKOFF, at) == ["start a"]
            tree.up("a")
        assert delays[-1] == 1.0  # it was never stable


class TestEssential:
    def test_any_essential_end_ends_the_supervisor_well(self) -> None:
        """A good end makes a good end."""
        tree = running(child("a"), child("job", restart=TRANSIENT, essential=True), child("c"))
        assert bring_down(tree, *tree.exited("job")) == ["c", "a"]
        assert tree.exit("app").reason is Reason.FINISHED
        assert tree["app"].culprit == tree.ids["job"]

    def test_failure_of_an_essential_one_is_the_supervisors(self) -> None:
        """A bad end makes a bad end."""
        tree = running(child("a"), child("job", restart=TEMPORARY, essential=True))
        assert bring_down(tree, *tree.fails("job")) == ["a"]
        assert tree.exit("app").reason is Reason.CRASHED

    def test_all_waits_for_the_last(self) -> None:
        """One essential end is not enough."""
        job = {"restart": TRANSIENT, "essential": True}
        tree = running(child("a"), child("x", **job), child("y", **job), auto_shutdown=AutoShutdown.ALL)  # type: ignore[arg-type]
        assert tree.exited("x") == ["finish x finished"]
        assert tree.exited("y") == ["finish y finished", "ask a"]

    def test_stop_by_hand_of_an_essential_one_ends_nobody(self) -> None:
        """It was asked for."""
        tree = running(child("a"), child("job", essential=True))
        tree.stop("job")
        assert tree.exited("job") == ["finish job stopped"]

    def test_essential_bystander_ends_nobody(self) -> None:
        """It comes back with the others."""
        tree = running(child("a"), child("job", essential=True), strategy=ALL)
        assert bring_down(tree, *tree.fails("a")) == ["job"]
        assert bring_up(tree) == ["a", "job"]

    def test_essential_one_that_stays_ended_ends_the_supervisor(self) -> None:
        """Its end for good is enough."""
        tree = running(child("a"), child("b", essential=True), intensity=0, at_limit=AtLimit.STAY)
        assert tree.fails("b") == ["finish b crashed", "ask a"]
        assert tree.exited("a") == ["finish a stopped", "finish app crashed"]


class TestByHand:
    @pytest.mark.parametrize("again", [1, 2])
    def test_restart_of_one_that_runs(self, again: int) -> None:
        """It is ended by its ladder and comes back; asked twice it comes back once."""
        tree = running(child("a"), child("b"))
        assert tree.restart("a") == ["ask a"]
        for _ in range(again - 1):
            assert tree.restart("a") == []
        assert tree.cut("a") == ["start a"]
        assert tree.exit("a").reason is Reason.STOPPED
        assert tree.moves == ["a stopping ended", "a ended starting"]

    def test_restart_of_one_that_has_ended_takes_part_again(self) -> None:
        """The supervisor waits for it again."""
        tree = running(child("a", restart=TRANSIENT), child("b", restart=TRANSIENT))
        tree.exited("a")
        assert tree.restart("a") == ["start a"]
        assert tree.exited("b") == ["finish b finished"]
        assert tree.state("app") is State.RUNNING
        tree.up("a")
        assert tree.fails("a") == ["start a"]

    def test_restart_of_one_that_is_being_stopped(self) -> None:
        """The later wish stands: it comes back when it has ended."""
        tree = running(child("a"), child("b"))
        tree.stop("a")
        assert tree.restart("a") == []
        assert tree.exited("a") == ["start a"]

    def test_restart_of_a_group_that_is_being_stopped(self) -> None:
        """All that is in it takes part again."""
        tree = running(child("a"), child("b"))
        assert tree.stop() == ["ask b"]
        tree.restart("app")
        assert tree.exited("b") == ["ask a"]
        assert tree.exited("a") == ["start a"]
        assert bring_up(tree) == ["a", "b"]

    def test_stop_of_one_that_is_to_come_back(self) -> None:
        """The later wish stands."""
        tree = running(child("a"), child("b"))
        tree.restart("a")
        tree.stop("a")
        assert tree.exited("a") == ["finish a stopped"]

    def test_restart_of_one_that_waits_changes_nothing(self) -> None:
        """It starts anyway when its turn comes."""
        tree = Tree(supervisor("app", child("a"), child("b")))
        tree.run()
        assert tree.restart("b") == []
        assert tree.up("a") == ["ready a", "start b"]

    def test_restart_of_a_node_that_has_not_run_runs_it(self) -> None:
        """By itself."""
        tree = Tree(concurrent("app"))
        tree.add(leaf("a"))
        assert tree.restart("a") == ["start a"]

    def test_restart_below_a_group_that_ends_is_refused(self) -> None:
        """Nothing starts in it."""
        tree = running(child("a"), child("b"))
        tree.stop()
        with pytest.raises(StateError, match="app, which it is in, is stopping"):
            tree.restart("a")

    def test_restart_of_a_whole_that_is_being_stopped(self) -> None:
        """The later wish stands for all of it: those too that had ended for good, or were still to be told."""
        tree = running(child("a"), child("b"), child("c"))
        tree.stop()
        tree.exited("c")
        assert tree.restart("app") == []
        assert bring_down(tree, "ask b") == ["b", "a"]
        assert bring_up(tree) == ["a", "b", "c"]

    def test_restart_of_a_group_that_was_stopped_starts_what_is_in_it(self) -> None:
        """Not an empty group."""
        tree = running(supervisor("inner", child("a"), restart=PERMANENT), child("b"))
        assert tree.stop("inner") == ["ask a"]
        tree.exited("a")
        assert tree.restart("inner") == ["start a"]

    def test_stop_of_a_member_after_a_restart_of_the_whole_was_asked_for(self) -> None:
        """That one does not come back."""
        tree = running(child("a"), child("b"))
        assert tree.restart("app") == ["ask b"]
        tree.stop("b")
        assert bring_down(tree, "ask b") == ["b", "a"]
        assert bring_up(tree) == ["a"]

    def test_restart_of_the_whole(self) -> None:
        """All in reverse, then all in order."""
        tree = running(child("a"), child("b"))
        assert bring_down(tree, *tree.restart("app")) == ["b", "a"]
        assert bring_up(tree) == ["a", "b"]
        assert tree["app"].incarnation == 2

    def test_restart_of_a_group_whose_rounds_do_not_bind(self) -> None:
        """Its members begin their rounds anew; nobody is told of an end."""
        tree = Tree(concurrent("app", leaf("a"), leaf("b")))
        tree.run(rounds=2, binding=False)
        tree.up("a")
        tree.up("b")
        assert tree.restart("app") == ["ask b", "ask a"]
        assert tree.exited("a") == []
        assert tree.exited("b") == ["start a", "start b"]
        assert tree["a"].round == 1
        assert tree.exited("a") == ["ready a", "start a"]

    def test_first_start_by_hand_that_fails_is_not_repeated(self) -> None:
        """Who asked is told; the supervisor goes on."""
        tree = running(child("a", restart=TRANSIENT), child("b"))
        tree.exited("a")
        tree.restart("a")
        assert tree.fails("a") == ["finish a crashed"]
        assert tree.state("app") is State.RUNNING

    def test_what_runs_by_itself_below_a_supervisor_that_is_restarted_ends_for_good(self) -> None:
        """Whatever its own rule is, and whatever else it was to end for: the members do not wait for it in vain."""
        tree = Tree(concurrent("app", supervisor("s", leaf("a")), continues=True))
        tree.run()
        tree.up("a")
        tree.add(leaf("x", restart=Restart.PERMANENT, timeout=3.0), "s")
        tree.run("x")
        tree.up("x")
        tree.now = 3.0
        tree.tell(TimerFired(tree.ids["x"], 1, Timer.TIMEOUT, 1))
        assert tree.restart("s") == []
        assert tree.exited("a") == []
        assert tree.cut("x") == ["finish x timed_out", "start a"]

    def test_member_that_needs_one_which_runs_by_itself_starts_when_that_is_ready(self) -> None:
        """It was started by hand before its supervisor was."""
        tree = Tree(sequential("app", leaf("first"), supervisor("s", child("db"), child("web", "db"))))
        tree.run()
        tree.up("first")
        tree.stop("db")
        assert tree.run("db") == ["start db"]
        assert "start web" not in tree.exited("first")
        assert tree.state("s") is State.STARTING
        assert "start web" in tree.up("db")

    def test_one_that_was_given_up_in_an_earlier_run_counts_when_it_is_started_again(self) -> None:
        """Its supervisor does not end before it."""
        tree = running(child("a"), leaf("b"), intensity=1, at_limit=AtLimit.STAY)
        tree.fails("a")
        tree.up("a")
        tree.fails("a")
        assert tree.state("a") is State.ENDED
        tree.stop("a")
        tree.restart("app")
        tree.exited("b")
        tree.up("b")
        assert tree.restart("a") == ["start a"]
        tree.exited("b")
        assert tree.state("app") is State.RUNNING
        tree.up("a")

    def test_what_runs_by_itself_is_restarted_by_hand_while_it_ends_with_its_supervisor(self) -> None:
        """It comes back by itself, and the members do not wait for it."""
        tree = Tree(concurrent("app", supervisor("s", leaf("a")), continues=True))
        tree.run()
        tree.up("a")
        tree.add(leaf("x"), "s")
        tree.run("x")
        tree.up("x")
        tree.restart("s")
        assert tree.exited("a") == []
        assert tree.restart("x") == []
        assert tree.cut("x") == ["start a", "start x"]

    def test_restart_of_one_that_ends_for_a_restart_of_all(self) -> None:
        """It comes back with the others, once."""
        tree = running(child("a"), child("b"), strategy=ALL)
        assert tree.fails("a") == ["ask b"]
        assert tree.restart("b") == []
        assert tree.exited("b") == ["start a"]
        assert bring_up(tree) == ["a", "b"]
        assert tree.fails("b") == ["ask a"]


class TestJoining:
    def test_joined_members_start_at_once_and_end_first_together(self) -> None:
        """They need nobody, and came last."""
        tree = running(child("a"), child("b"))
        assert tree.join(child("x")) == ["start x"]
        assert tree.join(child("y")) == ["start y"]
        bring_up(tree)
        assert bring_down(tree, *tree.stop()) == ["x+y", "b", "a"]

    def test_joined_member_comes_back(self) -> None:
        """It is a member like any other."""
        tree = running(child("a"))
        tree.join(child("x"))
        tree.up("x")
        assert tree.fails("x") == ["start x"]

    def test_joined_member_whose_first_start_fails_is_not_repeated(self) -> None:
        """Who started it is told, the others do not notice."""
        tree = running(child("a"))
        tree.join(child("x"))
        assert tree.fails("x") == ["finish x crashed"]
        tree.forget("x")
        assert len(tree.machine) == 2

    def test_joined_member_whose_first_start_failed_does_not_come_back_with_the_others(self) -> None:
        """Who started it was told that it does not run."""
        tree = running(child("a"), strategy=ALL)
        tree.join(child("x"))
        tree.fails("x")
        tree.fails("a")
        assert bring_up(tree) == ["a"]

    def test_joined_member_whose_first_start_fails_while_the_others_start_ends_nobody(self) -> None:
        """It is not one of those that the supervisor cannot start without."""
        tree = Tree(supervisor("app", child("a"), child("b", "a")))
        tree.run()
        tree.join(child("x"))
        assert tree.fails("x") == ["finish x crashed"]
        assert bring_up(tree) == ["a", "b"]

    def test_joined_group_whose_first_start_failed_has_ended_with_all_below_it(self) -> None:
        """Also in a run of several rounds: who waits for one of them is told."""
        tree = Tree(concurrent("app", supervisor("s", child("a"))))
        tree.run(rounds=2)
        tree.up("a")
        tree.join(supervisor("g", child("x")), "s")
        assert tree.fails("x") == ["finish g crashed", "finish x crashed"]

    def test_slot_that_becomes_free_in_a_restart_of_all_is_taken_in_turn(self) -> None:
        """Whoever waits for it starts when all have ended, and after the planned ones."""
        tree = running(child("a"), child("b"), strategy=ALL, limit=1)
        tree.join(child("x", restart=TEMPORARY))
        tree.up("x")
        tree.join(child("y"))
        assert tree.fails("a") == ["ask x"]
        assert tree.exited("x") == ["finish x stopped", "ask b"]
        assert tree.exited("b") == ["start a"]
        assert bring_up(tree) == ["a", "b", "y"]

    def test_limit_that_is_raised_while_all_rest(self) -> None:
        """Nobody starts before those that come back."""
        tree = running(child("a", backoff=Backoff(5.0)), strategy=ALL, limit=1)
        tree.join(child("x"))
        tree.up("x")
        tree.join(child("y"))
        bring_down(tree, *tree.fails("a"))
        assert tree.tell(LimitSet(tree.ids["app"], 2)) == []
        assert tree.fires("a", Timer.BACKOFF, 5.0) == ["start a"]
        assert bring_up(tree) == ["a", "x", "y"]

    def test_who_needs_one_that_was_given_up_starts_when_that_is_forgotten(self) -> None:
        """Then there is nobody to wait for."""
        tree = running(child("db"), child("web", "db"), intensity=0, at_limit=AtLimit.STAY)
        tree.fails("db")
        tree.restart("web")
        assert tree.exited("web") == []
        assert tree.forget("db") == ["start web"]

    def test_limit_is_for_those_that_joined(self) -> None:
        """They wait for a slot in order; planned ones do not."""
        tree = running(child("a"), child("b"), limit=1)
        assert tree.join(child("x")) == ["start x"]
        assert tree.join(child("y")) == []
        assert tree.state("y") is State.WAITING
        tree.up("x")
        tree.stop("x")
        assert tree.exited("x") == ["finish x stopped", "start y"]

    def test_member_that_joins_during_a_restart_of_all_starts_with_the_others(self) -> None:
        """After the planned ones."""
        tree = running(child("a"), child("b"), strategy=ALL)
        tree.fails("a")
        assert tree.join(child("x")) == []
        assert tree.exited("b") == ["start a"]
        assert bring_up(tree) == ["a", "b", "x"]

    def test_limit_can_be_raised_while_some_wait_for_a_slot(self) -> None:
        """They start at once; it is told, and how many are there."""
        tree = running(child("a"), limit=1)
        tree.join(child("x"))
        tree.join(child("y"))
        assert (tree["app"].limit, tree["app"].busy) == (1, 3)
        assert tree.tell(LimitSet(tree.ids["app"], 2)) == ["start y"]
        assert tree["app"].limit == 2

    def test_what_has_no_members_or_lets_one_in_at_a_time_has_no_limit(self) -> None:
        """There it cannot be set."""
        tree = Tree(sequential("app", concurrent("g"), leaf("a")))
        assert (tree["a"].limit, tree["g"].busy) == (None, 0)
        for name, kind in (("app", "sequential"), ("a", "leaf")):
            with pytest.raises(StateError, match=f"is a {kind}, which has no limit"):
                tree.tell(LimitSet(tree.ids[name], 2))

    def test_one_that_needed_another_is_forgotten_with_its_need(self) -> None:
        """Nobody waits for it to end any more."""
        tree = running(child("db"), child("web", "db"))
        tree.stop("web")
        tree.exited("web")
        tree.forget("web")
        assert tree.stop() == ["ask db"]

    def test_member_of_a_supervisor_can_be_forgotten_whatever_that_is_a_member_of(self) -> None:
        """A group that runs cannot do without its members; a supervisor in it can."""
        tree = Tree(sequential("app", supervisor("s", child("a")), leaf("b")))
        tree.run()
        tree.up("a")
        tree.join(child("x"), "s")
        tree.up("x")
        tree.stop("x")
        tree.exited("x")
        assert tree.forget("x") == []
        with pytest.raises(StateError, match="s: is running"):
            tree.forget("s")

    def test_slot_is_kept_through_a_restart_of_all(self) -> None:
        """One that comes back does not wait behind others for its own slot."""
        tree = running(child("a"), strategy=ALL, limit=1)
        tree.join(child("x"))
        tree.up("x")
        tree.join(child("y"))
        assert tree.fails("a") == ["ask x"]
        tree.exited("x")
        assert bring_up(tree) == ["a", "x"]
        assert tree.state("y") is State.WAITING

    def test_only_a_supervisor_can_be_joined(self) -> None:
        """Below any other group nodes run by themselves."""
        tree = Tree(concurrent("app"))
        with pytest.raises(StateError, match="is a concurrent"):
            tree.join(leaf("x"))

    def test_member_of_a_running_supervisor_has_no_rounds(self) -> None:
        """It runs until it ends for good."""
        tree = running(child("a"))
        tree.add(child("x"), "app", joins=True)
        with pytest.raises(SpecError, match="rounds"):
            tree.run("x", rounds=2)


def test_window_keeps_what_is_inside_and_the_newest() -> None:
    """The pure rule, by itself."""
    plan = Plan("p", intensity=2, period=10.0)
    exits = [Exit("p", number, Reason.CRASHED) for number in range(5)]
    first = admitted((), exits[0], 0.0, plan)
    assert first == ((0.0, exits[0]),)
    second = admitted(first, exits[1], 10.0, plan)
    assert second is not None
    assert admitted(second, exits[2], 10.0, plan) is None
    third = admitted(second, exits[3], 10.1, plan)
    assert third == ((10.0, exits[1]), (10.1, exits[3]))


def test_stop_of_nothing_known_is_nothing() -> None:
    """As ever."""
    from asyncproc._core.supervision.event import StopAsked

    assert Tree(supervisor("app")).tell(StopAsked(NodeId(7), OWN, "me")) == []
