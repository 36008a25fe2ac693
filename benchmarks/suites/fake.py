"""A benchmark that measures nothing: the harness's own tests run it. Not in `NAMES`."""

from benchmarks.harness.benchmark import Bar, Benchmark, Entry, Measurement, Metric, Parameters, Role
from benchmarks.harness.contract import Contender, Unavailable, WrongWork


class Fake(Contender):
    """Gives the figure that it was made with, or fails the way it was told to."""

    def __init__(self, figure: float = 1.0, fault: str = "") -> None:
        self.figure = figure
        self.fault = fault

    async def aopen(self) -> None:
        if self.fault == "absent":
            raise Unavailable("not written yet")

    async def verify(self) -> None:
        if self.fault == "wrong":
            raise WrongWork("it returned 41")


async def measure(contender: Fake, parameters: Parameters) -> Measurement:
    """The figure times `scale`."""
    return {"ms": contender.figure * parameters["scale"], "count": 1.0}


_FAKE = f"{__name__}:Fake"

BENCHMARK = Benchmark(
    name="fake",
    title="figures < from & nowhere",
    module=__name__,
    entries=(
        Entry("floor", Role.LIMIT, _FAKE, {"figure": 1.0}),
        Entry("peer", Role.PEER, _FAKE, {"figure": 4.0}, packages=("pytest",)),
        Entry("ours", Role.OURS, _FAKE, {"figure": 2.0}),
        Entry("wrong", Role.PEER, _FAKE, {"fault": "wrong"}),
        Entry("absent", Role.OURS, _FAKE, {"fault": "absent"}),
    ),
    metrics=(Metric("ms", "milliseconds", compared=True), Metric("count", "count")),
    measure=measure,
    limit="floor",
    reference="peer",
    parameters={"scale": 1.0},
    quick={"scale": 1.0},
    bars=(
        Bar("ours", "ms", 0.6, "peer"),
        Bar("ours", "ms", 1.5, "floor"),
        Bar("ours", "ms", 1.0, "floor", form="difference"),
        Bar("ours", "ms", 2.5, form="value"),
        Bar("absent", "ms", 1.0, "floor"),
    ),
)
