"""Six children that behave as badly as they can, below one Supervisor, which wins.

What to see: one child ignores SIGTERM, one leaves a daemon behind, one floods its output, one stops itself as a debugger
would, one eats memory, one crashes whenever it is started. Each is found out by its own means; a good one beside them never
notices. A line for each says what became of it, and nothing is left running.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

from asyncproc import Backoff, Command, Coroutine, Handle, LogLine, Manager, Process, State, Supervisor, current

IGNORES = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(1000)"


def leave_daemon() -> None:
    """Fork twice with a session between, as daemons do, and let the last one ignore SIGTERM."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.write(writer, str(os.getpid()).encode())
            time.sleep(1000)
        os._exit(0)
    os.wait()
    current().sync.send(int(os.read(reader, 20)))
    time.sleep(1000)


def stop_itself() -> None:
    current().ready()
    os.kill(os.getpid(), signal.SIGSTOP)


def eat_memory() -> None:
    eaten = []
    while True:
        eaten.append(os.urandom(1 << 20))
        time.sleep(0.002)


def crash() -> None:
    raise RuntimeError("as always")


async def behave(beats: list[float]) -> None:
    """Sees how late the manager's loop wakes up, on which it lives itself."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + 0.01
        await asyncio.sleep(0.01)
        beats.append(loop.time() - due)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def tell(handle: Handle[Any]) -> None:
    assert handle.exit is not None
    restarts = f"; {handle.incarnation - 1} restarts" if handle.incarnation > 1 else ""
    print(f"{handle.exit.explain()}{restarts}")


async def main() -> None:
    beats: list[float] = []
    once: dict[str, Any] = {"restart": "temporary", "grace": 0.3}
    tree = Supervisor(
        Coroutine(behave, beats, name="good"),
        Command(sys.executable, "-S", "-c", IGNORES, name="deaf", ready=LogLine("deaf"), **once),
        Process(leave_daemon, name="daemon", **once),
        Command("yes", "flood", name="flood", max_output=1 << 16, **once),
        Process(stop_itself, name="stopped", heartbeat=0.4, **once),
        Process(eat_memory, name="eater", max_memory="96MiB", **once),
        Process(crash, name="crash", backoff=Backoff(0.05, jitter=None)),
        intensity=3,
        at_limit="stay",
    )
    async with Manager(tree) as manager:
        by_name = {node.name: node for node in manager.nodes("app/*")}
        daemon = await by_name["daemon"].receive()
        print(f"the daemon is process {daemon}, alive: {alive(daemon)}")
        output = by_name["flood"].output()
        lines = [line async for line in limited(output, 1000)]
        print(f"flood: {sum(line == 'flood' for line in lines)} of {len(lines)} lines read are whole")
        for name in ("crash", "stopped", "eater"):
            await by_name[name].wait()
            tell(by_name[name])

        print(f"of flood {output.dropped >> 20} MiB were dropped that nobody has read; it was not held up")
        for name in ("flood", "daemon", "deaf"):
            await by_name[name].stop()
            tell(by_name[name])
        print(f"the daemon is alive: {alive(daemon)}")

        good = by_name["good"]
        assert good.state is State.RUNNING
        late = sorted(beats)[len(beats) * 99 // 100]
        print(f"{good.path} is still in incarnation {good.incarnation}")
        print(f"of {len(beats)} wake-ups of its loop 99 % came within {late * 1000:.1f} ms")


async def limited(lines: AsyncIterator[str], count: int) -> AsyncIterator[str]:
    async for line in lines:
        yield line
        count -= 1
        if not count:
            return


asyncio.run(main())
