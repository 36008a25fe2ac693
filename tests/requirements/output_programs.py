"""What the children of the output tests do: flood, hold a pipe, close what they have, crash."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Never

from asyncproc import current

FLOOD = """
import os, sys
block = (b"x" * 1023 + b"\\n") * 64
for _ in range(int(sys.argv[1]) // len(block)):
    view = memoryview(block)
    while view:
        view = view[os.write(1, view):]
"""
"""Writes so many bytes, a multiple of 64 KiB, as fast as it can."""

CLOSES = """
import os, signal, sys
for fd in map(int, sys.argv[2:]):
    os.close(fd)
os.write(os.open(sys.argv[1], os.O_WRONLY), b"x")
signal.pause()
"""
"""Closes descriptors, says so by a named pipe, and lives on."""

SILENT = "import os, signal, sys; os.write(1, b'up\\n'); signal.pause()"
"""Says that it is up, and reads nothing."""


def segfault(depth: int = 40) -> object:
    """Crash, a good many calls deep."""
    return ctypes.string_at(0) if depth == 0 else segfault(depth - 1)


def closes_its_channel() -> Never:
    """Close the control pipe and live on, for as long as it is let."""
    current()
    os.close(3)
    print("closed", file=sys.stderr, flush=True)
    while True:
        signal.pause()
