"""The blocking face gives what the async one gives: results, ends, messages, pictures; each under its own name."""

from __future__ import annotations

import asyncio
import inspect
import signal
import threading
from typing import Any

import pytest

import asyncproc
from asyncproc import (
    ChildCrashed,
    ChildStopped,
    Command,
    Concurrent,
    Coroutine,
    NameTaken,
    Process,
    Reason,
    Results,
    Sequential,
    SpecError,
    StartFailed,
    State,
    StateError,
    Thread,
    UnknownNode,
    blocking,
)
from asyncproc.errors import EncodeError, EndOfChannel
from tests.manager.targets import (
    Hidden,
    deaf,
    die,
    echo,
    echo_async,
    echo_mail,
    echo_mail_async,
    fail,
    fail_async,
    hold,
    hold_async,
    nested,
    nothing,
    until_told,
    until_told_async,
    where,
)

KINDS = [Process(echo, 1), Process(echo_async, 1), Thread(echo, 1), Thread(echo_async, 1), Coroutine(echo_async, 1)]
FAILURES = [Process(fail, "oh"), Thread(fail, "oh"), Coroutine(fail_async, "oh")]
HOLDERS = [Process(hold), Process(hold_async), Thread(hold), Coroutine(hold_async)]


def kind(spec: Any) -> str:
    return f"{type(spec).__name__}-{spec.made_name}"


def has_portal() -> bool:
    return any(thread.name == "asyncproc-portal" for thread in threading.enumerate())


# --- results -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", KINDS, ids=kind)
def test_result_is_the_result(spec: Any) -> None:
    """Of every kind of child, by handle, by run() and by the function; twice the same, and after the manager is closed."""
    with blocking.Manager() as manager:
        handle = manager.start(spec)
        assert handle.result() == handle.result(timeout=5) == manager.run(spec) == 1
        exit = handle.wait()
        assert exit.ok and handle.exit == exit
    assert handle.result() == 1 and handle.wait(0.0) == exit
    assert blocking.run(spec) == 1


@pytest.mark.parametrize("spec", FAILURES, ids=kind)
def test_result_raises_the_childs_own_exception(spec: Any) -> None:
    """Its class, with the note of the node; by each of the three ways."""
    with blocking.Manager() as manager:
        handle = manager.start(spec, name="bad")
        for call in (handle.result, lambda: manager.run(spec)):
            with pytest.raises(ValueError, match="oh"):
                call()
        assert handle.wait(0).reason is Reason.CRASHED  # it need not wait
    with pytest.raises(ValueError, match="oh") as caught:
        blocking.run(spec)
    assert any(note.startswith("node app/") for note in caught.value.__notes__)


def test_group_gives_results_and_an_exception_group() -> None:
    """The tree of the manager, in rounds, without opening it; a failure is nested as the groups are."""
    tree = Concurrent(Process(where), Sequential(Thread(where), name="then"))
    manager = blocking.Manager(tree)
    for _ in range(2):
        results = manager.run(rounds=2)
        assert isinstance(results, Results)
        assert (results["where"], results["then/where"], results.rounds) == ((2, 1), (2, 2), 2)
    with pytest.raises(ExceptionGroup) as caught:
        blocking.run(Concurrent(Process(fail, "oh")))
    assert isinstance(caught.value.exceptions[0], ValueError)


def test_command_and_bare_callable() -> None:
    """What stands for a spec elsewhere does here."""
    assert blocking.run(Command("echo", "x")).stdout == "x\n"
    assert blocking.run(lambda: 4) == 4
    with blocking.Manager() as manager:
        assert manager.run(lambda: 5) == manager.start(lambda: 5).result() == 5


# --- opening and closing -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_leaving_stops_children_with_their_ladder() -> None:
    """Of every kind; nothing is left: no thread, no descriptor (the leak check says so)."""
    with blocking.Manager() as manager:
        handles = [manager.start(spec) for spec in HOLDERS]
        for handle in handles:
            assert handle.receive() == "up"
        assert [handle.state for handle in handles] == [State.RUNNING] * 4
    assert [handle.wait().reason for handle in handles] == [Reason.STOPPED] * 4
    assert not has_portal()


def test_leaving_with_an_error_lets_it_go_on_as_it_was() -> None:
    """M28: children are stopped, the same exception object comes out, unawaited failures are notes."""
    mine = KeyError("mine")
    with pytest.raises(KeyError) as caught, blocking.Manager() as manager:
        manager.start(Process(fail, "oh"), name="bad").wait_for(state=State.ENDED)
        handle = manager.start(Process(hold))
        raise mine
    assert caught.value is mine and any("meanwhile a node failed: ValueError" in note for note in mine.__notes__)
    assert handle.state is State.ENDED


def test_failure_that_nobody_awaited_comes_out_of_the_block() -> None:
    """M9."""
    with pytest.raises(ExceptionGroup) as caught, blocking.Manager() as manager:
        manager.start(Process(fail, "oh"), name="bad").wait_for(state=State.ENDED)
    assert isinstance(caught.value.exceptions[0], ValueError)


def test_open_and_close() -> None:
    """Where ``with`` cannot stand; closed twice, opened again, refused when open."""
    manager = blocking.Manager(name="mine")
    manager.close()
    assert manager.name == "mine" and "not open" in repr(manager)
    assert manager.open() is manager
    with pytest.raises(StateError, match="open already"):
        manager.open()
    assert manager.run(Coroutine(echo_async, 1)) == 1
    manager.close()
    manager.close()
    with manager:
        assert manager.run(Coroutine(echo_async, 2)) == 2


def test_closed_manager_says_how_to_open_it() -> None:
    """In the blocking spelling; what asks nothing of it works."""
    manager = blocking.Manager()
    for call in (lambda: manager.start(nothing), manager.events, manager.forget_ended):
        with pytest.raises(StateError, match=r"not open: use `with`, or open\(\)"):
            call()
    with pytest.raises(StateError, match="never opened"):
        manager.nodes()
    assert manager.stop().duration == 0.0 and manager.kill().killed == () and manager.stop_bound == 0.0
    with manager:
        manager.start(Process(echo, 1)).wait()
    assert [handle.path for handle in manager.nodes()] == ["app/echo"]
    assert manager.find("echo").result() == 1 and "echo" in manager.tree().text()


def test_wrong_options_are_refused_before_anything_starts() -> None:
    """All faults at once; no thread is started for them."""
    with pytest.raises(SpecError) as caught:
        blocking.Manager(name="a/b", spares=-1)
    assert [fault.field for fault in caught.value.faults] == ["name", "spares"]
    with pytest.raises(SpecError, match="rounds"):
        blocking.run(nothing, rounds=-1)
    with pytest.raises(SpecError, match="grace"):
        blocking.run(nothing, grace=-1)
    with pytest.raises(SpecError, match="binding"):
        blocking.Manager(nothing).run(binding=False)
    assert not has_portal()


def test_set_replaces_the_tree_only_while_it_is_closed() -> None:
    """As with the async one."""
    manager = blocking.Manager(Coroutine(echo_async, 1))
    manager.set(Coroutine(echo_async, 2))
    assert manager.run() == 2
    with manager, pytest.raises(StateError, match="is open"):
        manager.set(nothing)


def test_dropped_manager_warns_and_leaves_nobody() -> None:
    """The last reference gone: its children end, and so does the portal."""
    manager = blocking.Manager().open()
    child = manager.start(Process(hold))
    portal = next(thread for thread in threading.enumerate() if thread.name == "asyncproc-portal")
    with pytest.warns(ResourceWarning, match="was not closed"):
        del manager
    assert child.wait().reason is Reason.STOPPED
    portal.join()


# --- handles -----------------------------------------------------------------------------------------------------------


def test_handle_says_what_it_is() -> None:
    """Every property, of a child and of a group; equal for the same node; found by path and pattern."""
    with blocking.Manager(name="top") as manager:
        spec = Process(until_told, name="one")
        handle = manager.start(spec)
        assert (handle.name, handle.path, handle.incarnation, handle.round, handle.ready) == ("one", "top/one", 1, 1, True)
        assert handle.spec is spec and handle.pid and handle.exit is None
        assert repr(handle) == f"<blocking.Handle top/one running, pid {handle.pid}>"
        assert handle == manager.find("one") == manager.nodes("**/one")[0] and len({handle, manager.find("top/one")}) == 1
        with pytest.raises(UnknownNode):
            manager.find("two")
        with pytest.raises(NameTaken):
            manager.start(spec)
        group = manager.start(Concurrent(Process(hold), Thread(hold), name="both"))
        assert isinstance(group, blocking.Group) and group.running == 2
        assert [child.path for child in group.children] == ["top/both/hold", "top/both/hold-2"]
        assert manager.nodes(state=State.RUNNING)[0] == handle and manager.stop_bound == 6.5
        handle.send("go")
        assert handle.result() == "told"
        assert manager.forget_ended() == 1


@pytest.mark.parametrize("spec", [Process(echo_mail), Process(echo_mail_async), Thread(echo_mail)], ids=kind)
def test_messages(spec: Any) -> None:
    """There and back; a value that cannot be sent, a timeout that loses nothing, and the end are told."""
    with blocking.Manager() as manager:
        handle = manager.start(spec)
        for value in ("a", {"b": [1]}):
            handle.send(value, timeout=5)
            assert handle.receive(timeout=5) == value
        with pytest.raises(TimeoutError, match=r"node app/echo_mail\w*, running: receive\(\) was not through after 0.01 s"):
            handle.receive(timeout=0.01)
        if not isinstance(spec, Thread):
            with pytest.raises(EncodeError):
                handle.send(Hidden())
        handle.send("late")
        assert handle.receive() == "late"
        handle.send(None)
        assert handle.result() == 3
        with pytest.raises(EndOfChannel):
            handle.receive()
    with pytest.raises(EndOfChannel):
        handle.send("too late")
    with blocking.Manager() as manager, pytest.raises(StateError, match="no channel"):
        manager.start(Command("sleep", "100")).receive()


def test_stop_kill_and_signal() -> None:
    """Each gives the Exit; a signal that does not exist and a child without a process are refused."""
    with blocking.Manager() as manager:
        stopped, killed, hurt = (manager.start(Process(until_told), name=name) for name in ("stopped", "killed", "hurt"))
        assert stopped.stop(grace=0.0).reason is Reason.STOPPED
        assert killed.kill().killed
        hurt.signal(signal.SIGKILL)
        with pytest.raises(ChildCrashed):
            hurt.result()
        with pytest.raises(ChildStopped):
            stopped.result()
        with pytest.raises(StateError, match="has no process"):
            manager.start(Coroutine(hold_async)).signal("SIGTERM")
        with pytest.raises(SpecError, match="number"):
            manager.start(Process(hold), name="odd").signal("SIGNOT")
        report = manager.stop(grace=5.0)
        assert len(report.ended) == 2 and not report.left


def test_with_handle_stops_it_on_leaving() -> None:
    """As ``async with handle``."""
    with blocking.Manager() as manager:
        with manager.start(Process(hold)) as handle:
            assert handle.receive() == "up"
        assert handle.state is State.ENDED


def test_waiting_ends_with_its_condition() -> None:
    """Ready, a state, an incarnation; what will not come any more is told, and a start that fails."""
    with blocking.Manager() as manager:
        handle = manager.start(Process(until_told))
        handle.wait_ready()
        handle.wait_for(state=State.RUNNING, incarnation=1)
        handle.send("go")
        handle.wait_for(state=State.ENDED, timeout=5)
        for _ in range(2):  # with a portal and without
            with pytest.raises(StateError, match="will not come to running"):
                handle.wait_for(state=State.RUNNING)
            manager.close()
        handle.wait_ready()
    with blocking.Manager() as manager, pytest.raises(StartFailed):
        manager.start(Command("/no/such/program"))


def test_events_come_in_order_until_the_end() -> None:
    """Of a node and of the manager; nothing is missed between events() and the first next()."""
    with blocking.Manager() as manager:
        everything = manager.events()
        handle = manager.start(Process(until_told))
        events = handle.events()
        handle.send("go")
        handle.wait()
        assert [moved.after for moved in events] == [State.ENDED]
        first = next(everything)
        assert (first.path, everything.dropped) == ("app/until_told", 0)
        manager.events().close()
    assert [moved.after for moved in everything][-1] is State.ENDED
    assert list(handle.events()) == []


def test_closed_events_end_for_whoever_waits() -> None:
    """Another thread ends the iteration."""
    with blocking.Manager() as manager:
        events = manager.events()
        seen: list[Any] = []
        reader = threading.Thread(target=lambda: seen.extend(events))
        reader.start()
        manager.run(Coroutine(echo_async, 1))
        events.close()
        reader.join()
        assert {moved.path for moved in seen} <= {"app/echo_async"}


# --- the rest ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [-1, float("nan"), "5", True])
def test_wrong_timeout_is_refused(timeout: Any) -> None:
    """The error names node, field and value."""
    with blocking.Manager() as manager, pytest.raises(SpecError, match=r"node app/hold, running: timeout must be >= 0 seconds"):
        manager.start(Thread(hold)).wait(timeout)


def test_timeout_ends_the_waiting_only() -> None:
    """Each call that has one; the child lives on and can be waited for again. A huge one is none."""
    with blocking.Manager() as manager:
        handle = manager.start(Process(until_told))
        calls = (handle.result, handle.wait, lambda timeout: handle.wait_for(state=State.ENDED, timeout=timeout))
        for call in calls:
            for timeout in (0, 0.01):
                with pytest.raises(TimeoutError, match=r"node app/until_told, running: \w+\(\) was not through after"):
                    call(timeout)
        assert handle.state is State.RUNNING
        handle.send("go")
        assert handle.result(timeout=1e300) == "told"


@pytest.mark.slow
def test_child_has_a_blocking_manager_of_its_own() -> None:
    """A plain function in a process and in a thread; its path goes on from the child's."""

    def outer() -> Any:
        with blocking.Manager(name="inner") as manager:
            return manager.run(Process(nested, 0, name="deep"))

    assert blocking.run(Process(outer, name="a")) == "app/a/inner/deep"
    assert blocking.run(Thread(outer, name="b")) == "app/b/inner/deep"


@pytest.mark.slow
def test_stop_of_a_child_with_a_blocking_manager_stops_both() -> None:
    """What asks a plain child to end interrupts its blocking call, and its own children go first."""

    def outer() -> None:
        with blocking.Manager(name="inner") as manager:
            handle = manager.start(Process(until_told))
            asyncproc.current().sync.send(handle.receive())
            handle.result()

    with blocking.Manager() as manager:
        handle = manager.start(Process(outer, grace=2.0))
        assert handle.receive() == "up"
        exit = handle.stop()
        assert exit.reason is Reason.STOPPED and not exit.killed


@pytest.mark.slow
def test_stubborn_coroutine_does_not_hold_up_the_close() -> None:
    """It is given up, as ever; the portal ends without it."""

    async def stubborn() -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                pass

    with blocking.Manager() as manager:
        manager.start(Coroutine(stubborn, grace=0.0))
        assert manager.stop().left == ("app/stubborn",)


def test_kill_of_a_deaf_child_is_reported() -> None:
    """manager.kill() gives a report like the async one."""
    with blocking.Manager() as manager:
        handle = manager.start(Process(deaf))
        assert handle.receive() == "up"
        assert manager.kill().killed == ("app/deaf",)
        assert manager.run(Process(die, signal.SIGKILL, name="x"), rounds=0) is None


PAIRS = [(asyncproc.Manager, blocking.Manager), (asyncproc.Handle, blocking.Handle), (asyncproc.Group, blocking.Group)]
RENAMED = {"aopen": "open", "aclose": "close"}


@pytest.mark.parametrize("theirs, ours", PAIRS, ids=["Manager", "Handle", "Group"])
def test_blocking_face_has_every_public_name_of_the_async_one(theirs: type, ours: type) -> None:
    """With the same parameters; timeouts come in addition. Only what checks a run before it begins is not for users."""
    for name, member in inspect.getmembers(theirs):
        if name.startswith("_") or name == "check_run":
            continue
        mine = inspect.getattr_static(ours, RENAMED.get(name, name))
        assert mine is not None
        if inspect.isfunction(member):
            added = dict(inspect.signature(getattr(ours, RENAMED.get(name, name))).parameters)
            added.pop("timeout", None)
            assert list(added) == list(inspect.signature(member).parameters), name


def test_told_by_a_coroutine() -> None:
    """A coroutine runs on the portal's loop; what it waits for comes from this thread."""
    with blocking.Manager() as manager:
        handle = manager.start(Coroutine(until_told_async))
        assert handle.receive() == "up"
        handle.send("go")
        assert handle.result() == "told"
