"""What the system says of a process: what it takes, how it stands. Cheap readings of now; elsewhere than on Linux psutil's."""

from __future__ import annotations

import os
import sys

from asyncproc.abc import Usage

LINUX = sys.platform == "linux"
_TICK = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
_STATE, _UTIME, _CSTIME, _THREADS, _RSS = 0, 11, 14, 17, 21
"""Places in ``stat`` behind the name, which may hold anything; see proc(5), fields 3, 14, 17, 20 and 24."""


def usage_of(pid: int, current_loop: int | None = None) -> Usage:
    """What a process takes; nothing is known of one that has ended."""
    if not LINUX:
        return _told_by_psutil(pid, current_loop)
    try:
        fields = _stat(f"/proc/{pid}/stat")
    except OSError:
        return Usage()
    cpu = sum(map(int, fields[_UTIME : _CSTIME + 1])) / _TICK
    return Usage(cpu, _proportional(pid) or int(fields[_RSS]) * _PAGE, int(fields[_THREADS]), current_loop)


def thread_cpu(tid: int | None) -> float | None:
    """Processor seconds of a thread of this process; None when it has ended, or cannot be told."""
    try:
        fields = _stat(f"/proc/self/task/{tid}/stat")
    except OSError:
        return None
    return (int(fields[_UTIME]) + int(fields[_UTIME + 1])) / _TICK


def state_of(pid: int, tid: int | None = None) -> str:
    """The letter of a process, or of one of its threads: R, S, D, T, t, Z; "" when there is none, or it cannot be told."""
    try:
        return _stat(f"/proc/{pid}/stat" if tid is None else f"/proc/{pid}/task/{tid}/stat")[_STATE]
    except OSError:
        return ""


def catches(pid: int, number: int) -> bool:
    """Whether a process has a handler for this signal: of one that has none it would be the end."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            caught = next(line for line in file if line.startswith(b"SigCgt:"))
    except (OSError, StopIteration):
        return False
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def _stat(path: str) -> list[str]:
    with open(path, "rb") as file:
        try:
            return file.read().rpartition(b")")[2].decode().split()
        except ProcessLookupError as error:  # it has ended since
            raise OSError(str(error)) from None


def _proportional(pid: int) -> int:
    """Bytes, what it shares counted in part; 0 when it is another user's, or has ended."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            return next((int(line.split()[1]) << 10 for line in file if line.startswith(b"Pss:")), 0)
    except OSError:
        return 0


def _told_by_psutil(pid: int, current_loop: int | None) -> Usage:
    import psutil  # type: ignore[import-untyped]  # it has no types

    try:
        process = psutil.Process(pid)
        with process.oneshot():
            times = process.cpu_times()
            cpu = times.user + times.system
            return Usage(cpu, process.memory_info().rss, process.num_threads(), current_loop)
    except psutil.Error:
        return Usage()
