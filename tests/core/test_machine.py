"""The tree machine, case by case. A tree is played by hand: each call tells one fact and gives back what is to be done."""

from __future__ import annotations

from math import inf
from signal import SIGKILL

import pytest

from asyncproc._core.exit import Exit, Reason
from asyncproc._core.supervision.event import (
    OWN,
    Added,
    Condemned,
    Exited,
    NodeId,
    Released,
    RunAsked,
    Spawned,
    StopAsked,
    Timer,
    TimerFired,
    Unreadied,
)
from asyncproc._core.supervision.machine import TreeMachine
from asyncproc._core.supervision.plan import Kind, Ladder, Plan
from asyncproc._core.supervision.state import State
from asyncproc._core.supervision.view import NodeView
from asyncproc.errors import InternalError, SpecError, StateError, UnknownNode
from tests.core.tree import Tree, concurrent, leaf, sequential


class TestLeaf:
    def test_leaf_starts_is_ready_and_finishes(self) -> None:
        """A leaf goes through its whole life."""
        tree = Tree(leaf("app"))
        assert tree.run() == ["start app"]
        assert tree.waits == [("app", "start", 30.0)]
        assert tree.spawn("app", 7) == []
        assert tree["app"].pid == 7
        assert tree.ready("app") == ["ready app"]
        tree.now = 3.0
        assert tree.exited("app") == ["finish app finished"]
        assert tree.exit("app") == Exit("app", 1, Reason.FINISHED, pid=7, duration=3.0)
        assert tree["app"].pid is None

    def test_leaf_says_when_it_is_killed(self) -> None:
        """From the wish that it ends on, and the nearest wish counts; a group says nothing."""
        tree = Tree(concurrent("app", leaf("a", grace=3.0)))
        tree.run()
        tree.spawn("a")
        assert (tree["a"].deadline, tree["app"].deadline) == (inf, inf)
        tree.now = 1.0
        tree.stop("app")
        assert (tree["a"].deadline, tree["app"].deadline) == (4.0, inf)
        tree.stop("a", 2.0)
        assert tree["a"].deadline == 3.0
        tree.exited("a")
        assert tree["a"].deadline == inf

    def test_leaf_that_ends_well_before_it_was_ready_counts_as_ready(self) -> None:
        """Ending well is as good as being ready."""
        tree = Tree(leaf("app"))
        tree.run()
        tree.spawn("app")
        assert tree.exited("app") == ["ready app", "finish app finished"]
        assert tree.moves == ["app starting running", "app running ended"]

    def test_leaf_that_cannot_be_made_fails(self) -> None:
        """Exited may come instead of Spawned."""
        tree = Tree(leaf("app"))
        tree.run()
        assert tree.fails("app") == ["finish app crashed"]
        assert tree.moves == ["app starting ended"]

    def test_leaf_runs_again_with_the_next_incarnation(self) -> None:
        """Incarnations count over all runs; rounds begin again."""
        tree = Tree(leaf("app"))
        tree.run()
        tree.exited("app")
        assert tree.run() == ["start app"]
        assert (tree["app"].incarnation, tree["app"].round) == (2, 1)

    def test_leaf_that_is_not_ready_for_a_while_stays_where_it_is(self) -> None:
        """It runs, and its group is ready all the same; when it can do its work again that is told, once."""
        tree = Tree(concurrent("app", leaf("a")))
        tree.run()
        unreadied = Unreadied(tree.ids["a"], 1)
        assert tree.tell(unreadied) == []
        assert tree.up("a") == ["ready a", "ready app"]
        assert tree.ready("a") == []
        assert tree.tell(unreadied) == [] and tree.moves == []
        assert (tree.state("a"), tree["a"].ready, tree["app"].ready) == (State.RUNNING, False, True)
        assert tree.ready("a") == ["ready a"] and tree.moves == []
        assert tree["a"].ready
        tree.stop()
        assert tree.tell(unreadied) == [] and tree["a"].ready

    def test_leaf_that_is_not_ready_in_time_goes_down_its_ladder(self) -> None:
        """The start timeout is a cause of its own."""
        tree = Tree(leaf("app", start_timeout=2.0))
        tree.run()
        tree.spawn("app")
        assert tree.fires("app", Timer.START, 2.0) == ["ask app"]
        assert tree.cut("app") == ["finish app timed_out"]
        assert tree.exit("app").asked_by is None

    def test_start_timeout_of_a_ready_leaf_is_in_vain(self) -> None:
        """Timers need not be cancelled."""
        tree = Tree(leaf("app", start_timeout=2.0))
        tree.run()
        tree.up("app")
        assert tree.fires("app", Timer.START, 2.0) == []

    def test_leaf_that_runs_too_long_times_out_once(self) -> None:
        """The timeout of one that is being stopped is in vain."""
        tree = Tree(leaf("app", timeout=5.0, start_timeout=None))
        tree.run()
        assert tree.waits == [("app", "timeout", 5.0)]
        tree.up("app")
        assert tree.fires("app", Timer.TIMEOUT, 5.0) == ["ask app"]
        assert tree.fires("app", Timer.TIMEOUT, 5.0) == []
        assert tree.exited("app") == ["finish app timed_out"]

    def test_leaf_that_is_found_amiss_goes_down_its_ladder_and_has_failed(self) -> None:
        """The reason is the one that was found, once; what comes later only hurries."""
        tree = Tree(leaf("app"))
        tree.run()
        tree.up("app")
        condemned = Condemned(tree.ids["app"], 1, Reason.UNHEALTHY, "no beat for 5 s")
        assert tree.tell(condemned) == ["ask app"]
        assert tree.tell(condemned) == []
        assert tree.cut("app") == ["finish app unhealthy"]
        assert tree.exit("app").explain() == "app was unhealthy, no beat for 5 s, by signal SIGTERM, after 0.00 s"

    @pytest.mark.parametrize("rounds", [2, None])
    def test_leaf_as_a_run_of_its_own_comes_back_each_round(self, rounds: int | None) -> None:
        """A round of one leaf is one incarnation."""
        tree = Tree(leaf("app"))
        tree.run(rounds=rounds)
        assert tree.exited("app") == ["ready app", "start app"]
        assert (tree["app"].incarnation, tree["app"].round) == (2, 2)

    def test_what_is_told_of_an_earlier_incarnation_is_dropped(self) -> None:
        """Stale events change nothing."""
        tree = Tree(leaf("app"))
        tree.run(rounds=2)
        tree.exited("app")
        assert tree.tell(Exited(tree.ids["app"], 1, Exit("app", 1, Reason.LOST))) == []
        assert tree.tell(Spawned(NodeId(99), 1, 3)) == []
        assert tree.tell(StopAsked(NodeId(99), OWN, "me")) == []
        tree.exited("app")
        assert tree.ready("app") == []


class TestLadder:
    def ladder(self, ladder: Ladder, grace: float | None = 5.0) -> Tree:
        tree = Tree(leaf("app", ladder=ladder, grace=grace))
        tree.run()
        tree.up("app")
        return tree

    def test_python_child_that_does_not_answer_gets_term_early(self) -> None:
        """ASK at 0, TERM at 0.5, KILL at the end of grace, then one second for the reap."""
        tree = self.ladder(Ladder.PYTHON)
        assert tree.stop() == ["ask app"]
        assert tree.waits == [("app", "rung", 0.5)]
        assert tree.fires("app", Timer.RUNG, 0.5) == ["term app"]
        assert tree.waits == [("app", "rung", 5.0)]
        assert tree.fires("app", Timer.RUNG, 5.0) == ["kill app"]
        assert tree.waits == [("app", "reap", 6.0)]
        assert tree.fires("app", Timer.REAP, 6.0) == ["abandon app"]
        assert tree.waits == []
        assert tree.exited("app", Reason.LOST, killed=True) == ["finish app stopped"]
        assert tree.exit("app").killed

    @pytest.mark.parametrize(("grace", "term"), [(5.0, 4.0), (1.5, 0.75)])
    def test_python_child_that_answers_gets_term_late(self, grace: float, term: float) -> None:
        """TERM comes one second before the end, or at half of grace."""
        tree = self.ladder(Ladder.PYTHON, grace)
        tree.stop()
        assert tree.heard("app") == []
        assert tree.waits == [("app", "rung", term)]
        assert tree.heard("app") == []
        assert tree.waits == []

    def test_command_gets_its_signal_then_kill(self) -> None:
        """A command has no TERM rung of its own."""
        tree = self.ladder(Ladder.COMMAND)
        assert tree.stop() == ["ask app"]
        assert tree.waits == [("app", "rung", 5.0)]
        assert tree.fires("app", Timer.RUNG, 5.0) == ["kill app"]

    def test_task_is_asked_then_cut_then_given_up(self) -> None:
        """A task cannot be killed; what awaits is cancelled in time to clean up."""
        tree = self.ladder(Ladder.TASK)
        assert tree.stop() == ["ask app"]
        assert tree.heard("app") == []
        assert tree.waits == [("app", "rung", 4.0)]
        assert tree.fires("app", Timer.RUNG, 4.0) == ["term app"]
        assert tree.fires("app", Timer.RUNG, 5.0) == ["abandon app"]

    def test_grace_of_none_asks_and_waits_for_ever(self) -> None:
        """Its own grace has no end."""
        tree = self.ladder(Ladder.PYTHON, None)
        assert tree.stop() == ["ask app"]
        assert tree.waits == []

    def test_stop_without_grace_lets_it_finish_until_somebody_hurries(self) -> None:
        """FINISH, then the ladder from the second wish on."""
        tree = self.ladder(Ladder.PYTHON)
        assert tree.stop(grace=None) == ["finish app"]
        assert tree.stop(grace=None) == []
        tree.now = 10.0
        assert tree.stop(grace=4.0) == ["ask app"]
        assert tree.waits == [("app", "rung", 10.5)]

    def test_second_stop_tightens_and_never_loosens(self) -> None:
        """The earliest deadline holds, and nothing is asked twice."""
        tree = self.ladder(Ladder.COMMAND)
        tree.stop()
        assert tree.stop(grace=60.0) == []
        assert tree.waits == []
        tree.now = 1.0
        assert tree.stop(grace=2.0) == []
        assert tree.waits == [("app", "rung", 3.0)]

    def test_late_timer_goes_straight_to_the_rung_that_is_due(self) -> None:
        """A loop that was blocked until the deadline kills at once."""
        tree = self.ladder(Ladder.PYTHON)
        tree.stop()
        assert tree.fires("app", Timer.RUNG, 7.0) == ["kill app"]
        assert tree.waits == [("app", "reap", 8.0)]

    def test_early_timer_counts_as_the_time_it_stands_for(self) -> None:
        """A clock that rounds must not lose a rung."""
        tree = self.ladder(Ladder.PYTHON)
        tree.stop()
        assert tree.fires("app", Timer.RUNG, 0.4999) == ["term app"]

    def test_stale_rung_is_dropped(self) -> None:
        """Only the timer that was set last counts."""
        tree = self.ladder(Ladder.PYTHON)
        tree.stop()
        assert tree.tell(TimerFired(tree.ids["app"], 1, Timer.RUNG, 1)) == []

    def test_timer_that_is_told_twice_counts_once(self) -> None:
        """Also the last one, after which nothing is due any more."""
        tree = self.ladder(Ladder.TASK)
        tree.stop()
        assert tree.fires("app", Timer.RUNG, 5.0) == ["abandon app"]
        assert tree.fires("app", Timer.RUNG, 5.0) == []

    def test_timer_that_is_late_when_a_wish_has_taken_its_rung_is_void(self) -> None:
        """The wish came after the deadline, and before the timer did."""
        tree = self.ladder(Ladder.TASK)
        tree.stop()
        tree.now = 6.0
        assert tree.stop() == ["abandon app"]
        assert tree.fires("app", Timer.RUNG) == []

    def test_rung_of_what_was_never_asked_is_dropped(self) -> None:
        """No descent, no rung."""
        assert self.ladder(Ladder.PYTHON).fires("app", Timer.RUNG) == []

    def test_answer_that_nobody_waits_for_is_dropped(self) -> None:
        """Acknowledged without a question."""
        assert self.ladder(Ladder.PYTHON).heard("app") == []

    @pytest.mark.parametrize("ladder", list(Ladder))
    def test_kill_jumps_to_kill(self, ladder: Ladder) -> None:
        """Also in the middle of a ladder."""
        tree = self.ladder(ladder)
        tree.stop()
        assert tree.kill() == ["kill app"]
        assert tree.kill() == []
        assert tree.fires("app", Timer.REAP, 1.0) == ["abandon app"]
        assert tree.kill() == []

    def test_own_grace_of_zero_kills_at_once(self) -> None:
        """Grace 0 has no time to ask."""
        assert self.ladder(Ladder.PYTHON, 0.0).stop() == ["kill app"]

    def test_stop_before_it_exists_is_acted_on_when_it_does(self) -> None:
        """The wish is remembered; its time has counted since."""
        tree = Tree(leaf("app"))
        tree.run()
        assert tree.stop() == []
        assert tree.state("app") is State.STOPPING
        tree.now = 1.0
        assert tree.spawn("app") == ["ask app", "term app"]
        assert tree.waits == [("app", "rung", 5.0)]
        assert tree.ready("app") == []

    def test_kill_before_it_exists_kills_it_when_it_does(self) -> None:
        """The reap counts from the real kill."""
        tree = Tree(leaf("app"))
        tree.run()
        tree.stop()
        tree.kill()
        tree.now = 2.0
        assert tree.spawn("app") == ["kill app"]
        assert tree.waits == [("app", "reap", 3.0)]

    @pytest.mark.parametrize("ladder", Ladder)
    def test_what_does_not_come_to_exist_is_given_up_in_the_end(self, ladder: Ladder) -> None:
        """R22: what makes it may be stuck, and a stop has its bound all the same."""
        tree = Tree(leaf("app", ladder=ladder))
        tree.run()
        assert tree.stop() == []
        assert tree.waits == [("app", "rung", 9.0)]
        assert tree.stop(grace=2.0) == []
        assert tree.waits == [("app", "rung", 6.0)]
        assert tree.machine.stop_bound(tree.ids["app"]) == 5.0 + 4.0 + 1.0 + 0.5
        assert tree.fires("app", Timer.RUNG, 6.0) == ["abandon app"]
        assert tree.exited("app", Reason.LOST, killed=True) == ["finish app stopped"]
        assert tree.spawn("app") == []

    def test_what_does_not_come_to_exist_may_take_for_ever_without_a_grace(self) -> None:
        """Nobody was promised an end."""
        tree = Tree(leaf("app"))
        tree.run()
        assert tree.stop(grace=None) == []
        assert tree.waits == []

    def test_stop_while_starting_uses_the_ladder(self) -> None:
        """A child that exists but is not ready is asked as any other."""
        tree = Tree(leaf("app"))
        tree.run()
        tree.spawn("app")
        assert tree.stop() == ["ask app"]
        assert tree.exited("app") == ["finish app stopped"]


class TestExit:
    def stopped(self, **options: object) -> Tree:
        tree = Tree(leaf("app", **options))
        tree.run()
        tree.up("app")
        tree.stop(by="manager.stop()")
        return tree

    def test_what_was_asked_is_stopped_even_if_it_was_lost(self) -> None:
        """LOST stays LOST only when nothing was asked."""
        tree = self.stopped()
        tree.exited("app", Reason.LOST)
        assert (tree.exit("app").reason, tree.exit("app").asked_by) == (Reason.STOPPED, "manager.stop()")

    def test_what_nobody_asked_stays_what_it_is(self) -> None:
        """The machine does not class what it has no part in."""
        tree = Tree(leaf("app"))
        tree.run()
        tree.exited("app", Reason.OUT_OF_MEMORY, killed=True)
        assert tree.exit("app").reason is Reason.OUT_OF_MEMORY
        assert tree.exit("app").killed

    def test_error_of_what_was_asked_is_kept_and_is_no_failure(self) -> None:
        """Whoever asked wanted the end; the error says that it was cut off."""
        tree = self.stopped()
        tree.fails("app")
        assert tree.exit("app").reason is Reason.STOPPED
        assert isinstance(tree.exit("app").error, ValueError)

    def test_next_run_knows_nothing_of_the_stop(self) -> None:
        """Neither its cause nor its ladder, nor that the child before it existed."""
        tree = self.stopped()
        tree.exited("app")
        tree.run()
        assert tree.stop() == []
        assert tree.spawn("app") == ["ask app"]
        tree.exited("app")
        tree.run()
        tree.exited("app")
        assert tree.exit("app").reason is Reason.FINISHED

    def test_first_asker_stays(self) -> None:
        """Later wishes only hurry."""
        tree = self.stopped()
        tree.kill(by="somebody else")
        tree.exited("app", Reason.CRASHED, signal=SIGKILL)
        assert tree.exit("app").asked_by == "manager.stop()"
        assert tree.exit("app").killed

    def test_sigkill_by_somebody_else_is_not_ours(self) -> None:
        """Killed means that our rung was taken."""
        tree = self.stopped()
        tree.exited("app", Reason.CRASHED, signal=SIGKILL)
        assert not tree.exit("app").killed

    def test_kill_that_came_too_late_did_not_kill(self) -> None:
        """The rung was taken, but it ended by itself."""
        tree = self.stopped()
        tree.kill()
        tree.exited("app")
        assert not tree.exit("app").killed
        assert tree.exit("app").ok

    def test_own_facts_are_kept(self) -> None:
        """Duration and pid of the report win."""
        tree = self.stopped()
        tree.now = 9.0
        tree.exited("app", duration=1.5, pid=8)
        assert (tree.exit("app").duration, tree.exit("app").pid) == (1.5, 8)

    @pytest.mark.parametrize(
        ("ladder", "reason"), [(Ladder.PYTHON, Reason.CRASHED), (Ladder.TASK, Reason.CRASHED), (Ladder.COMMAND, Reason.STOPPED)]
    )
    def test_sibling_with_an_error_of_its_own_is_a_cause_too(self, ladder: Ladder, reason: Reason) -> None:
        """As in a task group; but what a command makes of its stop signal is no failure."""
        tree = Tree(concurrent("app", leaf("a"), leaf("b", ladder=ladder)))
        tree.run()
        tree.up("a", "b")
        tree.fails("a")
        tree.fails("b")
        assert tree.exit("b").reason is reason

    def test_sibling_that_could_not_be_started_is_a_cause_too(self) -> None:
        """R28: a command as well; it never heard a signal."""
        tree = Tree(concurrent("app", leaf("a", ladder=Ladder.COMMAND), leaf("b", ladder=Ladder.COMMAND)))
        tree.run()
        tree.exited("a", Reason.CRASHED, error=OSError(2, "not found"))
        tree.exited("b", Reason.CRASHED, error=OSError(2, "not found"))
        assert (tree.exit("a").reason, tree.exit("b").reason) == (Reason.CRASHED, Reason.CRASHED)

    def test_sibling_that_is_cut_off_is_stopped(self) -> None:
        """What cuts a child off is no Exception."""
        tree = Tree(concurrent("app", leaf("a"), leaf("b")))
        tree.run()
        tree.up("a", "b")
        tree.fails("a")
        tree.exited("b", Reason.CRASHED, error=KeyboardInterrupt())
        assert (tree.exit("b").reason, tree.exit("b").asked_by) == (Reason.STOPPED, "failure of app/a")


class TestSequential:
    def test_members_run_one_after_the_other(self) -> None:
        """The next starts when the one before and all below it have ended."""
        tree = Tree(sequential("app", leaf("a"), concurrent("b", leaf("c"), leaf("d")), leaf("e")))
        assert tree.run() == ["start a"]
        assert [tree.state(name) for name in "bcde"] == [State.WAITING] * 4
        assert tree.up("a") == ["ready a", "ready app"]
        assert tree.exited("a") == ["finish a finished", "start c", "start d"]
        tree.up("c", "d")
        assert tree.exited("d") == ["finish d finished"]
        assert tree.exited("c") == ["finish c finished", "finish b finished", "start e"]
        assert tree.exited("e") == ["ready e", "finish e finished", "finish app finished"]

    def test_failure_skips_the_rest(self) -> None:
        """What comes after the failure never starts, and says because of whom."""
        tree = Tree(sequential("app", leaf("a"), concurrent("b", leaf("c"))))
        tree.run()
        tree.up("a")
        assert tree.fails("a") == ["finish a crashed", "finish c skipped", "finish b skipped", "finish app crashed"]
        assert tree.exit("c") == Exit("app/b/c", 0, Reason.SKIPPED, asked_by="app/a")
        assert tree.exit("app").failed

    def test_failure_starts_nobody_in_passing(self) -> None:
        """Who is skipped first must not make room for who is skipped next."""
        tree = Tree(sequential("app", leaf("a"), leaf("b"), leaf("c")))
        tree.run()
        assert tree.fails("a") == ["finish a crashed", "finish c skipped", "finish b skipped", "finish app crashed"]

    def test_failure_is_put_up_with(self) -> None:
        """A sequence that continues goes on, and has not failed."""
        tree = Tree(sequential("app", leaf("a"), leaf("b"), continues=True))
        tree.run()
        assert tree.fails("a") == ["ready app", "finish a crashed", "start b"]
        assert tree.exited("b")[-1] == "finish app finished"

    def test_member_that_was_stopped_is_no_failure(self) -> None:
        """The next goes on."""
        tree = Tree(sequential("app", leaf("a"), leaf("b")))
        tree.run()
        tree.up("a")
        tree.stop("a")
        assert tree.cut("a") == ["finish a stopped", "start b"]

    def test_member_that_was_stopped_before_its_turn_is_left_out(self) -> None:
        """What was stopped while waiting never starts."""
        tree = Tree(sequential("app", leaf("a"), leaf("b"), leaf("c")))
        tree.run()
        assert tree.stop("b") == ["finish b stopped"]
        tree.up("a")
        assert tree.exited("a") == ["finish a finished", "start c"]

    def test_thousands_of_empty_members_do_not_recurse(self) -> None:
        """Members that end at once are taken in a loop."""
        members = [concurrent(f"g{number}") for number in range(3000)]
        tree = Tree(sequential("app", leaf("a"), *members))
        tree.run()
        assert tree.exited("a")[-1] == "finish app finished"

    def test_what_was_added_to_a_sequence_does_not_wait_for_it(self) -> None:
        """A sequence orders its plan alone."""
        tree = Tree(sequential("app", leaf("a")))
        tree.run()
        tree.add(leaf("extra"))
        assert tree.run("extra") == ["start extra"]


class TestConcurrent:
    def test_members_start_in_order_and_are_ready_together(self) -> None:
        """The group is ready when all are."""
        tree = Tree(concurrent("app", leaf("a"), leaf("b")))
        assert tree.run() == ["start a", "start b"]
        assert tree.up("b") == ["ready b"]
        assert tree.exited("a") == ["ready a", "ready app", "finish a finished"]
        assert tree.exited("b") == ["finish b finished", "finish app finished"]
        assert tree.exit("app") == Exit("app", 1, Reason.FINISHED)

    def test_limit_holds_back_the_rest(self) -> None:
        """The group is ready without those that wait."""
        tree = Tree(concurrent("app", leaf("a"), leaf("b"), leaf("c"), limit=2))
        assert tree.run() == ["start a", "start b"]
        assert tree.state("c") is State.WAITING
        assert tree.up("a", "b") == ["ready a", "ready b", "ready app"]
        assert tree.exited("b") == ["finish b finished", "start c"]

    def test_failure_stops_the_siblings_and_skips_the_waiting(self) -> None:
        """In reverse order of start; nothing starts afterwards."""
        tree = Tree(concurrent("app", leaf("a"), leaf("b"), leaf("c"), leaf("d"), limit=3))
        tree.run()
        tree.up("a", "b", "c")
        assert tree.fails("b") == ["finish b crashed", "finish d skipped", "ask c", "ask a"]
        assert tree.state("app") is State.STOPPING
        assert tree.cut("a") == ["finish a stopped"]
        assert tree.exit("a").asked_by == "failure of app/b"
        assert tree.exited("c") == ["finish c stopped", "finish app crashed"]

    def test_failure_is_put_up_with(self) -> None:
        """A group that continues is ready without the member that failed."""
        tree = Tree(concurrent("app", leaf("a"), leaf("b"), continues=True))
        tree.run()
        tree.up("b")
        assert tree.fails("a") == ["ready app", "finish a crashed"]
        assert tree.exited("b") == ["finish b finished", "finish app finished"]

    def test_group_whose_member_fails_first_is_never_ready(self) -> None:
        """Its start has failed."""
        tree = Tree(concurrent("app", leaf("a"), leaf("b")))
        tree.run()
        tree.fails("a")
        assert tree.moves == ["a starting ended", "app starting stopping", "b starting stopping"]
        assert tree.spawn("b") == ["ask b"]
        assert tree.cut("b") == ["finish b stopped", "finish app crashed"]

    def test_failure_leaves_what_has_ended_below_a_sibling_as_it_is(self) -> None:
        """It has ended well in this round, and may come back in the next."""
        tree = Tree(concurrent("o", concurrent("app", leaf("a"), concurrent("g", leaf("b"), leaf("c"))), continues=True))
        tree.run("o", rounds=2)
        assert tree.exited("b") == ["ready b"]
        assert tree.fails("a") == []
        assert tree.exit("b").reason is Reason.FINISHED
        assert tree.exited("c") == ["ready o", "start a", "start b", "start c"]

    def test_group_whose_turn_comes_begins_its_members(self) -> None:
        """Those that its own limit holds back go on waiting."""
        tree = Tree(sequential("app", leaf("a"), sequential("g", leaf("b"), leaf("c"))))
        tree.run()
        assert tree.exited("a") == ["ready a", "ready app", "finish a finished", "start b"]
        assert tree.moves[-2:] == ["g waiting starting", "b waiting starting"]

    def test_failure_of_an_inner_group_reaches_the_outer_when_it_has_ended(self) -> None:
        """A group's failure is an ordinary failure to its own group."""
        tree = Tree(concurrent("app", concurrent("g", leaf("a"), leaf("b")), leaf("c")))
        tree.run()
        tree.up("a", "b", "c")
        assert tree.fails("a") == ["finish a crashed", "ask b"]
        assert tree.cut("b") == ["finish b stopped", "finish g crashed", "ask c"]
        assert tree.cut("c") == ["finish c stopped", "finish app crashed"]
        assert tree.exit("c").asked_by == "failure of app/g"

    def test_failure_after_a_failure_changes_nothing_more(self) -> None:
        """It is in its record, as a cause too."""
        tree = Tree(concurrent("app", leaf("a"), leaf("b", timeout=1.0), leaf("c")))
        tree.run()
        tree.up("a", "b", "c")
        tree.fires("b", Timer.TIMEOUT, 1.0)
        tree.fails("a")
        assert tree.cut("b") == ["finish b timed_out"]
        assert tree.exit("b").failed

    @pytest.mark.parametrize("kind", [Kind.SEQUENTIAL, Kind.CONCURRENT])
    def test_empty_group_is_ready_and_finished_at_once(self, kind: Kind) -> None:
        """Also with rounds without end: rounds of nothing end after the first."""
        tree = Tree(Plan("app", kind))
        assert tree.run(rounds=None) == ["ready app", "finish app finished"]

    def test_group_that_runs_too_long_times_out(self) -> None:
        """What runs is stopped, the rest is skipped, the group has failed."""
        tree = Tree(concurrent("app", leaf("a"), leaf("b"), timeout=4.0, limit=1))
        tree.run()
        tree.up("a")
        assert tree.fires("app", Timer.TIMEOUT, 4.0) == ["finish b skipped", "ask a"]
        assert tree.cut("a") == ["finish a stopped", "finish app timed_out"]
        assert tree.exit("a").asked_by == "timeout of app"
        assert tree.exit("b").asked_by == "app"


class TestRounds:
    def test_whole_tree_runs_again_after_the_whole_round(self) -> None:
        """Rounds bind: nobody is a round ahead."""
        tree = Tree(concurrent("app", leaf("a"), sequential("s", leaf("b"), leaf("c"))))
        tree.run(rounds=2)
        tree.exited("a")
        assert tree.exited("b") == ["ready b", "ready s", "ready app", "start c"]
        assert tree.exited("c") == ["ready c", "start a", "start b"]
        assert tree.state("c") is State.WAITING
        assert [tree[name].round for name in ("app", "a", "c")] == [2, 2, 2]

    def test_last_round_finishes_each_leaf_at_its_end(self) -> None:
        """In the last known round a leaf does not wait for its siblings, before it does."""
        tree = Tree(concurrent("app", leaf("a"), leaf("b")))
        tree.run(rounds=2)
        assert tree.exited("a") == ["ready a"]
        tree.exited("b")
        assert tree.exited("a") == ["ready a", "finish a finished"]

    def test_failure_ends_the_rounds(self) -> None:
        """What ended earlier in this round is finished with the run."""
        tree = Tree(concurrent("app", leaf("a"), leaf("b")))
        tree.run(rounds=None)
        tree.exited("a")
        assert tree.fails("b") == ["finish b crashed", "finish a finished", "finish app crashed"]

    def test_failure_deep_inside_ends_the_rounds_at_once(self) -> None:
        """The leaf does not wait for its group to know that no round will follow."""
        tree = Tree(concurrent("app", concurrent("g", leaf("a"), leaf("b"))))
        tree.run(rounds=None)
        assert tree.fails("a") == ["finish a crashed"]
        assert tree.exited("b") == ["finish b stopped", "finish g crashed", "finish app crashed"]

    def test_failure_that_is_put_up_with_does_not_end_the_rounds(self) -> None:
        """Not even for those that failed or were stopped because of it."""
        tree = Tree(concurrent("app", concurrent("g", leaf("a"), leaf("b")), continues=True))
        tree.run(rounds=2)
        assert tree.fails("a") == []
        assert tree.exited("b") == ["ready app", "start a", "start b"]

    def test_stop_ends_the_rounds(self) -> None:
        """After a stop there is no next round."""
        tree = Tree(sequential("app", leaf("a"), leaf("b")))
        tree.run(rounds=None)
        tree.up("a")
        tree.exited("a")
        tree.spawn("b")
        assert tree.stop() == ["ask b", "finish a finished"]
        assert tree.exited("b") == ["finish b stopped", "finish app stopped"]

    def test_member_that_was_stopped_takes_no_part_in_later_rounds(self) -> None:
        """A stop that was asked for is for good; the others go on."""
        tree = Tree(concurrent("app", leaf("a"), leaf("b")))
        tree.run(rounds=3)
        assert tree.stop("a") == []
        assert tree.exited("a") == ["finish a stopped"]
        assert tree.exited("b") == ["ready b", "ready app", "start b"]
        assert tree.state("a") is State.ENDED

    def test_stop_between_rounds_finishes_what_waits_for_the_next(self) -> None:
        """It has ended in this round, and will not come back."""
        tree = Tree(concurrent("app", leaf("a"), leaf("b")))
        tree.run(rounds=2)
        tree.exited("a")
        assert tree.stop("a") == ["finish a finished"]
        assert tree.stop("a") == []
        assert tree.exited("b") == ["ready b", "ready app", "start b"]

    def test_rounds_end_when_all_members_were_stopped(self) -> None:
        """Rounds of nothing would never end."""
        tree = Tree(concurrent("app", leaf("a")))
        tree.run(rounds=None)
        tree.stop("a")
        assert tree.exited("a") == ["ready app", "finish a stopped", "finish app finished"]

    def test_no_rounds_end_at_once_and_well(self) -> None:
        """Nothing is started, all is said."""
        tree = Tree(concurrent("app", leaf("a")))
        assert tree.run(rounds=0) == ["finish a skipped", "finish app finished"]
        assert tree.run(rounds=0) == ["finish a skipped", "finish app finished"]
        assert tree.exit("a").asked_by == "rounds=0"

    def test_rounds_that_do_not_bind_go_on_member_by_member(self) -> None:
        """Each direct member has its own rounds."""
        tree = Tree(concurrent("app", leaf("a"), sequential("s", leaf("b"))))
        tree.run(rounds=2, binding=False)
        assert tree.exited("a") == ["ready a", "start a"]
        assert tree.exited("a") == ["ready a", "finish a finished"]
        assert tree.exited("b") == ["ready b", "ready s", "ready app", "start b"]
        assert tree.exited("b") == ["ready b", "ready s", "finish b finished", "finish s finished", "finish app finished"]

    def test_rounds_that_do_not_bind_take_turns_under_a_limit(self) -> None:
        """Whoever has had a round stands at the end of the line: without end, the others would starve."""
        tree = Tree(concurrent("app", leaf("a"), leaf("b"), limit=1))
        tree.run(rounds=None, binding=False)
        assert tree.exited("a") == ["ready a", "ready app", "start b"]
        assert tree.exited("b") == ["ready b", "start a"]
        assert (tree["a"].round, tree["b"].round) == (2, 2)

    def test_failure_in_rounds_that_do_not_bind_stops_the_siblings(self) -> None:
        """Nobody gets a next round."""
        tree = Tree(concurrent("app", leaf("a"), leaf("b")))
        tree.run(rounds=None, binding=False)
        tree.up("a", "b")
        assert tree.fails("a") == ["finish a crashed", "ask b"]
        assert tree.exited("b") == ["finish b stopped", "finish app crashed"]

    def test_failure_that_is_put_up_with_has_a_next_round(self) -> None:
        """The member runs again, as it does when rounds bind."""
        tree = Tree(concurrent("app", sequential("s", leaf("a")), continues=True))
        tree.run(rounds=2, binding=False)
        assert tree.fails("a") == ["ready app", "start a"]
        assert tree.fails("a") == ["finish a crashed", "finish s crashed", "finish app finished"]

    def test_member_that_timed_out_has_a_next_round_too(self) -> None:
        """A timeout is a failure as any other."""
        tree = Tree(concurrent("app", leaf("a", timeout=1.0), continues=True))
        tree.run(rounds=2, binding=False)
        tree.spawn("a")
        tree.fires("a", Timer.TIMEOUT, 1.0)
        assert tree.cut("a") == ["ready app", "start a"]

    def test_no_rounds_that_do_not_bind(self) -> None:
        """Zero is zero."""
        tree = Tree(concurrent("app", leaf("a")))
        assert tree.run(rounds=0, binding=False) == ["finish a skipped", "finish app finished"]


class TestStop:
    def test_stop_of_what_never_ran(self) -> None:
        """What was asked is stopped, what is below it is skipped."""
        tree = Tree(concurrent("app", leaf("a")))
        assert tree.stop() == ["finish a skipped", "finish app stopped"]
        assert tree.stop() == []
        assert tree.exit("app") == Exit("app", 0, Reason.STOPPED, asked_by="me")
        assert tree.run() == ["start a"]

    def test_stop_of_a_waiting_group(self) -> None:
        """It leaves the line with all below it."""
        tree = Tree(sequential("app", leaf("a"), concurrent("g", leaf("b"), leaf("c"))))
        tree.run()
        assert tree.stop("g") == ["finish c skipped", "finish b skipped", "finish g stopped"]
        assert tree.exited("a") == ["ready a", "ready app", "finish a finished", "finish app finished"]

    def test_stop_of_a_group_stops_what_runs_and_skips_what_waits(self) -> None:
        """Nobody takes the place of those that end."""
        tree = Tree(concurrent("app", leaf("a"), leaf("b"), leaf("c"), limit=2))
        tree.run()
        tree.up("a", "b")
        assert tree.stop() == ["finish c skipped", "ask b", "ask a"]
        assert tree.exited("a") == ["finish a stopped"]
        assert tree.exited("b") == ["finish b stopped", "finish app stopped"]

    def test_stop_with_nothing_but_waiting_members_ends_at_once(self) -> None:
        """A group whose place is taken by a guest."""
        tree = Tree(concurrent("app", concurrent("g", leaf("a"), limit=1)))
        tree.add(leaf("guest"), "g")
        tree.run("guest")
        assert tree.run() == ["ready g", "ready app"]
        assert tree.stop("g") == ["finish a skipped", "finish g stopped", "finish app finished"]
        assert tree.spawn("guest") == ["ask guest"]

    def test_second_stop_of_a_group_hurries_its_leaves(self) -> None:
        """One ladder per leaf."""
        tree = Tree(concurrent("app", leaf("a", ladder=Ladder.COMMAND)))
        tree.run()
        tree.up("a")
        tree.stop("a")
        assert tree.stop(grace=1.0) == []
        assert tree.waits == [("a", "rung", 1.0)]
        assert tree.kill() == ["kill a"]

    def test_stop_of_a_group_that_fails_already_keeps_the_failure(self) -> None:
        """The first cause stays."""
        tree = Tree(concurrent("app", leaf("a"), leaf("b")))
        tree.run()
        tree.fails("a")
        tree.stop()
        assert tree.cut("b")[-1] == "finish app crashed"


class TestAdded:
    def test_container_starts_what_is_added_on_demand(self) -> None:
        """The container itself never runs."""
        tree = Tree(concurrent("app"))
        assert tree.add(sequential("s", leaf("a"), leaf("b"))) == []
        assert tree.run("s") == ["start a"]
        assert tree.machine.path(tree.ids["b"]) == "app/s/b"
        assert tree.state("app") is State.CREATED

    def test_limit_of_a_container_holds_for_what_is_added(self) -> None:
        """In order of the calls."""
        tree = Tree(concurrent("app", limit=1))
        for name in "abc":
            tree.add(leaf(name))
            tree.run(name)
        assert [tree.state(name) for name in "abc"] == [State.STARTING, State.WAITING, State.WAITING]
        assert tree.exited("a") == ["ready a", "finish a finished", "start b"]

    def test_stop_of_a_container_is_in_reverse_order_of_start(self) -> None:
        """Whatever the order in which they were added."""
        tree = Tree(concurrent("app", limit=2))
        for name in "abc":
            tree.add(leaf(name))
        for name in "cab":
            tree.run(name)
        tree.up("a", "c")
        assert tree["app"].children == tuple(tree.ids[name] for name in "cab")
        assert tree.stop() == ["finish b skipped", "ask a", "ask c", "finish app stopped"]
        assert tree.exited("a") == ["finish a stopped"]

    def test_ended_container_still_takes_and_stops_children(self) -> None:
        """A stop reaches what was added, whatever the state above it."""
        tree = Tree(concurrent("app"))
        tree.stop()
        tree.add(leaf("a"))
        tree.run("a")
        tree.spawn("a")
        assert tree.stop() == ["ask a"]

    def test_failure_of_what_was_added_does_not_concern_the_group(self) -> None:
        """And the group's failure does not concern it."""
        tree = Tree(concurrent("app", leaf("a"), leaf("b")))
        tree.add(leaf("guest"))
        tree.add(leaf("other"))
        tree.run()
        tree.run("guest")
        tree.run("other")
        tree.up("a", "b", "guest", "other")
        assert tree.fails("guest") == ["finish guest crashed"]
        assert tree.fails("a") == ["finish a crashed", "ask b"]
        assert tree.exited("b") == ["finish b stopped", "finish app crashed"]
        assert tree.state("other") is State.RUNNING

    def test_below_a_leaf(self) -> None:
        """A manager in a child continues the child's path."""
        tree = Tree(leaf("app"))
        tree.add(leaf("a"))
        tree.run("a")
        tree.run()
        tree.up("app", "a")
        assert tree.stop() == ["ask a", "ask app"]

    def test_member_runs_alone(self) -> None:
        """Its group, which does not run, is not told."""
        tree = Tree(sequential("app", leaf("a"), leaf("b")))
        assert tree.run("b") == ["start b"]
        assert tree.exited("b") == ["ready b", "finish b finished"]
        assert tree.state("app") is State.CREATED

    def test_finished_member_runs_alone_while_its_group_still_runs(self) -> None:
        """It is no longer the group's."""
        tree = Tree(concurrent("app", leaf("a"), leaf("b")))
        tree.run()
        tree.exited("a")
        assert tree.run("a") == ["start a"]
        assert tree.fails("a") == ["finish a crashed"]
        assert tree.state("b") is State.STARTING

    def test_member_that_runs_alone_is_not_begun_by_the_next_round(self) -> None:
        """Nor stopped with its siblings: it has left the run."""
        tree = Tree(concurrent("app", leaf("a"), leaf("b")))
        tree.run(rounds=2)
        tree.stop("a")
        tree.exited("a")
        assert tree.run("a") == ["start a"]
        assert tree.exited("b") == ["ready b", "ready app", "start b"]
        assert tree.fails("b") == ["finish b crashed", "finish app crashed"]
        assert tree.exited("a") == ["ready a", "finish a finished"]


class TestRequests:
    def test_run_of_what_runs_is_refused(self) -> None:
        """The text names node and state, and nothing has changed."""
        tree = Tree(concurrent("app", leaf("a"), leaf("b")))
        tree.run()
        with pytest.raises(StateError, match="node app/a: is starting"):
            tree.run("a")
        with pytest.raises(StateError, match="node app/a: is starting"):
            tree.run()
        assert tree.exited("a") == ["ready a", "finish a finished"]

    def test_run_of_a_group_with_a_member_that_runs_alone_is_refused(self) -> None:
        """One live incarnation per node."""
        tree = Tree(sequential("app", leaf("a"), leaf("b")))
        tree.run("b")
        with pytest.raises(StateError, match="node app/b: is starting"):
            tree.run()

    def test_run_in_a_group_that_is_being_stopped_is_refused(self) -> None:
        """Nothing starts after a stop; and the failure is still needed for the group's end."""
        tree = Tree(concurrent("app", concurrent("g", leaf("a")), leaf("b")))
        tree.run()
        tree.fails("a")
        with pytest.raises(StateError, match="node app/g/a: app, which it is in, is stopping"):
            tree.run("a")

    def test_rounds_that_do_not_bind_need_a_concurrent(self) -> None:
        """Of a sequence they make no sense."""
        with pytest.raises(SpecError, match="node app: binding"):
            Tree(sequential("app", leaf("a"))).run(binding=False)

    def test_negative_rounds_are_refused(self) -> None:
        """Zero is the least."""
        with pytest.raises(SpecError, match="node app: rounds"):
            Tree(leaf("app")).run(rounds=-1)

    def test_second_root_is_refused(self) -> None:
        """One tree, one root."""
        tree = Tree(leaf("app"))
        with pytest.raises(StateError, match=r"node b: .* app"):
            tree.add(leaf("b"), None)

    def test_unknown_node_is_refused(self) -> None:
        """In requests and in readings."""
        machine = TreeMachine()
        with pytest.raises(UnknownNode):
            machine.handle(RunAsked(NodeId(1)), 0.0)
        with pytest.raises(UnknownNode):
            machine.handle(Added(NodeId(1), NodeId(0), leaf("a")), 0.0)
        with pytest.raises(UnknownNode):
            machine.node(NodeId(1))
        assert machine.root is None

    def test_event_of_a_leaf_about_a_group_is_a_bug(self) -> None:
        """A driver that confuses nodes is told so."""
        tree = Tree(concurrent("app", leaf("a")))
        tree.run()
        with pytest.raises(InternalError, match="node app"):
            tree.spawn("app")

    def test_illegal_move_names_the_last_states(self) -> None:
        """What a bug report needs."""
        tree = Tree(leaf("app"))
        life = tree.machine._life
        node = tree.machine._known(tree.ids["app"])
        with pytest.raises(InternalError, match="node app: no way from created to running; its last states: created"):
            life.move(node, State.RUNNING)
        with pytest.raises(InternalError, match="not in a run"):
            life.await_turn(node)


class TestForgotten:
    def test_ended_subtree_is_forgotten(self) -> None:
        """With everything below it, also what was added."""
        tree = Tree(concurrent("app", limit=1))
        tree.add(concurrent("g", leaf("a")))
        tree.add(leaf("b"), "g")
        tree.stop("g")
        assert len(tree.machine) == 4
        assert tree.forget("g") == []
        assert len(tree.machine) == 1
        assert tree.ids["a"] not in tree.machine
        assert tree["app"].children == ()
        assert tree.forget("g") == []

    def test_root_is_forgotten(self) -> None:
        """Another may take its place."""
        tree = Tree(leaf("app"))
        assert tree.machine.root == tree.ids["app"]
        tree.stop()
        tree.forget("app")
        tree.add(leaf("new"), None)
        assert tree.machine.root == tree.ids["new"]

    def test_member_is_forgotten(self) -> None:
        """Also beside what was added; the next run is without it."""
        tree = Tree(concurrent("app", leaf("a"), leaf("b"), leaf("c")))
        tree.run()
        for name in "abc":
            tree.exited(name)
        tree.forget("a")
        tree.add(leaf("guest"))
        tree.forget("b")
        assert tree.run() == ["start c"]

    def test_member_of_a_live_group_is_not_forgotten(self) -> None:
        """The end of a group is made of the ends of its members."""
        tree = Tree(concurrent("app", sequential("g", leaf("a")), leaf("b")))
        tree.run()
        tree.exited("a")
        for name in ("g", "a"):
            with pytest.raises(StateError, match="its group app is starting"):
                tree.forget(name)

    @pytest.mark.parametrize("rounds", [1, 2])
    def test_what_may_come_back_is_not_forgotten(self, rounds: int) -> None:
        """Neither what runs nor what waits for the next round."""
        tree = Tree(concurrent("app", leaf("a"), leaf("b")))
        tree.run(rounds=rounds)
        tree.exited("a")
        with pytest.raises(StateError, match="can be forgotten"):
            tree.forget("app")
        with pytest.raises(StateError, match="node app/a: is ended" if rounds == 2 else "its group app"):
            tree.forget("a")


class TestViews:
    def test_view_has_all_that_it_promises(self) -> None:
        """Of a group as of a leaf: a name that a node has not would be found by whoever asks first."""
        tree = Tree(concurrent("app", leaf("a")))
        names = [name for name in vars(NodeView) if not name.startswith("_")]
        assert "state" in names
        for node in (tree["app"], tree["a"]):
            assert all(hasattr(node, name) for name in names)

    def test_view_follows_the_node(self) -> None:
        """All that a driver and a snapshot need."""
        tree = Tree(concurrent("app", leaf("a")))
        view = tree["a"]
        assert (view.since, view.begun, view.incarnation, view.round, view.exit) == (0.0, 0.0, 0, 0, None)
        tree.now = 2.0
        tree.run()
        tree.now = 3.0
        tree.up("a")
        assert (view.since, view.begun, view.incarnation, view.round, view.pid) == (3.0, 2.0, 1, 1, 42)
        assert view.ready
        assert not view.finished
        assert view.parent == tree["app"].id
        assert tree["app"].parent is None
        assert tree["app"].pid is None
        assert view.plan == leaf("a")
        assert [node.name for node in tree.machine.subtree(tree.ids["app"])] == ["app", "a"]


class TestJoining:
    """A leaf that has run as long as it was to: it ends after its present work, and well; within its grace, that is."""

    def tree(self, **options: object) -> Tree:
        tree = Tree(concurrent("app", leaf("a", join_in=2.0, **options)))
        tree.run()
        assert ("a", "join", 2.0) in tree.waits
        return tree

    def test_it_is_asked_without_an_end_and_ends_well(self) -> None:
        """It stays RUNNING, and its exit is what it is."""
        tree = self.tree()
        tree.spawn("a")
        tree.ready("a")
        assert tree.fires("a", Timer.JOIN, 2.0) == ["finish a"]
        assert tree.waits == [("a", "overdue", 7.0)]
        assert tree.state("a") is State.RUNNING
        assert tree.fires("a", Timer.JOIN, 2.0) == []
        tree.exited("a")
        assert tree.exit("a").reason is Reason.FINISHED

    def test_one_that_is_still_being_made_is_asked_when_it_is_there(self) -> None:
        """Nothing is lost."""
        tree = self.tree()
        assert tree.fires("a", Timer.JOIN, 2.0) == []
        assert tree.spawn("a") == ["finish a"]

    def test_one_that_does_not_end_within_its_grace_is_out_of_time(self) -> None:
        """M17: then it goes down the ladder."""
        tree = self.tree()
        tree.spawn("a")
        tree.fires("a", Timer.JOIN, 2.0)
        assert tree.fires("a", Timer.OVERDUE, 7.0) == ["ask a"]
        tree.exited("a")
        assert tree.exit("a").reason is Reason.TIMED_OUT

    def test_grace_without_an_end_waits_for_ever(self) -> None:
        """No timer follows."""
        tree = self.tree(grace=None)
        tree.spawn("a")
        tree.fires("a", Timer.JOIN, 2.0)
        assert tree.waits == []

    def test_one_that_is_being_stopped_is_not_asked_again(self) -> None:
        """The stop stands."""
        tree = self.tree()
        tree.spawn("a")
        tree.stop("a")
        assert tree.fires("a", Timer.JOIN, 2.0) == []
        assert tree.fires("a", Timer.OVERDUE, 7.0) == []


class TestHeld:
    """A leaf that its parent holds: its start takes the parent's time, until it is released."""

    def test_start_timeout_begins_when_it_is_released(self) -> None:
        """And not before; a release that comes late begins nothing."""
        tree = Tree(concurrent("app", leaf("a", held=True, start_timeout=3.0)))
        tree.run()
        assert tree.waits == []
        tree.spawn("a")
        tree.now = 5.0
        released = Released(tree.ids["a"], 1)
        tree.tell(released)
        assert tree.waits == [("a", "start", 8.0)]
        tree.ready("a")
        tree.tell(released)
        assert tree.waits == []
