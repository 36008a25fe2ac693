"""Groups as their user sees them: order, rounds, limits, failures, stops and results, with real children."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterable
from typing import Any

import pytest

from asyncproc import (
    ChildCrashed,
    ChildSkipped,
    Command,
    Concurrent,
    Coroutine,
    Group,
    Manager,
    Process,
    Reason,
    Results,
    Sequential,
    SpecError,
    State,
    StateError,
    Thread,
    Transition,
)
from tests.manager.targets import (
    deaf,
    die,
    echo,
    echo_async,
    echo_pid,
    fail,
    fail_async,
    nothing,
    nothing_async,
    until_cancelled,
    until_told,
    until_told_async,
    where,
    where_async,
)


def started(moves: Iterable[Transition]) -> list[str]:
    """Paths below the root in the order in which they started."""
    return [move.path.partition("/")[2] for move in moves if move.after is State.STARTING and "/" in move.path]


async def observed(tree: Any, **options: Any) -> tuple[Results, list[Transition]]:
    """Run a tree; its results, and every transition until the manager was closed."""
    async with Manager(tree) as manager:
        events = manager.events()
        results = await manager.run(**options)
    return results, [move async for move in events]


def place_in(moves: list[Transition], path: str, after: State, round: int = 1) -> int:
    """Where in the stream the node came to this state for the given time."""
    return [index for index, move in enumerate(moves) if move.path == f"app/{path}" and move.after is after][round - 1]


async def all_up(manager: Manager, *paths: str) -> None:
    """Wait until each has said that it is up."""
    for path in paths:
        assert await manager.find(path).receive() == "up"


async def begun(manager: Manager, **options: Any) -> asyncio.Future[Any]:
    """Run the manager's tree beside the test; returns when the run has begun."""
    events = manager.events()
    run = asyncio.ensure_future(manager.run(**options))
    await anext(events)
    await events.aclose()  # type: ignore[attr-defined]
    return run


def told(name: str, answer: object = None) -> Coroutine[Any]:
    return Coroutine(until_told_async, answer if answer is not None else name, name=name)


# --- order: S1.6 to S1.9, B1.3 ---------------------------------------------------------------------------------------------


@pytest.mark.both_loops
async def test_sequential_starts_the_next_when_all_below_the_last_has_ended() -> None:
    """S1.7: a member of a sequence that is a group counts as ended when its last child is."""
    tree = Sequential(
        Process(nothing, name="a"),
        Concurrent(Process(nothing, name="b"), Thread(nothing, name="c"), name="both"),
        Command("true", name="d"),
    )
    results, moves = await observed(tree)
    ended, starting = State.ENDED, State.STARTING
    assert results.ok
    assert place_in(moves, "a", ended) < place_in(moves, "both/b", starting)
    assert max(place_in(moves, "both/b", ended), place_in(moves, "both/c", ended)) < place_in(moves, "d", starting)
    assert list(results) == ["a", "both", "both/b", "both/c", "d"]


@pytest.mark.parametrize("kind", [Process, Thread, Coroutine])
async def test_concurrent_runs_its_members_at_the_same_time(kind: Any) -> None:
    """S1.8: all are up before the first is let go."""
    target = until_told_async if kind is Coroutine else until_told
    async with Manager(Concurrent(*(kind(target, n, name=f"m{n}") for n in range(3)))) as manager:
        run = await begun(manager)
        await all_up(manager, "m0", "m1", "m2")
        for n in (2, 0, 1):
            await manager.find(f"m{n}").send("go")
        assert dict(await run) == {"m0": 0, "m1": 1, "m2": 2}


async def test_groups_nest_in_either_order_to_any_depth() -> None:
    """S1.9: Concurrent > Sequential > Concurrent, and forty levels of both."""
    example = Concurrent(
        told("one"), Sequential(told("two"), Concurrent(told("three"), told("four"), name="last"), name="then")
    )
    async with Manager(example) as manager:
        run = await begun(manager)
        await all_up(manager, "one", "then/two")
        await manager.find("then/two").send("go")
        await all_up(manager, "then/last/three", "then/last/four")
        for path in ("one", "then/last/three", "then/last/four"):
            await manager.find(path).send("go")
        assert (await run)["then/last/four"] == "four"
    deep: Any = Coroutine(where_async, name="leaf")
    for level in range(40):
        deep = (Sequential if level % 2 else Concurrent)(deep, name="g")
    results = await Manager(deep).run()
    assert results["g/" * 39 + "leaf"] == (1, 40)


async def test_a_sequence_inside_a_concurrent_does_not_hold_up_its_siblings() -> None:
    """B1.3: what stands after a sequence starts with it, not after it."""
    async with Manager(Concurrent(Sequential(told("a"), told("b"), name="seq"), told("leaf"))) as manager:
        run = await begun(manager)
        await all_up(manager, "seq/a", "leaf")
        for path in ("leaf", "seq/a", "seq/b"):
            await manager.find(path).send("go")
        assert (await run).ok


async def test_a_single_item_is_a_tree() -> None:
    """S1.6: the root may be one process; its level is 0."""
    manager = Manager(Process(where))
    assert await manager.run() == (1, 0)


async def test_an_own_kind_of_group_is_a_subclass() -> None:
    """S1.27: a subclass of a group may build its members; it is named after the class."""

    class Twice(Sequential):
        def __init__(self, member: Any) -> None:
            super().__init__(member, member)

    results = await Manager(Concurrent(Twice(Coroutine(echo_async, 7, name="x")))).run()
    assert dict(results["twice"]) == {"x": 7, "x-2": 7}


async def test_a_group_without_members_ends_at_once() -> None:
    """An empty group is legal and gives empty results."""
    for tree in (Concurrent(), Sequential(), Sequential(Concurrent(name="none"))):
        results = await Manager(tree).run()
        assert results.ok and not results.failed and not results.skipped


# --- rounds and binding: S1.10 to S1.12, S1.15, S1.17, S1.18, S1.20, B1.8, B1.16, M18, M23 ---------------------------------


@pytest.mark.both_loops
async def test_rounds_run_the_whole_tree_so_often() -> None:
    """S1.10, M18: each member once in each round, counted from 1; results are those of the last."""
    tree = Concurrent(Process(where, name="a"), Sequential(Thread(where, name="b"), name="s"), Coroutine(where_async, name="c"))
    results, moves = await observed(tree, rounds=3)
    assert sorted(started(moves)) == sorted(["a", "s", "s/b", "c"] * 3)
    assert (results["a"], results["s/b"], results["c"]) == ((3, 1), (3, 2), (3, 1))
    assert results.rounds == 3


async def test_rounds_none_runs_until_stopped() -> None:
    """S1.11: rounds=None goes on; a stop ends it and run() returns the results."""
    async with Manager(Sequential(Coroutine(where_async, name="quick"), told("last"))) as manager:
        run = await begun(manager, rounds=None)
        for _ in range(3):
            await all_up(manager, "last")
            await manager.find("last").send("go")
        await all_up(manager, "last")
        await manager.stop()
        results = await run
        assert manager.find("last").round == 4
        assert results["quick"] == (4, 1)
        assert results.exits["last"].reason is Reason.STOPPED


async def test_no_rounds_runs_nothing() -> None:
    """S1.18: rounds=0 starts nothing, and says of each that it was skipped."""
    results, moves = await observed(Concurrent(Process(nothing, name="a"), Sequential(nothing, name="s")), rounds=0)
    assert started(moves) == []
    assert results.rounds == 0
    assert set(results.skipped) == {"a", "s/nothing"}
    assert results.ok


@pytest.mark.parametrize("rounds", [-1, 1.5, True, "2"])
async def test_rounds_that_are_no_count_are_refused(rounds: Any) -> None:
    """A SpecError names the field and the value; nothing starts."""
    with pytest.raises(SpecError) as caught:
        await Manager(Concurrent(nothing)).run(rounds=rounds)
    assert [(fault.field, fault.value) for fault in caught.value.faults] == [("rounds", rounds)]


async def test_binding_members_wait_for_each_other_between_rounds() -> None:
    """S1.12: the early finisher begins its second round only after the slowest has ended its first."""
    async with Manager(Concurrent(Coroutine(where_async, name="fast"), told("slow"))) as manager:
        events = manager.events()
        run = await begun(manager, rounds=2)
        await all_up(manager, "slow")
        await manager.find("fast").wait_for(state=State.ENDED)
        await manager.find("slow").send("go")
        await all_up(manager, "slow")
        await manager.find("slow").send("go")
        assert (await run)["fast"] == (2, 1)
    moves = [move async for move in events]
    assert place_in(moves, "slow", State.ENDED) < place_in(moves, "fast", State.STARTING, round=2)


async def test_nested_groups_always_bind() -> None:
    """S1.12: also without binding at the root, members of a nested group wait for each other."""
    nested = Concurrent(Coroutine(where_async, name="fast"), told("slow"), name="pair")
    async with Manager(Concurrent(nested, Coroutine(where_async, name="alone"))) as manager:
        events = manager.events()
        run = await begun(manager, rounds=2, binding=False)
        await all_up(manager, "pair/slow")
        await manager.find("alone").wait()
        assert manager.find("alone").round == 2
        await manager.find("pair/fast").wait_for(state=State.ENDED)
        await manager.find("pair/slow").send("go")
        await all_up(manager, "pair/slow")
        await manager.find("pair/slow").send("go")
        await run
    moves = [move async for move in events]
    assert place_in(moves, "pair/slow", State.ENDED) < place_in(moves, "pair/fast", State.STARTING, round=2)


@pytest.mark.both_loops
async def test_without_binding_the_fast_member_does_all_its_rounds_alone() -> None:
    """S1.15, S1.20: three rounds of one while the other is still in its first."""
    async with Manager(Concurrent(Process(where, name="fast"), told("slow"))) as manager:
        run = await begun(manager, rounds=3, binding=False)
        await all_up(manager, "slow")
        assert (await manager.find("fast").wait()).ok
        assert (manager.find("fast").round, manager.find("slow").round) == (3, 1)
        for _ in range(2):
            await manager.find("slow").send("go")
            await all_up(manager, "slow")
        await manager.find("slow").send("go")
        assert (await run)["fast"] == (3, 1)


async def test_level_is_the_same_with_and_without_binding() -> None:
    """B1.16: the depth of a leaf does not depend on how its root runs."""
    manager = Manager(Concurrent(Coroutine(where_async, name="a"), Sequential(Coroutine(where_async, name="b"), name="s")))
    for binding in (True, False):
        results = await manager.run(binding=binding)
        assert (results["a"], results["s/b"]) == ((1, 1), (1, 2))


@pytest.mark.parametrize("tree", [Sequential(nothing), Process(nothing)])
async def test_binding_false_needs_a_concurrent_root(tree: Any) -> None:
    """S1.21, B1.8: a typed error before anything starts, and the manager can be used afterwards."""
    manager = Manager(tree)
    with pytest.raises(SpecError) as caught:
        await manager.run(binding=False)
    assert [(fault.path, fault.field, fault.value) for fault in caught.value.faults] == [("app", "binding", False)]
    await manager.run()


async def test_after_a_run_without_binding_the_tree_runs_again() -> None:
    """B1.8: nothing of the first run is left behind."""
    async with Manager(Concurrent(Coroutine(where_async, name="a"))) as manager:
        for _ in range(3):
            assert (await manager.run(rounds=2, binding=False))["a"] == (2, 1)


async def test_a_failure_ends_the_rounds() -> None:
    """What fails in round 2 of 5 ends the run in round 2."""
    async with Manager(Concurrent(told("a"))) as manager:
        run = await begun(manager, rounds=5)
        await all_up(manager, "a")
        await manager.find("a").send("go")
        await all_up(manager, "a")
        await manager.find("a").send(ValueError("enough"))
        with pytest.raises(ExceptionGroup):
            await run
        assert manager.find("a").round == 2


# --- one run at a time: S1.22, S1.29, B1.6, B1.9, M22 ----------------------------------------------------------------------


async def test_a_second_run_of_the_same_tree_at_once_is_refused() -> None:
    """S1.22, M22: StateError, and the first run goes on."""
    async with Manager(Concurrent(told("a"))) as manager:
        first = await begun(manager)
        await all_up(manager, "a")
        with pytest.raises(StateError, match="runs already"):
            await manager.run()
        await manager.find("a").send("go")
        assert (await first).ok


async def test_a_manager_without_a_tree_says_so() -> None:
    """S1.22: running nothing is a SpecError, not silence."""
    with pytest.raises(SpecError, match="no tree"):
        await Manager().run()


async def test_a_run_can_be_repeated_and_names_stay() -> None:
    """B1.6, M22: again and again, opened or not, with the same paths."""
    tree = Concurrent(echo_pid, echo_pid, Sequential(echo_pid))
    manager = Manager(tree)
    runs = [await manager.run() for _ in range(2)]
    async with manager:
        runs += [await manager.run() for _ in range(2)]
    assert {tuple(run) for run in runs} == {("echo_pid", "echo_pid-2", "sequential", "sequential/echo_pid")}
    pids = [run[path] for run in runs for path in ("echo_pid", "echo_pid-2", "sequential/echo_pid")]
    assert len(set(pids)) == 12


async def test_set_replaces_the_tree_while_nothing_runs() -> None:
    """S1.29: before and between runs; not while the manager is open."""
    manager = Manager(Coroutine(echo_async, 1))
    manager.set(Coroutine(echo_async, 2))
    assert await manager.run() == 2
    manager.set(Coroutine(echo_async, 3))
    async with manager:
        with pytest.raises(StateError):
            manager.set(nothing)
        assert await manager.run() == 3


async def test_stop_and_kill_of_what_does_not_run_report_nothing() -> None:
    """S1.23, B1.9: harmless without a tree, before opening, while idle, and after the end."""
    for manager in (Manager(), Manager(Concurrent(nothing))):
        for _ in range(2):
            assert (await manager.stop()).ended == (await manager.kill()).ended == ()
            async with manager:
                assert (await manager.stop()).ended == (await manager.kill()).ended == ()
    assert (await Manager(Concurrent(nothing)).run()).ok


async def test_a_stop_before_the_run_does_not_stop_the_run() -> None:
    """S1.23: what is asked of an idle manager is not remembered for later."""
    async with Manager(Concurrent(Coroutine(echo_async, 1, name="a"))) as manager:
        await manager.stop()
        assert (await manager.run())["a"] == 1
        await manager.kill()
        assert (await manager.run())["a"] == 1


# --- stop and kill: S1.13, S1.14, S1.24, S1.26, B1.7, B1.12, M25 -----------------------------------------------------------


async def test_stop_in_a_sequence_skips_what_has_not_begun() -> None:
    """S1.24, M25: the running member gets its ladder, later ones are skipped and say because of whom; run() returns."""
    async with Manager(Sequential(told("a"), Process(nothing, name="b"), Concurrent(nothing, name="c"))) as manager:
        run = await begun(manager, rounds=3)
        await all_up(manager, "a")
        report = await manager.stop()
        results = await run
    assert report.ended == ("app/a",)
    assert results.exits["a"].reason is Reason.STOPPED
    assert results.skipped == {"b": "manager.stop()", "c/nothing": "manager.stop()"}
    assert results.exits["c"].reason is Reason.SKIPPED
    assert results.ok


@pytest.mark.parametrize("binding", [True, False])
async def test_stop_without_a_limit_lets_current_work_end(binding: bool) -> None:
    """S1.13: with grace=None items that run finish with their results, and no new one starts."""
    async with Manager(Concurrent(told("a"), Process(until_told, "b", name="b"))) as manager:
        run = await begun(manager, rounds=None, binding=binding)
        await all_up(manager, "a", "b")
        stop = asyncio.ensure_future(manager.stop(grace=None))
        await manager.find("b").wait_for(state=State.STOPPING)
        for path in ("a", "b"):
            await manager.find(path).send("go")
        report = await stop
        assert dict(await run) == {"a": "a", "b": "b"}
        assert sorted(report.ended) == ["app/a", "app/b"] and report.killed == ()
        assert manager.find("a").round == manager.find("b").round == 1


@pytest.mark.both_loops
@pytest.mark.parametrize("binding", [True, False])
async def test_kill_ends_what_ignores_every_wish(binding: bool) -> None:
    """S1.14, S1.26, B1.7: each live process below the root, nested ones too, with binding and without."""
    deaf_one = Process(deaf, name="deaf")
    async with Manager(Concurrent(deaf_one, Sequential(deaf_one, nothing, name="s"), deaf_one)) as manager:
        run = await begun(manager, rounds=None, binding=binding)
        await all_up(manager, "deaf", "deaf-2", "s/deaf")
        report = await manager.kill()
        results = await run
    assert set(report.killed) == {"app/deaf", "app/deaf-2", "app/s/deaf"}
    assert all(results.exits[path].signal is signal.SIGKILL for path in ("deaf", "deaf-2", "s/deaf"))
    assert results.skipped == {"s/nothing": "manager.kill()"}


async def test_the_same_spec_twice_is_two_nodes() -> None:
    """S1.28, B1.12, M32: the work is done once per occurrence, each with a name and a handle of its own."""
    one = Process(until_told, name="same")
    async with Manager(Concurrent(one, one, Sequential(one))) as manager:
        run = await begun(manager)
        await all_up(manager, "same", "same-2", "sequential/same")
        assert len({manager.find(path).pid for path in ("same", "same-2", "sequential/same")}) == 3
        for path in ("same", "same-2", "sequential/same"):
            await manager.find(path).send("go")
        assert list(await run) == ["same", "same-2", "sequential", "sequential/same"]


async def test_cancelling_a_run_ends_what_it_began() -> None:
    """M7: the cancellation goes on only when the children are gone; the manager can run again."""
    async with Manager(Concurrent(Coroutine(until_cancelled, name="a"), Process(deaf, grace=0.0, name="b"))) as manager:
        run = await begun(manager)
        await all_up(manager, "a", "b")
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert {handle.state for handle in manager.nodes()} == {State.ENDED}
        run = await begun(manager)
        await all_up(manager, "b")
        await manager.kill()
        await run


# --- limit -----------------------------------------------------------------------------------------------------------------


@pytest.mark.both_loops
async def test_a_limit_lets_so_many_live_at_once() -> None:
    """Never more than the limit, always that many while others wait, in order of the spec."""
    names = [f"m{n}" for n in range(5)]
    async with Manager(Concurrent(*map(told, names), limit=2)) as manager:
        events = manager.events()
        run = await begun(manager)
        await all_up(manager, "m0", "m1")
        assert manager.find("m2").state is State.WAITING
        for path in names:
            await manager.find(path).send("go")
        assert list(await run) == names
    live, most, order = set[str](), 0, []
    async for move in events:
        if "/" in move.path and move.after is State.STARTING:
            live.add(move.path)
            order.append(move.path)
        if move.after is State.ENDED:
            live.discard(move.path)
        most = max(most, len(live))
    assert most == 2
    assert order == [f"app/{name}" for name in names]


async def test_a_nested_group_takes_one_place_of_a_limit() -> None:
    """limit=1 of a Concurrent is an order, also for members that are groups."""
    tree = Concurrent(Concurrent(told("a"), told("b"), name="g"), told("c"), limit=1)
    async with Manager(tree) as manager:
        run = await begun(manager)
        await all_up(manager, "g/a", "g/b")
        assert manager.find("c").state is State.WAITING
        for path in ("g/a", "g/b", "c"):
            await manager.find(path).send("go")
        assert (await run).ok


async def test_scale_makes_numbered_nodes() -> None:
    """scale=3 is three nodes ``name-1`` to ``name-3``, results by path."""
    results = await Manager(Concurrent(Process(echo, 5, name="w", scale=3), Coroutine(echo_async, 6, scale=2))).run()
    assert dict(results) == {"w-1": 5, "w-2": 5, "w-3": 5, "echo_async-1": 6, "echo_async-2": 6}


# --- failures: B1.4, M24, D2.10, D2.11 -------------------------------------------------------------------------------------


@pytest.mark.both_loops
async def test_a_failure_stops_the_siblings_and_comes_out_in_a_group() -> None:
    """M24: the first failure stops the rest; ExceptionGroup also for one, with the child's own exception in it."""
    async with Manager(
        Concurrent(told("a"), Coroutine(until_cancelled, name="b"), Process(until_told, name="c", grace=0.0))
    ) as manager:
        run = await begun(manager)
        await all_up(manager, "a", "b", "c")
        await manager.find("a").send(ValueError("a broke"))
        with pytest.raises(ExceptionGroup) as caught:
            await run
        (error,) = caught.value.exceptions
        assert isinstance(error, ValueError) and str(error) == "a broke"
        for path in ("b", "c"):
            exit = manager.find(path).exit
            assert exit is not None
            assert exit.reason is Reason.STOPPED and exit.asked_by == "failure of app/a"


async def test_a_failure_in_a_sequence_skips_the_rest_and_names_the_cause() -> None:
    """B1.4, M3, M24: nothing after it starts; what was skipped says because of whom, to whoever awaits it."""
    async with Manager(Sequential(Process(nothing, name="a"), Process(fail, "b broke", name="b"), nothing)) as manager:
        with pytest.raises(ExceptionGroup) as caught:
            await manager.run()
        assert [type(error) for error in caught.value.exceptions] == [ValueError]
        skipped = manager.find("nothing")
        with pytest.raises(ChildSkipped, match="app/b"):
            await skipped
        exit = await skipped.wait()
        assert exit.reason is Reason.SKIPPED and exit.asked_by == "app/b" and exit.incarnation == 0
        with pytest.raises(ExceptionGroup):
            await manager.find("app")


async def test_three_failures_are_three_members_nested_as_the_groups_are() -> None:
    """D2.11: original exceptions with their causes, a crash by signal, a command with its code, each in its group."""
    two_and_three = Process(die, name="two"), Command("sh", "-c", "echo sorry >&2; exit 3", name="three")
    inner = Concurrent(*two_and_three, name="inner", on_failure="continue")
    results = await Manager(Concurrent(Process(fail, "one", name="one"), inner, on_failure="continue")).run()
    assert not results.ok and set(results.failed) == {"one", "inner/two", "inner/three"}
    with pytest.raises(ExceptionGroup) as caught:
        results.check()
    one, inner_group = caught.value.exceptions
    assert isinstance(one, ValueError) and "Traceback" in str(one.__cause__) and "fail" in str(one.__cause__)
    assert isinstance(inner_group, ExceptionGroup) and "app/inner" in str(inner_group)
    two, three = inner_group.exceptions
    assert isinstance(two, ChildCrashed) and two.exit is not None and two.exit.signal is signal.SIGKILL
    assert type(three).__name__ == "CommandError" and three.code == 3 and "sorry" in str(three)  # type: ignore[attr-defined]


async def test_a_nested_failure_comes_out_nested() -> None:
    """M24: a failure three groups deep is in three ExceptionGroups, each naming its group's path."""
    tree = Sequential(Concurrent(Sequential(Coroutine(fail_async, "deep", name="leaf"), name="c"), name="b"))
    with pytest.raises(ExceptionGroup) as caught:
        await Manager(tree, name="top").run()
    error: Any = caught.value
    for path in ("top", "top/b", "top/b/c"):
        assert isinstance(error, ExceptionGroup) and str(error).startswith(f"{path}:")
        (error,) = error.exceptions
    assert isinstance(error, ValueError) and str(error) == "deep"


async def test_on_failure_continue_runs_all_and_raises_nothing() -> None:
    """M24, D2.10: everything runs, also in a sequence; the results tell, and check() raises."""
    for kind in (Sequential, Concurrent):
        tree = kind(
            Process(fail, "x", name="a"),
            Process(echo, 1, name="b"),
            Coroutine(fail_async, "y", name="c"),
            on_failure="continue",
        )
        results = await Manager(tree).run()
        assert dict(results) == {"b": 1}
        assert set(results.failed) == {"a", "c"} and list(results.succeeded) == ["b"]
        assert results.failed["a"].reason is Reason.CRASHED
        with pytest.raises(KeyError, match="ValueError: x"):
            results["a"]
        with pytest.raises(ExceptionGroup) as caught:
            results.check()
        assert [str(error) for error in caught.value.exceptions] == ["x", "y"]


async def test_continue_inside_stop_keeps_the_failure_inside() -> None:
    """D2.10: a group that continues has not failed for the group around it."""
    tree = Sequential(
        Sequential(Coroutine(fail_async, "x", name="bad"), name="lenient", on_failure="continue"),
        Coroutine(echo_async, 1, name="after"),
    )
    results = await Manager(tree).run()
    assert results["after"] == 1
    assert set(results.failed) == {"lenient/bad"}


async def test_stop_inside_continue_skips_only_its_own_rest() -> None:
    """D2.10: a strict group inside a lenient one fails alone."""
    strict = Sequential(Coroutine(fail_async, "x", name="bad"), Coroutine(nothing_async, name="never"), name="strict")
    results = await Manager(Sequential(strict, Coroutine(echo_async, 1, name="after"), on_failure="continue")).run()
    assert results["after"] == 1
    assert results.skipped == {"strict/never": "app/strict/bad"}
    with pytest.raises(ExceptionGroup) as caught:
        results.check()
    (inner,) = caught.value.exceptions
    assert isinstance(inner, ExceptionGroup)


async def test_without_binding_a_failure_stops_the_others() -> None:
    """M24 holds for the members of a root that run their rounds apart."""
    async with Manager(Concurrent(told("a"), told("b"))) as manager:
        run = await begun(manager, rounds=None, binding=False)
        await all_up(manager, "a", "b")
        await manager.find("a").send(ValueError("a broke"))
        with pytest.raises(ExceptionGroup):
            await run
        exit = manager.find("b").exit
        assert exit is not None and exit.reason is Reason.STOPPED


async def test_a_group_out_of_time_has_failed() -> None:
    """A group's timeout stops what is below it and is the group's own failure."""
    tree = Sequential(
        Concurrent(Coroutine(until_cancelled, name="a"), name="g", timeout=0.05), Coroutine(nothing_async, name="never")
    )
    async with Manager(tree) as manager:
        with pytest.raises(ExceptionGroup) as caught:
            await manager.run()
        (error,) = caught.value.exceptions
        assert isinstance(error, TimeoutError)
        exit = manager.find("g/a").exit
        assert exit is not None and exit.asked_by == "timeout of app/g"


# --- results: M6, B1.5 -----------------------------------------------------------------------------------------------------


async def test_results_by_path_and_by_nested_group() -> None:
    """M6: values under their paths, nested groups under their own name as Results."""
    tree = Sequential(Process(echo, 1, name="a"), Concurrent(Thread(echo, 2, name="b"), name="g"), Command("echo", "hi"))
    results = await Manager(tree).run()
    assert results["a"] == 1 and results["g/b"] == 2 and results["g"]["b"] == 2
    assert results["echo"].stdout == "hi\n"
    assert isinstance(results["g"], Results) and results.duration >= results["g"].duration
    assert set(results.exits) == {"a", "g", "g/b", "echo"}
    assert results.check() is results


async def test_the_tree_is_the_root_node_and_its_handle_gives_the_results() -> None:
    """M31: the root group stands under the manager's name; its children are handles."""
    async with Manager(Concurrent(Coroutine(echo_async, 1, name="a")), name="build") as manager:
        await manager.run()
        root = manager.find("build")
        assert isinstance(root, Group)
        assert (root.path, root.name, [child.path for child in root.children]) == ("build", "build", ["build/a"])
        assert (await root)["a"] == 1


async def test_a_group_that_was_started_is_awaited_like_any_node() -> None:
    """A started group has a handle of its own; M10: it is ready when all that start at once are."""
    async with Manager() as manager:
        group = await manager.start(Concurrent(told("a"), Sequential(told("b"), told("c"), name="s"), name="g"))
        assert isinstance(group, Group)
        assert manager.find("g/a").ready and manager.find("g/s/b").ready and not manager.find("g/s/c").ready
        assert group.running == 2
        for path in ("g/a", "g/s/b", "g/s/c"):
            await manager.find(path).send("go")
        assert dict((await group)["s"]) == {"b": "b", "c": "c"}


# --- restart: M20 ----------------------------------------------------------------------------------------------------------


async def test_the_default_restart_is_temporary() -> None:
    """M20: outside of a Supervisor what has failed does not come back; temporary may be said."""
    async with Manager(Concurrent(Process(die, name="a", restart="temporary"), on_failure="continue")) as manager:
        await manager.run()
        assert manager.find("a").incarnation == 1


@pytest.mark.parametrize("restart", ["permanent", "always", 3])
async def test_restart_that_makes_no_sense_in_a_sequence_is_refused(restart: Any) -> None:
    """M20: a permanent member would let nobody after it begin."""
    with pytest.raises(SpecError) as caught:
        Sequential(Process(nothing, restart=restart))
    assert [(fault.field, fault.value) for fault in caught.value.faults] == [("restart", restart)]
