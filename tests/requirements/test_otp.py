"""What OTP's supervisors promise, row by row, through the public face; where ours differs on purpose, the docstring says so.

Below that: our answer to each question on which systems disagree; docs/supervision.md names the test of each.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from asyncproc import (
    Backoff,
    Command,
    Concurrent,
    Coroutine,
    Group,
    LogLine,
    Manager,
    NameTaken,
    Process,
    Reason,
    RestartLimitReached,
    SpecError,
    StartFailed,
    State,
    StateError,
    Supervisor,
    UnknownNode,
    current,
)
from asyncproc._core.supervision.action import Rung
from asyncproc.testing import hostile
from tests.requirements.scripted import Stage, settled

AT_ONCE = Backoff(0.0)
DOCS = Path(__file__).parents[2] / "docs" / "supervision.md"


@pytest.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    stage = Stage(monkeypatch)
    yield stage
    await stage.cleared()


def member(name: str, **options: Any) -> Process:
    return Process(print, name=name, **{"backoff": AT_ONCE, **options})


def top(manager: Manager[Any]) -> Group:
    group = manager.find("app")
    assert isinstance(group, Group)
    return group


async def forever() -> None:
    await asyncio.Event().wait()


# --- Start -----------------------------------------------------------------------------------------------------------------


async def test_start_is_in_order_each_when_the_one_before_is_up(stage: Stage) -> None:
    """Children start one after the other in list order; the next begins only when the previous is ready."""
    stage.silent |= {"a", "b"}
    opening = asyncio.create_task(stage.opened(member("a"), member("b"), member("c")))
    await settled()
    assert stage.told() == ["start a"]
    stage.named("a").ready()
    assert stage.told() == ["start b"]
    assert not opening.done()
    stage.named("b").ready()
    assert stage.told() == ["start c"]
    await (await opening).aclose()


async def test_start_of_the_supervisor_returns_when_all_are_up(stage: Stage) -> None:
    """Its own start, and the opening of a manager whose tree it is, return only after all children are ready."""
    stage.silent.add("b")
    async with Manager() as manager:
        starting = asyncio.create_task(manager.start(Supervisor(member("a"), member("b"), name="s")))
        await settled()
        assert not starting.done()
        assert manager.find("app/s").state is State.STARTING
        stage.named("b").ready()
        assert (await starting).state is State.RUNNING


async def test_start_that_fails_stops_those_that_were_started_in_reverse(stage: Stage) -> None:
    """A child that fails while the supervisor starts ends it; the caller is told which one it was, and why."""
    stage.fails["c"] = 1
    with pytest.raises(StartFailed, match="app could not start: app/c crashed") as caught:
        await stage.opened(member("a"), member("b"), member("c"), member("d"))
    assert stage.told() == ["start a", "start b", "start c", "ask b", "ask a"]
    assert repr(caught.value.__cause__) == "RuntimeError('c does not come up')"


async def test_child_that_ends_well_at_once_is_no_failure(stage: Stage) -> None:
    """OTP's ``ignore``: the others start, and the node stays known, ended. Ours: a temporary one stays known as well."""
    stage.silent |= {"a", "b"}
    opening = asyncio.create_task(stage.opened(member("a", restart="transient"), member("b", restart="temporary"), member("c")))
    await settled()
    assert stage.end("a") == ["start b"]
    assert stage.end("b") == ["start c"]
    manager = await opening
    assert {node.name: node.state for node in top(manager).children} == {
        "a": State.ENDED, "b": State.ENDED, "c": State.RUNNING,
    }  # fmt: skip


def test_specs_are_checked_before_anything_starts() -> None:
    """Names that are given twice, values out of range, combinations without sense, unknown and circular needs: all at once."""
    with pytest.raises(SpecError) as caught:
        Supervisor(
            member("a"), member("a"), member("b", needs=["nobody"]), member("c", needs=["d"]), member("d", needs=["c"]),
            intensity=-1, period=0.0, strategy="one_for_two", at_limit="explode", auto_shutdown="some",
        )  # type: ignore[call-overload]  # that is the test  # fmt: skip
    assert sorted({field for _, field, _, _ in caught.value.faults}) == [
        "at_limit", "auto_shutdown", "intensity", "name", "needs", "period", "strategy",
    ]  # fmt: skip


# --- Restart ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ends", [Reason.FINISHED, Reason.CRASHED, Reason.LOST])
@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
async def test_restart_kind_and_end_decide(stage: Stage, restart: Any, ends: Reason) -> None:
    """permanent: always; transient: only after a failure; temporary: never. Ours: the record of a temporary one stays."""
    manager = await stage.opened(member("a", restart=restart), member("b"))
    stage.told()
    again = restart == "permanent" or (restart == "transient" and ends is not Reason.FINISHED)
    assert stage.end("a", ends) == (["start a"] if again else [])
    assert manager.find("app/a").incarnation == 1 + again


async def test_restart_never_follows_a_stop_that_was_asked_for(stage: Stage) -> None:
    """OTP's ``shutdown``: a stop by hand is no failure, whatever the kind."""
    manager = await stage.opened(member("a"), member("b"))
    assert (await manager.find("app/a").stop()).reason is Reason.STOPPED
    assert stage.log == ["start a", "start b", "ask a"]


def test_restart_defaults() -> None:
    """permanent, one_for_one, 5 seconds to end, no automatic shutdown. Ours: intensity 3 in 30 s (OTP 1 in 5), with backoff."""
    from asyncproc._core.supervision.plan import Restart, Strategy
    from asyncproc._supervision.planning import plan_of

    plan = plan_of(Supervisor(print), "app", 5.0)
    child = plan.members[0]
    assert (child.restart, child.grace, child.essential) == (Restart.PERMANENT, 5.0, False)
    assert (plan.strategy, plan.intensity, plan.period) == (Strategy.ONE_FOR_ONE, 3, 30.0)
    assert child.backoff == Backoff(0.1, 30.0, 2.0, "full", 60.0)
    assert plan_of(Process(print), "x", 5.0).restart is Restart.TEMPORARY, "outside of a supervisor"


@pytest.mark.parametrize(
    ("strategy", "order"),
    [
        ("one_for_one", ["start b"]),
        ("one_for_all", ["ask d", "ask c", "ask a", "start a", "start b", "start c", "start d"]),
        ("rest_for_one", ["ask d", "ask c", "start b", "start c", "start d"]),
    ],
)
async def test_restart_order_of_each_strategy(stage: Stage, strategy: Any, order: list[str]) -> None:
    """Those that are affected end in reverse order, and start again in order of start."""
    await stage.opened(*map(member, "abcd"), strategy=strategy)
    stage.told()
    assert stage.crash("b") == order


async def test_restart_with_needs_is_of_all_that_depend_on_it(stage: Stage) -> None:
    """Ours: with ``needs`` rest_for_one means those that need it, directly or not, wherever they stand in the list."""
    members = [member("web", needs=["db"]), member("db"), member("page", needs=["web"]), member("other")]
    manager = await stage.opened(*members, strategy="rest_for_one")
    assert sorted(stage.told()[:2]) == ["start db", "start other"]
    assert stage.crash("db") == ["ask page", "ask web", "start db", "start web", "start page"]
    assert manager.find("app/other").incarnation == 1


async def test_restart_of_a_group_counts_once_and_by_hand_not_at_all(stage: Stage) -> None:
    """However many come back with one; and no restart that somebody asked for counts."""
    manager = await stage.opened(*map(member, "abc"), strategy="one_for_all", intensity=1)
    stage.crash("a")
    for _ in range(5):
        await manager.find("app/b").restart()
    assert top(manager).state is State.RUNNING
    stage.crash("c")
    assert top(manager).state is State.ENDED


# --- Intensity -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("age", "within"), [(4.999, True), (5.0, True), (5.001, False)])
async def test_intensity_window_is_inclusive_on_a_float_clock(stage: Stage, age: float, within: bool) -> None:
    """A stamp exactly one period old is kept. Ours: the clock is a float; OTP's whole seconds would keep one of 5.9 s."""
    manager = await stage.opened(member("a"), intensity=1, period=5.0)
    stage.crash("a")
    stage.clock.advance(age)
    stage.crash("a")
    assert (top(manager).state is State.ENDED) is within


@pytest.mark.parametrize("intensity", [0, 1, 3])
async def test_intensity_is_how_many_restarts_there_may_be(stage: Stage, intensity: int) -> None:
    """The (intensity + 1)-th inside the window ends the supervisor; with 0 the first failure does."""
    manager = await stage.opened(member("a"), intensity=intensity)
    for _ in range(intensity):
        stage.crash("a")
        assert top(manager).state is State.RUNNING
    stage.crash("a")
    assert (top(manager).state, manager.find("app/a").incarnation) == (State.ENDED, intensity + 1)


async def test_intensity_counts_each_restart_that_itself_fails(stage: Stage) -> None:
    """A start that does not come up is one more failure."""
    manager = await stage.opened(member("a"), intensity=3)
    stage.fails["a"] = 3
    assert stage.crash("a") == ["start a"] * 3
    with pytest.raises(RestartLimitReached, match="app: 4 failures"):
        await manager.run()


async def test_intensity_is_the_supervisors_and_its_parent_decides_what_then(stage: Stage) -> None:
    """Two half-flapping children add up; all end in reverse order; to the parent that is an ordinary failure."""
    inner = Supervisor(member("a"), member("b"), member("c"), name="inner", intensity=1, backoff=AT_ONCE)
    manager = await stage.opened(inner, member("z"), backoff=AT_ONCE)
    stage.told()
    assert stage.crash("a") == ["start a"]
    assert stage.crash("b") == ["ask c", "ask a", "start a", "start b", "start c"]
    assert manager.find("app/inner").incarnation == 2
    assert stage.crash("b") == ["start b"], "its new incarnation counts anew"


# --- A restart that fails --------------------------------------------------------------------------------------------------


async def test_failing_restart_serves_requests_between_its_attempts(stage: Stage) -> None:
    """Whatever is asked meanwhile is done before the next attempt, a stop too. Ours: attempts are apart by the backoff."""
    manager = await stage.opened(member("a", backoff=Backoff(1.0, jitter=None)), member("b"), intensity=None)
    stage.fails["a"] = 100
    stage.crash("a")
    stage.told()
    for _ in range(3):
        assert stage.advance(30.0)[0] == "start a"
        assert manager.find("app/a").state is State.BACKOFF
        extra = await manager.start(member("x"))
        await extra.stop()
        await top(manager).remove("x")
    stage.told()
    assert (await manager.find("app/a").stop()).reason is Reason.STOPPED
    assert stage.advance(100.0) == []


async def test_failing_restart_in_one_for_all(stage: Stage) -> None:
    """A sibling that fails to start again: those started in this attempt are stopped, and the attempt begins again."""
    await stage.opened(*map(member, "abc"), strategy="one_for_all")
    stage.told()
    stage.fails["b"] = 1
    assert stage.crash("c") == ["ask b", "ask a", "start a", "start b", "ask a", "start a", "start b", "start c"]


async def test_failing_restart_in_rest_for_one(stage: Stage) -> None:
    """A later sibling that fails to start again: those before it are not started once more."""
    await stage.opened(*map(member, "abc"), strategy="rest_for_one")
    stage.told()
    stage.fails["b"] = 1
    assert stage.crash("a") == ["ask c", "ask b", "start a", "start b", "start b", "start c"]


# --- Stop ------------------------------------------------------------------------------------------------------------------


async def test_stop_is_in_reverse_each_asked_when_the_next_has_ended(stage: Stage) -> None:
    """Ordered, one after the other; its own grace 0 kills at once. The wait for the death after a kill is bounded in ours."""
    manager = await stage.opened(member("a"), member("b", grace=0), member("c"))
    stage.told()
    report = await manager.stop()
    assert stage.told() == ["ask c", "kill b", "ask a"]
    assert set(report.ended) == {"app/a", "app/b", "app/c"}


async def test_stop_of_one_that_does_not_listen_goes_down_its_ladder(stage: Stage) -> None:
    """Asked, then SIGTERM, then killed at the end of its grace; what stands before it is not asked earlier."""
    manager = await stage.opened(member("a"), member("b", grace=5.0))
    child = stage.named("b")
    child.ended = True  # it takes notice of nothing
    stage.told()
    stopping = asyncio.create_task(manager.stop())
    await settled()
    assert stage.advance(4.99) == ["term b"]
    assert stage.advance(0.01) == ["kill b"]
    assert child.rungs == [Rung.ASK, Rung.TERM, Rung.KILL]
    child.end(Reason.CRASHED)
    assert stage.told()[-1] == "ask a"
    await stopping


@pytest.mark.slow
async def test_stop_cannot_be_hung_by_a_child_that_closed_its_channel() -> None:
    """OTP watches by a monitor, not the link that a child may remove: ours sees the end of the process itself."""
    async with Manager(Supervisor(Process(hostile.close_channel, name="mute", grace=0.3), restart="temporary")) as manager:
        mute = manager.find("app/mute")
        assert mute.pid is not None
        report = await manager.stop()
        assert report.left == ()
        assert mute.state is State.ENDED


@pytest.mark.slow
async def test_stop_goes_on_after_one_that_had_to_be_killed() -> None:
    """An end other than the expected one is reported, by name, and the others have their turn."""
    stubborn = Command(
        "sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done", name="stubborn", grace=0.2, ready=LogLine("up")
    )
    async with Manager(Supervisor(Command("sleep", "1000", name="a"), stubborn, Command("sleep", "1000", name="z"))) as manager:
        report = await manager.stop()
    assert report.killed == ("app/stubborn",)
    assert set(report.ended) == {"app/a", "app/z"}


async def test_stop_of_a_supervisor_below_has_the_time_that_its_members_have(stage: Stage) -> None:
    """OTP asks for ``infinity`` there. Ours: a group has no time of its own; the bound is the sum along the longest way."""
    inner = Supervisor(member("x", grace=3.0), member("y", grace=4.0), name="inner", grace=0.001)
    manager = await stage.opened(member("a", grace=2.0), inner)
    assert manager.stop_bound == pytest.approx(3.0 + 4.0 + 2.0 + 3 * 1.5)
    stage.told()
    await manager.stop()
    assert stage.told() == ["ask y", "ask x", "ask a"]


async def test_stop_of_dynamic_children_is_concurrent_and_first(stage: Stage) -> None:
    """Those that joined are asked at the same time, before the planned ones; ``limit`` is theirs."""
    manager = await stage.opened(member("a"), member("b"), limit=3)
    for name in "xyz":
        await manager.start(member(name))
        stage.named(name).ended = True  # it takes its time
    stage.told()
    stopping = asyncio.create_task(manager.stop())
    await settled()
    assert sorted(stage.told()) == ["ask x", "ask y", "ask z"]
    for name in "zxy":
        assert stage.told() == []
        stage.named(name).end()
    assert stage.told() == ["ask b", "ask a"]
    await stopping


# --- Significant children: ours are essential ------------------------------------------------------------------------------


@pytest.mark.parametrize("auto_shutdown", [None, "any"])
async def test_essential_any_end_for_good_ends_all(stage: Stage, auto_shutdown: Any) -> None:
    """The first normal end of one stops the supervisor, well. Ours: "any" is also meant when nothing is said."""
    members = [member("a"), member("job", restart="transient", essential=True), member("z")]
    manager = await stage.opened(*members, auto_shutdown=auto_shutdown)
    stage.told()
    assert stage.end("job") == ["ask z", "ask a"]
    assert (await manager.run()).ok


async def test_essential_failure_is_the_outcome_of_the_run(stage: Stage) -> None:
    """Ours: what the essential one failed by is what ``run()`` raises, as it is."""
    manager = await stage.opened(member("a"), member("job", restart="temporary", essential=True))
    stage.crash("job", LookupError("lost it"))
    with pytest.raises(LookupError, match="lost it"):
        await manager.run()


async def test_essential_all_waits_for_the_last(stage: Stage) -> None:
    """With "all" the last of them ends the supervisor."""
    jobs = [member(name, restart="transient", essential=True) for name in ("x", "y")]
    await stage.opened(member("a"), *jobs, auto_shutdown="all")
    stage.told()
    assert stage.end("x") == []
    assert stage.end("y") == ["ask a"]


async def test_essential_one_that_is_stopped_by_hand_or_for_another_ends_nobody(stage: Stage) -> None:
    """Not triggered by a stop through the face, nor by one that a sibling has caused."""
    manager = await stage.opened(member("a"), member("job", essential=True), strategy="one_for_all")
    stage.crash("a")
    assert top(manager).state is State.RUNNING
    await manager.find("app/job").stop()
    assert (top(manager).state, manager.find("app/a").state) == (State.RUNNING, State.RUNNING)


async def test_essential_permanent_is_allowed(stage: Stage) -> None:
    """Ours: OTP refuses it; here a permanent one ends for good when it is given up, and then it ends all."""
    manager = await stage.opened(member("a"), member("job", essential=True), intensity=1, at_limit="stay")
    stage.told()
    assert stage.crash("job") == ["start job"]
    assert stage.crash("job") == ["ask a"]
    with pytest.raises(RestartLimitReached, match="app/job: 2 failures"):
        await manager.run()


# --- API -------------------------------------------------------------------------------------------------------------------


async def test_api_start_with_a_name_that_is_taken(stage: Stage) -> None:
    """OTP: ``already_started``. Ours: NameTaken that says what has it; ``replace=True`` stops a started one first."""
    manager = await stage.opened(member("a"))
    first = await manager.start(member("x"))
    for name in ("a", "x"):
        with pytest.raises(NameTaken, match=f"app/{name}: is running"):
            await manager.start(member(name))
    second = await manager.start(member("x"), replace=True)
    assert (first.state, second.state, first == second) == (State.ENDED, State.RUNNING, False)


async def test_api_restart_by_hand(stage: Stage) -> None:
    """OTP restarts only what has ended. Ours: what runs is ended first, what rests does not wait; unknown is UnknownNode."""
    manager = await stage.opened(member("a", backoff=Backoff(50.0, cap=50.0, jitter=None)), member("b"))
    a = manager.find("app/a")
    stage.told()
    await a.restart()
    assert stage.told() == ["ask a", "start a"]
    stage.crash("a")
    assert a.state is State.BACKOFF
    await a.restart()
    assert a.state is State.RUNNING
    await a.stop()
    await a.restart()
    assert (a.state, a.incarnation) == (State.RUNNING, 4)
    with pytest.raises(UnknownNode):
        manager.find("app/nobody")


async def test_api_remove_stops_first(stage: Stage) -> None:
    """OTP deletes only what does not run. Ours: it is stopped for good, then forgotten; its name is free."""
    manager = await stage.opened(member("a"), member("b"))
    await top(manager).remove("a")
    assert stage.log[-1] == "ask a"
    with pytest.raises(UnknownNode):
        await top(manager).remove("a")
    assert (await manager.start(member("a"))).state is State.RUNNING


async def test_api_stop_is_idempotent(stage: Stage) -> None:
    """Ten at once and one later: one ladder, and the same exit for all."""
    manager = await stage.opened(member("a"), member("b"))
    stage.told()
    exits = await asyncio.gather(*(manager.find("app/a").stop() for _ in range(10)))
    exits.append(await manager.find("app/a").stop())
    assert stage.told() == ["ask a"]
    assert len(set(map(id, exits))) == 1


async def test_api_counts(stage: Stage) -> None:
    """OTP's count_children. Ours: ``children``, ``running`` (which a resting one is), states in ``tree()``."""
    inner = Supervisor(member("x"), name="inner")
    manager = await stage.opened(member("a", backoff=Backoff(5.0, cap=5.0, jitter=None)), member("b"), inner)
    stage.crash("a")
    await manager.find("app/b").stop()
    assert (len(top(manager).children), top(manager).running) == (3, 2)
    seen = {node.name: node.state for node in manager.tree().root.children}
    assert seen == {"a": State.BACKOFF, "b": State.ENDED, "inner": State.RUNNING}


async def test_api_what_an_earlier_incarnation_says_is_ignored(stage: Stage) -> None:
    """OTP logs and ignores unknown messages; here a child that has ended can say nothing any more."""
    manager = await stage.opened(member("a"))
    old = stage.named("a")
    stage.crash("a")
    stage.told()
    old.ready()
    old.acknowledge()
    old.end(Reason.CRASHED)
    assert stage.told() == []
    assert manager.find("app/a").incarnation == 2


async def test_api_tree_is_not_changed_under_what_runs(stage: Stage) -> None:
    """OTP's code_change swaps specs in place. Ours: ``set`` only while nothing runs; what runs changes by name."""
    manager = await stage.opened(member("a"))
    with pytest.raises(StateError, match="is open"):
        manager.set(Supervisor(member("b")))
    await manager.aclose()
    manager.set(Supervisor(member("b")))
    await manager.aopen()
    assert manager.find("app/b").state is State.RUNNING


# --- Where ours has a rule that OTP has not ----------------------------------------------------------------------------------


async def test_supervisor_without_members_waits_for_those_that_join(stage: Stage) -> None:
    """It is ready at once, and goes on when the last of them has ended, until it is stopped."""
    manager = await stage.opened()
    await (await top(manager).start(member("x", restart="temporary"))).stop()
    await settled()
    assert top(manager).state is State.RUNNING


async def test_supervisor_ends_when_all_its_members_have_ended_for_good(stage: Stage) -> None:
    """It had some: then there is nothing left to supervise. One that joined counts as long as it has not ended."""
    manager = await stage.opened(member("a", restart="transient"), member("b", restart="temporary"))
    await top(manager).start(member("x", restart="transient"))
    stage.end("a")
    stage.crash("b")
    assert top(manager).state is State.RUNNING
    stage.end("x")
    assert top(manager).state is State.ENDED
    results = await manager.run()
    assert list(results.failed) == ["b"]


async def test_dynamic_children_join(stage: Stage) -> None:
    """What is started below a supervisor is its member: permanent unless it says otherwise, and restarted with the others."""
    manager = await stage.opened(member("a"), strategy="one_for_all")
    await top(manager).start(Process(print, name="x", backoff=AT_ONCE))
    stage.told()
    assert stage.crash("x") == ["ask a", "start a", "start x"]
    assert stage.crash("a") == ["ask x", "start a", "start x"]


# --- Where systems disagree --------------------------------------------------------------------------------------------------


async def test_choice_manual_restart_does_not_count(stage: Stage) -> None:
    """Whoever restarts by hand knows what he does."""
    manager = await stage.opened(member("a"), intensity=0)
    for _ in range(5):
        await manager.find("app/a").restart()
    assert top(manager).state is State.RUNNING


async def test_choice_good_end_of_a_permanent_child(stage: Stage) -> None:
    """It comes back and counts as no failure; at once when it was stable, else after its backoff."""
    await stage.opened(member("a", backoff=Backoff(1.0, jitter=None, stable_after=60.0)), intensity=0)
    stage.told()
    assert stage.end("a") == []
    assert stage.advance(1.0) == ["start a"]
    stage.advance(60.0)
    assert stage.end("a") == ["start a"]


async def test_choice_early_good_end(stage: Stage) -> None:
    """Before it was ready: a failed start only where the spec says how it becomes ready."""
    stage.silent |= {"plain", "asked"}
    async with Manager() as manager:
        plain = asyncio.create_task(manager.start(Process(print, name="plain")))
        asked = asyncio.create_task(manager.start(Process(print, name="asked", ready="call")))
        await settled()
        stage.end("plain")
        stage.end("asked")
        assert (await plain).state is State.ENDED
        with pytest.raises(StartFailed, match=r"it never called ready\(\)"):
            await asked


async def test_choice_at_the_limit(stage: Stage) -> None:
    """Escalate unless said otherwise; "stay" leaves it ended and the others alone; "pause" waits for a period and forgets."""
    manager = await stage.opened(member("a"), member("b"), intensity=0)
    assert stage.crash("a") == ["ask b"]
    await manager.aclose()

    manager = await stage.opened(member("a"), member("b"), intensity=0, at_limit="stay")
    assert stage.crash("a") == []
    assert (manager.find("app/a").state, manager.find("app/b").state) == (State.ENDED, State.RUNNING)
    with pytest.raises(RestartLimitReached):
        await manager.find("app/a")
    await manager.find("app/a").restart()
    assert manager.find("app/a").state is State.RUNNING
    await manager.aclose()

    manager = await stage.opened(member("a"), member("b"), intensity=1, period=10.0, at_limit="pause")
    assert stage.crash("a") == ["start a"]
    assert stage.crash("a") == []
    assert stage.advance(9.9) == []
    assert stage.advance(5.2) == ["start a"]
    assert stage.crash("a") == ["start a"]
    assert manager.find("app/b").incarnation == 1


async def test_choice_ready_timeout_fails(stage: Stage) -> None:
    """Who is not ready in time has failed, and is ended."""
    stage.silent.add("x")
    async with Manager() as manager:
        starting = asyncio.create_task(manager.start(Process(print, name="x", start_timeout=3.0)))
        await settled()
        assert stage.advance(3.0)[0] == "ask x"
        with pytest.raises(StartFailed, match="ran out of time"):
            await starting


@pytest.mark.slow
async def test_choice_signal_scope_is_the_whole_group() -> None:
    """A stop reaches what the child has started too: here a shell that waits for its own child, which says what it heard."""
    heard = "signal.signal(signal.SIGTERM, lambda *_: sys.exit('inner heard'))"
    inner = f"import signal,sys,time\n{heard}\nprint('up',flush=True)\ntime.sleep(99)"
    command = Command("sh", "-c", f'trap : TERM; {sys.executable} -S -c "{inner}"; true', name="sh", ready=LogLine("up"))
    async with Manager() as manager:
        handle = await manager.start(command)
        exit = await handle.stop()
        assert not exit.killed
        assert "inner heard" in exit.stderr_tail


async def test_choice_siblings_of_a_failure(stage: Stage) -> None:
    """By strategy in a Supervisor; a group without one stops all, as a task group does."""
    manager = await stage.opened(member("a"), member("b"))
    stage.told()
    assert stage.crash("a") == ["start a"]
    await manager.aclose()
    async with Manager() as plain:
        run = asyncio.create_task(plain.run(Concurrent(Process(print, name="a"), Process(print, name="b"))))
        await settled()
        stage.told()
        assert stage.crash("a") == ["ask b"]
        with pytest.raises(ExceptionGroup):
            await run


async def test_choice_window_clock_is_a_float(stage: Stage) -> None:
    """Half a second matters."""
    await stage.opened(member("a"), intensity=1, period=0.5)
    stage.crash("a")
    stage.clock.advance(0.501)
    assert stage.crash("a") == ["start a"]
    stage.clock.advance(0.5)
    assert stage.crash("a") == []


async def test_choice_one_for_all_counts_once(stage: Stage) -> None:
    """However many come back."""
    manager = await stage.opened(*map(member, "abcdef"), strategy="one_for_all", intensity=1)
    stage.crash("f")
    assert top(manager).state is State.RUNNING


async def test_choice_dynamic_members_are_concurrent(stage: Stage) -> None:
    """In start and stop: they need nobody that they do not name."""
    stage.silent |= {"x", "y"}
    manager = await stage.opened(member("a"))
    starting = [asyncio.create_task(manager.start(member(name))) for name in "xy"]
    await settled()
    assert stage.told() == ["start a", "start x", "start y"]
    for name in "xy":
        stage.named(name).ready()
    await asyncio.gather(*starting)
    for name in "xy":
        stage.named(name).ended = True
    stopping = asyncio.create_task(manager.stop())
    await settled()
    assert sorted(stage.told()) == ["ask x", "ask y"]
    for name in "xy":
        stage.named(name).end()
    await stopping


async def echo_until(word: str) -> None:
    while (value := await current().receive()) != word:
        await current().send(value)
    raise ValueError(word)


async def test_choice_messages_at_a_restart() -> None:
    """What was on its way to the one that died is lost; what that one had sent is received; what waits goes to the next."""
    child = Coroutine(echo_until, "die", name="echo", backoff=Backoff(0.05, jitter=None))
    async with Manager(Supervisor(child, Coroutine(forever))) as manager:
        handle = manager.find("app/echo")
        for value in ("one", "die", "lost"):
            await handle.send(value)
        await handle.wait_for(state=State.BACKOFF)
        waiting = asyncio.create_task(handle.send("two"))
        assert await handle.receive() == "one"
        await waiting
        assert await handle.receive() == "two"
        assert handle.incarnation == 2


def test_program_of_the_docs_runs_as_it_stands(tmp_path: Path) -> None:
    """Started, restarted by hand, failed, started again, ended well."""
    file = tmp_path / "program.py"
    file.write_text(DOCS.read_text().split("```python\n")[1].split("```")[0])
    done = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, cwd=DOCS.parents[1], timeout=30)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "3 starts, incarnation 3, finished\n"


def test_choice_each_is_written_down_with_its_test() -> None:
    """docs/supervision.md has a row for each question, and names a test that is here."""
    text = DOCS.read_text()
    table = text[text.index("| question |") :].split("\n\n")[0].splitlines()[2:]
    named = [row.split("|")[3].strip().strip("`") for row in table]
    assert len(named) == 11
    assert set(named) == {name for name in globals() if name.startswith("test_choice_")} - {
        "test_choice_each_is_written_down_with_its_test"
    }
