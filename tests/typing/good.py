"""Programs as users write them, from the design and the first seed; both checkers must agree with every line.

What later issues bring (supervisors, pools, graphs) is not here yet.
"""

import asyncio
import functools
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, assert_type

import asyncproc
from asyncproc import (
    AfterLoop,
    Circuit,
    CircuitState,
    Command,
    Completed,
    Concurrent,
    Coroutine,
    Current,
    Exec,
    Exit,
    Group,
    Handle,
    Line,
    LoadChange,
    LoadLevel,
    LoadSample,
    LogFile,
    Http,
    LogLine,
    LoopReport,
    Manager,
    Namespace,
    OnStart,
    Phase,
    Piece,
    Port,
    Process,
    Results,
    Schedule,
    Sequential,
    Setup,
    Snapshot,
    State,
    Stats,
    StopReport,
    Thread,
    Transition,
    blocking,
    current,
)
from asyncproc.testing import lost_update


# --- seed 1 ---
@dataclass
class Counts:
    test_counter: int = 0
    some_data: list[int] = field(default_factory=list)


class MyProcess(Process[None]):
    async def loop(self) -> None:
        await asyncio.sleep(2.0)
        async with self.namespace.transaction() as state:
            state.some_data.append(123)


one, two, three, four, five = (MyProcess(name=f"task{n}") for n in range(1, 6))
single = one
pair = Sequential(one, two)
tree = Concurrent(one, Sequential(two, three, Concurrent(four, five)))


async def rounds() -> None:
    manager = Manager(tree, namespace=Counts(0, [1, 2, 3, 4]))
    assert_type(manager, Manager[Counts])
    await manager.run(rounds=2)
    await manager.run(rounds=None, binding=False)
    assert_type(manager.namespace, Namespace[Counts])
    assert_type(manager.namespace.view.test_counter, int)
    async with manager.namespace.transaction(timeout=3) as state:
        assert_type(state, Counts)
        state.test_counter += 1
    await manager.namespace.set(test_counter=3)
    await manager.namespace.add("test_counter")
    async for seen in manager.namespace.watch("some_data"):
        assert_type(seen, Counts)
    assert_type(Manager(namespace={"free": 1}).namespace.view, Any)
    Manager(namespace={"free": 1}).namespace.view.free += 1
    await lost_update(manager, in_namespace, lambda: manager.namespace.view.test_counter, writers=2, kind=Thread)


def in_namespace() -> None:
    with current().sync.namespace.transaction() as loose:
        assert_type(loose, Any)
    with Namespace.of(Counts).sync.transaction(timeout=1.0) as state:
        assert_type(state, Counts)
        state.test_counter += 1
    assert_type(Namespace.of(Counts).view, Counts)
    Namespace.of(Counts).sync.add("test_counter", 0.5)


async def in_namespace_async() -> None:
    async with Namespace.of(Counts).transaction() as state:
        state.some_data.append(1)
    async with current().namespace.transaction() as loose:
        loose.whatever = 1


async def health(manager: Manager[Counts]) -> None:
    handle = await manager.start(Process(digest, "a", heartbeat=5.0))
    assert_type(await handle.stacks(), str)
    stats = handle.statistics()
    assert_type(stats, Stats)
    assert_type(stats.memory, int | None)
    assert_type(stats.uptime, float)
    await manager.start(Thread(api, heartbeat=None))


async def stopping(manager: Manager[Counts]) -> None:
    assert_type(manager.namespace.view.test_counter, int)
    assert_type(await manager.stop(), StopReport)
    assert_type(await manager.stop(grace=None), StopReport)
    assert_type(await manager.kill(), StopReport)


class Plain(Process[int]):
    def loop(self) -> int:
        with self.sync.namespace.transaction() as state:
            state.some_data.append(123)
        return 1


# --- design 3.1, 3.2 ---
def digest(path: str) -> str:
    return path


def repeated(path: str, times: int = 1, *, sep: str = "") -> str:
    return sep.join([path] * times)


def fetch() -> None: ...
def parse() -> None: ...
async def api() -> None: ...
async def serve(port: int) -> bytes:
    return bytes(port)


class Bound:
    def method(self, one: int) -> float:
        return float(one)

    async def async_method(self, one: int) -> float:
        return float(one)


async def main() -> int:
    async with asyncproc.Manager() as manager:
        handle = await manager.start(asyncproc.Process(digest, "a.iso", name="digest"))
        assert_type(handle, Handle[str])
        assert_type(handle.pid, int | None)
        assert_type(handle.state, State)
        assert_type(handle.path, str)
        assert_type(await handle, str)
        assert_type(await handle.wait(), Exit)
        assert_type(await handle.stop(grace=None), Exit)
        assert_type(await manager.run(asyncproc.Process(digest, "b.iso")), str)
        assert_type(await manager.run(Process(api)), None)
        assert_type(await manager.run(Process(serve, 80)), bytes)
        assert_type(await manager.run(Thread(serve, 80)), bytes)
        assert_type(await manager.run(Thread(digest, "a", on_stop="finish")), str)
        assert_type(await manager.run(Coroutine(serve, 80, grace=None)), bytes)
        assert_type(await manager.run(Process(repeated, "a")), str)
        assert_type(await manager.run(Process(repeated, "a", 2)), str)
        assert_type(await manager.run(Process(repeated, "a", kwargs={"sep": ","})), str)
        assert_type(await manager.run(Process(serve, kwargs={"port": 80})), bytes)
        assert_type(await manager.run(Process(Bound().method, 3)), float)
        assert_type(await manager.run(Process(Bound().async_method, 3)), float)
        assert_type(await manager.run(Process(functools.partial(digest, "a"))), str)
        assert_type(await manager.run(Process(lambda: 3)), int)
        assert_type(await manager.run(Plain()), int)
        assert_type(await manager.run(Concurrent(fetch, Sequential(parse, name="build"), limit=4)), Results)
        assert_type(await manager.run(Command("ls", "-l", cwd="~", env={"A": "1", "B": None})), Completed[str])
        assert_type(await manager.run(Command("ls", user="nobody", group=100, trust="data", max_memory="512MiB")), Completed[str])
        assert_type(await manager.run(Process(digest, "c", user=65534, trust="data", max_memory=1 << 30)), str)
        assert_type(await manager.run(fetch), None)
        assert_type(await manager.run(api), None)
        assert_type(await manager.start(api, name="api", replace=True), Handle[None])
        async with asyncio.TaskGroup() as group:
            group.create_task(handle.wait())
        a, b = await asyncio.gather(handle, manager.run(Process(digest, "c")))
        assert_type((a, b), tuple[str, str])
        assert_type(await asyncio.wait_for(handle, 3), str)
        future = asyncio.ensure_future(handle)
        assert_type(await future, str)
        assert_type(manager.tree(), Snapshot)
        assert_type(manager.find("a"), Handle[Any])
        async for moved in manager.events():
            assert_type(moved.exit, Exit | None)
        for node in manager.nodes("**", state=State.RUNNING):
            assert_type(node.incarnation, int)
        root = manager.find("app")
        if isinstance(root, Group):
            assert_type(root.running, int)
        results: Results = await manager.run(pair)
        values: Mapping[str, Any] = results
        print(values, results.ok, results.failed["a"].reason, results.check())
        return 3


def in_a_child() -> str:
    me = current()
    me.sync.send(3)
    print(me.round, me.level, me.stopping, me.sync.receive(timeout=1.0))
    return me.name


class Meter(Process[float], grace=1.0, name="metered"):
    def __init__(self, port: str, **options: object) -> None:
        super().__init__(name="meter")
        self.port = port
        self.path = port  # free: the node's path is at current().path

    async def loop(self) -> float:
        print(self.port)
        return 1.0


class Untyped(Process):
    def loop(self) -> int:
        return 1


def started(job: Handle[object]) -> None:
    print(job.pid)


async def ended(job: Handle[Any]) -> None:
    print(job.exit and job.exit.code)


assert_type(Meter("x").with_options(name="m2"), Meter)
watched = Concurrent(Command("echo", "hi", started=started), started=started, ended=ended, on_failure="continue")


def programs() -> None:
    assert_type(asyncproc.run(asyncproc.Process(digest, "a.iso")), str)
    assert_type(asyncproc.run(main()), int)
    assert_type(asyncproc.run(main, grace=None, log="json"), int)
    assert_type(asyncproc.run(watched, rounds=2, binding=False), Results)
    assert_type(asyncproc.run(Meter("x")), float)
    assert_type(asyncproc.run(fetch), None)


# --- without a loop ---
def script() -> None:
    with blocking.Manager(name="script", grace=None) as manager:
        handle = manager.start(Process(digest, "a.iso", name="digest"))
        assert_type(handle, blocking.Handle[str])
        assert_type(handle.result(), str)
        assert_type(handle.result(timeout=3), str)
        assert_type(handle.wait(3.0), Exit)
        assert_type(handle.wait_ready(timeout=1), None)
        assert_type(handle.wait_for(state=State.ENDED, timeout=1), None)
        assert_type(handle.stop(grace=None), Exit)
        assert_type(handle.kill(), Exit)
        assert_type(handle.signal("SIGTERM"), None)
        assert_type(handle.send({"a": 1}, timeout=1), None)
        assert_type(handle.receive(timeout=1), Any)
        assert_type(handle.pid, int | None)
        assert_type(handle.state, State)
        assert_type(handle.exit, Exit | None)
        assert_type(manager.start(api, name="api", replace=True), blocking.Handle[None])
        assert_type(manager.start(fetch).result(), None)
        assert_type(manager.run(Coroutine(serve, 80)), bytes)
        assert_type(manager.run(Command("ls")), Completed[str])
        assert_type(manager.run(Concurrent(fetch), rounds=None, binding=False), Results)
        assert_type(manager.run(api), None)
        assert_type(manager.run(), Any)
        assert_type(handle.statistics(), Stats)
        assert_type(handle.stacks(), str)
        assert_type(manager.stop(grace=None), StopReport)
        assert_type(manager.kill(), StopReport)
        assert_type(manager.tree(), Snapshot)
        assert_type(manager.forget_ended(), int)
        assert_type(manager.stop_bound, float | None)
        assert_type(manager.find("a"), blocking.Handle[Any])
        for node in manager.nodes("**", state=State.RUNNING):
            assert_type(node, blocking.Handle[Any])
        for moved in manager.events():
            assert_type(moved, Transition)
        for line in handle.output():
            assert_type(line, Line)
        assert_type(handle.output_bytes().dropped, int)
        assert_type(handle.write("x"), None)
        events = handle.events()
        assert_type(next(events).after, State)
        assert_type(events.dropped, int)
        root = manager.find("app")
        if isinstance(root, blocking.Group):
            assert_type(root.result(), Results)
            assert_type(root.running, int)
        with handle as same:
            assert_type(same, blocking.Handle[str])
    manager.set(tree)
    assert_type(manager.open(), blocking.Manager)
    manager.close()
    assert_type(blocking.run(Process(digest, "a")), str)
    assert_type(blocking.run(pair, rounds=2, binding=False, grace=None), Results)
    assert_type(blocking.run(api), None)
    assert_type(blocking.run(fetch), None)
    assert_type(blocking.Manager(pair).run(rounds=3), Any)
    whole: Results = blocking.Manager(pair).run(rounds=3)
    print(whole)


# --- the life of a child ---
setup = Setup()


@setup.on_start
async def resources(child: Current) -> AsyncIterator[dict[str, object]]:
    yield {"bus": child.name}


@setup.on_start()
def prepare(child: Current) -> None:
    thread = child.background(fetch, name="bus")
    assert_type(thread.name, str)


@setup.before_loop
def label(child: Current) -> dict[str, object]:
    return {"current_loop": child.current_loop, "label": f"{child.name}-{child.current_loop}"}


@setup.after_loop(add_for_next=True)
def keep(child: Current, result: object) -> dict[str, object]:
    assert_type(child.last_loop_time, float | None)
    return {"previous": result}


@setup.on_finish
async def report(child: Current) -> LoopReport:
    assert_type(child.error, BaseException | None)
    return child.loop_report()


def ui_loop(current_loop: int, label: str) -> bytes:
    return label.encode()


class Sampler(Process[float], loops=None, join_in=60.0):
    def __init__(self, port: str, **options: Any) -> None:
        super().__init__(**options)
        self.port = port

    async def on_start(self) -> None:
        self.bus = self.port
        self.background(fetch)

    async def loop(self) -> float:
        return 1.0

    async def after_loop(self, result: float) -> None:
        if self.is_last_loop or result > 3:
            self.rejoin()

    async def on_finish(self) -> LoopReport:
        return self.loop_report("custom")


class DoWork(Thread[str], loops=None, retries=2, timeouts={"loop": 0.5}):
    def on_start(self) -> None:
        self.results: list[str] = []

    def loop(self) -> str:
        return "x"

    def after_loop(self, result: str) -> None:
        self.results.append(result)


async def answers(handle: Handle[Any]) -> bool:
    return handle.pid is not None


def probes() -> None:
    Command("x", ready=Port(80), alive=Http("http://localhost/", status=(200, 204), interval=5.0, timeout=2.0, failures=2))
    Command("x", ready=LogLine("up$", stream="stderr"), alive=answers)
    Command("x", ready="notify", alive=Exec("pg_isready", "-q", timeout=3.0))
    Process(fetch, ready=Exec("true", again=10.0))
    Process(fetch, ready="call", alive=answers)
    Thread(fetch, ready=answers)


async def guarded(manager: Manager[None]) -> str:
    api = Circuit("api", threshold=3, period=30.0, backoff=None, trials=2, counts=(OSError, TimeoutError))
    async with api:
        assert_type(api.state, CircuitState)
        assert_type(api.retry_in, float | None)
    await api.wait_permitted()
    with Circuit("other", counts=OSError).sync:
        api.reset()
    async with manager.load(every=1.0, disk=Path("/"), thresholds={"cpu": (0.5, 0.6)}, also={"gpu": lambda: None}) as load:
        load.on(LoadLevel.CRITICAL, lambda change: print(change.what))()
        assert_type(load.last, LoadSample | None)
        async for change in load:
            assert_type(change, LoadChange)
    for change in asyncproc.blocking.Manager().load():
        assert_type(change, LoadChange)
    return await manager.run(Process(in_circuit, api))


def in_circuit(api: Circuit) -> str:
    with api.sync:
        return api.name


async def lives() -> None:
    async with Manager() as manager:
        ui = Process(ui_loop, setup=setup, name="ui", loops=None)
        assert_type(ui, Process[bytes])
        worker = await manager.start(DoWork(name="work"))
        worker.rejoin()
        assert_type(await worker, str)
        assert_type(await worker.loop_report(), LoopReport)
        assert_type(worker.phase, Phase | None)
        sampler = manager.add(Sampler("x", name="s"), hold=True)
        assert_type(sampler, Handle[float])
        async with OnStart(sampler, timeout=3) as start:
            start.add(config={"a": 1})
        async for before in sampler.steps():
            before.add(batch=1)
            assert_type(before.number, int)
        async with AfterLoop(sampler, add_for_next=True) as after:
            assert_type(after.result, Any)
        held = manager.add(ui, hold=True)
        assert_type(held, Handle[bytes])
        await held.restart()


# --- schedules and files ---
def recurring() -> None:
    Process(fetch, schedule=5, watch=["src", Path("pyproject.toml")])
    Command("backup", schedule="30 4 * * *")
    Concurrent(fetch, schedule=Schedule(cron="@daily", overlap="queue", misfire="once", jitter=60.0), watch=())
    assert_type(Schedule(5.0).every, float | None)


# --- output ---
async def watch_output(manager: Manager) -> None:
    rotated = LogFile("out.log", max_bytes=1 << 20, backups=2, max_age=86400.0)
    handle = await manager.start(Command("cat", stdin="pipe", stdout=rotated, stderr="log"))
    Process(fetch, stdout="log", stderr=rotated)
    await handle.write("text")
    await handle.write(b"bytes")
    await handle.write_eof()
    lines = handle.output()
    async for line in lines:
        assert_type(line, Line)
        assert_type((line.stream, line.time, line.partial), tuple[str, float, bool])
        assert_type(line.upper(), str)
    assert_type(lines.dropped, int)
    async for piece in handle.output_bytes():
        assert_type(piece, Piece)


# --- commands ---
async def commands() -> None:
    assert_type(await asyncproc.run_command("true", timeout=5.0, cwd="/", check=True), Completed[str])
    assert_type(await asyncproc.run_command("true", encoding=None, input=b"x"), Completed[bytes])
    assert_type(asyncproc.current_manager(), Manager[Any])
