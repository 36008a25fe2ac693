"""A file that is nobody's but ours: for what no pipe can be trusted to hold."""

from __future__ import annotations

import os


def memory_file(data: bytes) -> int:
    """An open file that holds *data* and has no name, at its beginning; not inherited."""
    fd = _nameless()
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.lseek(fd, 0, os.SEEK_SET)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _nameless() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("asyncproc", os.MFD_CLOEXEC)
    import tempfile

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
