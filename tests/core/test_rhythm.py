"""Nodes with a schedule: what a due time means in each state, and what rests where another would have ended."""

from __future__ import annotations

import pytest

from asyncproc._core.backoff import Backoff
from asyncproc._core.exit import Reason
from asyncproc._core.supervision.event import Timer
from asyncproc._core.supervision.plan import AtLimit, Overlap, Restart, Strategy
from asyncproc._core.supervision.state import State
from tests.core.tree import Tree, concurrent, leaf, sequential, supervisor

SKIP, QUEUE, RESTART = Overlap.SKIP, Overlap.QUEUE, Overlap.RESTART


def asleep(tree: Tree, name: str) -> bool:
    return tree[name].asleep and tree.state(name) is State.WAITING


def test_it_runs_at_once_and_then_at_each_due_time() -> None:
    """Each run is an incarnation; in between it is WAITING."""
    tree = Tree(leaf("app", overlap=SKIP))
    assert tree.run() == ["start app"]
    tree.up("app")
    assert tree.exited("app") == []
    assert asleep(tree, "app")
    assert tree.due("app") == ["start app"]
    assert (tree["app"].incarnation, tree.state("app")) == (2, State.STARTING)


def test_it_waits_for_its_first_due_time() -> None:
    """Of one that is not to start at once; its group is ready meanwhile."""
    tree = Tree(concurrent("app", leaf("a", overlap=SKIP, at_once=False)))
    assert tree.run() == ["ready app"]
    assert asleep(tree, "a")
    assert tree.due("a") == ["start a"]
    assert not tree["a"].asleep


def test_a_failure_is_no_end_and_concerns_nobody() -> None:
    """Not its group either, also before it was ever ready."""
    tree = Tree(concurrent("app", leaf("a", overlap=SKIP), leaf("b")))
    tree.run()
    tree.up("b")
    assert tree.fails("a") == ["ready app"]
    assert asleep(tree, "a")
    assert tree.due("a") == ["start a"]
    tree.up("a")
    assert tree.fails("a") == []
    assert tree.state("app") is State.RUNNING


def test_a_due_time_while_it_runs_is_skipped() -> None:
    """And the next one is asked for."""
    tree = Tree(leaf("app", overlap=SKIP))
    tree.run()
    tree.up("app")
    first = tree.tickets["app"]
    assert tree.due("app") == []
    assert tree.tickets["app"] == first + 1
    tree.exited("app")
    assert asleep(tree, "app")


def test_due_times_while_it_runs_are_made_up_for_once() -> None:
    """With QUEUE, as soon as it has ended."""
    tree = Tree(leaf("app", overlap=QUEUE))
    tree.run()
    tree.up("app")
    assert tree.due("app") + tree.due("app") == []
    assert tree.exited("app") == ["start app"]
    tree.up("app")
    assert tree.exited("app") == []
    assert asleep(tree, "app")


def test_what_is_queued_keeps_its_place_and_its_turn() -> None:
    """In a group that lets one live at a time it does not stand in line again."""
    tree = Tree(concurrent("app", leaf("a", overlap=QUEUE), leaf("b"), limit=1))
    tree.run()
    tree.up("a")
    tree.due("a")
    assert tree.exited("a") == ["start a"]
    tree.up("a")
    assert tree.exited("a") == ["start b"]


def test_a_due_time_ends_the_run_and_begins_another() -> None:
    """With RESTART; not one that is being ended or stands still."""
    tree = Tree(leaf("app", overlap=RESTART))
    tree.run()
    tree.up("app")
    assert tree.due("app") == ["ask app"]
    assert tree.due("app") == []
    assert tree.exited("app", Reason.FINISHED) == ["start app"]
    assert tree.exit("app").asked_by == "its schedule"


def test_a_due_time_does_not_undo_a_stop() -> None:
    """Nor hurry it; afterwards no due time is heard any more."""
    tree = Tree(leaf("app", overlap=RESTART))
    tree.run()
    tree.up("app")
    assert tree.stop() == ["ask app"]
    assert tree.due("app") == []
    assert tree.exited("app") == ["finish app stopped"]
    assert tree.due("app") == []


def test_a_due_time_leaves_alone_what_ends_in_its_turn() -> None:
    """The supervisor ends; the one that runs on until the others have ended is not restarted meanwhile."""
    tree = Tree(supervisor("app", leaf("a", overlap=RESTART), leaf("b")))
    tree.run()
    tree.up("a", "b")
    assert tree.stop() == ["ask b"]
    assert tree.due("a") == []
    assert tree.exited("b") == ["finish b stopped", "ask a"]


@pytest.mark.parametrize(("overlap", "said"), [(SKIP, []), (QUEUE, []), (RESTART, ["start app"])])
def test_a_due_time_during_a_rest_after_a_failure(overlap: Overlap, said: list[str]) -> None:
    """The run goes on, and so does its repetition; RESTART does not wait for it."""
    tree = Tree(leaf("app", overlap=overlap, restart=Restart.TRANSIENT, backoff=Backoff(1.0, 4.0)))
    tree.run()
    tree.up("app")
    tree.now = 1.0
    tree.fails("app")
    assert tree.state("app") is State.BACKOFF
    assert tree.due("app") == said


def test_failures_of_a_run_follow_its_restart_policy() -> None:
    """When it is used up, the next due time is the next chance, with a history of its own."""
    tree = Tree(supervisor("app", leaf("a", overlap=SKIP, restart=Restart.TRANSIENT), intensity=1, at_limit=AtLimit.ESCALATE))
    tree.run()
    for _ in range(2):
        tree.up("a")
        tree.now += 100.0
        assert tree.fails("a") == ["start a"]
        tree.up("a")
        tree.now += 1.0
        assert tree.fails("a") == []
        assert asleep(tree, "a")
        assert tree["a"].spent == ()
        assert tree.state("app") is State.RUNNING
        tree.now += 100.0
        assert tree.due("a") == ["start a"]


def test_a_run_that_ends_well_is_not_repeated() -> None:
    """ "transient" is about failures."""
    tree = Tree(leaf("app", overlap=SKIP, restart=Restart.TRANSIENT))
    tree.run()
    tree.up("app")
    tree.now = 1.0
    assert tree.exited("app") == []
    assert asleep(tree, "app")


@pytest.mark.parametrize("again", [True, False])
def test_the_owner_judges_within_the_run(again: bool) -> None:
    """What is not repeated rests."""
    tree = Tree(leaf("app", overlap=SKIP, restart=Restart.JUDGED))
    tree.run()
    tree.up("app")
    tree.now = 1.0
    assert tree.fails("app") == ["judge app"]
    assert tree.judge("app", again) == (["start app"] if again else [])
    assert asleep(tree, "app") != again


def test_who_rests_lets_others_in() -> None:
    """It holds no slot of its group; when it is due it stands in line."""
    tree = Tree(concurrent("app", leaf("a", overlap=SKIP), leaf("b"), limit=1))
    assert tree.run() == ["start a"]
    tree.up("a")
    assert tree.exited("a") == ["start b"]
    assert tree["app"].busy == 1
    tree.up("b")
    assert tree.due("a") == []
    assert tree.state("a") is State.WAITING
    assert not tree["a"].asleep
    assert tree.due("a") == []
    assert tree.exited("b") == ["finish b finished", "start a"]


def test_who_rests_holds_no_resources() -> None:
    """Neither does a group; when it is due it waits for them again."""
    gpu = (("gpu", 1),)
    group = concurrent("g", leaf("a"), overlap=SKIP, resources=gpu)
    tree = Tree(concurrent("app", group, leaf("b", resources=gpu)), {"gpu": 1})
    tree.run()
    tree.up("a")
    assert "start b gpu[0]" in tree.exited("a")
    tree.up("b")
    assert tree.due("g") == []
    assert tree.state("g") is State.WAITING
    assert tree.exited("b") == ["finish b finished", "start a gpu[0]"]


def test_members_after_it_do_not_wait_for_its_time() -> None:
    """A supervisor is ready while a member waits for its first due time, and those that need it start."""
    tree = Tree(supervisor("app", leaf("a", overlap=SKIP, at_once=False), leaf("b"), leaf("c", needs=("a",))))
    assert tree.run() == ["start b", "start c"]
    assert tree.up("b", "c") == ["ready b", "ready c", "ready app"]


def test_it_stands_in_line_in_a_supervisor_that_restarts() -> None:
    """Due while others are being ended to start again, it starts with them."""
    a, b = leaf("a", restart=Restart.PERMANENT), leaf("b", restart=Restart.PERMANENT)
    tree = Tree(supervisor("app", a, b, leaf("c", overlap=SKIP), strategy=Strategy.ONE_FOR_ALL))
    tree.run()
    tree.up("a", "b", "c")
    tree.exited("c")
    tree.now = 1.0
    assert tree.fails("a") == ["ask b"]
    assert tree.due("c") == []
    assert tree.exited("b") == ["start a"]
    tree.up("a", "b")
    assert tree.state("c") is State.STARTING


@pytest.mark.parametrize("overlap", [SKIP, QUEUE])
def test_a_run_that_others_take_along_rests_or_is_made_up_for(overlap: Overlap) -> None:
    """A scheduled member is no reason to wait, and not restarted with the others, unless a due time has come meanwhile."""
    a = leaf("a", restart=Restart.PERMANENT)
    tree = Tree(supervisor("app", a, leaf("b", overlap=overlap), strategy=Strategy.ONE_FOR_ALL))
    tree.run()
    tree.up("a", "b")
    tree.now = 1.0
    assert tree.fails("a") == ["ask b"]
    tree.due("b")
    assert tree.exited("b") == ["start a"]
    tree.up("a")
    assert tree.state("b") is (State.STARTING if overlap is QUEUE else State.WAITING)
    assert tree["b"].asleep == (overlap is SKIP)


def test_a_group_runs_at_its_due_times_with_all_its_members() -> None:
    """They end with it each time, and begin with it."""
    tree = Tree(sequential("app", leaf("a"), leaf("b"), overlap=SKIP, at_once=False))
    assert tree.run() == []
    for _ in range(2):
        assert tree.due("app") == ["start a"]
        tree.up("a")
        assert tree.exited("a")[-1] == "start b"
        tree.up("b")
        tree.exited("b")
        assert asleep(tree, "app")
    assert tree.stop()[-1] == "finish app stopped"
    assert tree.exit("a").reason is Reason.FINISHED


def test_a_failing_group_rests_too() -> None:
    """What was skipped in it begins anew the next time."""
    tree = Tree(sequential("app", leaf("a"), leaf("b"), overlap=SKIP))
    tree.run()
    tree.up("a")
    tree.fails("a")
    assert asleep(tree, "app")
    assert tree.due("app") == ["start a"]


def test_a_stop_ends_a_rest_for_good() -> None:
    """The exit is the last run's, as stopped; of one that never ran there is none but that."""
    tree = Tree(concurrent("app", leaf("a", overlap=SKIP), leaf("b", overlap=SKIP, at_once=False)))
    tree.run()
    tree.up("a")
    tree.exited("a")
    assert tree.stop() == ["finish b skipped", "finish a stopped", "finish app stopped"]
    assert (tree.exit("a").incarnation, tree.exit("b").incarnation) == (1, 0)


def test_a_group_that_ends_before_its_turn_to_be_stopped_does_not_rest() -> None:
    """It runs by itself below a supervisor that does not, and all is stopped: what has not begun in it never will."""
    gpu = (("gpu", 1),)
    group = sequential("g", leaf("a", resources=gpu), overlap=SKIP)
    tree = Tree(supervisor("app", group, leaf("b", resources=gpu)), {"gpu": 1})
    tree.run("b")
    tree.up("b")
    tree.run("g")
    assert (tree.state("g"), tree.state("a")) == (State.RUNNING, State.WAITING)
    tree.stop()
    assert (tree.state("g"), tree.state("a"), tree.state("b")) == (State.ENDED, State.ENDED, State.STOPPING)


def test_a_restart_by_hand_runs_it_now() -> None:
    """From its rest, from before its first time, and after a stop; its due times stay."""
    tree = Tree(concurrent("app", leaf("a", overlap=SKIP, at_once=False), leaf("b")))
    tree.run()
    ticket = tree.tickets["a"]
    assert tree.restart("a") == ["start a"]
    assert tree.tickets["a"] == ticket
    tree.up("a")
    tree.exited("a")
    assert asleep(tree, "a")
    tree.stop("a")
    assert tree.restart("a") == ["start a"]


def test_a_new_run_begins_anew() -> None:
    """Due times of the run before are not heard."""
    tree = Tree(leaf("app", overlap=SKIP))
    tree.run()
    stale = tree.tickets["app"]
    tree.kill()
    tree.spawn("app")
    tree.cut("app")
    assert tree.run() == ["start app"]
    tree.tickets["app"], fresh = stale, tree.tickets["app"]
    assert fresh != stale
    assert tree.due("app") == []
    assert tree.tickets["app"] == stale


def test_one_that_is_paused_is_left_alone() -> None:
    """Whoever has paused it has other plans."""
    from asyncproc._core.supervision.event import PauseAsked

    tree = Tree(leaf("app", overlap=RESTART))
    tree.run()
    tree.up("app")
    tree.tell(PauseAsked(tree.ids["app"]))
    assert tree.due("app") == []
    assert tree.state("app") is State.PAUSED


def test_an_early_end_of_its_start_is_a_rest() -> None:
    """A start that takes too long is ended, and is a failure like any other."""
    tree = Tree(leaf("app", overlap=SKIP, start_timeout=2.0))
    tree.run()
    tree.spawn("app")
    assert tree.fires("app", Timer.START, 2.0) == ["ask app"]
    assert tree.cut("app") == []
    assert asleep(tree, "app")
