"""Children that do what no child should: targets for the tests of whoever has to end them.

Plain functions, found by name in a child. ``tell`` says, on the child's channel, that the bad thing stands: tests wait for it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time

from asyncproc._spec.current import current

FOR_EVER = 1000.0
"""Seconds; whoever sleeps so long is to be ended by somebody else."""

DEAF = "import signal,sys,time;signal.signal(signal.SIGTERM,signal.SIG_IGN);print('deaf',flush=True);time.sleep(1000)"
"""A program, for ``python -S -c``, that ignores SIGTERM."""
DAEMON = (
    "import os,sys,time\n"
    "if os.fork()==0:\n"
    "  os.setsid()\n"
    "  if os.fork()==0:\n"
    "    os.closerange(0,3)\n"
    "    time.sleep(1000)\n"
    "  os._exit(0)\n"
    "os.wait();print('up',flush=True);time.sleep(1000)"
)
"""A program, for ``python -S -c``, that leaves a daemon: of another session, without a parent, with nothing open."""


def idle() -> None:
    """Sleep for ever."""
    time.sleep(FOR_EVER)


def tell_and_idle() -> None:
    """Say "up", then sleep for ever."""
    current().sync.send("up")
    time.sleep(FOR_EVER)


def ignore_term() -> None:
    """Take no notice of SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    tell_and_idle()


def count_terms(path: str) -> None:
    """Write a line to *path* for each SIGTERM, and go on."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    signal.signal(signal.SIGTERM, lambda number, frame: os.write(file, b"TERM\n") and None)
    current().sync.send("up")
    while True:
        time.sleep(FOR_EVER)


def leave_daemon() -> None:
    """Fork twice, with a session between: a daemon that ignores SIGTERM; tell its pid, then sleep for ever."""
    current().sync.send(_daemon())
    time.sleep(FOR_EVER)


def leave_daemon_and_end() -> int:
    """The same, but end at once."""
    return _daemon()


def _daemon() -> int:
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if os.fork() == 0:
            os.write(writer, b"%d" % os.getpid())
            os.closerange(3, 100)
            time.sleep(FOR_EVER)
        os._exit(0)
    os.wait()
    pid = int(os.read(reader, 20))
    os.close(reader)
    os.close(writer)
    return pid


def fork_bomb(width: int = 100, seconds: float = 20.0) -> None:
    """Keep up to *width* times a process alive that forks its successor every millisecond and ends: no pid lives long.

    Limited: each line of successors ends by itself after *seconds*.
    """
    end = time.monotonic() + seconds
    for _ in range(width):
        if os.fork() == 0:
            os.setsid()
            while time.monotonic() < end:
                if os.fork():
                    os._exit(0)
                time.sleep(0.001)
            os._exit(0)
    tell_and_idle()


async def block_loop(seconds: float = FOR_EVER) -> str:
    """Say "up", then block the event loop for so long, as code does that was not made for one; then wait for ever."""
    await current().send("up")
    _wait_in_plain_code(seconds)
    await asyncio.sleep(FOR_EVER)
    return "never"


async def spin_loop() -> None:
    """Say "up", then keep the event loop busy in plain code for ever."""
    await current().send("up")
    while True:
        pass


def _wait_in_plain_code(seconds: float) -> None:
    time.sleep(seconds)


def hold_gil() -> None:
    """Say "up", then hold the interpreter in C code for ever, asleep: no thread runs Python code, and no signal helps."""
    current().sync.send("up")
    _lock_twice()


async def hold_gil_on_loop() -> None:
    """The same, on an event loop."""
    await current().send("up")
    _lock_twice()


def _lock_twice() -> None:
    import ctypes

    lock = ctypes.PyDLL(None).pthread_mutex_lock  # a PyDLL keeps the interpreter while it calls
    mutex = ctypes.create_string_buffer(128)
    lock(mutex)
    lock(mutex)


def stop_itself() -> None:
    """Stop by SIGSTOP, as a debugger would."""
    current().sync.send("up")
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(FOR_EVER)


def close_channel() -> None:
    """Close the channel, and live on."""
    os.close(3)
    time.sleep(FOR_EVER)


def write_garbage(data: bytes = b"\xff" * 64) -> None:
    """When told so, write what is no frame to the channel, and live on."""
    current().sync.receive()
    os.write(3, data)
    time.sleep(FOR_EVER)


def exit_at_once(code: int) -> None:
    """End without a result, without cleaning up."""
    os._exit(code)


def half_a_result(size: int = 8 << 20) -> None:
    """Die by SIGKILL when a part of a large value has been written."""
    os.write(3, (size).to_bytes(4, "little")[:2])
    os.kill(os.getpid(), signal.SIGKILL)


def result_then_kill(size: int) -> bytes:
    """Return a large result, and die by SIGKILL when it has been written."""
    import atexit

    atexit.register(os.kill, os.getpid(), signal.SIGKILL)
    return b"x" * size


def hold_stdout() -> None:
    """Leave a daemon that holds the standard output open, and end."""
    print("last words", flush=True)
    if os.fork() == 0:
        os.setsid()
        time.sleep(FOR_EVER)
        os._exit(0)


def become_another_program() -> None:
    """Replace this process by another program."""
    os.execv(sys.executable, [sys.executable, "-S", "-c", "import time; time.sleep(1000)"])


def return_it(value: object) -> object:
    """A child that behaves."""
    return value
