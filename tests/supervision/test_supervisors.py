"""Supervisors with real children: the rules of tests/core/test_supervision.py, seen from outside."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from asyncproc import (
    Backoff,
    Command,
    Group,
    Manager,
    Process,
    RestartLimitReached,
    SpecError,
    StartFailed,
    State,
    StateError,
    Supervisor,
    current,
)
from tests.manager.targets import fail, nothing, until_told

QUICK = Backoff(0.0)


def sleeper(name: str, **options: object) -> Command:
    return Command("sleep", "600", name=name, **options)  # type: ignore[arg-type]  # any of its options


def group(manager: Manager[object]) -> Group:
    found = manager.find("app")
    assert isinstance(found, Group)
    return found


def quits() -> int:
    return os.getpid()


async def test_tree_that_is_a_supervisor_runs_while_its_manager_is_open() -> None:
    """Ready when the block is entered, stopped in reverse when it is left; run() awaits its end."""
    order: list[str] = []
    app = Supervisor(*(sleeper(name, ended=lambda handle: order.append(handle.name)) for name in "abc"))
    async with Manager(app) as manager:
        assert {node.state for node in manager.nodes()} == {State.RUNNING}
        run = asyncio.create_task(manager.run())
        await asyncio.sleep(0)
        report = await manager.stop()
        assert report.ended == ("app/a", "app/b", "app/c")
        results = await run
        assert list(results.exits) == ["a", "b", "c"]
    assert order == ["c", "b", "a"]


async def test_killed_member_comes_back_under_the_same_handle() -> None:
    """A new incarnation, a new process; the others do not notice; statistics count it."""
    async with Manager(Supervisor(sleeper("a"), sleeper("b"), backoff=QUICK)) as manager:
        a, b = manager.find("a"), manager.find("b")
        pids = a.pid, b.pid
        os.kill(a.pid or 0, signal.SIGKILL)
        await a.wait_for(incarnation=2, state=State.RUNNING)
        assert a.pid != pids[0]
        assert (b.pid, b.incarnation) == (pids[1], 1)
        assert a.exit is not None
        assert a.exit.signal is signal.SIGKILL
        assert a.statistics().restarts == 1


async def test_delay_is_visible_and_can_be_skipped() -> None:
    """BACKOFF, with the time of the next start; restart() does not wait for it."""
    backoff = Backoff(600.0, 600.0, jitter=None)
    async with Manager(Supervisor(sleeper("a"), backoff=backoff)) as manager:
        a = manager.find("a")
        a.signal("KILL")
        await a.wait_for(state=State.BACKOFF)
        assert a.restart_at is not None
        assert 590 < a.restart_at - asyncio.get_running_loop().time() <= 600
        assert "again in" in manager.tree().text()
        await a.restart()
        assert (a.state, a.incarnation, a.restart_at) == (State.RUNNING, 2, None)


async def test_predicate_is_given_the_exit() -> None:
    """It says of each whether the node comes back; one that raises is logged, and failures are repeated."""
    seen: list[int | None] = []

    def until_third(exit: object) -> bool:
        seen.append(exit.code)  # type: ignore[attr-defined]  # an Exit
        return len(seen) < 3

    async with Manager() as manager:
        handle = await manager.start(Command("sh", "-c", "exit 7", restart=until_third, backoff=None))
        assert (await handle.wait()).code == 7
    assert seen == [7, 7, 7]


async def test_limit_ends_the_supervisor_with_its_failures() -> None:
    """RestartLimitReached from run() and from the member's handle, with the exits that counted."""
    async with Manager() as manager:
        app = await manager.start(Supervisor(sleeper("other"), Process(fail, "boom", name="bad"), intensity=2, backoff=QUICK))
        with pytest.raises(RestartLimitReached, match="3 failures within 30 s, and 2 are allowed") as caught:
            await app
        assert [exit.incarnation for exit in caught.value.exits] == [1, 2, 3]
        assert isinstance(caught.value.__cause__, ValueError)
        bad = manager.find("supervisor/bad")
        assert [exit.incarnation for exit in bad.failures] == [1, 2, 3]
        with pytest.raises(RestartLimitReached):
            await bad
        other = manager.find("supervisor/other")
        assert other.exit is not None
        assert other.exit.asked_by == "failure of app/supervisor/bad"


async def test_start_that_fails_undoes_what_was_started() -> None:
    """StartFailed names the member, its cause is the member's; the manager is closed, nobody is left."""
    manager = Manager(Supervisor(sleeper("a"), Command("no such program", name="b"), sleeper("c")))
    with pytest.raises(StartFailed, match="app/b") as caught:
        async with manager:
            pass
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    assert manager.find("c").incarnation == 0
    with pytest.raises(StartFailed, match="app/b"):
        await manager.run()


async def test_essential_member_gives_the_run_its_outcome() -> None:
    """Its good end ends all well; its failure is raised as it is."""
    job = Process(quits, essential=True, restart="transient", name="job")
    results = await Manager(Supervisor(sleeper("a"), job)).run()
    assert isinstance(results["job"], int)
    bad = Process(fail, "boom", essential=True, restart="temporary", name="job")
    with pytest.raises(ValueError, match="boom"):
        await Manager(Supervisor(sleeper("a"), bad)).run()


async def test_children_can_join_scale_and_go_while_it_runs() -> None:
    """Those that joined are members; nobody else is touched."""
    async with Manager(Supervisor(sleeper("a"), sleeper("w", scale=2), backoff=QUICK)) as manager:
        app = group(manager)
        pids = {node.name: node.pid for node in manager.nodes("app/*")}
        joined = await app.start(sleeper("x"))
        joined.signal("KILL")
        await joined.wait_for(incarnation=2, state=State.RUNNING)
        await app.scale("w", 4)
        assert [node.name for node in manager.nodes("app/*")] == ["a", "w-1", "w-2", "x", "w-3", "w-4"]
        await app.scale("w", 1)
        await app.remove("x")
        assert {node.name: node.pid for node in manager.nodes("app/*")} == {name: pids[name] for name in ("a", "w-1")}
        with pytest.raises(StateError, match="no child 'x'"):
            await app.remove("x")


async def test_rolling_restart_replaces_all_a_few_at_a_time() -> None:
    """Each when the one before it is ready."""
    async with Manager(Supervisor(sleeper("w", scale=4))) as manager:
        app = group(manager)
        least = 4

        def count(moved: object) -> None:
            nonlocal least
            least = min(least, sum(node.state is State.RUNNING for node in manager.nodes("app/*")))

        app._supervisor.subscribers.append(count)
        await app.rolling_restart(limit=2)
        assert {node.incarnation for node in manager.nodes("app/*")} == {2}
        assert least == 2


async def test_start_waits_for_a_slot_in_order_of_calls() -> None:
    """The limit is for those that joined; it can be raised."""
    async with Manager(Supervisor(sleeper("a"), limit=1)) as manager:
        app = group(manager)
        first = await app.start(sleeper("x"))
        starts = [asyncio.create_task(app.start(sleeper(name))) for name in ("y", "z")]
        for _ in range(5):  # each asks the machine in its first turn
            await asyncio.sleep(0)
        assert [manager.find(name).state for name in ("y", "z")] == [State.WAITING, State.WAITING]
        await first.stop()
        assert (await starts[0]).name == "y"
        assert manager.find("z").state is State.WAITING
        app.limit = 2
        assert (await starts[1]).state is State.RUNNING


async def test_node_of_its_own_below_a_supervisor_is_no_member() -> None:
    """What the manager starts ends when it ends; needs and essential are for members."""
    async with Manager(Supervisor(sleeper("a"))) as manager:
        assert await manager.run(Process(nothing)) is None
        handle = await manager.start(Process(until_told))
        await handle.stop()
        with pytest.raises(SpecError, match="is for members of a Supervisor"):
            await manager.start(Process(nothing, needs=["a"]))
        with pytest.raises(SpecError, match="is no sibling"):
            await group(manager).start(Process(nothing, needs=["b"]))


WRONG = {
    "a circle": (lambda: [sleeper("a", needs=["b"]), sleeper("b", needs=["a"])], "needs is a circle"),
    "an unknown need": (lambda: [sleeper("a", needs=["c"])], "is no sibling; there are a"),
    "an unknown restart": (lambda: [sleeper("a", restart="always")], "must be one of 'permanent'"),
    "one name twice": (lambda: [sleeper("a"), sleeper("a")], "is given to two members"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_supervisors_are_refused_when_they_are_made(what: str) -> None:
    """Nothing has started by then."""
    members, rule = WRONG[what]
    with pytest.raises(SpecError, match=rule):
        Supervisor(*members())


async def test_messages_reach_the_next_incarnation() -> None:
    """The handle stays; what is sent while nobody is there waits."""
    async with Manager() as manager:
        echo = await manager.start(Process(echo_once, restart="permanent", backoff=None, name="echo"))
        await echo.send(1)
        assert await echo.receive() == (1, 1)
        await echo.wait_for(incarnation=2)  # what was sent to one that ends before it has taken it is lost with it
        await echo.send(2)
        assert await echo.receive() == (2, 2)


async def echo_once() -> None:
    await current().send((await current().receive(), current().incarnation))


async def test_who_was_given_up_is_remembered_with_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    """After its node is forgotten, and after the close, too. The log says it at once."""
    manager = Manager(Supervisor(sleeper("a"), sleeper("b"), backoff=QUICK, intensity=1, at_limit="stay"))
    assert manager.given_up == []
    async with manager:
        handle = manager.find("a")
        for incarnation in (1, 2):
            await handle.wait_for(incarnation=incarnation, state=State.RUNNING)
            os.kill(handle.pid or 0, signal.SIGKILL)
        await handle.wait()
        (error,) = manager.given_up
        assert str(error).startswith("app/a: 2 failures within")
        assert [exit.signal for exit in error.exits] == [signal.SIGKILL] * 2
        assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [f"{error}; it is given up"]
        await handle.restart()
        await group(manager).remove("a")
        assert [str(each) for each in manager.given_up] == [str(error)]
    assert len(manager.given_up) == 1


async def test_member_that_ends_well_before_it_called_ready_has_failed_to_start() -> None:
    """As for who starts it by hand: the supervisor says which it was, and nobody after it begins."""
    begun: list[str] = []
    app = Supervisor(
        Process(nothing, name="a", ready="call"),
        sleeper("b", starting=lambda handle: begun.append(handle.name)),
    )
    with pytest.raises(StartFailed, match="app could not start: app/a finished"):
        async with Manager(app):
            raise AssertionError("not reached")
    assert begun == []
