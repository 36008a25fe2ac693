"""Handles: what awaiting, stopping, talking to and looking at one child gives, for every kind of child."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from asyncproc import (
    ChildCrashed,
    ChildStopped,
    Command,
    CommandError,
    Concurrent,
    Coroutine,
    Handle,
    Manager,
    Process,
    Reason,
    RemoteError,
    StartFailed,
    State,
    StateError,
    Thread,
    current,
)
from asyncproc.errors import ChannelBroken, EncodeError, EndOfChannel
from tests.manager.targets import (
    Hidden,
    Picky,
    chained,
    deaf,
    die,
    echo,
    echo_async,
    echo_mail,
    echo_mail_async,
    end_with,
    exit_hard,
    fail,
    fail_async,
    fail_pickily,
    fail_unpicklably,
    finish_when_asked,
    finish_when_asked_async,
    finish_when_asked_in_thread,
    give_hidden,
    hold,
    hold_async,
    nothing,
    send_all,
    send_all_async,
    send_hidden,
    until_cancelled,
    until_term,
    until_told,
    until_told_async,
)

# --- await: M1, M2, S2.83, S2.88, B2.1, B2.3 -------------------------------------------------------------------------------

RESULTS = [
    Process(echo, 1),
    Process(echo_async, 1),
    Thread(echo, 1),
    Thread(echo_async, 1),
    Coroutine(echo_async, 1),
]
FAILURES = [
    Process(fail, "oh"),
    Process(fail_async, "oh"),
    Thread(fail, "oh"),
    Thread(fail_async, "oh"),
    Coroutine(fail_async, "oh"),
]


def kind(spec: Any) -> str:
    return f"{type(spec).__name__}-{spec.made_name}"


@pytest.mark.both_loops
@pytest.mark.parametrize("spec", RESULTS, ids=kind)
async def test_await_gives_the_result(spec: Any) -> None:
    """M1: for every kind of child, twice the same object."""
    async with Manager() as manager:
        handle = await manager.start(spec)
        assert await handle == 1
        assert await handle is await handle
        assert handle.exit is not None and handle.exit.ok and handle.exit.reason is Reason.FINISHED


@pytest.mark.both_loops
@pytest.mark.parametrize("spec", FAILURES, ids=kind)
async def test_await_raises_the_childs_own_exception(spec: Any) -> None:
    """M1: the class kept, a note with path, phase and incarnation, the exit explained in one line."""
    async with Manager() as manager:
        handle = await manager.start(spec, name="bad")
        with pytest.raises(ValueError, match="oh") as caught:
            await handle
        assert "node app/bad, phase loop, loop 1, incarnation 1" in caught.value.__notes__
        exit = await handle.wait()
        assert exit.reason is Reason.CRASHED and exit.error is caught.value
        assert exit.explain().startswith("app/bad crashed") and "ValueError: oh" in exit.explain()


async def test_a_remote_exception_has_its_remote_traceback_as_cause() -> None:
    """M1, B2.3: the traceback of the child is the cause; its own causes stay behind it."""
    async with Manager() as manager:
        with pytest.raises(ValueError, match="outer") as caught:
            await manager.run(Process(chained, "outer"))
    text = ""
    error: BaseException | None = caught.value
    while error is not None:
        text += f"{type(error).__name__}: {error}\n"
        error = error.__cause__
    assert "chained" in text and "KeyError" in text
    assert isinstance(caught.value.__cause__, RemoteError | KeyError)


async def test_a_users_exception_keeps_its_fields() -> None:
    """S2.88: an exception with fields of its own comes back as its own class, with them."""
    async with Manager() as manager:
        with pytest.raises(Picky) as caught:
            await manager.run(Process(fail_pickily))
    assert (caught.value.code, caught.value.reason, str(caught.value)) == (7, "because", "7: because")


async def test_an_exception_that_cannot_be_rebuilt_is_a_named_proxy() -> None:
    """An exception that cannot be sent is a RemoteError with its class's name and traceback."""
    async with Manager() as manager:
        with pytest.raises(RemoteError, match="9: no way back") as caught:
            await manager.run(Process(fail_unpicklably))
    assert caught.value.type_name.endswith("OneWay") and "fail_unpicklably" in caught.value.traceback


async def test_a_hard_death_is_a_crash_with_its_signal() -> None:
    """M1, B2.1: SIGKILL, os._exit and a segmentation fault are never a success."""
    async with Manager() as manager:
        for number in (signal.SIGKILL, signal.SIGSEGV):
            with pytest.raises(ChildCrashed) as caught:
                await manager.run(Process(die, number))
            assert caught.value.exit is not None and caught.value.exit.signal is number and not caught.value.exit.killed
        with pytest.raises(ChildCrashed) as caught:
            await manager.run(Process(exit_hard, 3))
        assert caught.value.exit is not None and caught.value.exit.code == 3


async def test_an_end_without_a_result_is_a_crash_also_with_code_0() -> None:
    """M1, B2.1: os._exit(0) is no success, and is raised as ChildCrashed."""
    async with Manager() as manager:
        with pytest.raises(ChildCrashed) as caught:
            await manager.run(Process(exit_hard, 0))
        assert caught.value.exit is not None and caught.value.exit.code == 0


@pytest.mark.parametrize(
    "code, reason", [(None, Reason.FINISHED), (0, Reason.FINISHED), (3, Reason.CRASHED), ("x", Reason.CRASHED)]
)
async def test_sys_exit_ends_a_child_as_it_ends_a_program(code: Any, reason: Reason) -> None:
    """sys.exit() and sys.exit(0) end well, anything else is a crash with that code; it never ends the owner."""
    async with Manager() as manager:
        handle = await manager.start(Process(end_with, code))
        exit = await handle.wait()
        assert exit.reason is reason
        assert exit.code == {None: 0, "x": 1}.get(code, code)


async def test_a_command_outside_its_ok_codes_is_a_command_error() -> None:
    """M1: with argv, code and the last lines of standard error; ok_codes make it a result."""
    async with Manager() as manager:
        with pytest.raises(CommandError) as caught:
            await manager.run(Command("sh", "-c", "echo out; echo why >&2; exit 4"))
        error = caught.value
        assert error.code == 4 and error.argv[0] == "sh" and "why" in str(error)
        assert error.completed.stdout == "out\n"  # type: ignore[attr-defined]  # Completed
        done = await manager.run(Command("sh", "-c", "exit 4", ok_codes=(0, 4)))
        assert done.returncode == 4


async def test_a_child_that_was_cut_off_raises_child_stopped() -> None:
    """M2: cancelled or killed by us is ChildStopped for each kind, never CancelledError."""
    async with Manager() as manager:
        handles = [
            await manager.start(Process(until_cancelled)),
            await manager.start(Coroutine(until_cancelled)),
            await manager.start(Thread(until_cancelled)),
            await manager.start(Process(deaf)),
            await manager.start(Command("sleep", "1000")),
        ]
        await handles[0].receive()
        await handles[3].receive()
        for handle in handles:
            exit = await (handle.kill() if handle is handles[3] else handle.stop())
            assert exit.reason is Reason.STOPPED and not exit.ok, handle
            with pytest.raises(ChildStopped) as caught:
                await handle
            assert caught.value.exit == exit


@pytest.mark.parametrize(
    "spec",
    [Process(finish_when_asked), Process(finish_when_asked_async, on_stop="finish"), Thread(finish_when_asked_in_thread)],
    ids=kind,
)
async def test_a_child_that_ends_by_itself_when_asked_gives_its_result(spec: Any) -> None:
    """M2: asked, it came to its own end: its result, and exit.ok."""
    async with Manager() as manager:
        handle = await manager.start(spec)
        assert await handle.receive() == "up"
        exit = await handle.stop()
        assert (exit.reason, exit.ok, exit.asked_by) == (Reason.STOPPED, True, "handle.stop()")
        assert await handle == "ended by itself"


async def test_killed_by_somebody_else_is_a_crash() -> None:
    """M2: an outsider's SIGKILL is not our stop."""
    async with Manager() as manager:
        handle = await manager.start(Process(until_told))
        assert handle.pid is not None
        os.kill(handle.pid, signal.SIGKILL)
        with pytest.raises(ChildCrashed) as caught:
            await handle
        assert caught.value.exit is not None and caught.value.exit.signal is signal.SIGKILL
        assert caught.value.exit.asked_by is None


# --- who awaits, and how: M7, M8, D1.1, D1.4 -------------------------------------------------------------------------------


@pytest.mark.both_loops
async def test_a_handle_works_with_all_of_asyncio() -> None:
    """M8: gather, wait_for and as_completed take it as it is; ensure_future and wait() for the rest."""
    async with Manager() as manager:
        handles = [await manager.start(Process(until_told, n)) for n in range(3)]
        for handle in handles:
            await handle.send("go")
        assert await asyncio.gather(*handles) == [0, 1, 2]
        assert await asyncio.wait_for(handles[0], 10) == 0
        assert sorted([await done for done in asyncio.as_completed(handles)]) == [0, 1, 2]
        assert await asyncio.ensure_future(handles[1]) == 1
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(handle.wait()) for handle in handles]
        assert all(task.result().ok for task in tasks)
        done, pending = await asyncio.wait([asyncio.ensure_future(handle) for handle in handles])
        assert {task.result() for task in done} == {0, 1, 2} and not pending


async def test_cancelling_an_await_ends_the_waiting_only() -> None:
    """M7: also by wait_for's time; the child lives on and its result is still to be had."""
    async with Manager() as manager:
        handle = await manager.start(Process(until_told))
        for waiting in (asyncio.ensure_future(handle), asyncio.ensure_future(handle.wait())):
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(handle, 0.01)
        assert handle.state is State.RUNNING
        await handle.send("go")
        assert await handle == "told"


async def test_cancelling_a_start_ends_what_it_began() -> None:
    """M7: a start that is cancelled leaves no node running."""
    async with Manager() as manager:
        task = asyncio.ensure_future(manager.start(Process(deaf, grace=0.0), name="a"))
        events = manager.events()
        while (await anext(events)).after is not State.STARTING:
            pass
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert manager.find("a").state is State.ENDED


@pytest.mark.both_loops
async def test_many_tasks_await_one_child_before_and_after_its_end() -> None:
    """D1.1: a thousand tasks get the same object; so does one that comes late."""
    async with Manager() as manager:
        handle = await manager.start(Process(until_told, [1]))
        tasks = [asyncio.ensure_future(handle) for _ in range(1000)]
        await handle.send("go")
        values = await asyncio.gather(*tasks)
        assert values == [[1]] * 1000 and len({id(value) for value in values}) == 1
        assert await handle is values[0]


@pytest.mark.both_loops
async def test_a_thousand_handles_are_awaited_without_a_thread() -> None:
    """D1.1, B2.9: the number of threads does not grow with the number of handles that are awaited."""
    async with Manager() as manager:
        handles = [await manager.start(Coroutine(until_told_async, n)) for n in range(990)]
        handles += [await manager.start(Process(until_told, n)) for n in range(990, 1000)]
        before = threading.active_count()
        waiting = asyncio.gather(*handles)
        for handle in handles:
            await handle.receive()
        assert threading.active_count() == before
        for handle in handles:
            await handle.send("go")
        assert await waiting == list(range(1000))
        assert threading.active_count() == before


async def test_leaving_the_block_of_a_handle_stops_the_child() -> None:
    """``async with handle`` ends it, also by an error, which goes on as it was."""
    async with Manager() as manager:
        with pytest.raises(KeyError):
            async with await manager.start(Coroutine(until_cancelled)) as handle:
                raise KeyError("mine")
        assert handle.state is State.ENDED


# --- failures that nobody awaited: M9 --------------------------------------------------------------------------------------


async def test_a_failure_that_nobody_awaited_is_logged_and_comes_out_of_the_block(caplog: pytest.LogCaptureFixture) -> None:
    """M9: logged when it happens, raised on leaving; it does not stop others."""
    with pytest.raises(ExceptionGroup) as caught:
        async with Manager() as manager:
            await manager.start(Coroutine(until_told_async), name="bad")
            other = await manager.start(Process(until_told), name="other")
            await manager.find("bad").send(ValueError("oh"))
            await manager.find("bad").wait_for(state=State.ENDED)
            assert any("app/bad crashed" in record.getMessage() for record in caplog.records)
            assert other.state is State.RUNNING
            await other.send("go")
            await other
    assert [str(error) for error in caught.value.exceptions] == ["oh"]


@pytest.mark.parametrize("how", ["await", "wait", "gather"])
async def test_a_failure_that_somebody_awaited_does_not_come_out_again(how: str) -> None:
    """M9: whoever awaited has been told."""
    async with Manager() as manager:
        handle = await manager.start(Coroutine(fail_async, "oh"))
        if how == "wait":
            await handle.wait()
        else:
            with pytest.raises(ValueError, match="oh"):
                await (handle if how == "await" else asyncio.gather(handle))


# --- ready: M10, M11, M15 --------------------------------------------------------------------------------------------------


async def test_start_returns_when_the_child_is_ready() -> None:
    """M10: a Python child runs, a command is executed; what has ended well by then counts as ready."""
    async with Manager() as manager:
        for spec in (Process(until_told), Thread(until_told), Coroutine(until_told_async)):
            handle = await manager.start(spec)
            assert handle.ready and handle.state is State.RUNNING
            await handle.send("go")
        command = await manager.start(Command("cat", "/dev/zero", stdout="null"))
        assert command.ready and command.pid is not None
        assert os.readlink(f"/proc/{command.pid}/exe").endswith("cat")
        await command.stop()
        assert (await manager.start(Command("true"))).ready


@pytest.mark.parametrize(
    "spec, cause",
    [
        (Command("no-such-program-anywhere"), FileNotFoundError),
        (Command("/etc/passwd"), PermissionError),
        (Command("true", cwd="/no/such/place"), FileNotFoundError),
        (Process(nothing, cwd="/no/such/place"), FileNotFoundError),
    ],
    ids=["missing", "not executable", "cwd of a command", "cwd of a process"],
)
async def test_what_cannot_start_raises_start_failed_with_errno_and_step(spec: Any, cause: type[OSError]) -> None:
    """M11: at once, with the child's exception as the cause, which names the step; the node has failed."""
    async with Manager() as manager:
        with pytest.raises(StartFailed) as caught:
            await manager.start(spec, name="a")
        assert isinstance(caught.value.__cause__, cause)
        assert any("step: " in note for note in caught.value.__cause__.__notes__)
        assert caught.value.exit is not None and caught.value.exit.reason is Reason.CRASHED
        assert manager.find("a").state is State.ENDED


async def test_a_stop_before_ready_makes_start_raise_child_stopped() -> None:
    """M15: who asked for the end gets the exit, who started it gets ChildStopped."""
    async with Manager() as manager:
        events = manager.events()
        start = asyncio.ensure_future(manager.start(Process(nothing), name="a"))
        while (await anext(events)).after is not State.STARTING:
            pass
        exit = await manager.find("a").kill()
        assert exit.reason is Reason.STOPPED
        with pytest.raises(ChildStopped):
            await start


# --- stop: M14, D2.8, B2.4 -------------------------------------------------------------------------------------------------


@pytest.mark.both_loops
@pytest.mark.parametrize("spec", [Process(until_cancelled), Thread(until_cancelled), Coroutine(until_cancelled)], ids=kind)
async def test_stop_cancels_async_code_at_its_await(spec: Any) -> None:
    """M14: CancelledError at the await, so that its finally runs; at once, long before its grace is over."""
    async with Manager() as manager:
        handle = await manager.start(spec)
        assert await handle.receive() == "up"
        exit = await handle.stop(grace=600.0)
        assert exit.reason is Reason.STOPPED and not exit.killed and exit.duration < 60
        assert [await handle.receive(), await handle.receive()] == ["cancelled", "finally ran"]


@pytest.mark.parametrize("target", [until_told_async, finish_when_asked_async])
@pytest.mark.parametrize("make", [Process, Thread, Coroutine])
async def test_on_stop_finish_lets_async_code_end_by_itself(make: Any, target: Any) -> None:
    """M14: no cancellation; the child sees stopping and comes to its end."""
    async with Manager() as manager:
        handle = await manager.start(make(target, on_stop="finish"))
        assert await handle.receive() == "up"
        stop = asyncio.ensure_future(handle.stop(grace=600.0))
        await handle.wait_for(state=State.STOPPING)
        if target is until_told_async:
            await handle.send("go")
        exit = await stop
        assert exit.ok
        assert await handle in ("told", "ended by itself")


async def test_stop_raises_stopping_in_plain_code_that_does_not_look() -> None:
    """M14: no acknowledgement, hence TERM, which raises Stopping in the main thread: finally runs."""
    async with Manager() as manager:
        handle = await manager.start(Process(until_term))
        assert await handle.receive() == "up"
        exit = await handle.stop(grace=1.0)
        assert exit.reason is Reason.STOPPED and not exit.killed
        assert [await handle.receive(), await handle.receive()] == ["Stopping was raised", "finally ran"]


@pytest.mark.both_loops
async def test_a_term_from_outside_reaches_async_code_too() -> None:
    """M14: TERM raises Stopping in the main thread of a child with a loop; finally runs, and it is a crash by nobody's wish."""
    async with Manager() as manager:
        handle = await manager.start(Process(until_cancelled))
        assert await handle.receive() == "up"
        handle.signal(signal.SIGTERM)
        async with asyncio.timeout(5):
            exit = await handle.wait()
        assert exit.reason is Reason.CRASHED and not exit.killed
        heard = []
        with pytest.raises(ChannelBroken):
            while True:
                heard.append(await handle.receive())
        assert heard[-1] == "finally ran"


async def test_what_ignores_all_is_killed_at_the_end_of_its_grace() -> None:
    """M14: KILL, and the report says so."""
    async with Manager() as manager:
        handle = await manager.start(Process(deaf), name="deaf")
        await handle.receive()
        report = await manager.stop(grace=0.1)
        assert report.killed == ("app/deaf",) and report.left == ()
        exit = handle.exit
        assert exit is not None and exit.killed and exit.signal is signal.SIGKILL


async def test_a_command_gets_its_own_stop_signal(tmp_path: Path) -> None:
    """M14: stop_signal first; a command that ends by it has been stopped."""
    text = """if True:
        import os, signal, sys
        signal.signal(signal.SIGUSR1, lambda *_: sys.exit(print("heard")))
        os.write(os.open(sys.argv[1], os.O_WRONLY), b"up")
        signal.pause()
    """
    os.mkfifo(tmp_path / "up")
    reader = os.open(tmp_path / "up", os.O_RDWR | os.O_NONBLOCK)
    loop = asyncio.get_running_loop()
    up = asyncio.Event()
    loop.add_reader(reader, up.set)
    async with Manager() as manager:
        handle = await manager.start(Command(sys.executable, "-c", text, str(tmp_path / "up"), stop_signal="SIGUSR1"))
        await up.wait()
        loop.remove_reader(reader)
        os.close(reader)
        exit = await handle.stop()
        assert exit.ok and exit.code == 0
        assert (await handle).stdout == "heard\n"


async def test_a_stopped_command_wakes_to_hear_its_signal() -> None:
    """M14: CONT comes with it, so that a process under SIGSTOP ends in time."""
    async with Manager() as manager:
        handle = await manager.start(Command("sleep", "1000"))
        handle.signal("STOP")
        exit = await handle.stop()
        assert exit.signal is signal.SIGTERM and not exit.killed


async def test_a_thread_that_does_not_listen_is_given_up_and_named() -> None:
    """M14: a thread cannot be killed: StopReport.left names it, its exit is not ok."""
    gate = threading.Event()
    async with Manager() as manager:
        handle = await manager.start(Thread(gate.wait, name="stuck"))
        report = await manager.stop(grace=0.01)
        assert report.left == ("app/stuck",) and report.killed == ()
        with pytest.raises(ChildStopped):
            await handle
    gate.set()


async def test_a_second_stop_can_only_hurry_the_first() -> None:
    """S2.80: idempotent; kill during a patient stop ends it, and both get the same exit."""
    async with Manager() as manager:
        handle = await manager.start(Process(deaf))
        await handle.receive()
        first = asyncio.ensure_future(handle.stop(grace=None))
        second = asyncio.ensure_future(handle.stop(grace=600.0))
        await handle.wait_for(state=State.STOPPING)
        exit = await handle.kill()
        assert await first == await second == exit
        assert await handle.stop() == await handle.kill() == exit


@pytest.mark.parametrize("grace", [-1, "5", True, float("nan")])
async def test_a_grace_that_is_no_time_is_refused(grace: Any) -> None:
    """SpecError naming the field, before anything is asked of the child."""
    async with Manager() as manager:
        handle = await manager.start(Coroutine(until_told_async))
        for stop in (handle.stop, manager.stop):
            with pytest.raises(ValueError, match="grace"):
                await stop(grace=grace)
        assert handle.state is State.RUNNING


# --- signal ----------------------------------------------------------------------------------------------------------------


async def test_signal_reaches_the_process() -> None:
    """By number and by name; without a process it is a StateError that says so."""
    async with Manager() as manager:
        for named in (signal.SIGKILL, 9, "SIGKILL", "kill"):
            handle = await manager.start(Process(until_told))
            handle.signal(named)
            exit = await handle.wait()
            assert exit.signal is signal.SIGKILL and exit.reason is Reason.CRASHED
            with pytest.raises(StateError, match="no process"):
                handle.signal(named)
        thread = await manager.start(Thread(until_told))
        with pytest.raises(StateError, match="no process"):
            thread.signal(9)
        await thread.send("go")
        command = await manager.start(Command("sleep", "1000"))
        with pytest.raises(ValueError):
            command.signal("SIGNONSENSE")
        command.signal("SIGINT")
        assert (await command.wait()).signal is signal.SIGINT


# --- send and receive: S2.85's, D1.7, M1 -----------------------------------------------------------------------------------

MAIL = [Process(echo_mail), Process(echo_mail_async), Thread(echo_mail), Thread(echo_mail_async), Coroutine(echo_mail_async)]


@pytest.mark.both_loops
@pytest.mark.parametrize("spec", MAIL, ids=kind)
async def test_values_pass_in_order_in_both_directions(spec: Any) -> None:
    """Order is kept over a thousand values, of which many are on their way at once."""
    async with Manager() as manager:
        handle = await manager.start(spec)

        async def feed() -> None:
            for number in range(1000):
                await handle.send(number)
            await handle.send(None)

        feeding = asyncio.ensure_future(feed())
        assert [await handle.receive() for _ in range(1000)] == list(range(1000))
        await feeding
        assert await handle == 1000


@pytest.mark.parametrize("spec", MAIL, ids=kind)
async def test_large_and_empty_values_pass(spec: Any) -> None:
    """5 MiB in one value, and values that are false."""
    large = os.urandom(5 << 20)
    async with Manager() as manager:
        handle = await manager.start(spec)
        for value in (large, b"", 0, "", [], False):
            await handle.send(value)
            assert await handle.receive() == value
        await handle.send(None)
        assert await handle == 6


@pytest.mark.parametrize("spec", [Process(echo, None), Thread(echo, None), Coroutine(echo_async, None)], ids=kind)
async def test_none_is_a_value(spec: Any) -> None:
    """B2.6: a sent None is received as None, and is a result."""

    async with Manager() as manager:
        assert await manager.run(spec) is None
        handle = await manager.start(type(spec)(until_told_async, None))
        assert await handle.receive() == "up"
        await handle.send(None)
        assert await handle is None


@pytest.mark.parametrize(
    "make, target",
    [
        (Process, send_all),
        (Process, send_all_async),
        (Thread, send_all),
        (Coroutine, send_all_async),
    ],
)
async def test_a_sender_waits_while_nobody_receives(make: Any, target: Any) -> None:
    """D1.7: an endless child holds about 1 MiB (64 values within this process) on its way, whatever it wants to send."""
    async with Manager() as manager:
        handle = await manager.start(make(target, 400, 1 << 16, grace=0.0))
        first, _ = await handle.receive()
        assert first == 0
        numbers = [(await handle.receive())[0] for _ in range(399)]
        assert numbers == list(range(1, 400))
        await handle


@pytest.mark.parametrize("make", [Process, Thread, Coroutine])
async def test_the_owner_waits_while_the_child_receives_nothing(make: Any) -> None:
    """D1.7: send() waits once more than 1 MiB, or 64 values, is on its way; what was sent is not lost."""
    async with Manager() as manager:
        handle = await manager.start(make(hold if make is not Coroutine else hold_async))
        assert await handle.receive() == "up"
        sent = 0

        async def feed() -> None:
            nonlocal sent
            while True:
                await handle.send(bytes(1 << 16))
                sent += 1

        feeding = asyncio.ensure_future(feed())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(feeding), 0.1)
        assert 15 <= sent <= 65
        exit = await handle.kill() if make is Process else await handle.stop(grace=0.0)
        assert exit.reason is Reason.STOPPED
        with pytest.raises((ChannelBroken, EndOfChannel)):
            await feeding


@pytest.mark.parametrize("make", [Process, Thread])
async def test_what_cannot_be_encoded_fails_that_one_transfer(make: Any) -> None:
    """An unencodable value names its type and its field; what comes after it passes."""
    async with Manager() as manager:
        if make is Process:
            handle = await manager.start(Process(send_hidden))
            assert await handle.receive() == "next"
            text = await handle
            assert "lock" in text.lower() and "first" in text
        handle = await manager.start(Process(echo_mail))
        with pytest.raises(EncodeError, match="lock") as caught:
            await handle.send({"deep": [Hidden()]})
        assert "deep" in str(caught.value)
        await handle.send("fine")
        assert await handle.receive() == "fine"
        await handle.send(None)
        assert await handle == 1


async def test_a_result_that_cannot_be_encoded_is_the_childs_failure() -> None:
    """The error names the type and the field of the result."""
    async with Manager() as manager:
        with pytest.raises(EncodeError, match="result") as caught:
            await manager.run(Process(give_hidden))
        assert "lock" in str(caught.value)


async def test_arguments_that_cannot_be_encoded_fail_the_start() -> None:
    """StartFailed with an EncodeError that names the argument."""
    async with Manager() as manager:
        with pytest.raises(StartFailed) as caught:
            await manager.start(Process(echo, Hidden()))
        assert isinstance(caught.value.__cause__, EncodeError)
        assert "lock" in str(caught.value.__cause__)
        assert await manager.run(Process(echo, 1)) == 1


async def test_the_end_of_a_child_ends_the_talk() -> None:
    """EndOfChannel when it ended well, ChannelBroken when not; what it sent before is received first, also by late comers."""
    async with Manager() as manager:
        for kill, error in ((False, EndOfChannel), (True, ChannelBroken)):
            for spec in (Process(until_told), Process(until_told_async)):
                handle = await manager.start(spec)
                receiving = [asyncio.ensure_future(handle.receive()) for _ in range(3)]
                await handle.wait_for(state=State.RUNNING)
                if kill:
                    handle.signal(9)
                else:
                    await handle.send("go")
                await handle.wait()
                outcomes = await asyncio.gather(*receiving, return_exceptions=True)
                assert all(type(outcome) is error or outcome == "up" for outcome in outcomes)
                assert [outcome for outcome in outcomes if isinstance(outcome, error)]
                with pytest.raises(error):
                    await handle.receive()
                with pytest.raises(error):
                    await handle.send(1)


async def test_commands_and_groups_have_no_channel() -> None:
    """send() and receive() say so, and do not wait for ever."""
    async with Manager() as manager:
        for spec in (Command("sleep", "1000"), Concurrent(Coroutine(until_cancelled))):
            handle: Handle[Any] = await manager.start(spec)
            for call in (handle.send(1), handle.receive()):
                with pytest.raises(StateError, match="no channel"):
                    await call
            await handle.kill()


# --- states and events: D7.1, S2.59, S2.86, B2.5 ---------------------------------------------------------------------------


async def test_wait_for_a_state() -> None:
    """It returns when the node is there, at once when it is, and raises StateError when it can come there no more."""
    async with Manager() as manager:
        handle = await manager.start(Coroutine(until_told_async))
        await handle.wait_for(state=State.RUNNING)
        await handle.wait_for(incarnation=1)
        await handle.wait_for()
        ended = asyncio.ensure_future(handle.wait_for(state=State.ENDED))
        never = asyncio.ensure_future(handle.wait_for(incarnation=2))
        await handle.send("go")
        await ended
        with pytest.raises(StateError, match="ended for good"):
            await never
        with pytest.raises(StateError):
            await handle.wait_for(state=State.RUNNING)


@pytest.mark.both_loops
async def test_events_are_complete_and_in_order() -> None:
    """D7.1: every state once, with times that do not go back and the exit at the end; the stream ends with the node."""
    async with Manager() as manager:
        handle = await manager.start(Process(until_told), name="a")
        own = handle.events()
        late = [move.after async for move in events_until(manager, handle)]
        moves = [move async for move in own]
        assert [move.after for move in moves] == late == [State.STOPPING, State.ENDED]
        assert [move.before for move in moves] == [State.RUNNING, State.STOPPING]
        assert moves == sorted(moves, key=lambda move: move.time)
        assert moves[-1].exit == handle.exit and moves[0].exit is None
        assert {(move.path, move.incarnation) for move in moves} == {("app/a", 1)}
        assert [move async for move in handle.events()] == []


async def events_until(manager: Manager, handle: Handle[Any]) -> Any:
    events = handle.events()
    await handle.stop(grace=0.0)
    async for move in events:
        yield move


async def test_a_handle_tells_what_it_is() -> None:
    """S2.58, S2.86: name, path, state, pid, incarnation, exit and spec; equal for the same node."""
    async with Manager() as manager:
        spec = Process(until_told, name="a")
        handle = await manager.start(spec)
        assert (handle.name, handle.path, handle.incarnation, handle.exit, handle.spec) == ("a", "app/a", 1, None, spec)
        assert handle.pid not in (None, os.getpid())
        assert manager.find("a") == handle and len({manager.find("a"), handle}) == 1
        assert "app/a" in repr(handle) and "running" in repr(handle)
        pid = handle.pid
        await handle.send("go")
        await handle
        assert (handle.pid, handle.state) == (pid, State.ENDED)


async def test_a_child_out_of_time_has_failed() -> None:
    """timeout= of a node: its ladder, reason TIMED_OUT, a ChildTimeout that is a TimeoutError."""
    async with Manager() as manager:
        for spec in (
            Process(until_cancelled, timeout=0.1),
            Coroutine(until_cancelled, timeout=0.1),
            Command("sleep", "1000", timeout=0.1),
        ):
            with pytest.raises(TimeoutError) as caught:
                await manager.run(spec)
            assert caught.value.exit.reason is Reason.TIMED_OUT  # type: ignore[attr-defined]  # ChildTimeout


async def on_a_loop_of_its_own(work: Any) -> Any:
    """Run a coroutine in another thread, on another loop."""
    done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def run() -> None:
        done.get_loop().call_soon_threadsafe(done.set_result, asyncio.run(work))

    thread = threading.Thread(target=run)
    thread.start()
    result = await done
    thread.join()
    return result


async def test_a_handle_on_another_loop_says_so() -> None:
    """Awaiting it, or asking anything of it, where another loop runs is a StateError, not a hang."""
    async with Manager() as manager:
        handle = await manager.start(Coroutine(until_told_async))

        async def elsewhere() -> list[BaseException]:
            calls = (
                handle.wait(),
                handle.stop(),
                handle.kill(),
                handle.wait_for(state=State.ENDED),
                handle.send(1),
                handle.receive(),
            )
            return [error for call in calls if (error := await outcome(call)) is not None]

        async def outcome(call: Any) -> BaseException | None:
            try:
                await asyncio.wait_for(call, 1)
            except BaseException as error:
                return error
            return None

        errors = await on_a_loop_of_its_own(elsewhere())
        assert [type(error) for error in errors] == [StateError] * 6
        assert handle.state is State.RUNNING


async def test_stop_right_after_the_start_of_an_async_thread_is_heard() -> None:
    """Also when its loop does not stand yet."""
    async with Manager() as manager:
        for _ in range(20):
            handle = await manager.start(Thread(for_ever))
            exit = await handle.stop(grace=5.0)
            assert not exit.killed


async def for_ever() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("kind", [Process, Thread])
async def test_plain_code_can_wait_for_a_stop(kind: Any) -> None:
    """D1.8's other side: sync is the face of all that awaits."""
    async with Manager() as manager:
        handle = await manager.start(kind(until_stopping))
        assert await handle.receive() is False
        await handle.stop()
        assert await handle is True


def until_stopping() -> bool:
    current().sync.send(current().sync.wait_stopping(timeout=0))
    return current().sync.wait_stopping()
