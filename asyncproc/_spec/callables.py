"""What can be told of a callable before it is called: its name, and whether it needs an event loop."""

from __future__ import annotations

import functools
import inspect
from typing import Any


def name_of(target: Any) -> str:
    """What a callable is called."""
    found = getattr(_whole(target), "__name__", None)
    return found if isinstance(found, str) else type(_whole(target)).__name__


def is_async(target: Any) -> bool:
    """Whether calling *target* gives something to await; also for partials and objects with an async ``__call__``."""
    target = _whole(target)
    if inspect.iscoroutinefunction(target):
        return True
    return not inspect.isroutine(target) and not isinstance(target, type) and inspect.iscoroutinefunction(type(target).__call__)


def runs_on_loop(hook: Any) -> bool:
    """Whether what a hook gives is awaited, or entered on a loop: an async generator, or what ``contextlib`` makes of one."""
    return is_async(hook) or inspect.isasyncgenfunction(inspect.unwrap(_whole(hook)))


def _whole(target: Any) -> Any:
    while isinstance(target, functools.partial):
        target = target.func
    return target
