"""Every line with an ignore must be an error for both checkers: an ignore that is not needed is an error in its turn."""

from dataclasses import dataclass

import asyncproc
from asyncproc import Command, Concurrent, Coroutine, LogFile, Manager, Namespace, Process, Sequential, Thread, blocking


def digest(path: str) -> str:
    return path


async def serve(port: int) -> bytes:
    return bytes(port)


Process(digest)  # type: ignore[call-arg, arg-type]  # missing argument
Process(digest, 3)  # type: ignore[arg-type]  # wrong type
Process(digest, "a", nmae="x")  # type: ignore[call-overload]  # unknown option
Process(target=digest, args=("a",))  # type: ignore[call-overload]  # multiprocessing's habit
Process(digest, "a", restart="always")  # type: ignore[call-overload]  # not a policy
Process(digest, "a", loops="3")  # type: ignore[call-overload]  # wrong type of an option
Process(digest, "a", grace="3")  # type: ignore[call-overload]  # wrong type of an option
Process(digest, "a", on_stop="die")  # type: ignore[call-overload]  # not one of the words
Process(3)  # type: ignore[call-overload]  # not callable
Process(digest, "a", trust="none")  # type: ignore[call-overload]  # code or data
Thread(digest, "a", rlimits={})  # type: ignore[call-overload]  # a thread has none
Thread(digest, "a", 3)  # type: ignore[call-arg, arg-type]  # too many arguments
Coroutine(digest, "a")  # type: ignore[arg-type]  # a plain function would block the loop
Coroutine(serve, "80")  # type: ignore[arg-type]  # wrong type
Coroutine(serve, 80, env={})  # type: ignore[call-overload]  # a coroutine has none
Command(["ls", "-l"])  # type: ignore[arg-type]  # a list
Command("ls", loops=3)  # type: ignore[call-arg]  # a command has none
Command("ls", stdout=3)  # type: ignore[arg-type]  # wrong type of an option
LogFile("x", max_bytes="1")  # type: ignore[arg-type]  # wrong type
Sequential(digest, limit=3)  # type: ignore[call-arg, arg-type]  # digest needs an argument, and a sequence has no limit
Sequential(3)  # type: ignore[arg-type]  # no spec
Concurrent(on_failure="ignore")  # type: ignore[arg-type]  # not one of the words


class Files(Process[int]):
    def __init__(self, path: bytes) -> None:
        self.path = path  # free: the node's path is at current().path
        self.name = "x"  # type: ignore[misc]  # refused: the node's name

    def loop(self) -> int:
        return 1


async def wrong(m: Manager[int]) -> None:
    x: int = await m.run(Process(digest, "a"))  # type: ignore[arg-type]  # a str
    h: asyncproc.Handle[int] = await m.start(Process(digest, "a"))  # type: ignore[arg-type]  # a str
    await m.run(digest)  # type: ignore[arg-type]  # needs an argument
    await m.run(rounds="2")  # type: ignore[call-overload]  # no number
    await m.start(Process(serve, 1), nmae="x")  # type: ignore[call-overload]  # unknown
    await m.stop(grace="5")  # type: ignore[arg-type]  # no number
    asyncproc.run(Process(serve, 1), log="loud")  # type: ignore[call-overload]  # not one of the words
    print(x, h)


def wrong_without_a_loop(m: blocking.Manager[int]) -> None:
    x: int = m.run(Process(digest, "a"))  # type: ignore[assignment]  # a str
    h: blocking.Handle[int] = m.start(Process(digest, "a"))  # type: ignore[arg-type]  # a str
    a: asyncproc.Handle[str] = m.start(Process(digest, "a"))  # type: ignore[assignment]  # of the other face
    m.run(digest)  # type: ignore[arg-type]  # needs an argument
    m.start(Process(serve, 1), nmae="x")  # type: ignore[call-overload]  # unknown
    m.stop(grace="5")  # type: ignore[arg-type]  # no number
    h.result(timeout="5")  # type: ignore[arg-type]  # no number
    h.receive(5)  # type: ignore[call-arg]  # by name only
    h.signal()  # type: ignore[call-arg]  # which one
    h.state = 3  # type: ignore[misc, assignment]  # read-only
    blocking.run(digest)  # type: ignore[arg-type]  # needs an argument
    blocking.run(Process(serve, 1), log="off")  # type: ignore[call-overload]  # the program owns its log
    blocking.Manager(names="x")  # type: ignore[call-overload]  # unknown
    print(x, a)


@dataclass
class Counts:
    counter: int = 0


async def wrong_namespace(m: Manager[Counts]) -> None:
    m.namespace.counter = 3  # type: ignore[attr-defined]  # outside a transaction
    m.namespace.view.countre  # type: ignore[attr-defined]  # unknown field
    async with m.namespace.transaction() as state:
        state.counter = "3"  # type: ignore[assignment]  # wrong type
        state.countre = 3  # type: ignore[attr-defined]  # unknown field
    with m.namespace.transaction() as state:  # type: ignore[attr-defined]  # without async
        pass
    async with m.namespace.sync.transaction() as state:  # type: ignore[attr-defined]  # the blocking face
        pass
    await m.namespace.add(3)  # type: ignore[arg-type]  # no name
    m.namespace.transaction(timeout="3")  # type: ignore[arg-type]  # no number
    with Namespace.of(Counts).sync.transaction() as typed:
        typed.counter += "1"  # type: ignore[operator]  # wrong type


def wrong_lives() -> None:
    setup = asyncproc.Setup()
    setup.on_start(3)  # type: ignore[call-overload]  # no hook
    setup.before_loop(add_for_next=True)  # type: ignore[call-overload]  # of AfterLoop only
    Process(digest, "a", loops="3")  # type: ignore[call-overload]  # no number
    Process(digest, "a", setup=setup, loops="3")  # type: ignore[call-overload]  # no number
    Thread(digest, "a", heartbeat="5")  # type: ignore[call-overload]  # no number
    Process(digest, "a", ready="soon")  # type: ignore[call-overload]  # no such word
    Command("x", ready=lambda handle: True)  # type: ignore[arg-type]  # not async
    Process(digest, "a", alive="call")  # type: ignore[call-overload]  # said once
    Command("x", ready="call")  # type: ignore[arg-type]  # a command calls nothing
    Command("x", alive=asyncproc.LogLine("up"))  # type: ignore[arg-type]  # said once
    asyncproc.Port("80")  # type: ignore[arg-type]  # no number
    asyncproc.Port(80, "127.0.0.1", 2.0)  # type: ignore[call-arg]  # by name only
    asyncproc.Exec("true", interval="1")  # type: ignore[arg-type]  # no number
    Process(digest, "a", schedule=[5])  # type: ignore[call-overload]  # no schedule
    Command("x", watch=3)  # type: ignore[arg-type]  # no sequence
    asyncproc.Schedule(5.0, overlap="wait")  # type: ignore[arg-type]  # no such word
    asyncproc.Schedule(5.0, None, "skip")  # type: ignore[call-arg]  # by name only
    Thread(digest, "a", timeouts=3)  # type: ignore[call-overload]  # no mapping


class WrongHook(Process[float]):
    def loop(self) -> str:  # type: ignore[override]  # no float
        return "x"

    def after_loop(self) -> None:  # type: ignore[override]  # takes the result
        self.rejoin(3)  # type: ignore[call-arg]  # takes nothing
        self.current_loop = 3  # type: ignore[misc]  # read-only
