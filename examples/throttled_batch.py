"""A batch that spares its machine and a service that fails: throttled by the load, with a circuit around the service.

What to see: each item waits until the machine has room for it, here for a tenth of a second at most. While the service is down
three items find that out, each in a process of its own; the next ones are refused at once, and knock at no door. When it is
back, one trial finds out, and the rest goes through.
"""

import asyncio

from asyncproc import Backoff, Circuit, CircuitOpen, Load, LoadLevel, Manager, Process


async def fetch(item: int, port: int, service: Circuit) -> str:
    """Runs in a process of its own; the circuit is that of the main program."""
    try:
        async with service:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                return f"item {item}: {(await reader.readline()).decode()}"
            finally:
                writer.close()
    except CircuitOpen:
        return f"item {item}: refused at once"
    except OSError as error:
        return f"item {item}: {type(error).__name__}"


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"fetched")
    writer.close()


async def room(load: Load) -> None:
    """Throttled, not stopped: a machine that is never calm gets its work done too."""
    try:
        async with asyncio.timeout(0.1):
            await load.wait_at_most(LoadLevel.WARNING)
    except TimeoutError:
        print(f"  too loaded, {load.level.name.lower()}, for too long: on we go")


async def main() -> None:
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = int(server.sockets[0].getsockname()[1])
    service = Circuit("service", threshold=3, backoff=Backoff(1.5, jitter=None), counts=OSError)
    async with Manager() as manager, manager.load(every=0.5) as load:

        async def batch(*items: int) -> None:
            for item in items:
                await room(load)
                print(" ", await manager.run(Process(fetch, item, port, service)))

        await load.wait_at_most(LoadLevel.CRITICAL)  # for the first sample
        shares = load.last.shares if load.last is not None else {}
        print("load:", ", ".join(f"{what} {share or 0:.0%}" for what, share in shares.items()))
        await batch(1, 2)
        print("the service goes down")
        server.close()
        await server.wait_closed()
        await batch(3, 4, 5, 6, 7)
        print(f"{service.state.value}, after {service.failures} failures")
        print("the service is back")
        server = await asyncio.start_server(answer, "127.0.0.1", port)
        await service.wait_permitted()
        await batch(8, 9)
        print(f"{service.state.value}; it has tripped {service.trips} time(s)")
        server.close()


asyncio.run(main())
