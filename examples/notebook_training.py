"""A notebook that trains a model in a child process, loop by loop, and stops when it has learned enough.

What to see: the child waits at each phase until the notebook lets it go on. It gets its rate before it starts and a batch
before each loop; what a loop has learned comes to the next one, and can be looked at in between. The manager is opened in one
cell and closed in another. In a notebook, write `await ...` for `run(...)`.
"""

# %% What the child runs may stand in a cell: it is sent the functions as they are
import asyncio
import random
from collections.abc import Iterator, Sequence

from asyncproc import AfterLoop, BeforeLoop, Current, Handle, Manager, OnStart, Process, Setup

Weights = tuple[float, float, float]
Point = tuple[float, float, float]  # x, y, and what is to be predicted from them

run = asyncio.Runner().run  # a loop that stands still between two cells


def train(
    batch: Sequence[Point] = (), rate: float = 0.1, weights: Weights = (0.0, 0.0, 0.0), few: int = 10
) -> tuple[Weights, float]:
    """One pass of gradient descent; without a batch nothing is learned. Gives also how far off it was before."""
    error = error_of(weights, batch)
    for start in range(0, len(batch), few):
        points = batch[start : start + few]
        off = [miss(weights, point) for point in points]
        slopes = [sum(o * point[axis] for o, point in zip(off, points, strict=True)) for axis in (0, 1)]
        a, b, c = (w - rate * slope / few for w, slope in zip(weights, (*slopes, sum(off)), strict=True))
        weights = a, b, c
    return weights, error


def error_of(weights: Weights, points: Sequence[Point]) -> float:
    """The mean square of what the predictions are off."""
    return sum(miss(weights, point) ** 2 for point in points) / max(1, len(points))


def miss(weights: Weights, point: Point) -> float:
    (a, b, c), (x, y, z) = weights, point
    return a * x + b * y + c - z


setup = Setup()


@setup.after_loop(add_for_next=True)
def keep(child: Current, result: tuple[Weights, float]) -> dict[str, Weights]:
    return {"weights": result[0]}  # joins the keyword arguments of the next loop


# %% The data: points of a plane, and noise
source = random.Random(7)


def batches() -> Iterator[list[Point]]:
    while True:
        places = [(source.uniform(-1, 1), source.uniform(-1, 1)) for _ in range(200)]
        yield [(x, y, 3 * x - 2 * y + 0.5 + source.gauss(0, 0.1)) for x, y in places]


data = batches()
unseen = next(data)

# %% Open
manager = Manager(name="notebook")
run(manager.aopen())


# %% A child that is held: what its OnStart gate adds is for all loops
async def begin() -> Handle[tuple[Weights, float]]:
    handle = manager.add(Process(train, setup=setup, loops=None), hold=True)
    async with OnStart(handle) as start:
        start.add(rate=0.05)
    return handle


child = run(begin())
print(f"{child.path} has been started")


# %% One loop: what goes in, and what comes out. This cell may be run again
async def one_loop() -> None:
    async with BeforeLoop(child) as before:
        before.add(batch=next(data))
    async with AfterLoop(child) as after:
        weights, error = after.result
        print(f"loop {after.number}: it was off by {error:.3f}, and has learned {shown(weights)}")


def shown(weights: Weights) -> str:
    return ", ".join(f"{weight:.2f}" for weight in weights)


run(one_loop())
run(one_loop())


# %% Many loops, until it is good enough: asking for the next gate lets the loop run
async def many_loops() -> None:
    async for before in child.steps():
        error = error_of(before.kwargs["weights"], unseen)
        print(f"before loop {before.number}: off by {error:.3f} on data that it has not seen")
        if error < 0.011:
            break
        before.add(batch=next(data))


run(many_loops())


# %% Enough
async def end() -> None:
    child.rejoin()  # the loop that it stands before runs without a batch
    weights, _ = await child
    print(f"it ended with {shown(weights)}; {await child.loop_report()}")


run(end())

# %% Close
run(manager.aclose())
