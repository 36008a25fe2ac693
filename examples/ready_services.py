"""Services that others depend on: each is ready when it says so, or when it answers; and one that stops answering is ended.

What to see: six ways to be ready, and how soon after its start each was; then the web server is stopped in its tracks, as if it
hung. Its probe finds that out, it is ended, and why is one line. A service that never comes up fails its start in the same way.
"""

import asyncio
import signal
import socket
import sys
from typing import Any

from asyncproc import Command, Coroutine, Exec, Handle, Http, LogLine, Manager, Port, Process, StartFailed, current


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def build_index() -> None:
    """Says itself when it can be asked."""
    index = {word: len(word) for word in dir(asyncio)}
    current().ready()
    current().sync.wait_stopping()
    print(f"the index of {len(index)} words is closed", flush=True)


async def echo(port: int) -> None:
    """A server on the manager's own loop."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(1000))
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", port) as server:
        await server.serve_forever()


async def has_pid(handle: Handle[Any]) -> bool:
    """A probe of one's own: async, so that it cannot hold up the loop."""
    return handle.pid is not None


async def main() -> None:
    web, local, nobody = free_port(), free_port(), free_port()
    url = f"http://127.0.0.1:{web}/"
    serve = (sys.executable, "-m", "http.server", str(web), "--bind", "127.0.0.1")
    services = [
        Command(*serve, name="web", ready=Http(url), alive=Http(url, interval=0.1, timeout=0.2, failures=2), grace=0.5),
        Coroutine(echo, local, name="echo", ready=Port(local), alive=Port(local)),
        Command("sh", "-c", "sleep 0.1; echo listening on 7; exec sleep 60", name="log", ready=LogLine(r"^listening on \d+$")),
        Command("sh", "-c", "sleep 0.1; echo >&3; exec sleep 60", name="newline", ready="notify"),
        Process(build_index, name="index", ready="call", alive=has_pid),
        Command("sleep", "60", name="checked", ready=Exec("test", "-d", "/"), env={"LC_ALL": "C"}),
    ]
    loop = asyncio.get_running_loop()
    async with Manager() as manager:
        for service in services:
            begun = loop.time()
            handle = await manager.start(service)
            print(f"{handle.path} is ready after {(loop.time() - begun) * 1000:.0f} ms")

        found = manager.find("web")
        found.signal(signal.SIGSTOP)
        print((await found.wait()).explain())

        try:
            await manager.start(Command("sleep", "60", name="never", ready=Port(nobody), start_timeout=0.3))
        except StartFailed as error:
            print(error)


asyncio.run(main())
