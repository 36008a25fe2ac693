"""Many threads at once, threads that run a loop, and managers that come and go beside each other."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any

import pytest

from asyncproc import ChildStopped, Command, Coroutine, Handle, Process, State, StateError, Thread, blocking
from tests.manager.targets import echo, echo_async, echo_mail, fail, hold, until_told

COUNT = 8


def at_once(work: Callable[[int], Any]) -> list[Any]:
    """Call *work* with 0 to 7 in as many threads, which begin together."""
    line = threading.Barrier(COUNT)

    def begin(number: int) -> Any:
        line.wait()
        return work(number)

    with ThreadPoolExecutor(COUNT) as threads:
        return list(threads.map(begin, range(COUNT)))


def portals() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "asyncproc-portal"]


@pytest.mark.slow
def test_eight_threads_use_one_manager() -> None:
    """Runs, starts, messages, failures and pictures mix; each thread gets its own."""

    def work(number: int) -> list[Any]:
        handle = manager.start(Process(echo_mail), name=f"mail-{number}")
        got = []
        for value in range(20):
            handle.send((number, value))
            assert manager.find(f"mail-{number}") == handle and len(manager.nodes("**")) >= 1
            got.append(handle.receive())
        got.append(manager.run(Coroutine(echo_async, number)))
        with pytest.raises(ValueError, match=f"^{number}\n"):
            manager.run(Thread(fail, str(number)))
        handle.send(None)
        assert handle.result() == 20
        return got

    with blocking.Manager() as manager:
        results = at_once(work)
    assert results == [[*((number, value) for value in range(20)), number] for number in range(COUNT)]


def test_eight_threads_wait_for_one_node() -> None:
    """All are told, at once and of the same result; each timeout is its own."""

    def work(number: int) -> Any:
        if number == 0:
            handle.send("go")
        return handle.result()

    with blocking.Manager() as manager:
        handle = manager.start(Process(until_told))
        assert handle.receive() == "up"

        def too_early(number: int) -> None:
            with pytest.raises(TimeoutError):
                handle.wait(0.01 * number)

        at_once(too_early)
        assert at_once(work) == ["told"] * COUNT


def test_eight_threads_open_and_close_managers() -> None:
    """They share one portal, and the last one ends it; a new one comes with the next."""
    seen = set()

    def work(number: int) -> int:
        for _ in range(5):
            with blocking.Manager(name=f"m{number}") as manager:
                seen.update(portals())
                assert len(portals()) >= 1
                assert manager.run(Coroutine(echo_async, number)) == number
        return blocking.run(Coroutine(echo_async, number))

    assert at_once(work) == list(range(COUNT))
    assert not portals() and seen


def test_managers_share_one_portal() -> None:
    """Side by side, one thread."""
    with blocking.Manager(name="one") as one, blocking.Manager(name="two") as two:
        assert len(portals()) == 1
        handle = one.start(Process(until_told))
        assert two.run(Coroutine(echo_async, 1)) == 1
        two.close()
        assert len(portals()) == 1
        handle.send("go")
        assert handle.result() == "told"


@pytest.mark.slow
def test_close_by_another_thread_is_heard_by_all_who_wait() -> None:
    """Waiting for an end, a message, an event: nobody hangs, each hears what became of it."""
    with blocking.Manager() as manager:
        handle = manager.start(Process(hold))
        assert handle.receive() == "up"

        def work(number: int) -> Any:
            if number == 0:
                return manager.close()
            try:
                return (handle.result, handle.wait, handle.receive, lambda: list(own))[number % 4]()
            except Exception as error:
                return type(error).__name__

        own = manager.events()
        told = at_once(work)
        assert manager.find("hold") == handle and handle.wait().asked_by == "leaving the manager"
    assert told[0] is None and told[4] == "ChildStopped"
    assert told[1] == told[5] == handle.exit
    assert {told[2], told[6]} <= {"ChannelBroken", "EndOfChannel"}
    assert {moved.after for moved in told[3] + told[7]} == {State.STOPPING, State.ENDED}


def test_close_by_another_thread_ends_a_run_that_had_opened_the_manager() -> None:
    """The run hears that its child was stopped; both return, and the portal has ended with them."""
    up = threading.Event()
    manager = blocking.Manager(Process(hold, started=lambda handle: up.set()))

    def close() -> None:
        up.wait()
        manager.close()

    closing = threading.Thread(target=close)
    closing.start()
    with pytest.raises(ChildStopped):
        manager.run()
    closing.join()
    assert not portals() and "not open" in repr(manager)


def test_context_of_the_caller_reaches_its_children() -> None:
    """A Coroutine and a Thread see the context variables of the thread that began them, as on the async face."""
    word: ContextVar[str] = ContextVar("word", default="none")

    async def look() -> str:
        return word.get()

    def look_plainly() -> str:
        return word.get()

    word.set("mine")
    with blocking.Manager() as manager:
        assert manager.run(Coroutine(look)) == manager.run(Thread(look_plainly)) == "mine"


def test_callbacks_run_on_the_portal() -> None:
    """They get the async handle, and must not block."""
    seen: list[Any] = []

    def started(handle: Handle[Any]) -> None:
        seen.append(threading.current_thread().name)
        with pytest.raises(StateError, match="runs an event loop"):
            manager.stop()

    async def ended(handle: Handle[Any]) -> None:
        seen.append((await handle, handle.path))

    with blocking.Manager() as manager:
        manager.run(Process(echo, 1, started=started, ended=ended))
    assert seen == ["asyncproc-portal", (1, "app/echo")]


# --- where a loop runs -------------------------------------------------------------------------------------------------

REFUSED: list[tuple[Callable[[Any, Any], Any], str, str]] = [
    (lambda manager, handle: blocking.Manager().open(), "Manager.open()", "await manager.aopen()"),
    (lambda manager, handle: blocking.Manager().__enter__(), "Manager.open()", "await manager.aopen()"),
    (lambda manager, handle: manager.close(), "Manager.close()", "await manager.aclose()"),
    (lambda manager, handle: manager.start(echo), "Manager.start()", "await manager.start()"),
    (lambda manager, handle: manager.run(echo), "Manager.run()", "await manager.run()"),
    (lambda manager, handle: blocking.run(Command("true")), "Manager.run()", "await manager.run()"),
    (lambda manager, handle: manager.stop(), "Manager.stop()", "await manager.stop()"),
    (lambda manager, handle: manager.kill(), "Manager.kill()", "await manager.kill()"),
    (lambda manager, handle: manager.find("hold"), "Manager.find()", "manager.find()"),
    (lambda manager, handle: manager.nodes(), "Manager.nodes()", "manager.nodes()"),
    (lambda manager, handle: manager.tree(), "Manager.tree()", "manager.tree()"),
    (lambda manager, handle: manager.forget_ended(), "Manager.forget_ended()", "manager.forget_ended()"),
    (lambda manager, handle: manager.stop_bound, "Manager.stop_bound", "manager.stop_bound"),
    (lambda manager, handle: manager.given_up, "Manager.given_up", "manager.given_up"),
    (lambda manager, handle: manager.events(), "Manager.events()", "async for … in manager.events()"),
    (lambda manager, handle: handle.result(), "Handle.result()", "await handle"),
    (lambda manager, handle: handle.wait(), "Handle.wait()", "await handle.wait()"),
    (lambda manager, handle: handle.wait_ready(), "Handle.wait_ready()", "await handle.wait_ready()"),
    (lambda manager, handle: handle.wait_for(state=State.ENDED), "Handle.wait_for()", "await handle.wait_for()"),
    (lambda manager, handle: handle.stop(), "Handle.stop()", "await handle.stop()"),
    (lambda manager, handle: handle.kill(), "Handle.kill()", "await handle.kill()"),
    (lambda manager, handle: handle.signal(15), "Handle.signal()", "handle.signal()"),
    (lambda manager, handle: handle.send(1), "Handle.send()", "await handle.send()"),
    (lambda manager, handle: handle.receive(), "Handle.receive()", "await handle.receive()"),
    (lambda manager, handle: handle.events(), "Handle.events()", "async for … in handle.events()"),
]


def test_on_a_thread_that_runs_a_loop_every_call_says_what_to_write_there() -> None:
    """As in a notebook cell; what only reads is allowed. Afterwards all of it works."""
    with blocking.Manager() as manager:
        handle = manager.start(Thread(hold))
        events = manager.events()

        async def cell() -> None:
            for call, name, spelling in REFUSED:
                with pytest.raises(StateError) as caught:
                    call(manager, handle)
                text = str(caught.value)
                assert f"blocking.{name} blocks, and this thread runs an event loop" in text
                assert f"`{spelling}`" in text
            with pytest.raises(StateError, match=r"`async for … in manager.events\(\)`"):
                next(events)
            assert handle.state is State.RUNNING and handle.path == "app/hold" and "open" in repr(manager)
            assert await asyncio.to_thread(handle.receive) == "up"

        asyncio.run(cell())
        events.close()
        assert manager.run(Coroutine(echo_async, 1)) == 1
