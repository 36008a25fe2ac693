"""What a hook may give to be entered now and left later: a generator, or a context manager; plain or async."""

from __future__ import annotations

from types import AsyncGeneratorType, GeneratorType

from asyncproc.errors import PhaseError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Entered:
    """One of them. Both calls may give something to await.

    Attributes:
        enter: runs it up to where it gives its value.
        leave: runs the rest; called with this, and the error that it is left by, or None. What it swallows is not undone.
        leaves_itself: whether leaving is harmless when entering has failed. Of a context manager it must not be tried.
        left: whether that has begun: an interruption may come before.
    """

    __slots__ = ("enter", "leave", "leaves_itself", "left")

    def __init__(
        self,
        enter: Callable[[], Any],
        leave: Callable[[Entered, BaseException | None], Any],
        leaves_itself: bool = False,
    ) -> None:
        self.enter = enter
        self.leave = leave
        self.leaves_itself = leaves_itself
        self.left = False


def enterable(value: Any, hook: Any) -> Entered | None:
    """What is to be entered, if it is something of that kind."""
    kind = type(value)
    if kind is GeneratorType:
        generator = _Generator(value, hook)
        return Entered(generator.enter, generator.leave, leaves_itself=True)
    if kind is AsyncGeneratorType:
        async_generator = _AsyncGenerator(value, hook)
        return Entered(async_generator.enter, async_generator.leave, leaves_itself=True)
    if hasattr(kind, "__aenter__") and hasattr(kind, "__aexit__"):
        return Entered(value.__aenter__, _leaver(value.__aexit__))
    if hasattr(kind, "__enter__") and hasattr(kind, "__exit__"):
        return Entered(value.__enter__, _leaver(value.__exit__))
    return None


def _leaver(leave: Callable[..., Any]) -> Callable[[Entered, BaseException | None], Any]:
    def leave_by(entered: Entered, error: BaseException | None) -> Any:
        entered.left = True
        return leave(None, None, None) if error is None else leave(type(error), error, error.__traceback__)

    return leave_by


class _Generator:
    def __init__(self, generator: Any, hook: Any) -> None:
        self._generator = generator
        self._hook = hook

    def enter(self) -> Any:
        for value in self._generator:
            return value
        raise _unyielded(self._hook)

    def leave(self, entered: Entered, error: BaseException | None) -> None:
        try:
            entered.left = True
            if error is None:
                next(self._generator)
            else:
                self._generator.throw(error)
        except StopIteration:
            return
        except BaseException as raised:
            if raised is error:
                return
            raise
        self._generator.close()
        raise _yielded_again(self._hook)


class _AsyncGenerator:
    def __init__(self, generator: Any, hook: Any) -> None:
        self._generator = generator
        self._hook = hook

    async def enter(self) -> Any:
        async for value in self._generator:
            return value
        raise _unyielded(self._hook)

    async def leave(self, entered: Entered, error: BaseException | None) -> None:
        rest = anext(self._generator) if error is None else self._generator.athrow(error)
        try:
            entered.left = True
            await rest
        except StopAsyncIteration:
            return
        except BaseException as raised:
            if raised is error:
                return
            raise
        await self._generator.aclose()
        raise _yielded_again(self._hook)


def _unyielded(hook: Any) -> PhaseError:
    return PhaseError(f"hook {_name(hook)} is a generator that ended without a yield: it must yield once")


def _yielded_again(hook: Any) -> PhaseError:
    return PhaseError(f"hook {_name(hook)} is a generator that yielded twice: it must yield once")


def _name(hook: Any) -> str:
    return getattr(hook, "__qualname__", type(hook).__qualname__)
