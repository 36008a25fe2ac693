"""Circuits: in one process, in children, in children of children, and with whoever dies in them."""

from __future__ import annotations

import asyncio
import concurrent.futures
import copy
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from math import inf
from pathlib import Path
from typing import Any

import pytest

from asyncproc import (
    Backoff,
    ChildCrashed,
    Circuit,
    CircuitOpen,
    CircuitState,
    Coroutine,
    Handle,
    Manager,
    Process,
    SpecError,
    StartFailed,
    StateError,
    Stopping,
    Thread,
)
from asyncproc._spec.leaf import Body
from asyncproc.errors import EncodeError

from . import circuit_targets as targets
from .circuit_targets import NoRoute

CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN
SOON = Backoff(first=0.02, factor=1.0, jitter=None)
"""Half-open at the next look, and the second trial is let in soon if the first is never heard of."""
LATE = Backoff(first=0.02, cap=30.0, factor=1000.0, jitter=None)
"""The same for the first trip; the second is seen to last."""
LONG = Backoff(first=30.0, jitter=None)


def circuit(threshold: int = 2, backoff: Backoff | None = LONG, **options: Any) -> Circuit:
    return Circuit("api", threshold=threshold, backoff=backoff, **options)


def waiting_at(made: Circuit, begun: Callable[[], object]) -> None:
    """Call *begun* when somebody waits."""

    class Noting(set[Any]):
        def add(self, wake: Any) -> None:
            super().add(wake)
            begun()

    made._access._waiting = Noting()  # type: ignore[attr-defined]  # of a circuit of this process


# --- in one process -----------------------------------------------------------------------------------------------------------


async def test_failures_open_it_and_calls_are_refused_at_once() -> None:
    """The error says which, and when the next is let in; nothing has been called."""
    api = circuit(threshold=2)
    for _ in range(2):
        with pytest.raises(NoRoute):
            async with api:
                raise NoRoute("down")
    assert (api.state, api.failures, api.trips) == (OPEN, 2, 1)
    text = r"circuit 'api' is open: the next call is let in after (30|29\.\d+) s"
    with pytest.raises(CircuitOpen, match=text) as refused:
        async with api:
            raise AssertionError("was let in")
    assert refused.value.name == "api" and refused.value.retry_in is not None and 29.0 < refused.value.retry_in <= 30.0
    again = pickle.loads(pickle.dumps(refused.value))
    assert (str(again), again.name, again.retry_in) == (str(refused.value), "api", refused.value.retry_in)


async def test_a_wait_and_a_try_is_the_circuit_that_sleeps() -> None:
    """Half-open after the delay; a success closes it."""
    api = circuit(threshold=1, backoff=SOON)
    calls: list[int] = []
    while len(calls) < 3:
        await api.wait_permitted()
        try:
            async with api:
                calls.append(len(calls))
                if len(calls) < 3:
                    raise NoRoute("down")
        except NoRoute:
            continue
    assert (api.state, api.trips, api.failures, api.retry_in) == (CLOSED, 2, 0, 0.0)


async def test_without_backoff_it_stays_open_until_it_is_reset() -> None:
    """Who waits is told then."""
    api = circuit(backoff=None)
    api.trip()
    with pytest.raises(CircuitOpen, match="circuit 'api' is open until it is reset") as refused:
        async with api:
            pass
    assert (refused.value.retry_in, api.retry_in, api.state) == (None, None, OPEN)
    waiting = asyncio.create_task(api.wait_permitted())
    await asyncio.sleep(0)
    api.reset()
    await waiting
    assert (api.state, api.trips) == (CLOSED, 1)


class Answered(Exception):
    """The dependency has spoken."""


@pytest.mark.parametrize(
    ("error", "failures"),
    [
        (NoRoute("down"), 1),
        (TimeoutError(), 1),
        (Answered("no such page"), 0),
        (ExceptionGroup("both", [Answered(), NoRoute()]), 1),
        (ExceptionGroup("both", [Answered(), Answered()]), 0),
        (asyncio.CancelledError(), 0),
        (concurrent.futures.CancelledError(), 0),
        (BaseExceptionGroup("both", [asyncio.CancelledError(), Answered()]), 0),
        (KeyboardInterrupt(), 0),
        (Stopping(), 0),
    ],
)
def test_what_counts_is_said_by_class(error: BaseException, failures: int) -> None:
    """Also in a group; the exception goes through as it is."""
    api = circuit(counts=(ConnectionError, TimeoutError))
    with pytest.raises(type(error)) as raised, api.sync:
        raise error
    assert raised.value is error and api.failures == failures


@pytest.mark.parametrize("error", [asyncio.CancelledError(), concurrent.futures.CancelledError(), KeyboardInterrupt()])
def test_cancelled_trial_decides_nothing(error: BaseException) -> None:
    """And leaves its place to the next one at once, even where every exception counts."""
    api = circuit(backoff=Backoff(first=0.001, jitter=None))
    api.trip()
    api.sync.wait_permitted(timeout=5.0)
    with pytest.raises(type(error)), api.sync:
        raise error
    assert (api.state, api.trips) == (HALF_OPEN, 1)
    with api.sync:
        pass
    assert api.state is CLOSED


def test_its_own_refusal_is_no_failure() -> None:
    """Of a call inside of another."""
    api = circuit(backoff=Backoff(first=0.02, jitter=None))
    api.trip()
    api.sync.wait_permitted(timeout=5.0)
    with pytest.raises(CircuitOpen), api.sync, api.sync:
        raise AssertionError("one trial at once")
    assert (api.state, api.trips) == (HALF_OPEN, 1)
    other = Circuit("other", threshold=1)
    with pytest.raises(CircuitOpen), other.sync:
        raise CircuitOpen.of("api", 1.0)
    assert other.state is OPEN  # what is behind it does fail


async def test_tasks_and_threads_stand_beside_each_other() -> None:
    """Each leaves what it has entered, nested calls innermost first."""
    api = circuit(threshold=1)
    both = asyncio.Barrier(2)

    async def good() -> None:
        async with api, api:
            await both.wait()
            await both.wait()

    async def bad() -> None:
        async with api:
            await both.wait()
            raise NoRoute("down")

    async def later() -> None:
        with pytest.raises(NoRoute):
            await bad()
        assert api.state is OPEN
        await both.wait()

    await asyncio.gather(good(), later())
    assert (api.state, api.trips) == (OPEN, 1)
    with pytest.raises(StateError, match="circuit 'api': is left by a task or thread that did not enter it"):
        await api.__aexit__(None, None, None)


def test_threads_count_every_failure() -> None:
    """None gets lost, and it trips once."""
    api = circuit(threshold=400)
    begin = threading.Barrier(4)

    def work() -> None:
        begin.wait()
        for _ in range(100):
            api.fail()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (api.failures, api.trips, api.state) == (400, 1, OPEN)


def test_thread_that_waits_is_woken_by_a_reset() -> None:
    """And one that waits too long says so."""
    api, begun = circuit(backoff=None), threading.Event()
    api.trip()
    with pytest.raises(TimeoutError, match=r"circuit: nobody was let in for 0\.01 s"):
        api.sync.wait_permitted(timeout=0.01)
    waiting_at(api, begun.set)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(api.sync.wait_permitted, timeout=20.0)
        assert begun.wait(20.0)
        api.reset()
        waiting.result(20.0)
    assert not api._access._waiting  # type: ignore[attr-defined]  # of a circuit of this process


async def test_who_waits_wakes_once() -> None:
    """One timer for the whole wait, none without a delay; nothing is left when the wait is cancelled."""
    loop = asyncio.get_running_loop()
    timers: list[float] = []
    call_later: Callable[..., Any] = loop.call_later

    class Counting:
        def __getattr__(self, name: str) -> Any:
            return getattr(loop, name)

        def call_later(self, delay: float, *args: Any) -> Any:
            timers.append(delay)
            return call_later(delay, *args)

    home: Any = circuit()._access
    assert isinstance(home.id, str)
    for backoff, expected in ((LONG, 1), (None, 0)):
        api = circuit(backoff=backoff)
        api.trip()
        timers.clear()
        waiting = asyncio.create_task(api.wait_permitted())
        asyncio.events._set_running_loop(Counting())  # type: ignore[arg-type]  # the loop, and what it is asked
        try:
            waiting.get_coro().send(None)  # type: ignore[union-attr]  # its first step
        finally:
            asyncio.events._set_running_loop(loop)
        assert len(timers) == expected
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert not api._access._waiting  # type: ignore[attr-defined]  # of a circuit of this process


async def test_sync_says_what_to_write_on_a_loop() -> None:
    """Entering and waiting; what never blocks is not refused."""
    api = circuit()
    for use in (lambda: api.sync.__enter__(), lambda: api.sync.wait_permitted()):
        with pytest.raises(StateError, match=r"circuit\.sync may block, and this thread runs an event loop"):
            use()
    api.fail()
    assert api.failures == 1


BAD = [
    ("name", {"name": "a/b"}),
    ("threshold", {"threshold": 0}),
    ("threshold", {"threshold": True}),
    ("period", {"period": 0}),
    ("backoff", {"backoff": 3.0}),
    ("backoff", {"backoff": Backoff(first=0.0)}),
    ("backoff", {"backoff": Backoff(factor=0.5)}),
    ("trials", {"trials": 1.5}),
    ("counts", {"counts": ()}),
    ("counts", {"counts": (OSError, asyncio.CancelledError)}),
    ("counts", {"counts": "OSError"}),
]


@pytest.mark.parametrize(("field", "options"), BAD)
def test_what_is_wrong_is_named(field: str, options: dict[str, Any]) -> None:
    """Circuit, field, value."""
    with pytest.raises(SpecError) as refused:
        Circuit(**{"name": "api", **options})
    (fault,) = refused.value.faults
    assert (fault.path, fault.field, fault.value) == (options.get("name", "api"), field, options[field])


def test_all_faults_at_once_and_an_endless_period() -> None:
    """inf: failures add up."""
    with pytest.raises(SpecError) as refused:
        Circuit("", threshold=0, trials=0)
    assert [fault.field for fault in refused.value.faults] == ["name", "threshold", "trials"]
    assert Circuit("api", period=inf).state is CLOSED


def test_copies_and_pickles_at_home_are_the_circuit_itself() -> None:
    """There is one truth."""
    api = circuit()
    assert pickle.loads(pickle.dumps(api)) is api is copy.deepcopy(api)
    assert repr(api) == "<Circuit api>" and api.name == "api"


def test_a_program_without_circuits_loads_none_of_it() -> None:
    """Nor does a manager."""
    text = "import asyncproc, sys; asyncproc.Manager; print([name for name in sys.modules if 'circuit' in name])"
    assert subprocess.run([sys.executable, "-c", text], capture_output=True, text=True).stdout == "[]\n"


# --- in children --------------------------------------------------------------------------------------------------------------


@pytest.mark.both_loops
@pytest.mark.parametrize("kind", [Process, Thread, Coroutine])
async def test_failures_of_children_add_up(kind: Callable[..., Body[Any]]) -> None:
    """One each from two children opens it for all, and both kinds of code see what is."""
    api = circuit(threshold=2)
    async with Manager() as manager:
        assert await manager.run(kind(targets.fail_async, api)) == ("closed", 1, 0)
        if kind is not Coroutine:
            assert await manager.run(kind(targets.fail, api)) == ("open", 2, 1)
            assert await manager.run(kind(targets.call, api)) == "refused api"
        else:
            await manager.run(kind(targets.fail_async, api))
        assert await manager.run(kind(targets.call_async, api)) == "refused api"
        assert (api.state, api.trips) == (OPEN, 1)
        api.reset()
        assert await manager.run(kind(targets.call_async, api)) == "let in"


async def test_child_does_by_hand_what_its_maker_can() -> None:
    """In order, as it sees at once."""
    api = circuit(threshold=1, backoff=None)
    async with Manager() as manager:
        assert await manager.run(Process(targets.by_hand, api)) == [("open", 1, None), ("open", 1, None), ("closed", 1, 0.0)]


async def test_one_circuit_stays_one_on_its_way() -> None:
    """Handed over twice, and back as a result."""
    api = circuit()
    async with Manager() as manager:
        assert await manager.run(Process(targets.same, api, api))
        assert await manager.run(Process(_back, api)) is api


def _back(api: Circuit) -> Circuit:
    return api


async def test_thread_of_a_coroutine_child_asks_too() -> None:
    """Beside the child's loop, with and without a loop of its own."""
    async with Manager() as manager:
        assert await manager.run(Process(targets.call_from_own_thread, circuit())) == ["let in"]
        assert await manager.run(Process(targets.call_from_own_loop, circuit())) == "let in"


async def test_call_that_is_cancelled_while_it_asks_leaves_the_trial_to_the_next() -> None:
    """Whether or not it was let in meanwhile."""
    api = circuit(backoff=Backoff(first=0.5, jitter=None))
    api.trip()
    async with Manager() as manager:
        await api.wait_permitted()
        assert await manager.run(Process(targets.cut_off, api)) == "let in"
    assert (api.state, api.trips) == (CLOSED, 1)


@pytest.mark.parametrize("target", [targets.wait, targets.wait_blocking])
async def test_child_that_waits_is_told(target: Callable[..., Any]) -> None:
    """By a reset of its maker's; one that waits too long says so."""
    api = circuit(backoff=None)
    api.trip()
    async with Manager() as manager:
        assert await manager.run(Process(targets.wait_in_vain, api)) == "circuit: nobody was let in for 0.05 s"
        handle = await manager.start(Process(target, api))
        assert await handle.receive() == "waits"
        api.reset()
        assert await handle == "let in"
        assert not api._access._waiting  # type: ignore[attr-defined]  # of a circuit of this process


async def test_child_that_waits_until_it_is_half_open() -> None:
    """Without anybody's doing."""
    api = circuit(backoff=SOON)
    api.trip()
    async with Manager() as manager:
        assert await manager.run(Process(targets.wait, api)) == "let in"
    assert (api.state, api.trips) == (CLOSED, 1)


async def test_data_alone_takes_no_circuit() -> None:
    """Refused by name, before anything starts."""
    async with Manager() as manager:
        with pytest.raises((SpecError, StartFailed, EncodeError), match="Circuit"):
            await manager.run(Process(targets.call, circuit(), trust="data"))


def test_elsewhere_it_says_that_nobody_can_be_asked() -> None:
    """Unpickled in a process that is no child."""
    data = pickle.dumps(circuit())
    text = f"import pickle; pickle.loads({data!r}).state"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True)
    expected = "StateError: circuit 'api': was made in another process, and this one is no child of a manager that leads there"
    assert expected in done.stderr


async def test_what_a_child_has_made_is_nobodys_when_it_has_ended() -> None:
    """Its maker gets a circuit that says so, and so does another child of his."""
    async with Manager() as manager:
        gone = await manager.run(Process(targets.make))
        with pytest.raises(StateError, match="circuit 'made-below': was made in another process"):
            async with gone:
                pass
        with pytest.raises(StateError, match="was made in another process"):
            await manager.run(Process(targets.call, gone))


# --- who dies -----------------------------------------------------------------------------------------------------------------


async def inside(manager: Manager[Any], spec: Body[Any]) -> Handle[Any]:
    """Start a child that is let in, and return when it is."""
    handle = await manager.start(spec)
    assert await handle.receive() == "inside"
    return handle


@pytest.mark.slow
@pytest.mark.both_loops
@pytest.mark.parametrize("target", [targets.hold, targets.hold_async])
async def test_child_killed_in_its_trial_has_failed(target: Callable[..., Any]) -> None:
    """A real SIGKILL: it opens again, for longer, and then lets the next one in."""
    api = circuit(backoff=Backoff(first=0.2, cap=0.3, factor=1.5, jitter=None))
    api.trip()
    async with Manager() as manager:
        await api.wait_permitted()
        holder = await inside(manager, Process(target, api))
        assert api.state is HALF_OPEN
        await holder.kill()
        await holder.wait()
        assert (api.state, api.trips) == (OPEN, 2)
        await api.wait_permitted()
        assert await manager.run(Process(targets.call, api)) == "let in"
    assert api.state is CLOSED


async def test_child_that_kills_itself_in_its_trial() -> None:
    """As above, without anybody's asking; in a closed circuit it counts for nothing."""
    api = circuit(backoff=LATE)
    async with Manager() as manager:
        with pytest.raises(ChildCrashed):
            await manager.run(Process(targets.die_inside, api))
        assert api.failures == 0
        api.trip()
        await api.wait_permitted()
        with pytest.raises(ChildCrashed):
            await manager.run(Process(targets.die_inside, api))
        assert (api.state, api.trips) == (OPEN, 2)


@pytest.mark.slow
async def test_child_that_is_stopped_in_its_trial_decides_nothing() -> None:
    """Its code leaves as by a cancellation, and the next is let in at once."""
    api = circuit(backoff=Backoff(first=0.3, jitter=None))
    api.trip()
    async with Manager() as manager:
        await api.wait_permitted()
        holder = await inside(manager, Process(targets.hold_async, api))
        with pytest.raises(CircuitOpen):
            async with api:
                pass
        await holder.stop()
        assert (api.state, api.trips) == (HALF_OPEN, 1)
        async with api:
            pass
    assert api.state is CLOSED


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Process, Thread, Coroutine])
async def test_of_two_that_race_for_the_one_trial_one_is_let_in(kind: Callable[..., Body[Any]]) -> None:
    """The other is refused; what the one finds holds for both."""
    api = circuit(backoff=Backoff(first=1.0, cap=1.0, jitter=None))
    api.trip()
    async with Manager() as manager:
        racers = [await manager.start(kind(targets.race, api), name=f"racer-{number}") for number in (1, 2)]
        for racer in racers:
            assert await racer.receive() == "ready"
        await api.wait_permitted()
        for racer in racers:
            await racer.send("go")
        said = {await racer.receive(): racer for racer in racers}
        assert sorted(said) == ["let in", "refused"]
        await said["let in"].send("leave")
        assert [await racer for racer in racers] == ["through", "through"]
    assert (api.state, api.trips) == (CLOSED, 1)


@pytest.mark.parametrize("target", [targets.wait, targets.wait_blocking])
async def test_child_killed_while_it_waits_leaves_nothing(target: Callable[..., Any]) -> None:
    """Nobody is woken for it any more."""
    api, begun = circuit(backoff=None), asyncio.Event()
    waiting_at(api, begun.set)
    api.trip()
    async with Manager() as manager:
        handle = await manager.start(Process(target, api))
        assert await handle.receive() == "waits"
        await begun.wait()
        await handle.kill()
        await handle.wait()
        await asyncio.sleep(0)
        assert not api._access._waiting  # type: ignore[attr-defined]  # of a circuit of this process


@pytest.mark.slow
async def test_manager_closes_while_children_ask() -> None:
    """All end, in time, and the circuit goes on without them."""
    api = circuit()
    async with Manager() as manager:
        asking = [
            await manager.start(Process(target, api), name=name)
            for target, name in (
                (targets.hammer, "loop"),
                (targets.hammer_blocking, "plain"),
                (targets.hammer_below, "below"),
            )
        ]
        for handle in asking:
            assert await handle.receive() == "begun"
        report = await manager.stop()
    assert not report.killed and not report.left
    async with api:
        assert api.state is CLOSED


# --- children of children -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("hand_on", [targets.hand_on, targets.hand_on_blocking])
@pytest.mark.parametrize("target", [targets.fail, targets.fail_async])
async def test_child_of_a_child_has_the_same_circuit(hand_on: Callable[..., Any], target: Callable[..., Any]) -> None:
    """Its failures count at home, and home's are seen there."""
    api = circuit(threshold=2)
    async with Manager() as manager:
        assert await manager.run(Process(hand_on, api, target)) == ("closed", 1, 0)
        api.fail()
        assert await manager.run(Process(hand_on, api, target)) == ("open", 2, 1)


@pytest.mark.slow
async def test_call_below_that_is_given_up_before_its_answer(tmp_path: Path) -> None:
    """While this process stands still the one in the middle hears that nobody wants the answer, and passes that on."""
    go, done = str(tmp_path / "go"), str(tmp_path / "done")
    os.mkfifo(go)
    os.mkfifo(done)
    api = circuit(backoff=Backoff(first=1.0, jitter=None))
    api.trip()
    async with Manager() as manager:
        await api.wait_permitted()
        handle = await manager.start(Process(targets.hand_on, api, targets.cut_off_unheard, go, done))
        for path, mode in ((go, "w"), (done, "r")):
            with open(path, mode):  # on the loop, so that it stands
                pass
        assert await handle == "let in"
    assert (api.state, api.trips) == (CLOSED, 1)


@pytest.mark.slow
async def test_call_below_that_is_cancelled_while_it_asks_leaves_the_trial_to_the_next() -> None:
    """Given up at each hop."""
    api = circuit(backoff=Backoff(first=0.5, jitter=None))
    api.trip()
    async with Manager() as manager:
        await api.wait_permitted()
        assert await manager.run(Process(targets.hand_on, api, targets.cut_off)) == "let in"
    assert (api.state, api.trips) == (CLOSED, 1)


@pytest.mark.slow
@pytest.mark.parametrize("target", [targets.fail, targets.fail_async])
async def test_thread_child_of_a_child_asks_the_one_above(target: Callable[..., Any]) -> None:
    """And not the manager that it is a child of, which stands in the same process."""
    api = circuit()
    async with Manager() as manager:
        assert await manager.run(Process(targets.hand_on_to_thread, api, target)) == ("closed", 1, 0)
    assert api.failures == 1


@pytest.mark.slow
@pytest.mark.parametrize("target", [targets.wait, targets.wait_blocking])
async def test_child_of_a_child_waits(target: Callable[..., Any]) -> None:
    """Through both hops, until it is half-open, and its success closes it."""
    api = circuit(backoff=Backoff(first=0.5, jitter=None))
    api.trip()
    async with Manager() as manager:
        assert await manager.run(Process(targets.hand_on, api, target)) == "let in"
    assert (api.state, api.trips) == (CLOSED, 1)


@pytest.mark.slow
@pytest.mark.parametrize("killed", ["the one below", "the one in the middle"])
async def test_kill_below_is_told_at_each_hop(killed: str) -> None:
    """Whoever of the chain dies, the trial has failed; with the one in the middle, all below it goes."""
    api = circuit(backoff=Backoff(first=0.02, cap=30.0, factor=1000.0, jitter=None), trials=1)
    api.trip()
    async with Manager() as manager:
        await api.wait_permitted()
        middle = await inside(manager, Process(targets.hold_below, api))
        assert api.state is HALF_OPEN
        if killed == "the one below":
            await middle.send("kill")
            assert await middle.receive() == "killed"
            assert api.trips == 2
            await middle.send("end")
            await middle
        else:
            await middle.kill()
            await middle.wait()
        assert (api.state, api.trips) == (OPEN, 2)


@pytest.mark.slow
async def test_child_shares_a_circuit_of_its_own() -> None:
    """It is the one who is asked then."""
    async with Manager() as manager:
        assert await manager.run(Process(targets.hand_on_own, targets.fail)) == (("open", 2, 1), 1)


@pytest.fixture(autouse=True)
def _forget_what_was_handed_out() -> Iterator[None]:
    """A circuit that was handed over lives as long as the process."""
    yield
    from asyncproc._shared import circuit as module

    module._known.clear()
