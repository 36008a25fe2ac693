"""Groups: one after the other, all together, nested to any depth; in rounds, bound together or not, until they are stopped.

What to see: in each of the first two rounds `parse` comes before `index` and `thumbs`, and the next round begins when all have
ended. Then the members of the root go their own way: `fetch` is rounds ahead of `build` when the tree is stopped.
"""

import asyncio

import asyncproc
from asyncproc import Concurrent, Manager, Sequential


def fetch() -> str:
    return say("fetched")


def parse() -> str:
    return say("parsed")


def index() -> str:
    return say("indexed")


def thumbs() -> str:
    return say("drew")


def say(what: str) -> str:
    me = asyncproc.current()
    print(f"  round {me.round}: {me.path} {what}, in process {me.pid}", flush=True)
    return f"{what} in round {me.round}"


tree = Concurrent(
    fetch,  # a bare callable stands for Process(callable)
    Sequential(parse, Concurrent(index, thumbs), name="build"),
    limit=4,
)


async def main() -> None:
    async with Manager(tree) as manager:
        print("two rounds:")
        results = await manager.run(rounds=2)
        print(f"{results['build/concurrent/index']!r} is the last of {results.rounds} results at this path")

        print("until stopped, without waiting for each other:")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(manager.run(rounds=None, binding=False))
            async for moved in manager.events():
                if moved.path == "app/fetch" and manager.find("fetch").round >= 6:
                    break
            report = await manager.stop()  # not a failure: run() gives the Results of the last round
        print(f"stopped in {report.duration:.2f} s, killed: {len(report.killed)}")
        print(f"fetch has come to round {manager.find('fetch').round}, build to round {manager.find('build').round}")


asyncproc.run(main())
