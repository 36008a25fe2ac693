"""Hosts that put a manager where it must work all the same: ``python embedding_hosts.py NAME [WORD ...]``.

``portable``: every manager takes the portable path. ``uvloop``, ``debug``: the loop that it runs on. Each says what the test
waits for; a promise that is broken in a host is its traceback.
"""

from __future__ import annotations

import asyncio
import atexit
import gc
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from asyncproc.testing.leaks import RUN_VARIABLE, Leaks


def tell_who_is_left() -> None:
    """The last that a host does: its manager's own hook, which was registered later, has run by now."""
    leaks = Leaks()
    leaks.token = os.environ.get(RUN_VARIABLE, "no token").rpartition(":")[2]
    print("left", json.dumps(sorted(leaks.survivors().values())), flush=True)


if "tells_who_is_left" in sys.argv:
    atexit.register(tell_who_is_left)

import asyncproc
from asyncproc import Command, Concurrent, Manager, Process, Thread, blocking, current
from asyncproc.testing import hostile
from tests import portable
from tests.faults.harness import helpers_of
from tests.requirements.core_selection import everything, fail, handlers, kill_itself

WORDS = sys.argv[2:]


def say(word: str, **facts: Any) -> None:
    print(word, json.dumps(facts), flush=True)


def make_loop() -> asyncio.AbstractEventLoop:
    if "uvloop" in WORDS:
        import uvloop

        return uvloop.new_event_loop()
    return asyncio.new_event_loop()


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=make_loop, debug="debug" in WORDS or None) as runner:
        return runner.run(coroutine)


def in_thread(call: Callable[[], Any]) -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    thread.join()
    assert found, "it failed in its thread"
    return found[0]


# --- R66 ---------------------------------------------------------------------------------------------------------------


def in_another_thread() -> None:
    before, wakeup = handlers(), signal.set_wakeup_fd(-1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        in_thread(lambda: run(everything()))
        in_thread(lambda: asyncproc.run(Process(hostile.return_it, 7)))
        in_thread(_blocking_face)
    changed = [number for number, handler in handlers().items() if handler is not before[number]]
    say("done", changed=changed, wakeup=[wakeup, signal.set_wakeup_fd(-1)], warned=[str(each.message) for each in caught])


def _blocking_face() -> int:
    with blocking.Manager() as manager:
        return int(manager.run(Process(hostile.return_it, 7)))


# --- R67 ---------------------------------------------------------------------------------------------------------------


def waits_for_all() -> None:
    """It has a thread that waits for whatever ends."""

    def reap() -> None:
        while True:
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                time.sleep(0.0005)  # there is no event for the first child

    threading.Thread(target=reap, daemon=True).start()
    run(tell_statuses())


def handles_sigchld() -> None:
    """It reaps whatever has ended, whenever one has."""

    def reap(number: int, frame: object) -> None:
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass

    signal.signal(signal.SIGCHLD, reap)
    run(tell_statuses())
    assert signal.getsignal(signal.SIGCHLD) is reap


def ignores_sigchld() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    run(tell_statuses())
    assert signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN


async def tell_statuses() -> None:
    specs: dict[str, Any] = {
        "returns": Process(hostile.return_it, 7),
        "fails": Process(fail),
        "exits": Process(hostile.exit_at_once, 3),
        "exits well": Process(hostile.exit_at_once, 0),
        "is killed": Process(kill_itself, int(signal.SIGKILL)),
        "command 0": Command("true"),
        "command 7": Command("sh", "-c", "exit 7"),
        "command 255": Command("sh", "-c", "exit 255"),
        "command killed": Command("sh", "-c", "kill -USR1 $$"),
    }
    async with Manager() as manager:
        for name, spec in specs.items():
            for _ in range(3):
                exits = []
                await manager.run(
                    Concurrent(
                        spec.with_options(ended=lambda handle, exits=exits: exits.append(handle.exit)), on_failure="continue"
                    )
                )
                say(
                    "end", name=name, told=[exits[0].reason.name, exits[0].code, exits[0].signal, type(exits[0].error).__name__]
                )
        handle = await manager.start(Command("sleep", "1000"))
        exit = await handle.stop()
        say("end", name="stopped", told=[exit.reason.name, exit.code, exit.signal, type(exit.error).__name__])


# --- R69 ---------------------------------------------------------------------------------------------------------------


class Foreigner:
    """A process of somebody else's, the leader of its session, with a pid that was another's: what hits it, kills it."""

    def __init__(self, pid: int) -> None:
        for _ in range(50):
            Path("/proc/sys/kernel/ns_last_pid").write_text(str(pid - 1))
            self.process = subprocess.Popen(["sleep", "1000"], start_new_session=True, stdout=subprocess.DEVNULL)
            if self.process.pid == pid:
                return
            self.end()
        raise AssertionError(f"pid {pid} is not to be had")

    def end(self) -> int | None:
        """How it has ended by now; None: it lives."""
        found = self.process.poll()
        self.process.kill()
        self.process.wait()
        return found


def vanish(pid: int) -> None:
    """SIGKILL, and gone: reaped by its helper, or, where there is none, by a host that reaps whatever ends."""
    os.kill(pid, signal.SIGKILL)
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)
    while os.path.exists(f"/proc/{pid}"):
        time.sleep(0.001)  # nobody tells that a process of somebody else's was reaped


async def reuses_pids() -> None:
    """What a manager does to children that are gone meets whoever has their pids by then; the loop has seen nothing yet."""
    hits: list[str] = []
    async with Manager(spares=0, grace=0.1) as manager:
        for spec in (
            Process(hostile.idle),
            Command("sleep", "1000"),
            Process(hostile.idle, inherit_env=False),
            Command("sleep", "1000", inherit_env=False),
        ):
            for deed in ("signal", "stop", "kill", "stop all", "nothing"):
                handle = await manager.start(spec)
                pid = handle.pid
                assert pid is not None
                vanish(pid)
                foreigner = Foreigner(pid)
                if deed == "signal":
                    for name in ("USR1", "TERM", "KILL"):
                        handle.signal(name)
                elif deed == "stop all":
                    await manager.stop()
                elif deed != "nothing":
                    await getattr(handle, deed)()
                await handle.wait()
                await manager.run(Process(hostile.return_it, 1))
                if foreigner.end() is not None:
                    hits.append(f"{deed} of {type(spec).__name__}")
        for helper in ("template", "launcher"):  # the number of a warden stays taken: its group lives on
            for pid in helpers_of(os.getpid()).get(helper, ()):
                handle = await manager.start(Process(hostile.idle))
                vanish(pid)
                foreigner = Foreigner(pid)
                await handle.stop()
                await manager.run(Process(hostile.return_it, 1))
                await manager.run(Command("true"))
                if foreigner.end() is not None:
                    hits.append(helper)
    say("done", hits=hits)


async def cycles_pids() -> None:
    """Children start, end and are stopped at random, and so do strangers, all within a few hundred pids."""
    import random

    chance = random.Random(1)
    over = threading.Event()
    hit: list[int] = []
    strangers: list[int] = []

    def live_beside() -> None:
        while not over.is_set():
            Path("/proc/sys/kernel/ns_last_pid").write_text("300")
            for process in [subprocess.Popen(["sleep", "0.01"], start_new_session=True) for _ in range(5)]:
                strangers.append(process.pid)
                if process.wait():
                    hit.append(process.returncode)

    neighbour = threading.Thread(target=live_beside)
    neighbour.start()
    ours: list[int] = []
    try:
        async with Manager(spares=0, grace=0.05) as manager:

            async def one() -> None:
                short: list[Any] = [Command("sleep", "0.01"), Process(hostile.return_it, 1)]
                spec = chance.choice([*short, Command("sleep", "1000"), Process(hostile.idle)])
                handle = await manager.start(spec)
                ours.append(handle.pid or 0)
                # One that ends by itself may have done so: its pid would be a stranger's, and the killer ourselves.
                if chance.random() < 0.3 and spec not in short and handle.pid is not None:
                    os.kill(handle.pid, signal.SIGKILL)
                for _ in range(3):
                    with suppress(asyncproc.StateError):
                        handle.signal("TERM")
                await (handle.kill() if chance.random() < 0.5 else handle.stop())

            for _ in range(int(WORDS[0])):
                await asyncio.gather(*(one() for _ in range(4)))
    finally:
        over.set()
        neighbour.join()
    say("done", hit=hit, shared=len({*ours} & {*strangers}), ours=len(ours))


# --- R70 ---------------------------------------------------------------------------------------------------------------


async def starts_beside_locks() -> None:
    """Threads hold the lock of logging all the time, one that is being imported, and the allocator's most of it."""
    forks: list[str] = []
    os.register_at_fork(before=lambda: forks.append("fork"))
    warnings.simplefilter("error")
    over = threading.Event()
    held = threading.Barrier(3)
    folder = Path(WORDS[1])
    (folder / "slow_module.py").write_text(
        "import tests.requirements.embedding_hosts as hosts\nhosts.HELD.wait()\nhosts.OVER.wait()\n"
    )
    sys.modules["tests.requirements.embedding_hosts"] = sys.modules["__main__"]
    globals().update(HELD=held, OVER=over)
    sys.path.append(str(folder))

    def logs() -> None:
        logging._acquireLock()  # type: ignore[attr-defined]  # as a handler that hangs does
        held.wait()
        over.wait()
        logging._releaseLock()  # type: ignore[attr-defined]

    def allocates() -> None:
        while not over.wait(0.001):
            [bytes(1 << size) for size in range(16)]

    threads = [threading.Thread(target=call) for call in (logs, allocates, lambda: __import__("slow_module"))]
    async with Manager(spares=0) as manager:
        await manager.run(Process(hostile.return_it, 0))
        await manager.run(Command("true"))
        for thread in threads:
            thread.start()
        held.wait()
        try:
            for number in range(int(WORDS[0]) // 20):
                values = await asyncio.gather(*(manager.run(Process(_uses_locks, number)) for _ in range(18)))
                assert values == [number] * 18
                await asyncio.gather(*(manager.run(Command("true")) for _ in range(2)))
            helpers = [pid for pids in helpers_of(os.getpid()).values() for pid in pids]
            counts = [len(os.listdir(f"/proc/{pid}/task")) for pid in helpers]
        finally:
            over.set()
            for thread in threads:
                thread.join()
    say("done", forks=forks, threads=counts)


def _uses_locks(number: int) -> int:
    """What hangs in a copy of a process whose threads held locks."""
    logging.getLogger("child").debug("here")
    import colorsys  # noqa: F401  # nobody has imported it before

    [bytes(1 << size) for size in range(16)]
    return number


# --- R72 ---------------------------------------------------------------------------------------------------------------


async def _inner(manager: Manager) -> None:
    """A deep tree below the middle process, whose pids are told."""
    await manager.start(Process(hostile.leave_daemon, name="daemon"))
    await manager.find("daemon").receive()
    await manager.start(Command("sh", "-c", "setsid sleep 1000 & sleep 1000"))
    deaf = await manager.start(Process(hostile.ignore_term))
    await deaf.receive()


async def ends_how(how: str) -> None:
    """The middle process: it has a manager of its own, and ends."""
    manager = await Manager(name="inner").aopen()
    await _inner(manager)
    await current().send("up")
    assert await current().receive() == "go"
    if how == "exits":
        os._exit(3)
    elif how == "crashes":
        os.abort()
    elif how == "is killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "fails":
        raise ValueError("its own")
    elif how == "execs":
        os.execv("/bin/sleep", ["sleep", "1000"])
    elif how == "sleeps":
        await asyncio.sleep(hostile.FOR_EVER)


def tree_below(pid: int) -> set[int]:
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        lists = Path(f"/proc/{waiting.pop()}/task").glob("*/children")
        children = {int(word) for text in lists for word in text.read_text().split()}
        waiting += children
        found |= children
    return found


async def has_a_middle() -> None:
    """The outer manager. When the middle one has ended nobody below it is left; who stands beside it is not touched."""
    how = " ".join(word for word in WORDS if word not in ("portable", "uvloop"))
    async with Manager() as manager:
        sibling = await manager.start(Command("sleep", "1000"))
        middle = await manager.start(Process(ends_how, how, grace=0.5, stderr="null"))
        await middle.receive()
        say("up", sibling=sibling.pid, inner=sorted(tree_below(middle.pid or 0)))
        await middle.send("go")
        if how == "sleeps":
            await middle.stop()
        exit = await middle.wait()
        say("over", reason=exit.reason.name, alive=sibling.exit is None)
        await asyncio.sleep(hostile.FOR_EVER)


# --- R75, R76 ----------------------------------------------------------------------------------------------------------


def wait_for_ever() -> None:
    threading.Event().wait()


async def begin() -> Manager:
    """A manager that nobody will close, with children that do not want to end, and a thread that cannot be ended."""
    manager = await Manager(name="shop").aopen()
    deaf = await manager.start(Process(hostile.ignore_term))
    daemon = await manager.start(Process(hostile.leave_daemon))
    await manager.start(Command("sh", "-c", "setsid sleep 1000 & trap '' TERM; sleep 1000"))
    await manager.start(Thread(wait_for_ever))
    await deaf.receive()
    await daemon.receive()
    return manager


keep: list[Any] = []


async def keeps() -> None:
    keep.append(await begin())


async def keeps_in_a_cycle() -> None:
    keep.append(await begin())
    keep.append(keep)


async def keeps_and(end: Callable[[], Any]) -> None:
    manager = await begin()
    leave()
    end()
    await manager.aclose()


def leave() -> None:
    say("leaving", at=time.monotonic())


def raise_error() -> None:
    raise KeyError("the host's own")


def forgets() -> None:
    """``asyncio.run`` ends without a stop."""
    run(begin())
    leave()


def keeps_it_to_the_end() -> None:
    run(keeps())
    leave()


def closes_the_loop() -> None:
    """By hand, so that nobody cancels what is still on it."""
    loop = make_loop()
    loop.run_until_complete(keeps_in_a_cycle())
    loop.close()
    leave()


def drops_it() -> None:
    loop = make_loop()
    loop.run_until_complete(begin())
    leave()
    gc.collect()
    tell_who_is_left()
    loop.close()


def leaves_the_loop() -> None:
    """It is neither closed nor run to an end."""
    loop = make_loop()
    loop.run_until_complete(keeps_in_a_cycle())
    leave()


def leaves_a_daemon_thread() -> None:
    """The loop still runs when the interpreter ends."""
    loop = make_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    asyncio.run_coroutine_threadsafe(keeps(), loop).result()
    leave()


def sys_exits() -> None:
    run(keeps_and(lambda: sys.exit(3)))


def fails() -> None:
    run(keeps_and(raise_error))


def sys_exits_beside() -> None:
    """The exit comes from plain code, with the loop at rest."""
    loop = make_loop()
    loop.run_until_complete(keeps())
    leave()
    sys.exit(3)


def fails_beside() -> None:
    loop = make_loop()
    loop.run_until_complete(keeps())
    leave()
    raise_error()


# --- the choice --------------------------------------------------------------------------------------------------------

ASYNC = {host.__name__: host for host in (reuses_pids, cycles_pids, starts_beside_locks, has_a_middle)}


class SlowCallbacks(logging.Handler):
    """What asyncio says of them in debug mode, less the time for which this process was ready and had no processor."""

    def __init__(self) -> None:
        super().__init__()
        self.slow: list[str] = []
        self._waited = self._delay()

    def _delay(self) -> float:
        return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        took = re.search(r"took ([0-9.]+) seconds", text)
        before, self._waited = self._waited, self._delay()
        if took is None or float(took[1]) - (self._waited - before) > 0.1:
            self.slow.append(text)


def selection() -> None:
    logging.getLogger("asyncproc").setLevel(logging.CRITICAL)  # ends of children, which are no warnings
    watch = SlowCallbacks()
    logging.getLogger("asyncio").addHandler(watch)
    run(everything())
    say("done", slow=watch.slow)


def main(name: str) -> None:
    if "portable" in WORDS:
        portable.make_default()
    if name in ASYNC:
        run(ASYNC[name]())
    else:
        globals()[name]()


if __name__ == "__main__":
    main(sys.argv[1])
