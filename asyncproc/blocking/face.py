"""How a method of the async face becomes one of the blocking face: each in one line.

``stop = awaited(AsyncHandle.stop)`` has the same parameters, the same result and the same docstring, and waits. What has a
timeout of its own, or gives something that needs a face itself, is written out.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Self, TypeVar, cast, overload

from asyncproc.blocking.call import alone, answer
from asyncproc.blocking.portal import Portal
from asyncproc.errors import Fault, SpecError, StateError

P = ParamSpec("P")
R = TypeVar("R")


class Face:
    """Something of the async face, and the portal on whose loop it lives; no portal as long as it lives on none."""

    __slots__ = ()

    _NOUN = "manager"
    """What the async one is called in an error."""
    _inner: Any
    _portal: Portal | None

    @property
    def _where(self) -> str:
        """Its path, for an error."""
        raise NotImplementedError

    def _await(
        self,
        call: str,
        work: Callable[[], Coroutine[Any, Any, R]],
        *,
        timeout: float | None = None,
        ends: bool = False,
        spelling: str = "",
        then: Callable[[], object] | None = None,
    ) -> R:
        """Wait for a coroutine; *call* and *spelling* say how it is written, here and on a loop."""
        self._check_place(call, spelling or f"await {self._NOUN}.{call}")
        self._check_timeout(timeout)
        portal = self._portal
        if portal is None:
            return alone(None, work)

        def late() -> TimeoutError:
            return TimeoutError(f"{self._where}: {call} was not through after {timeout} s")

        return portal.call(work, timeout=timeout, late=late, ends=ends, then=then)

    def _ask(self, call: str, function: Callable[[], R], spelling: str = "") -> R:
        """Call a plain function on the loop: what it reads or changes stands still meanwhile."""
        self._check_place(call, spelling or f"{self._NOUN}.{call}")
        portal = self._portal
        return answer(None, function) if portal is None else portal.ask(function)

    def _check_place(self, call: str, spelling: str) -> None:
        """A thread with a loop has the async face; a fork has no portal."""
        if asyncio._get_running_loop() is not None:
            raise StateError(
                f"blocking.{type(self).__name__}.{call} blocks, and this thread runs an event loop: "
                f"use asyncproc.Manager here, and `{spelling}`"
            )
        portal = self._portal
        if portal is not None and self._is_foreign:
            raise StateError(
                f"{self._where}: belongs to process {portal.pid}, of which this process, {os.getpid()}, is a fork: "
                "only a manager that was opened here can be used here"
            )

    @property
    def _is_foreign(self) -> bool:
        return self._portal is not None and self._portal.is_foreign

    def _check_timeout(self, timeout: float | None) -> None:
        if timeout is None:
            return
        if not isinstance(timeout, int | float) or isinstance(timeout, bool) or not timeout >= 0:
            raise SpecError([Fault(self._where, "timeout", timeout, "must be >= 0 seconds, or None")])


if TYPE_CHECKING:

    class Method(Generic[P, R]):
        """A method with these parameters and this result."""

        @overload
        def __get__(self, instance: None, owner: type) -> Self: ...
        @overload
        def __get__(self, instance: object, owner: type) -> Callable[P, R]: ...
        def __get__(self, instance: object, owner: type) -> Any: ...


def awaited(method: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]) -> Method[P, R]:
    """The blocking spelling of an async method. Ctrl-C ends the waiting only."""
    name = f"{method.__name__}()"

    @wraps(method)
    def blocking(self: Face, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._await(name, partial(method, self._inner, *args, **kwargs))

    return cast("Method[P, R]", blocking)


def asked(method: Callable[Concatenate[Any, P], R]) -> Method[P, R]:
    """The blocking spelling of a plain method that must run on the loop."""
    name = f"{method.__name__}()"

    @wraps(method)
    def blocking(self: Face, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._ask(name, partial(method, self._inner, *args, **kwargs))

    return cast("Method[P, R]", blocking)


def iterated(method: Callable[Concatenate[Any, P], AsyncIterator[R]]) -> Method[P, Items[R]]:
    """The blocking spelling of a method that gives an async iterator."""
    name = f"{method.__name__}()"

    @wraps(method)
    def blocking(self: Face, *args: P.args, **kwargs: P.kwargs) -> Items[R]:
        inner = self._ask(name, partial(method, self._inner, *args, **kwargs), f"async for … in {self._NOUN}.{name}")
        return Items(self, name, inner)

    return cast("Method[P, Items[R]]", blocking)


class Items(Iterator[R]):
    """What an async iterator gives, one after the other. It has begun when it was made: nothing is missed in between."""

    def __init__(self, face: Face, call: str, inner: AsyncIterator[R]) -> None:
        self._face = face
        self._call = call
        self._inner = inner

    def __next__(self) -> R:
        spelling = f"async for … in {self._face._NOUN}.{self._call}"
        try:
            return self._face._await(f"{self._call}.__next__()", self._next, ends=True, spelling=spelling)
        except StopAsyncIteration:
            raise StopIteration from None

    async def _next(self) -> R:
        return await anext(self._inner)

    @property
    def dropped(self) -> int:
        """How many a slow reader has lost."""
        return getattr(self._inner, "dropped", 0)

    def close(self) -> None:
        """End it; whoever waits for the next one hears that there is none."""
        aclose: Callable[[], Coroutine[Any, Any, None]] | None = getattr(self._inner, "aclose", None)
        if aclose is not None:
            self._face._await(f"{self._call}.close()", aclose, spelling=f"await {self._face._NOUN}.{self._call}.aclose()")
