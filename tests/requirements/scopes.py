"""Tests of a host's, with loops of every scope: run by pytest in a process of its own, see R74 in ``test_embedding.py``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from asyncproc import Coroutine, Manager, Process, StateError
from asyncproc.testing import hostile
from tests.requirements.core_selection import answer

SCOPES: Any = ("function", "module", "session")


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def of_session() -> AsyncIterator[Manager]:
    async with Manager(name="session") as manager:
        manager.child = await manager.start(Process(hostile.idle))  # type: ignore[attr-defined]  # for the tests
        yield manager


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def of_module() -> AsyncIterator[Manager]:
    async with Manager(name="module") as manager:
        yield manager


@pytest_asyncio.fixture
async def of_function() -> AsyncIterator[Manager]:
    async with Manager(name="function") as manager:
        yield manager


async def _works(manager: Manager) -> None:
    assert await manager.run(Process(hostile.return_it, 7)) == 7
    assert await manager.run(Coroutine(answer)) == 42


@pytest.mark.asyncio
class TestFunction:
    @pytest.mark.parametrize("turn", [1, 2])
    async def test_own_loop(self, of_function: Manager, turn: int) -> None:
        await _works(of_function)

    async def test_loop_of_session_is_refused(self, of_session: Manager) -> None:
        handle = of_session.child  # type: ignore[attr-defined]  # see there
        for call in (
            of_session.start(Process(hostile.idle)),
            of_session.stop(),
            handle.stop(),
            handle.wait(),
            handle.restart(),
        ):
            with pytest.raises(StateError, match="belongs to another event loop than this code runs on"):
                await call
        with pytest.raises(StateError, match="belongs to another event loop"):
            of_session.add(Process(hostile.idle))
        assert handle.exit is None


@pytest.mark.asyncio(loop_scope="module")
class TestModule:
    @pytest.mark.parametrize("turn", [1, 2])
    async def test_own_loop(self, of_module: Manager, turn: int) -> None:
        await _works(of_module)

    async def test_children_outlive_a_test(self, of_module: Manager) -> None:
        await of_module.start(Process(hostile.idle), name="idle")

    async def test_and_are_there_in_the_next(self, of_module: Manager) -> None:
        assert of_module.find("idle").exit is None
        await of_module.find("idle").stop()


@pytest.mark.asyncio(loop_scope="session")
class TestSession:
    @pytest.mark.parametrize("turn", [1, 2])
    async def test_own_loop(self, of_session: Manager, turn: int) -> None:
        await _works(of_session)


class TestAnyio:
    """anyio's own plugin, on its own loop."""

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    @pytest.mark.anyio
    async def test_manager(self, anyio_backend: str) -> None:
        async with Manager() as manager:
            await _works(manager)

    @pytest.fixture
    async def opened(self, anyio_backend: str) -> AsyncIterator[Manager]:
        async with Manager() as manager:
            yield manager

    @pytest.mark.anyio
    async def test_manager_of_a_fixture(self, opened: Manager) -> None:
        await _works(opened)


@pytest.fixture
def kept() -> Iterator[list[Any]]:
    yield []


def test_several_loops_in_sequence(kept: list[Any]) -> None:
    """One manager, opened on one loop after the other; a handle of a loop that is over is refused on the next."""
    manager = Manager()

    async def once() -> None:
        async with manager:
            await _works(manager)
            for handle in kept:
                with pytest.raises(StateError, match="another event loop"):
                    await handle.stop()
            kept.append(await manager.start(Process(hostile.idle)))

    for _ in range(3):
        asyncio.run(once())
    assert all(handle.exit is not None for handle in kept)
