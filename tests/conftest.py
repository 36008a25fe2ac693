"""What every test gets: a leak check without an opt-out, and both event loops in turn.

``--launcher portable`` runs the same tests with managers that have no launcher; see :mod:`tests.portable`.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import signal
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import uvloop

from asyncproc.testing.leaks import Leaks
from tests import portable

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--launcher", choices=["auto", "portable"], default="auto", help="what managers start their children by")


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # begun in the background by a shell, as are all that it begins
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.getoption("--launcher") == "portable":
        portable.make_default()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--launcher") == "portable":
        portable.leave_out(config, items)


def pytest_collection_finish(session: pytest.Session) -> None:
    """What stays to the end need not be looked through by each leak check: to collect it twice took most of a short test."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def leaks() -> Iterator[Leaks]:
    """Fail the test that leaves a process, thread, descriptor or shared memory behind."""
    check = Leaks().begin()
    yield check
    check.check()


@pytest.fixture(autouse=True)
async def _no_tasks_left(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """Fail the async test that leaves a task behind."""
    if not asyncio.iscoroutinefunction(getattr(request.node, "obj", None)):
        yield
        return
    before = asyncio.all_tasks()
    yield
    left = [task for task in asyncio.all_tasks() - before - {asyncio.current_task()} if not task.done()]
    assert not left, f"tasks left behind: {left}"


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Half of the tests on each loop, by name; those that ask for both (parameter ``loops``) get both."""
    if item.get_closest_marker("both_loops"):
        return LOOPS
    name = "uvloop" if hashlib.sha256(item.nodeid.encode()).digest()[0] % 2 else "asyncio"
    return {name: LOOPS[name]}
