"""A whole program: one no-op child by aiomultiprocess, in its default form."""

import asyncio

import aiomultiprocess  # type: ignore[import-untyped]  # ships no types

from benchmarks import targets


async def main() -> None:
    """Run one Worker and print its result."""
    print((await aiomultiprocess.Worker(target=targets.noop_async))[2])


if __name__ == "__main__":
    asyncio.run(main())
