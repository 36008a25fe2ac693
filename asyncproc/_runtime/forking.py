"""A fork that is dear to nobody: what os.fork does for the sake of other threads is left out where there are none.

``os.fork`` runs every hook that was registered: locks of threading, logging and concurrent.futures are made anew in each child,
in case another thread held one. A template has one thread. Leaving that out saves each child 0.35 MiB of its own memory and a
fifth of its start. Hooks of everybody else run as they should.

Done on interpreters on which it was tried; on others this is ``os.fork``.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

TRIED = sys.implementation.name == "cpython" and sys.version_info[:2] == (3, 11)
FOR_THREADS = frozenset({"threading", "logging", "concurrent.futures.thread"})
"""Modules whose hooks are for the sake of other threads alone."""

_register = os.register_at_fork
_before: list[Callable[[], Any]] = []
_in_parent: list[Callable[[], Any]] = []
_in_child: list[Callable[[], Any]] = []


def watch_hooks() -> None:
    """Note every fork hook from now on; to be called before anything that registers one is imported."""
    os.register_at_fork = _noting  # type: ignore[assignment]  # it takes what is handed through


def _noting(**hooks: Callable[[], Any]) -> None:
    _register(**hooks)
    places = {"before": _before, "after_in_parent": _in_parent, "after_in_child": _in_child}
    for word, hook in hooks.items():
        if not _for_threads(hook):
            places[word].append(hook)


def _for_threads(hook: Callable[[], Any]) -> bool:
    if getattr(hook, "__module__", None) in FOR_THREADS:
        return True
    return type(getattr(hook, "__self__", None)).__module__ in ("_thread", "threading")  # a lock's acquire, release or renewal


def fork() -> int:
    """As ``os.fork``, for a process with a single thread."""
    if not TRIED:
        return os.fork()
    for hook in reversed(_before):
        hook()
    pid = _libc_fork()
    for hook in _in_parent if pid else _in_child:  # the parent's also when there is no child
        hook()
    if pid < 0:
        raise OSError(11, os.strerror(11))  # EAGAIN: libc keeps to itself which limit it was
    if pid == 0:
        os.register_at_fork = _register
        threading = sys.modules.get("threading")
        if threading is not None:
            threading._main_thread._set_native_id()
    return pid


def _libc_fork() -> int:
    import _ctypes

    pid: int = _ctypes.call_function(_address(), ())
    return pid


def _address() -> int:
    import _ctypes

    this_program: Any = None
    return _ctypes.dlsym(_ctypes.dlopen(this_program, 2), "fork")
