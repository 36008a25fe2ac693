"""The adapter to aiomultiprocess: a fresh interpreter as a child, started by ``multiprocessing``'s spawn method.

What we take of ``aiomultiprocess.Process`` is its shape. What we leave out, and why:

- its ``__init__``: it starts a manager process, which blocks the loop for 100 ms and outlives the program that is killed;
- its ``join``: it looks every 5 ms. The end is told by :mod:`asyncproc._runtime.end_watch`;
- multiprocessing's resource tracker, a process that nobody ends: a child that needs one starts its own;
- the host's ``__main__``: a child never imports it, so no main guard is needed. Its functions come by value, on the channel.

multiprocessing does not list these children: it would reap them, and wait for them at the end of the host.

For POSIX systems; tried on Linux alone. On macOS nothing of this has been run, on Windows it is refused by name.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from multiprocessing import popen_spawn_posix, process, reduction, spawn
from multiprocessing.context import SpawnProcess, set_spawning_popen
from typing import Any

import aiomultiprocess.core  # type: ignore[import-untyped]  # it has no types

from asyncproc._runtime.chain import host_path
from asyncproc._runtime.memory_file import memory_file
from asyncproc._runtime.warden import above, python


@dataclass(frozen=True, slots=True)
class Launch:
    """What a fresh interpreter is given.

    Attributes:
        channel: its end of the channel, a descriptor above the standard ones. streams: its three standard streams.
        env: its whole environment.
    """

    channel: int
    streams: tuple[int, ...]
    env: Mapping[str, str]


class FreshProcess(aiomultiprocess.core.Process):  # type: ignore[misc]  # it has no types
    """A fresh interpreter that calls *target*, a function of a module that it can import.

    Args:
        args: of the target; they must not be large, they are written before it runs.
    """

    def __init__(self, target: Callable[..., object], args: tuple[object, ...], name: str, launch: Launch) -> None:
        self.aio_process = _Spawned(launch, target=target, args=args, name=name, daemon=False)

    @property
    def program(self) -> subprocess.Popen[bytes]:
        """The process, after ``start``. Whoever reaps it sets its returncode."""
        popen = self.aio_process._popen
        assert isinstance(popen, _Popen)
        return popen.program


class _Spawned(SpawnProcess):
    """multiprocessing's process, which does not list itself as a child of the host's."""

    _popen: Any

    def __init__(self, launch: Launch, **options: Any) -> None:
        super().__init__(**options)
        self.launch = launch

    def start(self) -> None:
        self._popen = _Popen(self)

    def __reduce__(self) -> Any:
        state = {name: value for name, value in self.__dict__.items() if name != "launch"}
        return object.__new__, (SpawnProcess,), state  # a child need not load this module


class _Popen(popen_spawn_posix.Popen):
    """The start of an interpreter, without a tracker, a pipe to be held open, or a look at the host's main module."""

    def __init__(self, spawned: _Spawned) -> None:
        self._fds: list[int] = []
        self._launch(spawned)

    def _launch(self, spawned: _Spawned) -> None:
        launch = spawned.launch
        with ExitStack() as held:
            payload = memory_file(self._payload(spawned))  # no pipe: nobody waits for the child to read it
            held.callback(os.close, payload)
            handle = above(payload)
            held.callback(os.close, handle)
            words = spawn.get_command_line(pipe_handle=handle)
            self.program = subprocess.Popen(
                [_interpreter(), *words[1:]],
                stdin=launch.streams[0], stdout=launch.streams[1], stderr=launch.streams[2],
                pass_fds=(handle, launch.channel), env=launch.env,
                cwd="/",  # an interpreter with -c imports from its working directory first
                start_new_session=True,
            )  # fmt: skip
        self.pid = self.program.pid

    def _payload(self, spawned: _Spawned) -> bytes:
        """What multiprocessing's own start tells a child, less the main module, and less what the first message brings."""
        file = BytesIO()
        set_spawning_popen(self)
        try:
            reduction.dump({"name": spawned.name, "authkey": process.current_process().authkey, "sys_path": host_path()}, file)
            reduction.dump(spawned, file)
        finally:
            set_spawning_popen(None)
        return file.getvalue()

    def poll(self, flag: int = 0) -> int | None:
        """Its exit code, if whoever reaps it has said so."""
        returncode: int | None = self.program.returncode
        return returncode


def _interpreter() -> str:
    """What multiprocessing would start, unless this program is an embedded interpreter: then the Python that it belongs to."""
    found = os.fsdecode(spawn.get_executable() or "")
    return found if getattr(sys, "frozen", False) or "python" in os.path.basename(found).lower() else python()
