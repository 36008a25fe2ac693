"""Gates for code without a loop: ``with OnStart(handle) as gate``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import TracebackType
from typing import Any, ClassVar, Self

from asyncproc._supervision import gate as awaited_gates
from asyncproc.blocking.face import Face
from asyncproc.blocking.handle import Handle
from asyncproc.blocking.portal import Portal


class Gate(Face):
    """A held child at one phase: :class:`asyncproc.OnStart` and the others, for code without a loop."""

    _NOUN = "gate"
    _KIND: ClassVar[type[awaited_gates.Gate]]

    def __init__(self, handle: Handle[Any], timeout: float | None = None) -> None:
        self._handle = handle
        self._inner: Any = self._KIND(handle._inner, timeout)

    @property
    def _portal(self) -> Portal | None:  # type: ignore[override]  # its handle's
        return self._handle._portal

    @property
    def _where(self) -> str:
        return f"{type(self).__name__} gate of node {self._handle.path}"

    @property
    def number(self) -> int:
        """Of the loop, from 1; 0 before the first."""
        return int(self._inner.number)

    @property
    def kwargs(self) -> Mapping[str, Any]:
        """The keyword arguments of the loop so far, those that could be sent."""
        found: Mapping[str, Any] = self._inner.kwargs
        return found

    def add(self, **values: Any) -> None:
        """Add keyword arguments, as the async gate does."""
        self._inner.add(**values)

    def __enter__(self) -> Self:
        name = type(self).__name__
        self._await(f"{name}(…)", self._inner.__aenter__, ends=True, spelling=f"async with {name}(handle)")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._await("the end of the block", partial(self._inner.__aexit__, kind, error, traceback), ends=True)


class OnStart(Gate):
    """Starts a held child and holds it before OnStart."""

    _KIND = awaited_gates.OnStart


class BeforeLoop(Gate):
    """Holds the child before a loop."""

    _KIND = awaited_gates.BeforeLoop


class AfterLoop(Gate):
    """Holds the child after a loop; ``result`` is what that returned."""

    _KIND = awaited_gates.AfterLoop

    def __init__(self, handle: Handle[Any], timeout: float | None = None, *, add_for_next: bool = False) -> None:
        super().__init__(handle, timeout)
        self._inner._add_for_next = add_for_next

    @property
    def result(self) -> Any:
        """What the loop returned."""
        return self._inner.result


class OnFinish(Gate):
    """Holds the child before OnFinish."""

    _KIND = awaited_gates.OnFinish
