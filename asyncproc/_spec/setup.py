"""The four phases of a function's life, collected once and given to any number of specs: ``Setup``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, overload

from asyncproc._core.lifecycle.action import AFTER_LOOP, BEFORE_LOOP, ON_FINISH, ON_START
from asyncproc._spec.callables import name_of, runs_on_loop
from asyncproc.errors import Fault, SpecError

F = TypeVar("F", bound=Callable[..., Any])
ARGUMENTS = {ON_START: ("child",), BEFORE_LOOP: ("child",), AFTER_LOOP: ("child", "result"), ON_FINISH: ("child",)}
"""What a hook of each phase is called with; in the class form ``self`` stands for ``child``."""


class Setup:
    """Hooks for the phases of a child; reusable.

    A hook gets the child's :class:`~asyncproc.Current`; one of AfterLoop also the loop's result. It is a plain or async
    function, which may return a mapping, or a plain or async generator, which may yield one: what stands before its one
    ``yield`` runs at the entry of its phase, what stands after it at the matching exit (OnStart → OnFinish, BeforeLoop →
    AfterLoop), also on errors. Several hooks of a phase run in order and are left in reverse.

    Mappings join the keyword arguments of the target: of OnStart for every loop, of BeforeLoop for this loop, of AfterLoop for
    the next one, if ``add_for_next``.

    Raises:
        SpecError: a hook cannot be called, or not with these arguments.
    """

    def __init__(self) -> None:
        self._hooks: dict[str, list[tuple[Callable[..., Any], bool]]] = {phase: [] for phase in ARGUMENTS}

    @property
    def runs_on_loop(self) -> bool:
        """Whether any of its hooks needs an event loop."""
        return any(runs_on_loop(hook) for hooks in self._hooks.values() for hook, _ in hooks)

    @property
    def adds_arguments(self) -> bool:
        """Whether any of its hooks may add to the target's keyword arguments before the first loop."""
        return bool(self._hooks[ON_START] or self._hooks[BEFORE_LOOP])

    @property
    def hooks(self) -> dict[str, list[tuple[Callable[..., Any], bool]]]:
        """By phase and in order, each with whether its mapping is passed on: what a child is sent, which never loads this."""
        return self._hooks

    def __repr__(self) -> str:
        named = (f"{phase}={[name_of(hook) for hook, _ in hooks]}" for phase, hooks in self._hooks.items() if hooks)
        return f"Setup({', '.join(named)})"

    @overload
    def on_start(self, hook: F, /) -> F: ...
    @overload
    def on_start(self, /) -> Callable[[F], F]: ...
    def on_start(self, hook: Callable[..., Any] | None = None, /) -> Callable[..., Any]:
        """Run *hook* once, before the first loop. Decorator, with or without parentheses."""
        return self._taker(ON_START)(hook)

    @overload
    def before_loop(self, hook: F, /) -> F: ...
    @overload
    def before_loop(self, /) -> Callable[[F], F]: ...
    def before_loop(self, hook: Callable[..., Any] | None = None, /) -> Callable[..., Any]:
        """Run *hook* before each loop. Decorator, with or without parentheses."""
        return self._taker(BEFORE_LOOP)(hook)

    @overload
    def after_loop(self, hook: F, /) -> F: ...
    @overload
    def after_loop(self, /, *, add_for_next: bool = False) -> Callable[[F], F]: ...
    def after_loop(self, hook: Callable[..., Any] | None = None, /, *, add_for_next: bool = False) -> Callable[..., Any]:
        """Run *hook* after each loop, with its result. Decorator, with or without parentheses.

        Args:
            add_for_next: whether a mapping that it returns joins the keyword arguments of the next loop.
        """
        return self._taker(AFTER_LOOP, add_for_next)(hook)

    @overload
    def on_finish(self, hook: F, /) -> F: ...
    @overload
    def on_finish(self, /) -> Callable[[F], F]: ...
    def on_finish(self, hook: Callable[..., Any] | None = None, /) -> Callable[..., Any]:
        """Run *hook* once at the end; what it returns, if not None, is the child's result."""
        return self._taker(ON_FINISH)(hook)

    def _taker(self, phase: str, passes_on: bool = True) -> Callable[..., Callable[..., Any]]:
        def take(hook: Callable[..., Any] | None) -> Callable[..., Any]:
            if hook is None:
                return take
            rule = hook_fault(phase, hook, ARGUMENTS[phase])
            if rule is not None:
                raise SpecError([Fault("setup", phase, hook, rule)])
            self._hooks[phase].append((hook, passes_on))
            return hook

        return take


def _yields(hook: Callable[..., Any]) -> bool:
    return inspect.isgeneratorfunction(hook) or inspect.isasyncgenfunction(hook)


def hook_fault(phase: str, hook: object, arguments: tuple[str, ...]) -> str | None:
    """Why *hook* cannot be called with *arguments*; None when it can."""
    if not callable(hook):
        return "must be callable"
    try:
        inspect.signature(hook).bind(*arguments)
    except TypeError:
        return f"must take ({', '.join(arguments)})"
    except ValueError:  # a builtin that does not tell
        return None
    if phase in (AFTER_LOOP, ON_FINISH) and _yields(hook):
        return "must be a function: what is entered there cannot be left later"
    return None
