"""The manager: opening and closing, names, looking, callbacks, reports, and the hosts that it lives in."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from typing import Any

import anyio
import pytest

from asyncproc import (
    Command,
    Concurrent,
    Coroutine,
    Handle,
    Manager,
    NameTaken,
    Process,
    Sequential,
    SpecError,
    State,
    StateError,
    Thread,
    UnknownNode,
)
from tests.manager.targets import (
    deaf,
    echo,
    echo_async,
    echo_pid,
    fail,
    fail_async,
    nested,
    nothing,
    until_cancelled,
    until_told,
    until_told_async,
)


def exists(pid: int | None) -> bool:
    return os.path.exists(f"/proc/{pid}")


# --- opening and closing: M22, M28, D1.5, D7.9, B1.6 -----------------------------------------------------------------------


@pytest.mark.both_loops
async def test_leaving_the_block_stops_what_runs_in_reverse_order_of_start() -> None:
    """D1.5: children of every kind are gone when the block is left."""
    async with Manager() as manager:
        for number in range(3):
            await manager.start(Coroutine(until_cancelled, name=f"c{number}"))
        process = await manager.start(Process(until_told, grace=0.0, name="p"))
        await manager.start(Command("sleep", "1000", name="s"))
        assert await (await manager.start(Thread(until_cancelled, name="t"))).receive() == "up"
        events = manager.events()
    moves = [move async for move in events]
    order = [move.path for move in moves if move.after is State.STOPPING]
    assert order == [f"app/{name}" for name in ("t", "s", "p", "c2", "c1", "c0")]
    assert process.pid is not None and not exists(process.pid)


async def test_an_error_in_the_block_goes_on_as_it_was() -> None:
    """M28, D1.5: the children are gone before it propagates; failures that nobody awaited are notes on it."""
    error = KeyError("mine")
    with pytest.raises(KeyError) as caught:
        async with Manager() as manager:
            handle = await manager.start(Coroutine(until_told_async), name="bad")
            other = await manager.start(Coroutine(until_cancelled))
            await handle.send(ValueError("oh"))
            await handle.wait_for(state=State.ENDED)
            raise error
    assert caught.value is error
    assert error.__notes__ == ["meanwhile a node failed: ValueError: oh"]
    assert other.state is State.ENDED


async def test_an_unopened_manager_says_so() -> None:
    """M22: start, events and looking are StateErrors before opening; so is opening twice; it opens again after closing."""
    manager = Manager()
    with pytest.raises(StateError, match="not open"):
        await manager.start(nothing)
    for look in (manager.tree, manager.nodes, manager.events, manager.forget_ended, lambda: manager.find("x")):
        with pytest.raises(StateError):
            look()
    await manager.aclose()
    async with manager:
        with pytest.raises(StateError, match="open already"):
            await manager.aopen()
        assert await manager.run(Coroutine(echo_async, 1)) == 1
    with pytest.raises(StateError, match="not open"):
        await manager.start(nothing)
    async with manager:
        assert await manager.run(Coroutine(echo_async, 2)) == 2


async def test_opening_does_not_start_a_tree_of_groups() -> None:
    """M21: anything but a Supervisor waits for run()."""
    async with Manager(Concurrent(nothing)) as manager:
        assert {handle.state for handle in manager.nodes()} == {State.CREATED}


@pytest.mark.both_loops
async def test_aclose_by_any_task_any_number_of_times() -> None:
    """At once from three tasks, again afterwards, from one that opened it and from others."""
    manager = await Manager().aopen()
    handle = await manager.start(Coroutine(until_cancelled))
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(manager.aclose())
    assert handle.state is State.ENDED
    await manager.aclose()


async def test_aclose_in_a_cancelled_task_is_carried_through() -> None:
    """A cancellation while closing hurries it; the task is cancelled only when nothing is left."""
    manager = await Manager().aopen()
    handle = await manager.start(Process(deaf, grace=None))
    await handle.receive()
    closing = asyncio.ensure_future(manager.aclose())
    await handle.wait_for(state=State.STOPPING)
    closing.cancel()
    while not closing.done() and handle.state is not State.ENDED:
        closing.cancel()
        await handle_moved(handle)
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert handle.state is State.ENDED and not exists(handle.pid)
    await manager.aclose()


async def handle_moved(handle: Handle[Any]) -> None:
    """Wait a hundredth of a second at most for the end of a node."""
    try:
        async with asyncio.timeout(0.01):
            await handle.wait()
    except TimeoutError:
        pass


async def test_several_managers_at_once_know_nothing_of_each_other() -> None:
    """D7.9: names, nodes and ends are each one's own."""
    async with Manager() as one, Manager() as two, Manager(name="three") as three:
        handles = [await manager.start(Process(until_told), name="same") for manager in (one, two, three)]
        assert [handle.path for handle in handles] == ["app/same", "app/same", "three/same"]
        assert len({handle.pid for handle in handles}) == 3
        assert (await one.kill()).killed == ("app/same",)
        assert [handle.state for handle in handles] == [State.ENDED, State.RUNNING, State.RUNNING]
        for handle in handles[1:]:
            await handle.send("go")
            assert await handle == "told"


async def test_managers_run_in_other_threads() -> None:
    """D1.9: each on a loop of its own, with processes and commands, beside one in this thread."""

    async def work() -> tuple[int, str]:
        async with Manager() as manager:
            pid = await manager.run(Process(echo_pid))
            done = await manager.run(Command("echo", "hi"))
        return pid, done.stdout

    results: list[tuple[int, str]] = []
    threads = [threading.Thread(target=lambda: results.append(asyncio.run(work()))) for _ in range(2)]
    for thread in threads:
        thread.start()
    results.append(await work())
    for thread in threads:
        thread.join()
    assert len({pid for pid, _ in results}) == 3 and {text for _, text in results} == {"hi\n"}


async def test_a_manager_in_a_child_continues_its_path() -> None:
    """M31, S2.72: children may have children, three deep, with paths that continue."""
    async with Manager(name="top") as manager:
        assert await manager.run(Process(nested, 3, name="a")) == "top/a/inner/b/inner/b/inner/b"
        assert await manager.run(Coroutine(nested_coroutine, name="c")) == "top/c/inner/d"


async def nested_coroutine() -> str:
    async with Manager(name="inner") as manager:
        return (await manager.start(Coroutine(echo_async, 1), name="d")).path


async def test_a_manager_on_another_loop_says_so() -> None:
    """Everything that waits is a StateError on a loop that is not the manager's."""
    async with Manager(Concurrent(nothing)) as manager:
        errors: list[BaseException] = []

        async def elsewhere() -> None:
            for call in (
                manager.start(nothing),
                manager.run(),
                manager.run(nothing),
                manager.stop(),
                manager.kill(),
                manager.aclose(),
            ):
                try:
                    await call
                except BaseException as error:
                    errors.append(error)

        thread = threading.Thread(target=lambda: asyncio.run(elsewhere()))
        thread.start()
        thread.join()
        assert [type(error) for error in errors] == [StateError] * 6
        assert all("another event loop" in str(error) for error in errors)
        assert (await manager.run()).ok


async def test_wrong_arguments_of_a_manager_are_all_told() -> None:
    """SpecError with every fault at once."""
    wrong: Any = {"name": "a/b", "grace": -1, "preload": "json", "spares": -1}
    with pytest.raises(SpecError) as caught:
        Manager(**wrong)
    assert [(fault.field, fault.value) for fault in caught.value.faults] == list(wrong.items())


# --- anyio as a host -------------------------------------------------------------------------------------------------------


async def test_a_scope_of_anyio_around_a_run_ends_it() -> None:
    """D1.4: move_on_after cancels again and again; the children are gone when it is left."""
    async with Manager() as manager:
        with anyio.move_on_after(0.05) as scope:
            await manager.run(Process(deaf, grace=0.1))
        assert scope.cancelled_caught
        assert {handle.state for handle in manager.nodes()} <= {State.ENDED}
        with anyio.move_on_after(0.05) as scope:
            await manager.start(Coroutine(echo_async, 1))
            await manager.run(Coroutine(until_cancelled))
        assert scope.cancelled_caught


async def test_a_cancelled_task_group_of_anyio_closes_its_managers() -> None:
    """A manager opened in a task of a group that is cancelled leaves nothing behind, and stops no other's cancellation."""
    handles: list[Handle[Any]] = []

    async def host(*, task_status: Any) -> None:
        async with Manager() as manager:
            handles.append(await manager.start(Process(until_told, grace=0.0)))
            handles.append(await manager.start(Coroutine(until_cancelled)))
            task_status.started()
            await anyio.sleep_forever()

    async with anyio.create_task_group() as group:
        for _ in range(2):
            await group.start(host)
        group.cancel_scope.cancel()
    assert [handle.state for handle in handles] == [State.ENDED] * 4


# --- names and paths: M29, M30, M31 ----------------------------------------------------------------------------------------


async def test_a_bare_callable_is_a_process() -> None:
    """M29: started, run, and as a member, plain or async."""
    async with Manager() as manager:
        assert await manager.run(echo_pid) != os.getpid()
        handle = await manager.start(echo_pid)
        assert await handle != os.getpid()
    assert (await Manager(Sequential(echo_pid)).run())["echo_pid"] != os.getpid()


async def test_made_names() -> None:
    """M30: the target's, the class's, the program's without its directory; numbered when not alone."""

    class Meter(Coroutine[int]):
        async def loop(self) -> int:
            return 1

    async with Manager() as manager:
        specs = [
            Coroutine(echo_async, 1),
            Coroutine(echo_async, 1),
            Meter(),
            Command("/bin/echo"),
            Process(lambda: 1),
            Sequential(),
        ]
        names = [(await manager.start(spec)).name for spec in specs]
        assert names == ["echo_async", "echo_async-2", "Meter", "echo", "lambda", "sequential"]
        assert (await manager.start(Coroutine(echo_async, 1, name="given"))).name == "given"
        assert (await manager.start(Coroutine(echo_async, 1, name="given"), name="other")).name == "other"


async def test_a_name_is_taken_while_its_node_lives() -> None:
    """M30: NameTaken, unless replace=True, which stops the old one first; the name of an ended node is free."""
    async with Manager() as manager:
        old = await manager.start(Coroutine(until_cancelled), name="a")
        with pytest.raises(NameTaken, match="app/a"):
            await manager.start(Coroutine(until_cancelled), name="a")
        new = await manager.start(Coroutine(until_told_async), name="a", replace=True)
        assert old.state is State.ENDED and new.state is State.RUNNING
        assert manager.find("a") == new != old
        await new.send("go")
        await new
        again = await manager.start(Coroutine(echo_async, 1), name="a")
        assert await again == 1 and manager.find("a") == again


async def test_two_replacements_at_once_leave_one_node() -> None:
    """M30: each stops whoever has the name when its turn comes."""
    async with Manager() as manager:
        await manager.start(Coroutine(until_cancelled), name="a")
        starts = [manager.start(Coroutine(until_cancelled), name="a", replace=True) for _ in range(3)]
        await asyncio.gather(*starts, return_exceptions=True)
        live = manager.nodes(state=State.RUNNING)
        assert [handle.path for handle in live] == ["app/a"]
        assert live == [manager.find("a")]


async def test_the_name_of_a_planned_node_is_taken() -> None:
    """M30: what the manager's own tree is made of cannot be replaced by a start."""
    async with Manager(Concurrent(Coroutine(echo_async, 1, name="a"))) as manager:
        with pytest.raises(NameTaken):
            await manager.start(nothing, name="a", replace=True)
        assert (await manager.start(Coroutine(echo_async, 1), name="b")).path == "app/b"
        assert dict(await manager.run()) == {"a": 1}


@pytest.mark.parametrize("name", ["", "a/b", "a b", "ä", "x" * 101, 7, None])
async def test_an_illegal_name_is_refused(name: Any) -> None:
    """M30: SpecError naming the field, in a spec and at a start."""
    with pytest.raises(SpecError, match="name"):
        Process(nothing, name=name)
    if name is not None:
        async with Manager() as manager:
            with pytest.raises(SpecError, match="name"):
                await manager.start(nothing, name=name)


async def test_scale_without_a_group_is_refused() -> None:
    """scale is for members of a Concurrent: never taken and forgotten."""
    spec = Coroutine(echo_async, 1, scale=3)
    with pytest.raises(SpecError, match="scale"):
        await Manager(spec).run()
    with pytest.raises(SpecError, match="scale"):
        Sequential(spec)
    async with Manager() as manager:
        for call in (manager.start(spec), manager.run(spec)):
            with pytest.raises(SpecError, match="scale"):
                await call


# --- looking: find, nodes, tree, forget_ended; S2.69, D7.2 -----------------------------------------------------------------


def tree_of_six() -> Concurrent:
    inner = Concurrent(Coroutine(echo_async, 2, name="index"), Coroutine(echo_async, 3, name="thumbs"), name="pair")
    return Concurrent(Coroutine(echo_async, 1, name="fetch"), Sequential(inner, name="build"))


async def test_find_takes_the_path_with_and_without_the_first_part() -> None:
    """M31: also the root; what is not there is UnknownNode, a LookupError."""
    async with Manager(tree_of_six(), name="top") as manager:
        assert manager.find("top/build/pair/index") == manager.find("build/pair/index")
        assert manager.find("top").path == "top"
        for path in ("", "nothing", "top/", "build/", "index"):
            with pytest.raises(UnknownNode):
                manager.find(path)
        with pytest.raises(LookupError):
            manager.find("x")


@pytest.mark.parametrize(
    "pattern, paths",
    [
        ("**", ["app", "app/fetch", "app/build", "app/build/pair", "app/build/pair/index", "app/build/pair/thumbs"]),
        ("*", ["app", "app/fetch", "app/build"]),
        ("app/*", ["app/fetch", "app/build"]),
        ("build/**", ["app/build", "app/build/pair", "app/build/pair/index", "app/build/pair/thumbs"]),
        ("**/index", ["app/build/pair/index"]),
        ("**/t*s", ["app/build/pair/thumbs"]),
        ("app/**/pair/*", ["app/build/pair/index", "app/build/pair/thumbs"]),
        ("nothing", []),
    ],
)
async def test_nodes_by_glob(pattern: str, paths: list[str]) -> None:
    """M31: ``*`` within one part, ``**`` any depth, in order of the tree."""
    async with Manager(tree_of_six()) as manager:
        assert [handle.path for handle in manager.nodes(pattern)] == paths


async def test_nodes_by_state() -> None:
    """S2.69: only those that are in it."""
    async with Manager() as manager:
        await manager.start(Coroutine(until_cancelled), name="a")
        await (await manager.start(Coroutine(echo_async, 1), name="b"))
        assert [handle.name for handle in manager.nodes(state=State.RUNNING)] == ["a"]
        assert [handle.name for handle in manager.nodes(state=State.ENDED)] == ["b"]
        assert [handle.name for handle in manager.nodes()] == ["a", "b"]


async def test_a_picture_of_the_tree_as_data_text_and_json() -> None:
    """D7.2: states, pids, ends and why; a snapshot does not change afterwards."""
    async with Manager(name="top") as manager:
        process = await manager.start(Process(until_told), name="worker")
        bad = await manager.start(Coroutine(fail_async, "oh"), name="bad")
        await bad.wait()
        picture = manager.tree()
        await process.kill()
        rows = {node.path: node for node in picture}
        assert rows["top/worker"].state is State.RUNNING and rows["top/worker"].pid == process.pid
        assert rows["top/bad"].exit == bad.exit
        text = picture.text()
        assert "worker" in text and f"pid {process.pid}" in text and "ValueError: oh" in text
        data = json.loads(picture.json())
        assert [child["name"] for child in data["root"]["children"]] == ["worker", "bad"]
        assert data["root"]["children"][1]["exit"]["reason"] == "crashed"
        assert json.loads(manager.tree().json())["root"]["children"][0]["state"] == "ended"


async def test_looking_after_the_end() -> None:
    """Nodes, exits and the picture can be had when the manager is closed."""
    manager = Manager(tree_of_six())
    await manager.run()
    assert manager.find("fetch").exit is not None
    assert {node.state for node in manager.tree()} == {State.ENDED}


async def test_forget_ended_forgets_what_was_started_and_has_ended() -> None:
    """S4.2's clean-up: so many; live ones and the manager's own tree stay."""
    async with Manager(Concurrent(Coroutine(echo_async, 1, name="own"))) as manager:
        await manager.run()
        for _ in range(3):
            await (await manager.start(Coroutine(echo_async, 1)))
        live = await manager.start(Coroutine(until_cancelled), name="live")
        assert manager.forget_ended() == 3
        assert manager.forget_ended() == 0
        assert [handle.path for handle in manager.nodes()] == ["app", "app/own", "app/live"]
        assert (await live.stop()).asked_by == "handle.stop()"


async def test_many_runs_leave_no_nodes_behind() -> None:
    """run(spec) forgets its node; started ones are bounded."""
    async with Manager() as manager:
        for number in range(50):
            assert await manager.run(Coroutine(echo_async, number)) == number
        assert manager.nodes() == []
        for number in range(1100):
            await (await manager.start(Coroutine(echo_async, number)))
        assert len(manager.nodes()) <= 1001


@pytest.mark.both_loops
async def test_the_managers_events_are_complete() -> None:
    """D7.1: every node's every state, in order of time, until the manager is closed; two readers see the same."""
    async with Manager(Concurrent(Process(nothing, name="a"), Coroutine(echo_async, 1, name="b"))) as manager:
        one, two = manager.events(), manager.events()
        await manager.run()
    first, second = [move async for move in one], [move async for move in two]
    assert first == second == sorted(first, key=lambda move: move.time)
    for path in ("app", "app/a", "app/b"):
        states = [(move.before, move.after) for move in first if move.path == path]
        assert states == [
            (State.CREATED, State.STARTING), (State.STARTING, State.RUNNING), (State.RUNNING, State.ENDED)
        ]  # fmt: skip


async def test_a_slow_reader_of_events_loses_the_oldest_and_is_told() -> None:
    """D1.7: bounded; the newest are kept, the lost ones counted."""
    async with Manager() as manager:
        events: Any = manager.events()
        for _ in range(400):
            await manager.run(Coroutine(echo_async, 1))
    kept = [move async for move in events]
    assert len(kept) == 1000 and events.dropped == 201  # three of each run, and the root's end
    assert kept[-1].after is State.ENDED


# --- reports ---------------------------------------------------------------------------------------------------------------


async def test_a_report_says_who_ended_who_was_killed_and_who_is_left() -> None:
    """M14: ended, killed, left, and how long it took."""
    gate = threading.Event()
    async with Manager() as manager:
        await manager.start(Coroutine(until_cancelled), name="good")
        stubborn = await manager.start(Process(deaf), name="stubborn")
        await stubborn.receive()
        await manager.start(Thread(gate.wait), name="stuck")
        report = await manager.stop(grace=0.1)
        assert (report.ended, report.killed, report.left) == (("app/good",), ("app/stubborn",), ("app/stuck",))
        assert 0.1 <= report.duration < 3
        again = await manager.stop()
        assert (again.ended, again.killed, again.left) == ((), (), ())
    gate.set()


async def test_stop_bound_is_the_longest_grace() -> None:
    """None as soon as one may take for ever."""
    async with Manager(grace=2.0) as manager:
        assert manager.stop_bound == 0.0
        await manager.start(Coroutine(until_cancelled))
        assert manager.stop_bound is not None and 2.0 <= manager.stop_bound < 5.0
        await manager.start(Coroutine(until_cancelled, grace=7.0))
        assert manager.stop_bound is not None and 7.0 <= manager.stop_bound < 10.0
        await manager.start(Coroutine(until_cancelled, grace=None))
        assert manager.stop_bound is None


# --- callbacks -------------------------------------------------------------------------------------------------------------


@pytest.mark.both_loops
async def test_callbacks_plain_and_async_see_the_handle() -> None:
    """starting before it exists, started when it is ready, ended with its exit; in the owner, on its loop."""
    seen: list[tuple[str, Any]] = []

    def starting(handle: Handle[Any]) -> None:
        seen.append(("starting", handle.pid))

    async def started(handle: Handle[Any]) -> None:
        seen.append(("started", handle.pid))

    async def ended(handle: Handle[Any]) -> None:
        assert handle.exit is not None
        seen.append(("ended", await handle))

    async with Manager() as manager:
        handle = await manager.start(Process(until_told, 5, starting=starting, started=started, ended=ended))
        await handle.send("go")
        await handle
    assert seen == [("starting", None), ("started", handle.pid), ("ended", 5)]


async def test_callbacks_of_a_group_are_its_members_defaults() -> None:
    """On a group they are the defaults of its members, nested ones too; a member's own stand instead; the group has none."""
    seen: list[str] = []

    def note(handle: Handle[Any]) -> None:
        seen.append(handle.path)

    def other(handle: Handle[Any]) -> None:
        seen.append(f"{handle.path} by its own")

    one = Coroutine(echo_async, 1, name="one")
    await Manager(Sequential(one, Sequential(one, name="g"), one.with_options(name="own", ended=other), ended=note)).run()
    assert seen == ["app/one", "app/g/one", "app/own by its own"]


@pytest.mark.parametrize("which", ["starting", "started", "ended"])
@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_callback_that_raises_is_logged_and_harms_nobody(
    which: str, asynchronous: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The child and the manager go on as if nothing had been."""

    def plain(handle: Handle[Any]) -> None:
        raise RuntimeError("callback broke")

    async def awaited(handle: Handle[Any]) -> None:
        raise RuntimeError("callback broke")

    options: Any = {which: awaited if asynchronous else plain}
    async with Manager() as manager:
        assert await manager.run(Process(echo, 5, **options)) == 5
    assert [record for record in caplog.records if record.exc_info and "callback broke" in str(record.exc_info[1])]


async def test_a_callback_may_start_and_stop_others() -> None:
    """An async callback works on the manager that calls it."""
    async with Manager() as manager:

        async def follow(handle: Handle[Any]) -> None:
            await manager.start(Coroutine(until_cancelled), name="next")

        await (await manager.start(Coroutine(echo_async, 1, ended=follow)))
        events = manager.events()
        while not manager.nodes("next", state=State.RUNNING):
            await anext(events)
        await manager.find("next").stop()


async def test_a_failing_target_calls_ended_with_its_exit() -> None:
    """ended sees what ended it, also when nobody awaits."""
    exits: list[Any] = []
    async with Manager() as manager:
        handle = await manager.start(Process(fail, "oh", ended=lambda handle: exits.append(handle.exit)))
        assert await handle.wait() is exits[0]
        assert str(exits[0].error) == "oh"


async def test_nothing_is_started_in_a_manager_that_closes() -> None:
    """What came after the stop would be nobody's; who asks for it is told."""
    ended = asyncio.Event()

    async def start_another(handle: Any) -> None:
        with pytest.raises(StateError, match="is being closed"):
            await manager.start(Process(nothing))
        ended.set()

    async with Manager() as manager:
        await manager.start(Process(until_told, ended=start_another))
    assert ended.is_set()
