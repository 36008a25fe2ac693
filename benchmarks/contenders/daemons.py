"""Supervisors that are programs: circus and supervisord, set to restart as fast as they can; and programs of ours."""

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.contenders.keepers import REPORT, Keeper
from benchmarks.contenders.program import _PROGRAMS
from benchmarks.harness import procfs
from benchmarks.harness.contract import Unavailable, WrongWork
from benchmarks.harness.launch import measured_environment

_ENDS_WITHIN = 20.0
_CIRCUS = """
[circus]
check_delay = 0.1
endpoint = ipc://{folder}/endpoint
pubsub_endpoint = ipc://{folder}/pubsub

[watcher:kept]
cmd = {command}
numprocesses = {count}
warmup_delay = 0
graceful_timeout = 1
copy_env = True
"""
_SUPERVISORD = """
[supervisord]
logfile = /dev/null
logfile_maxbytes = 0
pidfile = {folder}/pid

[program:kept]
command = {command}
numprocs = {count}
process_name = %(program_name)s-%(process_num)d
autorestart = true
startsecs = 0
stdout_logfile = NONE
stderr_logfile = NONE
"""


class Daemon(Keeper):
    """A program that supervises what its configuration says.

    Args:
        package: which.
    """

    def __init__(self, package: str) -> None:
        if importlib.util.find_spec(package) is None:
            raise Unavailable(f"{package} is not installed")
        self._package = package
        self._folder = TemporaryDirectory(prefix="daemon-")
        self._process: subprocess.Popen[bytes] | None = None

    async def keep(self, report: str, count: int) -> None:
        self._begin(f"/bin/sh {REPORT} {report}", count)

    def run_supervisor(self, count: int) -> int:
        return self._begin("sleep 1000", count)

    def _begin(self, command: str, count: int) -> int:
        folder = self._folder.name
        configuration = Path(folder, "configuration")
        text = _CIRCUS if self._package == "circus" else _SUPERVISORD
        configuration.write_text(text.format(folder=folder, command=command, count=count), encoding="utf-8")
        module = ["circus.circusd"] if self._package == "circus" else ["supervisor.supervisord", "-n", "-c"]
        self._process = run([sys.executable, "-m", *module, str(configuration)])
        return self._process.pid

    async def aclose(self) -> None:
        if self._process is not None:
            end(self._process)
        self._folder.cleanup()


class OwnProgram(Keeper):
    """A program of `programs/` that supervises.

    Args:
        program: its file.
    """

    def __init__(self, program: str) -> None:
        self._argv = [sys.executable, str(_PROGRAMS / program)]
        self._process: subprocess.Popen[bytes] | None = None

    def run_supervisor(self, count: int) -> int:
        self._process = run([*self._argv, str(count)])
        return self._process.pid

    async def aclose(self) -> None:
        if self._process is not None:
            end(self._process)


def run(argv: list[str]) -> "subprocess.Popen[bytes]":
    """As the measured programs are run; in a process group of its own, which no signal to ours reaches."""
    quiet = subprocess.DEVNULL
    return subprocess.Popen(argv, env=measured_environment(), stdin=quiet, stdout=quiet, stderr=quiet, process_group=0)


def end(process: "subprocess.Popen[bytes]") -> None:
    """Ask it as a user would, and end what it leaves."""
    if process.poll() is not None:
        raise WrongWork(f"{process.args!r} ended with {process.returncode} while it was to supervise")
    below = procfs.descendants(process.pid)
    process.send_signal(signal.SIGINT)
    try:
        process.wait(_ENDS_WITHIN)
    except subprocess.TimeoutExpired:  # how a peer ends is not what is measured
        process.kill()
        process.wait()
    for pid in below:
        if procfs.is_alive(pid):
            os.kill(pid, signal.SIGKILL)
