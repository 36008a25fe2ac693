"""The namespace: one state for the owner and all kinds of children."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from asyncproc import (
    Concurrent,
    Coroutine,
    Manager,
    Namespace,
    Process,
    SharedError,
    SpecError,
    StateError,
    Thread,
    TimedOut,
    UnknownField,
    WrongType,
    errors,
)
from asyncproc._spec.leaf import Body
from asyncproc.errors import DecodeError, EncodeError
from asyncproc.testing import LostUpdates, lost_update

from ..manager.programs import run_program
from . import targets
from .targets import Added, Opaque, Shared, Strict


async def in_thread(call: Callable[..., Any], *args: Any) -> Any:
    """Call it in a thread that ends."""
    with ThreadPoolExecutor(1) as pool:
        return await asyncio.get_running_loop().run_in_executor(pool, call, *args)


def manager_of(**fields: Any) -> Manager[Shared]:
    return Manager(namespace=Shared(**fields))


# --- no update is lost ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Process, Thread])
@pytest.mark.parametrize("increment", [targets.raise_blocking, targets.raise_async, targets.add_blocking, targets.add_async])
async def test_no_update_is_lost(kind: type[Process[Any] | Thread[Any]], increment: Callable[[], object]) -> None:
    """Transactions and additions, plain and async, from several children at once."""
    async with manager_of() as manager:
        await lost_update(manager, increment, lambda: manager.namespace.view.counter, times=60, kind=kind)


async def test_no_update_of_coroutines_is_lost() -> None:
    """On the manager's own loop."""
    async with manager_of() as manager:
        for increment in (targets.raise_async, targets.add_async):
            await lost_update(manager, increment, lambda: manager.namespace.view.counter, times=60, kind=Coroutine)


@pytest.mark.slow
async def test_owner_and_children_at_once() -> None:
    """The owner's transactions stand in the same queue."""
    async with manager_of() as manager:
        children = [await manager.start(Process(targets.cross_async, 100, 30.0)) for _ in range(3)]
        for _ in range(100):
            async with manager.namespace.transaction() as state:
                state.counter += 1
            await manager.namespace.add("counter")
        assert [await child for child in children] == [(100, 0)] * 3
        assert manager.namespace.view.counter == 500


@pytest.mark.slow
async def test_lost_update_test_finds_lost_updates() -> None:
    """Pointed at an increment that is not atomic, it says how many were lost."""
    async with manager_of() as manager:
        with pytest.raises(LostUpdates, match=r"\d+ of 400 updates were lost: .* rose by \d+") as caught:
            await lost_update(manager, targets.raise_badly, lambda: manager.namespace.view.counter, writers=4, times=100)
        assert caught.value.expected == 400 and caught.value.found == manager.namespace.view.counter < 400


async def test_threads_of_one_child_lose_nothing() -> None:
    """Of a plain child and of an async one."""
    async with manager_of() as manager:
        assert await manager.run(Process(targets.threads_of_a_child, 3, 20)) == 120
        assert await manager.run(Process(targets.threads_of_an_async_child, 3, 20)) == 240
        assert await manager.run(Thread(targets.threads_of_an_async_child, 3, 20)) == 360


async def test_loop_in_a_plain_child() -> None:
    """A target that runs a loop of its own may await too."""
    async with manager_of() as manager:
        assert await manager.run(Process(targets.loop_in_a_plain_child)) == 2
        assert await manager.run(Thread(targets.loop_in_a_plain_child)) == 4


# --- changes ----------------------------------------------------------------------------------------------------------------

EACH = [
    Process(targets.append, 5),
    Process(targets.append_async, 5),
    Thread(targets.append, 5),
    Thread(targets.append_async, 5),
    Coroutine(targets.append_async, 5),
]


@pytest.mark.both_loops
@pytest.mark.parametrize("spec", EACH)
async def test_change_in_place_counts(spec: Body[Any]) -> None:
    """It is seen by whoever made it at once, and by the owner."""
    state = Shared(0, [1, 2])
    async with Manager(namespace=state) as manager:
        assert await manager.run(spec) == [1, 2, 5]
        assert manager.namespace.view == Shared(0, [1, 2, 5])
    assert state.some_data == [1, 2]  # the owner's own object is copied


async def test_seed_one() -> None:
    """The first seed's example: every round of every member appends, plain and async, and it all arrives."""
    tree = Concurrent(*(targets.Appends(name=f"task{n}") for n in range(3)), targets.AppendsPlainly())
    manager = Manager(tree, namespace=Shared(0, [1, 2, 3, 4]))
    await manager.run(rounds=2)
    assert manager.namespace.view.some_data == [1, 2, 3, 4] + [123] * 8


async def test_namespace_survives_runs() -> None:
    """M22: usable before, between and after runs, by the owner alone; in each of several loops."""
    manager = Manager(Process(targets.append, 5), namespace=Shared())
    await manager.namespace.add("counter", 2)
    await manager.run()
    async with manager.namespace.transaction() as state:
        state.counter *= 10
    await manager.run()
    assert manager.namespace.view == Shared(20, [5, 5])


def test_owner_without_a_loop() -> None:
    """The blocking face before there is a loop; then two loops, one after the other."""
    manager = Manager(Process(targets.append, 5), namespace=Shared())
    manager.namespace.sync.set(counter=3)
    with manager.namespace.sync.transaction() as state:
        state.some_data.append(1)
    assert manager.namespace.sync.add("counter", 0.5) == 3.5
    asyncio.run(manager.run())
    asyncio.run(manager.run())
    assert manager.namespace.sync.view == Shared(3.5, [1, 5, 5])  # type: ignore[arg-type]  # types of a dataclass are not checked


async def test_owner_in_a_thread_while_children_write() -> None:
    """The owner's other threads stand in the queue as well."""
    async with manager_of() as manager:
        child = await manager.start(Process(targets.cross, 50, 30.0))

        def work() -> None:
            for _ in range(50):
                with manager.namespace.sync.transaction() as state:
                    state.counter += 1

        await asyncio.gather(in_thread(work), in_thread(work), child)
        assert manager.namespace.view.counter == 150


@pytest.mark.parametrize(
    "spec", [Process(targets.fail_inside), Process(targets.fail_inside_async), Thread(targets.fail_inside)]
)
async def test_exception_inside_leaves_nothing(spec: Body[Any]) -> None:
    """M37: it goes on, nothing is seen, and the lock is free."""
    async with manager_of() as manager:
        with pytest.raises(KeyError, match="inside"):
            await manager.run(spec)
        assert manager.namespace.view == Shared()
        await manager.namespace.add("counter")


async def test_nothing_changed_is_no_change() -> None:
    """The version stays, whatever the bytes look like after a round trip: shared strings, an object without equality."""
    async with manager_of(label=["a" * 50, {"key": Opaque(3)}, "a" * 50]) as manager:
        before = manager.namespace.view
        async with manager.namespace.transaction() as state:
            state.some_data = []
        assert manager.namespace.view is before


async def test_set_replaces_all_or_nothing() -> None:
    """One bad field, and none is set."""
    async with manager_of() as manager:
        await manager.namespace.set(counter=3, label="x")
        with pytest.raises(EncodeError, match=r"namespace field label: cannot send _thread\.lock"):
            await manager.namespace.set(counter=4, label=threading.Lock())
        assert manager.namespace.view == Shared(3, [], "x")


@pytest.mark.parametrize(
    ("value", "amount", "total"),
    [(1, 2, 3), (1, 0.5, 1.5), (10**600, 1, 10**600 + 1), (Decimal(1), 2, Decimal(3)), ("ab", "c", "abc"), ([1], [2], [1, 2])],
)
async def test_add_gives_the_sum(value: Any, amount: Any, total: Any) -> None:
    """Of plain numbers in the manager, of all else where it is asked."""
    async with manager_of(label=value) as manager:
        assert await manager.namespace.add("label", amount) == total
        assert manager.namespace.view.label == total
        assert manager.namespace.view.label == await in_thread(manager.namespace.sync.add, "label", type(amount)())


async def test_add_of_what_cannot_be_added() -> None:
    """The error is the values' own, and the lock is free; a class of one's own will do."""
    async with manager_of(label=Added(1)) as manager:
        assert (await manager.namespace.add("label", 2)).value == 3
        with pytest.raises(TypeError):
            await manager.namespace.add("some_data", 2)
        with pytest.raises(OverflowError):
            await manager.namespace.set(label=10**400)
            await manager.namespace.add("label", 0.5)
        await manager.namespace.add("counter")


# --- views ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spec",
    [
        Process(targets.cached),
        Process(targets.cached_async),
        Thread(targets.cached),
        Thread(targets.cached_async),
        Coroutine(targets.cached_async),
    ],
)
async def test_view_is_cached(spec: Body[Any]) -> None:
    """The same object while nothing has changed; then a new one, with the old parts that have not."""
    async with manager_of() as manager:
        assert await manager.run(spec) == [True, True, False, True, True]
        assert manager.namespace.view == Shared(1)  # what a child did to its view is its own affair
        assert manager.namespace.view is manager.namespace.view


async def test_children_of_one_process_get_copies() -> None:
    """A thread and a coroutine have their own, as a process has."""
    async with manager_of(some_data=[1]) as manager:
        for spec in (Thread(targets.look), Coroutine(targets.look_async)):
            seen = await manager.run(spec)
            assert seen == manager.namespace.view and seen is not manager.namespace.view
            assert seen.some_data is not manager.namespace.view.some_data


async def test_large_and_growing_state_is_read_whole() -> None:
    """Fields that grow, shrink and change again while others read."""
    async with manager_of() as manager:
        for size in (10, 100_000, 70, 3_000_000, 5):
            await manager.namespace.set(label=b"x" * size, counter=size)
            seen = await manager.run(Process(targets.look))
            assert (len(seen.label), seen.counter) == (size, size)


async def test_without_shared_memory_a_view_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is none to be had; a change is seen as ever, and the same object while there is none."""
    monkeypatch.setattr("asyncproc._shared.board.Board.where", lambda self: None)
    async with manager_of() as manager:
        for spec in (Process(targets.cached), Process(targets.cached_async), Process(targets.append, 5)):
            assert all(value is not None for value in await manager.run(spec))
        assert manager.namespace.view == Shared(2, [5])


async def test_child_that_never_looks_has_no_descriptor_more() -> None:
    """And one that does has the shared memory."""
    async with manager_of() as manager:
        assert not any("namespace" in target for target in await manager.run(Process(targets.descriptors)))


async def test_namespace_given_as_an_argument() -> None:
    """It becomes the child's own."""
    async with manager_of() as manager:
        assert await manager.run(Process(targets.given, manager.namespace)) == 1
        assert await manager.run(Thread(targets.given, manager.namespace)) == 2


# --- wrong writes -----------------------------------------------------------------------------------------------------------


async def test_write_outside_a_transaction_is_refused() -> None:
    """M36: the error names the ways; also for +=, also for del."""
    namespace: Any = manager_of().namespace
    with pytest.raises(StateError, match=r"transaction\(\), by set\(counter=...\) or by add\('counter'\)"):
        namespace.counter = 3
    with pytest.raises(StateError, match=r"read it as \.view\.counter"):
        namespace.counter += 1
    with pytest.raises(StateError, match=r"transaction\(\)"):
        del namespace.counter
    assert not hasattr(namespace, "counter")
    namespace.view.some_data.append(1)
    async with namespace.transaction() as state:
        assert state == Shared()


@pytest.mark.parametrize("spec", [Process(targets.change, "countre", 1), Thread(targets.change, "countre", 1)])
async def test_unknown_field_is_refused(spec: Body[Any]) -> None:
    """Named, with those there are; nothing is kept."""
    async with manager_of() as manager:
        with pytest.raises(
            UnknownField, match=r"namespace of app: Shared has no field 'countre', but: counter, some_data, label"
        ):
            await manager.run(spec)
        with pytest.raises(UnknownField, match="countre"):
            await manager.namespace.set(countre=1)
        with pytest.raises(UnknownField, match="countre"):
            await manager.namespace.add("countre")
        with pytest.raises(AttributeError, match="countre"):
            manager.namespace.watch("countre")
        with pytest.raises(UnknownField, match="'label' of Shared was deleted"):
            async with manager.namespace.transaction() as state:
                del state.label, Shared.label  # type: ignore[misc]  # the class's default stands behind it
        Shared.label = "first"
        assert manager.namespace.view == Shared()


async def test_unpicklable_value_is_named() -> None:
    """At the end of the transaction, by field; nothing is kept, and the lock is free."""
    async with manager_of() as manager:
        with pytest.raises(EncodeError, match=r"namespace field label: cannot send _thread\.lock"):
            async with manager.namespace.transaction() as state:
                state.counter = 3
                state.label = [threading.Lock()]
        assert manager.namespace.view == Shared()


async def test_struct_is_checked_by_type() -> None:
    """Of a msgspec Struct; a dataclass's types are the type checker's business."""
    async with Manager(namespace=Strict()) as manager:
        with pytest.raises(WrongType, match=r"field 'counter' of Strict: Expected `int`, got `str`") as caught:
            await manager.run(Process(targets.change, "counter", "three"))
        assert isinstance(caught.value, SharedError) and caught.value.name == "namespace"
        with pytest.raises(WrongType, match=r"got `str` - at `\$\[0\]`"):
            async with manager.namespace.transaction() as state:
                state.some_data.append("x")  # type: ignore[arg-type]  # that is the test
        await manager.run(Process(targets.append_plain_struct))
        assert manager.namespace.view == Strict(1, [1])
        with pytest.raises(StateError, match="holds a Strict, not a Shared"):
            await manager.run(Process(targets.look))


async def test_mapping_has_free_attributes() -> None:
    """They may come and go; the view is a plain object."""
    async with Manager(namespace={"counter": 1}) as manager:
        await manager.run(Process(targets.change, "another", [1]))
        assert manager.namespace.view == SimpleNamespace(counter=1, another=[1])
        async with manager.namespace.transaction() as state:
            del state.counter
        await manager.namespace.set(third=3)
        assert manager.namespace.view == SimpleNamespace(another=[1], third=3)
        assert await manager.run(Process(targets.look_untyped)) == SimpleNamespace(another=[1], third=3)
        with pytest.raises(UnknownField):
            await manager.namespace.set(**{"no name": 1})


@pytest.mark.parametrize(
    ("state", "what"),
    [
        (3, "must be a dataclass instance, a msgspec Struct or a mapping, got 3"),
        (Shared, r"must be an instance: Shared\(\.\.\.\)"),
        ({"no name": 1}, "'no name' is none"),
        ({1: 1}, "1 is none"),
        (Shared(label=threading.Lock()), r"field that cannot be shared \(namespace field label: cannot send _thread\.lock"),
        (Strict(counter="x"), "field 'counter' of Strict: Expected `int`"),  # type: ignore[arg-type]  # that is the test
    ],
)
def test_bad_state_is_a_spec_error(state: Any, what: str) -> None:
    """It names the node, the field and the value, before anything starts."""
    with pytest.raises(SpecError, match=rf"node here: namespace .*{what}") as caught:
        Manager(namespace=state, name="here")
    assert caught.value.faults[0][:3] == ("here", "namespace", state)


async def test_manager_without_a_namespace() -> None:
    """Asked for in a child or by the owner, it is a StateError that says what to give."""
    async with Manager() as manager:
        with pytest.raises(StateError, match=r"namespace: Manager\(namespace=State\(\)\)"):
            print(manager.namespace)
        for spec in (Process(targets.look), Process(targets.look_async), Thread(targets.look), Coroutine(targets.look_async)):
            with pytest.raises(StateError, match=r"node app/look.*: its manager was given no namespace"):
                await manager.run(spec)
    with pytest.raises(StateError, match="runs in none"):
        Namespace.of(Shared)


# --- programs ---------------------------------------------------------------------------------------------------------------


def test_state_of_main(tmp_path: Path) -> None:
    """The class of a script's own, with a method and a class inside: children rebuild it, the owner keeps its own."""
    done = run_program(
        tmp_path,
        """
import asyncio
from dataclasses import dataclass, field
from asyncproc import Concurrent, Manager, Namespace, Process, Thread, current

@dataclass
class Item:
    name: str

@dataclass
class State:
    items: list[Item] = field(default_factory=list)
    def names(self):
        return [item.name for item in self.items]

def plain():
    with Namespace.of(State).sync.transaction() as state:
        state.items.append(Item("plain"))
    return Namespace.of(State).view.names()

async def awaits():
    async with current().namespace.transaction() as state:
        assert type(state) is State
        state.items.append(Item("async"))
    return Namespace.of(State).view.names()

async def main():
    manager = Manager(namespace=State([Item("first")]))
    async with manager:
        for spec in (Process(plain), Process(awaits), Thread(plain)):
            print(await manager.run(spec))
    assert all(type(item) is Item for item in manager.namespace.view.items) and type(manager.namespace.view) is State

asyncio.run(main())
""",
    )
    assert done.err == ""
    assert done.out.splitlines()[-1] == "['first', 'plain', 'async', 'plain']"


def test_struct_of_main_is_refused_by_name(tmp_path: Path) -> None:
    """It cannot be sent by value; the error says what to do."""
    text = "import msgspec\nfrom asyncproc import Manager\nclass S(msgspec.Struct):\n    n: int = 0\nManager(namespace=S())\n"
    done = run_program(tmp_path, text)
    assert "SpecError: node app: namespace has a class that cannot be shared (S: a Struct cannot be sent by value" in done.err


def test_errors_survive_pickling() -> None:
    """Their facts as well."""
    import pickle

    for error in (TimedOut("late", "namespace"), WrongType("wrong", "namespace"), SharedError("other")):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), again.name) == (type(error), str(error), error.name)
    assert issubclass(TimedOut, TimeoutError) and issubclass(errors.UnknownField, AttributeError)


async def test_value_that_cannot_be_rebuilt_fails_only_who_looks() -> None:
    """The manager never rebuilds it; the text names the field."""
    async with manager_of() as manager:
        await manager.run(Process(targets.store_trap))
        await manager.namespace.add("counter")
        with pytest.raises(DecodeError, match="namespace field label: cannot be rebuilt here: RuntimeError: trap"):
            print(manager.namespace.view)
        await manager.namespace.set(label="well again")
        assert manager.namespace.view.counter == 1
    gc.collect()
