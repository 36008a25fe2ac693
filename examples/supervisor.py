"""A service of several parts below one Supervisor: a web server, an API that depends on it, and workers that can be scaled.

What to see: the parts start in order, each when the one before it answers or says that it is ready. Then one worker is killed
from outside and comes back, with the one that started after it, as "rest_for_one" has it; the API crashes, and both workers
come back with it, while the web server does not notice; two workers more; and all end in reverse order.
"""

import asyncio
import os
import signal
import socket
import sys
import time

from asyncproc import Backoff, Command, Group, Manager, Port, Process, State, Supervisor, Transition, current


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


async def api(port: int) -> None:
    """Ready when it has reached the web server; it crashes when it is told to."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()
    current().ready()
    raise RuntimeError(await current().receive())


def work() -> None:
    """One loop; another one follows, until it is told to end."""
    time.sleep(0.05)


def show(move: Transition) -> None:
    name = move.path.rpartition("/")[2]
    if move.after is State.RUNNING:
        print(f"  {name} is up, incarnation {move.incarnation}")
    elif move.exit is not None:
        print(f"  {move.exit.explain()}" if move.exit.failed else f"  {name} has ended: {move.exit.asked_by}")


async def main() -> None:
    port = free_port()
    app = Supervisor(
        Command(sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", name="web", ready=Port(port)),
        Process(api, port, ready="call", grace=10.0),
        Process(work, name="worker", scale=2, restart="transient", loops=None),
        strategy="rest_for_one",
        intensity=3,
        period=30.0,
        backoff=Backoff(0.1, 30.0, factor=2.0, jitter="full"),
    )
    manager = Manager(app)

    async def watch() -> None:
        async for move in manager.events():
            show(move)

    async with manager:
        print("all are up:", ", ".join(f"{node.name} {node.pid}" for node in manager.nodes("app/*")))
        watching = asyncio.create_task(watch())
        await asyncio.sleep(0)

        worker = manager.find("app/worker-1")
        assert worker.pid is not None
        print(f"worker-1 is killed, process {worker.pid}")
        os.kill(worker.pid, signal.SIGKILL)
        await manager.find("app/worker-2").wait_for(state=State.RUNNING, incarnation=2)

        print("the API crashes, and what started after it comes back with it")
        await manager.find("app/api").send("out of luck")
        await manager.find("app/worker-2").wait_for(state=State.RUNNING, incarnation=3)

        print("two workers more")
        group = manager.find("app")
        assert isinstance(group, Group)
        await group.scale("worker", 4)
        print("running:", ", ".join(f"{child.name} ({child.incarnation})" for child in group.children))
        print("and all end in reverse")
    await watching


asyncio.run(main())
