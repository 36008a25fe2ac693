"""Many at once, and often: rows R80, R81 and R86. Who is counted is a program of its own, see ``endurance_hosts.py``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from asyncproc import Command, Coroutine, Manager, Process, Reason
from asyncproc.testing import hostile
from tests import portable
from tests.requirements.core_selection import answer, fail
from tests.requirements.test_embedding import Host

pytestmark = pytest.mark.slow
FULL = [pytest.mark.full, pytest.mark.timeout(600)]


class Counted(Host):
    """A host of ``endurance_hosts.py``, on the same path as the tests."""

    program = Path(__file__).with_name("endurance_hosts.py")


def counted(name: str, count: int) -> dict[str, Any]:
    with Counted(name, str(count)) as host:
        facts = host.told()
        host.end()
        assert not host.survivors()
    print(name, count, facts)
    return facts


# --- R80 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.alone
@pytest.mark.parametrize("group", ["supervisor", "concurrent"])
@pytest.mark.parametrize("counts", [(10, 100), pytest.param((100, 1000), marks=FULL)], ids=["hundred", "thousand"])
def test_r80_many_commands_cost_little_each(group: str, counts: tuple[int, int]) -> None:
    """Three descriptors and 64 KiB each at most, 1 % of a processor for all; started in 1.5 times the linear time, and ended
    within the bound; nobody is left, and no descriptor."""
    few, many = (counted(f"holds_in_{group}", count) for count in counts)
    for count, facts in zip(counts, (few, many), strict=True):
        assert facts["children"] == count
        assert facts["fds"] <= 3
        assert facts["memory"] < 64 << 10
        assert facts["idle"] < 0.01
        assert facts["stop"] <= facts["bound"]
        assert (facts["left"], facts["fds_after"]) == (0, 0)
    assert many["start"] <= 1.5 * few["start"] * (counts[1] / counts[0])


# --- R81 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.alone
@pytest.mark.parametrize("host", ["cycles", "restarts", "restarts_of_a_command"])
@pytest.mark.parametrize("count", [500, pytest.param(10_000, marks=FULL)])
def test_r81_cycles_leave_no_trace(host: str, count: int) -> None:
    """Starts with ends of every kind, and restarts of one child: descriptors, tasks, threads, zombies, shared memory and the
    helpers themselves are as they were, and neither the manager nor a helper has grown by a megabyte."""
    facts = counted(host, count)
    assert facts["changed"] == {}
    assert facts["memory"] < 1 << 20
    assert all(growth < 1 << 20 for growth in facts["of_helpers"])
    assert len(facts["of_helpers"]) == (0 if portable.is_default() else 2 + (host != "restarts_of_a_command"))


# --- R86 ---------------------------------------------------------------------------------------------------------------

ENDS: dict[str, Any] = {
    "result": Process(hostile.return_it, 7),
    "error": Process(fail),
    "command": Command("sh", "-c", "exit 7"),
    "coroutine": Coroutine(answer),
    "stop": Process(hostile.idle),
}


@pytest.mark.both_loops
@pytest.mark.parametrize("end", ENDS)
async def test_r86_a_thousand_awaits_get_the_same_end(end: str) -> None:
    """Before the start, while it runs and after its end: all get the one Exit, and the one outcome; the late ones at once."""
    async with Manager() as manager:
        handle = manager.add(ENDS[end])
        early = [asyncio.create_task(handle.wait()) for _ in range(500)]
        outcomes = [asyncio.create_task(_outcome(handle)) for _ in range(500)]
        cancelled = [asyncio.create_task(handle.wait()) for _ in range(10)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in (*early, *outcomes))
        starting = asyncio.create_task(handle.restart())
        during = [asyncio.create_task(handle.wait()) for _ in range(1000)]
        await asyncio.gather(starting, return_exceptions=True)
        for task in cancelled:
            task.cancel()
        if end == "stop":
            await handle.stop()
        exits = {id(exit) for exit in await asyncio.gather(*early, *during)}
        ends = await asyncio.gather(*outcomes)
        late = [_at_once(handle.wait()) for _ in range(1000)]
        assert exits == {id(handle.exit)} == {id(exit) for exit in late}
        assert handle.exit is not None
        assert handle.exit.reason is {"result": Reason.FINISHED, "coroutine": Reason.FINISHED, "stop": Reason.STOPPED}.get(
            end, Reason.CRASHED
        )
        assert len(set(ends)) == 1 and ends[0] == await _outcome(handle)
        assert ends[0] == {"result": 7, "coroutine": 42}.get(end, ends[0])
        assert all([await _outcome(handle) == ends[0] for _ in range(1000)])


async def _outcome(handle: Any) -> Any:
    try:
        return await handle
    except Exception as error:
        return type(error), str(error)


def _at_once(waiting: Any) -> Any:
    """What it gives without letting anything else run."""
    try:
        waiting.send(None)
    except StopIteration as returned:
        return returned.value
    raise AssertionError("it waits, though the end has come")
