"""A thread that goes on until its parent says that this is enough.

What to see: `rejoin()` cuts nothing off. The loop that runs when the parent asks is completed, so the stretch of numbers that
was begun is searched to its end; then `on_finish` runs, and what it returns is the node's result. The loops are timed.
"""

import math
from typing import Any

import asyncproc
from asyncproc import Handle, Manager, Thread

STRETCH = 20_000  # numbers
ENOUGH = 5_000  # primes


class Primes(Thread[Any], loops=None):
    """Searches a stretch of numbers in each loop; tells its parent which loop begins, and how many primes it has by then."""

    def on_start(self) -> None:
        self.searched = 0
        self.found: list[int] = []

    def before_loop(self) -> None:
        self.sync.send((self.current_loop, len(self.found)))

    def loop(self) -> int:
        stretch = range(self.searched, self.searched + STRETCH)
        self.found += [number for number in stretch if is_prime(number)]
        return stretch.stop

    def after_loop(self, result: int) -> None:
        self.searched = result

    def on_finish(self) -> tuple[int, int]:
        return len(self.found), self.searched


def is_prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, math.isqrt(number) + 1))


async def wait_until_enough(primes: Handle[Any]) -> int:
    """The loop that has begun by then."""
    while True:
        loop, count = await primes.receive()
        if count >= ENOUGH:
            return int(loop)


async def main() -> None:
    async with Manager() as manager:
        primes = await manager.start(Primes(name="primes"))
        begun = await wait_until_enough(primes)
        primes.rejoin()  # returns at once
        print(f"asked to rejoin in loop {begun}; {primes.path} is {primes.state.value}")
        count, searched = await primes
        report = await primes.loop_report()
        print(f"it ended after loop {report.count}: {count} primes below {searched}")
        print(report)
        exit = await primes.wait()
        print(f"{exit.explain()}: {'well' if exit.ok else 'badly'}")


asyncproc.run(main())
