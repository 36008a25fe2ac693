"""Starts, probes and the end of what is not well: rows R24, R25, R32, R34, R63 (of probes) and R64, and D2.7 and D5.9."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asyncproc import (
    Command,
    Concurrent,
    Coroutine,
    Exec,
    Handle,
    Http,
    LogLine,
    Manager,
    Port,
    Process,
    Reason,
    StartFailed,
    State,
)
from asyncproc.testing.leaks import Leaks

pytestmark = pytest.mark.slow

PYTHON = sys.executable
PROMPT = 0.1
"""Seconds after a death within which a start has failed: row R24."""
TRIES = 5
"""A machine that is busy may be late; what was promised must be kept at least once."""

DIES = (
    "import os, sys, time\n"
    "{before}\n"
    "sys.stderr.write('last words\\n%r\\n' % time.monotonic())\n"
    "sys.stderr.flush()\n"
    "os._exit(3)\n"
)
HALF = (
    "import socket\n"
    "sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
    "sock.sendto(b'STATUS=nearly', os.environ['NOTIFY_SOCKET'].replace('@', chr(0), 1))\n"
    "os.write(3, b'READY=1 without its end')\n"
    "print('on the way', flush=True)"
)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


async def until(condition: Callable[[], object]) -> None:
    """Wait for what nobody tells."""
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come")


async def says_no(handle: Handle[Any]) -> bool:
    return False


async def forever() -> None:
    await asyncio.Event().wait()


def dies_on_the_way() -> None:
    exec(DIES.format(before=HALF))


EARLY = Command(PYTHON, "-c", DIES.format(before=""))
DEATHS: dict[str, Any] = {
    "a command before anything, by a port": EARLY.with_options(ready=Port(1)),
    "a command before anything, by a line": EARLY.with_options(ready=LogLine("up")),
    "a command before anything, by a program": EARLY.with_options(ready=Exec("sleep", "9", timeout=9)),
    "a command before anything, by a function": EARLY.with_options(ready=says_no),
    "a command half way": Command(PYTHON, "-c", DIES.format(before=HALF), ready="notify"),
    "a process half way": Process(dies_on_the_way, ready="notify"),
}


@pytest.mark.parametrize("who", DEATHS)
async def test_r24_death_before_ready_fails_the_start_at_once(who: str) -> None:
    """R24: StartFailed with the exit and the last lines of its standard error within 0.1 s of the death, not by a timeout."""
    took = []
    async with Manager() as manager:
        for _ in range(TRIES):
            with pytest.raises(StartFailed, match="last words") as failed:
                await manager.start(DEATHS[who].with_options(start_timeout=20.0))
            exit = failed.value.exit
            assert exit is not None
            took.append(time.monotonic() - float(exit.stderr_tail.split()[-1]))
            assert (exit.reason, exit.code) == (Reason.CRASHED, 3)
            assert "last words" in exit.stderr_tail
            if took[-1] < PROMPT:
                break
    assert min(took) < PROMPT


@pytest.mark.parametrize("ready", ["port", "http", "line", "program", "function", "notify"])
async def test_r25_child_that_is_never_ready_is_ended_at_the_limit(ready: str) -> None:
    """R25: at its limit it goes down the ladder, although it ignores TERM, and no process is left."""
    port = free_port()
    probes: dict[str, Any] = {
        "port": Port(port),
        "http": Http(f"http://127.0.0.1:{port}/"),
        "line": LogLine("^never$"),
        "program": Exec("sh", "-c", "sleep 78.5 & sleep 78.5", timeout=60),
        "function": says_no,
        "notify": "notify",
    }
    script = "trap 'echo term >&2' TERM; while :; do sleep 78.5 & wait; done"
    with Leaks() as leaks:
        async with Manager() as manager:
            begun = time.monotonic()
            spec = Command("sh", "-c", script, ready=probes[ready], start_timeout=0.3, grace=0.3)
            with pytest.raises(StartFailed, match="ran out of time") as failed:
                await manager.start(spec)
            took = time.monotonic() - begun
            exit = failed.value.exit
            assert exit is not None
            assert (exit.reason, exit.killed, exit.signal) == (Reason.TIMED_OUT, True, signal.SIGKILL)
            assert "term" in exit.stderr_tail, "the first rung was taken"
            assert 0.6 <= took < 3.0
            assert not any("78.5" in what for what in leaks.survivors().values())


LATE = (
    "import os, signal, socket, sys, time\n"
    "def late(*_):\n"
    "    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
    "    sock.sendto(b'READY=1', os.environ['NOTIFY_SOCKET'].replace('@', chr(0), 1))\n"
    "    os.write(3, b'\\n')\n"
    "    print('up', flush=True)\n"
    "    time.sleep(0.2)\n"
    "    os._exit(0)\n"
    "signal.signal(signal.SIGTERM, late)\n"
    "print('waits', flush=True)\n"
    "while True: time.sleep(100)\n"
)


def late_on_descriptor(seconds: float) -> None:
    from asyncproc import Stopping

    try:
        time.sleep(seconds)
    except Stopping:
        os.write(3, b"\n")


@pytest.mark.parametrize(
    "spec",
    [
        Command(PYTHON, "-c", LATE, ready="notify"),
        Command(PYTHON, "-c", LATE, ready=LogLine("^up$"), env={"NOTIFY_SOCKET": "/nowhere"}),
        Process(late_on_descriptor, 100, ready="notify"),
    ],
    ids=["notify", "line", "process"],
)
async def test_r32_ready_after_the_limit_is_ignored(spec: Any) -> None:
    """R32: what comes after the start limit is not heard, and the state does not go back."""
    states: list[State] = []
    async with Manager() as manager:
        events = manager.events()
        with pytest.raises(StartFailed, match="ran out of time") as failed:
            await manager.start(spec.with_options(name="x", start_timeout=0.4, grace=2.0))
        assert failed.value.exit is not None and failed.value.exit.reason is Reason.TIMED_OUT
        handle = manager.find("x")
        assert not handle.ready
        async for moved in events:
            if moved.path == "app/x":
                states.append(moved.after)
            if moved.after is State.ENDED:
                break
    assert states == [State.STARTING, State.STOPPING, State.ENDED]


CHAIN = (
    "import os, signal, socket, sys\n"
    "open('/proc/self/comm', 'w').write('other-' + sys.argv[2])\n"
    "if int(sys.argv[2]):\n"
    "    os.execv(sys.executable, [sys.executable, '-c', sys.argv[1], sys.argv[1], str(int(sys.argv[2]) - 1), sys.argv[3]])\n"
    "signal.signal(signal.SIGUSR1, lambda *_: os._exit(7))\n"
    "print(os.getpid(), flush=True)\n"
    "if sys.argv[3] == 'socket':\n"
    "    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
    "    sock.sendto(b'READY=1', os.environ['NOTIFY_SOCKET'].replace('@', chr(0), 1))\n"
    "else:\n"
    "    os.write(3, b'\\n')\n"
    "while True: signal.pause()\n"
)


def renames_itself() -> None:
    from asyncproc import current

    Path("/proc/self/comm").write_text("another-name")
    current().ready()
    time.sleep(50)


@pytest.mark.parametrize("way", ["socket", "descriptor"])
async def test_r34_child_that_replaces_and_renames_itself_is_still_that_child(way: str) -> None:
    """R34: over a chain of execs and of names the handle holds the same process, reaches it, and hears that it is ready."""
    async with Manager() as manager:
        spec = Command("sh", "-c", 'exec "$0" -c "$1" "$1" 2 "$2"', PYTHON, CHAIN, way, ready="notify", ok_codes=[7])
        handle = await manager.start(spec)
        assert handle.ready
        assert Path(f"/proc/{handle.pid}/comm").read_text() == "other-0\n"
        handle.signal("USR1")
        done = await asyncio.wait_for(handle, 10)
        assert (done.returncode, done.stdout.strip()) == (7, str(handle.pid))


async def test_r34_process_that_renames_itself_is_still_that_child() -> None:
    """R34: of a Python child too."""
    async with Manager() as manager:
        handle = await manager.start(Process(renames_itself, ready="call"))
        assert Path(f"/proc/{handle.pid}/comm").read_text() == "another-name\n"
        exit = await handle.stop(grace=2.0)
        assert (exit.reason, exit.killed, exit.pid) == (Reason.STOPPED, False, handle.pid)


async def test_r63_probes_are_not_missed_because_the_host_was_blocked() -> None:
    """R63, of probes: a failure is counted only when the host's own loop was alive; the child lives when it resumes."""
    port = free_port()
    program = (
        "import http.server, time\n"
        "class Slow(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        time.sleep(0.05)\n"
        "        self.send_response(200); self.end_headers()\n"
        "    def log_message(self, *_): print(flush=True)\n"
        f"http.server.ThreadingHTTPServer(('127.0.0.1', {port}), Slow).serve_forever()\n"
    )
    url = f"http://127.0.0.1:{port}/"
    async with Manager() as manager:
        alive = Http(url, interval=0.05, timeout=0.4, failures=1)
        handle = await manager.start(Command(PYTHON, "-c", program, ready=Http(url), alive=alive))
        checks = manager._root.supervisor.chores.checks  # type: ignore[union-attr]  # it is open
        for _ in range(4):
            while not checks and not handle.exit:  # noqa: ASYNC110  # the very turn in which one begins
                await asyncio.sleep(0)
            time.sleep(0.7)  # the whole of a check: what it would have seen it has no time left for
            await asyncio.sleep(0.2)
        assert handle.state is State.RUNNING
        os.kill(handle.pid or 0, signal.SIGSTOP)
        try:
            assert (await asyncio.wait_for(handle.wait(), 10)).reason is Reason.UNHEALTHY, "what it is meant for still works"
        finally:
            assert handle.exit is not None


class Faulty:
    """A probe of a test: counts its runs, and how many were under way at once."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.runs = self.now = self.most = 0
        self.cut = 0

    async def __call__(self, handle: Handle[Any]) -> bool:
        self.runs += 1
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            if self.what == "raises":
                raise LookupError("no such health")
            await asyncio.sleep(100 if self.what == "hangs" else 1.2)
        except asyncio.CancelledError:
            self.cut += 1
            raise
        finally:
            self.now -= 1
        return True


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("raises", "LookupError: no such health"),
        ("hangs", "no answer within 1 s"),
        ("is slow", "no answer within 1 s"),
    ],
    ids=["raises", "hangs", "is slow"],
)
async def test_r64_faulty_probe_is_cut_counted_and_never_overlaps(what: str, said: str) -> None:
    """R64: a probe that hangs, raises or is slower than its period is cut at its limit, is a failure, and runs alone."""
    probe = Faulty(what)
    async with Manager() as manager:
        begun = time.monotonic()
        handle = await manager.start(Coroutine(forever, alive=probe))
        exit = await handle.wait()
        took = time.monotonic() - begun
    assert (exit.reason, exit.asked_by) == (Reason.UNHEALTHY, f"Faulty() failed 3 times: {said}")
    assert (probe.runs, probe.most, probe.now) == (3, 1, 0)
    assert probe.cut == (0 if what == "raises" else 3)
    assert took == pytest.approx(3.0 if what == "raises" else 4.0, abs=0.6)


@pytest.mark.parametrize("kind", ["http", "program"])
async def test_r64_probes_of_ours_are_cut_too(kind: str, leaks: Leaks) -> None:
    """R64: of a server that never answers, and of a program that does not end, with its tree; slower than their period."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        probes = {
            "http": Http(f"http://127.0.0.1:{server.getsockname()[1]}/", interval=0.05, timeout=0.15),
            "program": Exec("sh", "-c", "trap '' TERM; sleep 79.5 & sleep 79.5; sleep 79.5", interval=0.05, timeout=0.15),
        }
        async with Manager() as manager:
            handle = await manager.start(Command("sleep", "50", alive=probes[kind]))
            ended = asyncio.create_task(handle.wait())
            most = 0
            while not ended.done():
                most = max(most, sum("sleep 79.5" in what and "sh" not in what for what in leaks.survivors().values()))
                await asyncio.sleep(0.01)
            exit = await ended
            assert exit.reason is Reason.UNHEALTHY
            assert str(exit.asked_by).endswith("3 times: no answer within 0.15 s")
            assert most <= 2, "of one run at a time"
            assert not any("79.5" in what for what in leaks.survivors().values())


async def test_d2_7_hung_child_is_found_and_ended() -> None:
    """D2.7, of probes: one that lives and no longer answers has failed within its limit, by each way of asking."""
    port = free_port()
    pace = {"interval": 0.05, "failures": 2}
    look = f"import urllib.request as r; r.urlopen('http://127.0.0.1:{port}/')"
    ways = {
        "http": Http(f"http://127.0.0.1:{port}/", timeout=0.2, **pace),
        "program": Exec(PYTHON, "-S", "-c", look, timeout=0.6, **pace),
    }
    async with Manager() as manager:
        for name, alive in ways.items():
            serve = Command(PYTHON, "-m", "http.server", str(port), "-b", "127.0.0.1", name=name)
            handle = await manager.start(serve.with_options(ready=Port(port), alive=alive))
            os.kill(handle.pid or 0, signal.SIGSTOP)
            exit = await asyncio.wait_for(handle.wait(), 10)
            assert exit.reason is Reason.UNHEALTHY
            assert "2 times" in exit.explain()


async def test_d5_9_who_depends_on_a_service_starts_when_it_is_ready() -> None:
    """D5.9: a pattern in its output or an open port says so; then, and not before, start() returns, also of a group."""
    ports = [free_port() for _ in range(2)]
    program = (
        "import socket, sys, time\n"
        "time.sleep(0.2)\n"
        "with socket.create_server(('127.0.0.1', int(sys.argv[1]))) as server:\n"
        "    print('listening on', sys.argv[1], flush=True)\n"
        "    while True: server.accept()[0].close()\n"
    )
    async with Manager() as manager:
        by_port = Command(PYTHON, "-c", program, str(ports[0]), ready=Port(ports[0]), name="port")
        by_line = Command(PYTHON, "-c", program, str(ports[1]), ready=LogLine(r"^listening on \d+$"), name="line")
        group = await manager.start(Concurrent(by_port, by_line))
        assert [child.state for child in group.children] == [State.RUNNING] * 2
        for port in ports:
            socket.create_connection(("127.0.0.1", port)).close()
        await until(lambda: all(child.ready for child in group.children))
