"""The manager's end of the socket to a helper, by itself."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from asyncproc._runtime.keeper import EXITED, RECORD
from asyncproc._runtime.keeper_link import AT_ONCE, KeeperLink
from asyncproc._runtime.usage import state_of


class Ends:
    """Whose link it is, and who listens for each end."""

    def __init__(self) -> None:
        self.told: list[int] = []

    def helper_reported(self, kind: int, number: int, pid: int) -> None:
        self.told.append(number)

    def press(self, link: KeeperLink, number: int) -> None: ...
    def link_lost(self, link: KeeperLink) -> None:
        self.told.append(-1)


@pytest.mark.both_loops
async def test_many_ends_are_handled_a_few_at_a_time() -> None:
    """In their order, with a turn of the loop for others between, and all before the end of the link itself is told."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ends = Ends()
    link: Any = KeeperLink(ends, ours, asyncio.get_running_loop())
    theirs.send(b"".join(RECORD.pack(EXITED, 0, 0, number, 1, 0, 0.0, 0) for number in range(3 * AT_ONCE)))
    theirs.close()
    seen = []
    while -1 not in ends.told:
        seen.append(len(ends.told))
        await asyncio.sleep(0)
    assert ends.told == [*range(3 * AT_ONCE), -1]
    assert {count for count in seen if 0 < count < 3 * AT_ONCE}, "others had their turn"
    assert not link.alive


OPENS = "file_actions=[(os.POSIX_SPAWN_OPEN, 1, sys.argv[1], os.O_WRONLY, 0)]"
SPAWNS = f"import os, sys; os.posix_spawn('/bin/true', ['true'], {{}}, {OPENS})"


@pytest.mark.skipif(sys.platform != "linux", reason="where /proc is")
async def test_who_waits_for_a_child_that_has_not_reached_its_exec_is_starved_and_not_stopped(tmp_path: Path) -> None:
    """The system lets nobody else see that wait but as that for a disk; one that was stopped is not spared."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    link: Any = KeeperLink(Ends(), ours, asyncio.get_running_loop())
    with subprocess.Popen([sys.executable, "-S", "-c", SPAWNS, str(gate)]) as helper:
        link.pid = helper.pid
        async with asyncio.timeout(10):
            while state_of(helper.pid) != "D":  # noqa: ASYNC110  # the system tells nobody
                await asyncio.sleep(0.005)
        assert link._is_starved()
        with gate.open("rb"):
            assert helper.wait() == 0
    with subprocess.Popen(["sleep", "1000"]) as stopped:
        stopped.send_signal(signal.SIGSTOP)
        os.waitpid(stopped.pid, os.WUNTRACED)
        link.pid = stopped.pid
        assert not link._is_starved()
        stopped.kill()
    link.close()
    theirs.close()
