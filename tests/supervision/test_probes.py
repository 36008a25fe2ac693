"""Probes: their rules on a clock that the test moves, and each kind against what really answers, refuses, hangs or errs."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    SpecError,
    StartFailed,
    State,
    Thread,
)
from asyncproc._core.supervision.action import Rung
from asyncproc._core.supervision.event import OWN, RunAsked, StopAsked
from asyncproc._supervision.checks import is_its_own_peer
from asyncproc._supervision.group import handle_of
from asyncproc._supervision.place import Place
from asyncproc._supervision.supervisor import Supervisor
from asyncproc.testing import FakeClock, ScriptedEngine
from asyncproc.testing.leaks import Leaks

PYTHON = sys.executable


async def turns() -> None:
    """Let the loop do what is due now."""
    for _ in range(10):
        await asyncio.sleep(0)


async def until(condition: Callable[[], object]) -> None:
    """Wait for what nobody tells."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come")


class Probed:
    """One scripted child with a probe of the test's own, on a clock that only the test moves.

    Attributes:
        answers: what the probe says next; True when it is empty. asked: when, since the start. running: how many checks run.
    """

    def __init__(self, spec: Callable[[Any], Process[None]], *answers: object) -> None:
        self.answers = list(answers)
        self.asked: list[float] = []
        self.running = self.most = 0
        self.clock = FakeClock()
        self.begun = self.clock.now()
        self.engine = ScriptedEngine()
        loop = asyncio.get_running_loop()
        self.supervisor = Supervisor(loop, self.engine, self.clock, "app", Concurrent(on_failure="continue"), 5.0)
        self.place: Place = self.supervisor.add(spec(self.probe), self.supervisor.root, "x")
        self.states: list[State] = []
        self.supervisor.subscribers.append(lambda moved: self.states.append(moved.after))
        self.supervisor.demand(RunAsked(self.place.id, 1))
        self.child = self.engine.named("x")
        self.handle = handle_of(self.supervisor, self.place)

    async def probe(self, handle: Handle[Any]) -> bool:
        assert handle == self.handle
        self.asked.append(round(self.clock.now() - self.begun, 3))
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            answer = self.answers.pop(0) if self.answers else True
            if isinstance(answer, Exception):
                raise answer
            if callable(answer):
                answer = await answer()
        finally:
            self.running -= 1
        return answer  # type: ignore[return-value]  # whatever the test wants

    async def pass_by(self, seconds: float, step: float = 0.01) -> None:
        """Let time pass, and whatever comes due have its turn."""
        await turns()
        for _ in range(round(seconds / step)):
            self.clock.advance(step)
            await turns()

    async def end(self) -> None:
        if not self.child.ended:
            self.child.end()
        await turns()
        await self.supervisor.aclose()


async def hang() -> bool:
    await asyncio.Event().wait()
    return True


async def test_first_check_is_at_once_and_pauses_double_up_to_the_interval() -> None:
    """So that a server is seen soon after it listens, and one that takes its time is not bothered."""
    probed = Probed(lambda probe: Process(print, ready=probe), *[False] * 9)
    assert probed.asked == []
    probed.child.ready()  # by itself: that is not what was asked for
    await probed.pass_by(4.0)
    assert probed.asked == pytest.approx([0, 0.02, 0.06, 0.14, 0.3, 0.62, 1.26, 2.26, 3.26], abs=0.011)
    assert probed.handle.state is State.STARTING
    await probed.pass_by(0.5)
    assert (probed.handle.state, probed.handle.ready) == (State.RUNNING, True)
    await probed.pass_by(5.0)
    assert len(probed.asked) == 10
    assert probed.clock.next_due is None, "one that is ready is not asked again"
    await probed.end()


async def test_liveness_begins_when_it_is_ready_and_is_asked_every_interval() -> None:
    """Not before; and the first time an interval later."""
    probed = Probed(lambda probe: Process(print, alive=probe))
    probed.child.spawn()
    await probed.pass_by(2.0)
    assert probed.asked == []
    probed.child.ready()
    await probed.pass_by(3.5)
    assert probed.asked == pytest.approx([3.0, 4.0, 5.0], abs=0.011)
    await probed.end()
    assert probed.clock.next_due is None


async def test_failures_in_a_row_condemn_and_a_success_forgives() -> None:
    """Two failures, a success, three failures; then the ladder, with what was found."""
    probed = Probed(lambda probe: Process(print, alive=probe), False, ValueError("boom"), True, None, False, ValueError("boom"))
    probed.child.ready()
    await probed.pass_by(5.5)
    assert (len(probed.asked), probed.child.rungs) == (5, [])
    await probed.pass_by(1.0)
    assert probed.child.rungs == [Rung.ASK]
    assert probed.handle.state is State.STOPPING
    await probed.pass_by(0.4)
    assert len(probed.asked) == 6, "what is being ended is not asked"
    await probed.end()
    exit = probed.handle.exit
    assert exit is not None
    assert (exit.reason, exit.asked_by) == (Reason.UNHEALTHY, "probe() failed 3 times: ValueError: boom")


async def test_check_is_cut_at_its_limit_and_never_runs_twice() -> None:
    """Each cut is a failure; the next one begins when the last one has gone."""
    probed = Probed(lambda probe: Process(print, alive=probe), *[hang] * 9)
    probed.child.ready()
    await probed.pass_by(3.9)
    assert probed.asked == pytest.approx([1, 2, 3], abs=0.03)
    assert probed.most == 1
    await probed.pass_by(0.3)
    assert probed.running == 0
    await probed.end()
    assert probed.handle.exit is not None
    assert probed.handle.exit.asked_by == "probe() failed 3 times: no answer within 1 s"


async def test_check_that_cannot_be_cut_is_found_out() -> None:
    """It is not run beside itself, and counts as a failure for as long as it is there."""
    release = asyncio.Event()

    async def stubborn() -> bool:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        return True

    probed = Probed(lambda probe: Process(print, alive=probe), stubborn)
    try:
        probed.child.ready()
        await probed.pass_by(8.0)
        assert (len(probed.asked), probed.running) == (1, 1)
        assert probed.child.rungs[:1] == [Rung.ASK]
        probed.child.end()
        await turns()
        assert probed.handle.state is not State.ENDED, "the end waits for it"
        await probed.pass_by(1.1)
        assert probed.handle.state is State.ENDED, "but not for ever"
        assert "the last check was cut, and has not ended since" in str(probed.handle.exit)
    finally:
        release.set()
        await probed.end()


async def test_failure_for_which_the_loop_was_not_awake_does_not_count() -> None:
    """R63's rule: a timer that came much too late, at the beginning, in the midst or at the end of a check."""
    probed = Probed(lambda probe: Process(print, alive=probe), False, hang, hang, False, False)
    probed.child.ready()
    await turns()

    async def blocked(seconds: float) -> None:
        probed.clock._time += seconds
        probed.clock.advance(0)
        await turns()

    await blocked(1.5)  # the first check begins late, and fails
    assert len(probed.asked) == 1
    await probed.pass_by(1.1)  # the second is under way
    assert probed.running == 1
    await blocked(0.7)
    await probed.pass_by(0.4)  # it was cut on time, and was not awake for most of it
    await probed.pass_by(0.1)
    assert len(probed.asked) == 3
    await blocked(5.0)  # the third is cut much too late
    await turns()
    await probed.pass_by(1.6)  # two that count
    assert (len(probed.asked), probed.child.rungs) == (5, [])
    await probed.end()


async def test_readiness_is_asked_again_where_that_is_wanted() -> None:
    """Failures in a row make it not ready, one success ready again; it runs all the while, and nobody starts it anew."""
    server = socket.create_server(("127.0.0.1", 0))
    address = server.getsockname()
    started: list[str] = []
    async with Manager() as manager:
        probe = Port(address[1], again=0.03, failures=2)
        handle = await manager.start(Coroutine(hang, ready=probe, started=lambda handle: started.append(handle.name)))
        assert handle.ready
        server.close()
        await until(lambda: not handle.ready)
        assert handle.state is State.RUNNING
        waiting = asyncio.create_task(handle.wait_ready())
        with socket.create_server(address):
            await asyncio.wait_for(waiting, 5)
        assert handle.ready
        assert (handle.incarnation, started) == (1, ["hang"])


async def test_probe_says_nothing_of_a_child_that_is_being_ended() -> None:
    """A success that comes after a stop is not heard."""
    answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def later() -> bool:
        return await asyncio.shield(answer)

    probed = Probed(lambda probe: Process(print, ready=probe), later)
    probed.child.spawn()
    await probed.pass_by(0.01)
    assert probed.running == 1
    probed.supervisor.post(StopAsked(probed.place.id, OWN, "the test"))
    await turns()
    assert probed.running == 0, "nor is it asked any more"
    answer.set_result(True)
    await turns()
    assert (probed.handle.state, probed.handle.ready) == (State.STOPPING, False)
    await probed.end()
    assert State.RUNNING not in probed.states
    assert not probed.place.view.ready


async def test_start_ends_with_what_comes_first() -> None:
    """A death, the limit, a stop or a cancellation; each at once."""
    async with Manager() as manager:

        async def refuse(handle: Handle[Any]) -> bool:
            return False

        with pytest.raises(StartFailed, match=r"crashed, with code 3.*refuse\(\) failed|no check"):
            await manager.start(Command("sh", "-c", "exit 3", ready=refuse))
        with pytest.raises(StartFailed, match="finished") as failed:
            await manager.start(Command("true", ready=refuse))
        assert failed.value.exit is not None and failed.value.exit.reason is Reason.FINISHED
        with pytest.raises(StartFailed, match=r"ran out of time.*refuse\(\) failed \d+ times: it said False"):
            await manager.start(Coroutine(hang, ready=refuse, start_timeout=0.1))
        starting = asyncio.create_task(manager.start(Coroutine(hang, ready=refuse, name="stopped")))
        await until(lambda: manager.nodes("app/stopped"))
        await manager.find("stopped").stop()
        with pytest.raises(Exception, match="stopped"):
            await starting
        starting = asyncio.create_task(manager.start(Coroutine(hang, ready=refuse, name="cancelled")))
        await until(lambda: manager.nodes("app/cancelled"))
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert manager.find("cancelled").state is State.ENDED
        assert not manager._root.supervisor.chores.checks  # type: ignore[union-attr]  # it is open


async def test_node_without_probes_has_no_part_of_this() -> None:
    """Neither task nor timer, and nothing of it is loaded."""
    program = (
        "import asyncio, sys, asyncproc\n"
        "async def main():\n"
        "    async with asyncproc.Manager() as manager:\n"
        "        handle = await manager.start(asyncproc.Command('sleep', '9'))\n"
        "        assert manager._root.supervisor.places[1].health is None\n"
        "        print([name for name in sys.modules if name.rpartition('.')[2] in ('probes', 'health', 'checks', 'notify')])\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([PYTHON, "-c", program], capture_output=True, text=True, timeout=30)
    assert done.stdout == "[]\n", done.stderr


# --- each kind against what really is there -------------------------------------------------------------------------------


@contextmanager
def service(answer: bytes | None) -> Iterator[int]:
    """A server that says *answer* to whoever has said something (None: nothing, for ever)."""
    held: list[socket.socket] = []

    def serve(server: socket.socket) -> None:
        while True:
            connection, _ = server.accept()
            held.append(connection)
            try:
                said = connection.recv(1000)
                if said == b"end":
                    return
                if answer is not None:
                    connection.sendall(answer)
                    connection.shutdown(socket.SHUT_WR)
            except OSError:
                continue

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            with socket.create_connection(server.getsockname()) as last:
                last.sendall(b"end")
                thread.join()
            for connection in held:
                connection.close()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


async def started_and_condemned(probe: Any) -> tuple[str, str]:
    """What is said of a child that is never ready by *probe*, and of one that is found unwell by it."""
    async with Manager() as manager:
        with pytest.raises(StartFailed) as failed:
            await manager.start(Coroutine(hang, ready=probe, start_timeout=0.4))
        assert failed.value.exit is not None and failed.value.exit.reason is Reason.TIMED_OUT
        handle = await manager.start(Coroutine(hang, alive=probe))
        exit = await handle.wait()
        assert exit.reason is Reason.UNHEALTHY
        return str(failed.value), str(exit.asked_by)


QUICK = {"interval": 0.05, "timeout": 0.1, "failures": 2}
GRID = {
    "http is unavailable": (b"HTTP/1.1 503 Unavailable\r\n\r\n", "it answered 503"),
    "http redirects": (b"HTTP/1.0 302 Found\r\nLocation: /well\r\n\r\n", "it answered 302"),
    "http hangs": (None, "no answer within 0.1 s"),
    "http closes": (b"", "it spoke no HTTP"),
    "no http": (b"SSH-2.0-OpenSSH\r\n", "it spoke no HTTP"),
    "no end": (b"x" * 100_000, "it spoke no HTTP"),
    "only interim": (b"HTTP/1.1 100 Continue\r\n\r\n" * 300, "it spoke no HTTP"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", GRID)
async def test_http_that_does_not_answer_well(case: str) -> None:
    """It is neither ready nor well, and what was amiss is said."""
    answer, trouble = GRID[case]
    with service(answer) as port:
        for said in await started_and_condemned(Http(f"http://127.0.0.1:{port}/health?a=b#c", **QUICK)):
            assert f"http://127.0.0.1:{port}/health?a=b#c did not answer well" in said
            assert f": {trouble}" in said


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 900000000\r\n\r\nbegin", 200),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", 200),
        (b"HTTP/1.0 302 Found\r\nLocation: /well\r\n\r\n", (301, 302)),
        (b"HTTP/1.1 204\r\n\r\n", 204),
    ],
    ids=["a long body", "an interim answer first", "a redirect that is wanted", "no reason"],
)
async def test_http_that_answers_well(answer: bytes, status: Any) -> None:
    """Its status is what counts; its body is not read."""
    with service(answer) as port:
        async with Manager() as manager:
            handle = await manager.start(Coroutine(hang, ready=Http(f"http://127.0.0.1:{port}", status)))
            assert handle.ready


@pytest.mark.slow
@pytest.mark.parametrize("probe", [Port, Http])
async def test_nobody_listens(probe: Any) -> None:
    """Said in the system's words."""
    port = free_port()
    for said in await started_and_condemned(probe(port if probe is Port else f"http://127.0.0.1:{port}/", **QUICK)):
        assert "connection refused" in said


@pytest.mark.slow
@pytest.mark.both_loops
async def test_port_that_hangs() -> None:
    """A server whose queue is full: the connection is not refused, and does not come."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        port = server.getsockname()[1]
        held = [socket.socket() for _ in range(3)]
        try:
            for sock in held:
                sock.setblocking(False)
                sock.connect_ex(("127.0.0.1", port))
            for said in await started_and_condemned(Port(port, **QUICK)):
                assert f"Port {port} did not answer" in said
                assert "no answer within 0.1 s" in said
        finally:
            for sock in held:
                sock.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("argv", "trouble"),
    [
        (("sh", "-c", "echo not yet >&2; exit 3"), "code 3, not yet"),
        (("sh", "-c", "kill -9 $$"), "SIGKILL"),
        (("no-such-program",), "no such file or directory"),
        # The second may be one that could not begin, because the end of the first takes its time.
        (
            ("sh", "-c", "trap '' TERM; sleep 77.25 & sleep 77.25"),
            "(no answer within|the last check was cut)",
        ),
    ],
    ids=["code", "signal", "missing", "hangs"],
)
async def test_program_that_fails(argv: tuple[str, ...], trouble: str, leaks: Leaks) -> None:
    """Its code, its signal, what the system says, or its limit; and nothing of it is left when the node has ended."""
    for said in await started_and_condemned(Exec(*argv, **{**QUICK, "timeout": 0.15})):
        assert re.search(f": {trouble}", said)
    assert not leaks.survivors()


@pytest.mark.slow
@pytest.mark.parametrize("end", ["stops", "ends by itself", "is killed"])
async def test_nothing_of_a_program_is_left_when_the_node_ends(end: str, leaks: Leaks) -> None:
    """However it ends, and while its manager goes on."""
    async with Manager() as manager:
        probe = Exec("sh", "-c", "sleep 77.5 & sleep 77.5", interval=0.01, timeout=30.0)
        seconds = "0.3" if end == "ends by itself" else "50"
        handle = await manager.start(Command("sleep", seconds, alive=probe))
        await until(lambda: any("77.5" in what for what in leaks.survivors().values()))
        if end == "stops":
            await handle.stop()
        elif end == "is killed":
            await handle.kill()
        else:
            await handle.wait()
        assert not any("77.5" in what for what in leaks.survivors().values())


async def test_program_has_folder_and_environment_of_its_child(tmp_path: Any) -> None:
    """And is well with code 0."""
    (tmp_path / "here").touch()
    async with Manager() as manager:
        probe = Exec("sh", "-c", 'test -e here && test "$WHO" = me')
        handle = await manager.start(Command("sleep", "50", cwd=tmp_path, env={"WHO": "me"}, ready=probe, start_timeout=5.0))
        assert handle.ready
        handle = await manager.start(Process(time.sleep, 50, cwd=tmp_path, env={"WHO": "me"}, ready=probe, start_timeout=5.0))
        assert handle.ready


# --- who listens ----------------------------------------------------------------------------------------------------------


def listen(port: int) -> None:
    with socket.create_server(("127.0.0.1", port)) as server:
        server.settimeout(10)
        while True:
            server.accept()[0].close()


def listen_in_a_thread(port: int, stop: threading.Event) -> None:
    with socket.create_server(("127.0.0.1", port)) as server:
        server.settimeout(0.02)
        while not stop.is_set():
            try:
                server.accept()[0].close()
            except TimeoutError:
                continue


async def listen_on_the_loop(port: int) -> None:
    with socket.create_server(("127.0.0.1", port)) as server:
        asyncio.get_running_loop().add_reader(server, lambda: server.accept()[0].close())
        try:
            await asyncio.Event().wait()
        finally:
            asyncio.get_running_loop().remove_reader(server)


@pytest.mark.slow
@pytest.mark.both_loops
async def test_whoever_listens_is_ready_when_it_does() -> None:
    """A program, a process, a thread and a coroutine; and all are well for a while."""
    ports = [free_port() for _ in range(4)]
    stop = threading.Event()
    pace = {"interval": 0.05, "failures": 1}
    specs = [
        Command(
            PYTHON,
            "-m",
            "http.server",
            str(ports[0]),
            ready=Http(f"http://127.0.0.1:{ports[0]}/"),
            alive=Port(ports[0], **pace),
        ),
        Process(listen, ports[1], ready=Port(ports[1]), alive=Port(ports[1], **pace)),
        Thread(listen_in_a_thread, ports[2], stop, ready=Port(ports[2]), alive=Port(ports[2], **pace)),
        Coroutine(listen_on_the_loop, ports[3], ready=Port(ports[3]), alive=Port(ports[3], **pace)),
    ]
    async with Manager() as manager:
        handles = await asyncio.gather(*(manager.start(spec) for spec in specs))
        for port in ports:
            socket.create_connection(("127.0.0.1", port)).close()
        await asyncio.sleep(0.3)  # time for a few checks
        assert [handle.state for handle in handles] == [State.RUNNING] * 4
        stop.set()


@pytest.mark.slow
async def test_program_that_stops_listening_is_ended() -> None:
    """It lives, and does not answer: that is a failure of its own, with what was found."""
    port = free_port()
    program = (
        "import socket, sys, time\n"
        f"with socket.create_server(('127.0.0.1', {port})) as server:\n"
        "    server.accept()\n"
        "time.sleep(100)\n"
    )
    async with Manager() as manager:
        handle = await manager.start(Command(PYTHON, "-c", program, ready=Port(port), alive=Port(port, interval=0.05)))
        exit = await handle.wait()
        assert exit.reason is Reason.UNHEALTHY
        assert exit.asked_by == f"Port {port} did not answer 3 times: connection refused"
        assert exit.explain().startswith(
            f"app/{handle.name} was unhealthy, Port {port} did not answer 3 times: connection refused"
        )


def test_connection_with_itself_is_none() -> None:
    """Where the port asked is of those that the system chooses our own end from, that can come by chance."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.connect(sock.getsockname())
        assert is_its_own_peer(sock)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as sock:
        assert not is_its_own_peer(sock)


# --- what a child says ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "line", "options"),
    [
        ("echo up", LogLine("^up$"), {}),
        ("printf 'listening on '; printf '80\\n'", LogLine(r"on \d+$"), {}),
        ("printf 'caf\\303\\251\\r\\n'", LogLine("^café$"), {"stdout": "tee"}),
        ("echo up >&2", LogLine("up", stream="stderr"), {}),
        ("echo up >&2", LogLine("up", stream="stderr"), {"stderr": "stdout"}),
        ("printf '\\377\\376 up\\n'", LogLine("up"), {"stderr": "inherit"}),
    ],
)
async def test_line_is_found(script: str, line: LogLine, options: dict[str, Any]) -> None:
    """In pieces, with a carriage return, in either stream, and with bytes that are no text."""
    async with Manager() as manager:
        handle = await manager.start(Command("sh", "-c", f"{script}; sleep 50", ready=line, start_timeout=5.0, **options))
        assert handle.ready


@pytest.mark.slow
async def test_line_that_is_not_ended_or_in_the_other_stream_is_not_found() -> None:
    """And what was looked for is said."""
    async with Manager() as manager:
        with pytest.raises(StartFailed, match=r"no line of its stdout or stderr matched '\^up'"):
            await manager.start(Command("sh", "-c", "printf up; exec sleep 50", ready=LogLine("^up"), start_timeout=0.2))
        with pytest.raises(StartFailed, match="no line of its stderr matched 'up'"):
            line = LogLine("up", stream="stderr")
            await manager.start(Command("sh", "-c", "echo up; exec sleep 50", ready=line, start_timeout=0.2))


async def test_line_of_one_that_ends_at_once_is_found() -> None:
    """It was ready, and then it ended."""
    async with Manager() as manager:
        handle = await manager.start(Command("echo", "up", ready=LogLine("up")))
        assert handle.exit is None or handle.exit.ok


SEND = (
    "import os, socket, sys, time\n"
    "name = os.environ['NOTIFY_SOCKET'].replace('@', '\\0', 1)\n"
    "sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
    "for text in sys.argv[1:]: sock.sendto(text.encode(), name)\n"
    "time.sleep(50)\n"
)


def say(text: str) -> None:
    name = os.environ["NOTIFY_SOCKET"].replace("@", "\0", 1)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(text.encode(), name)
    time.sleep(50)


def write_newline() -> None:
    os.write(3, b"\n")
    time.sleep(50)


NOTIFIES: dict[str, Any] = {
    "a command, on the socket": Command(
        PYTHON, "-c", SEND, "STATUS=begins", "EXTEND_TIMEOUT_USEC=99", "X=1\nREADY=1", "STOPPING=1"
    ),
    "a command, on descriptor 3": Command("sh", "-c", "echo >&3; exec sleep 50"),
    "a command with limits": Command("sh", "-c", "echo >&3; exec sleep 50", rlimits={"nofile": 100}),
    "a child of a command": Command("sh", "-c", f'"{PYTHON}" -c "$0" READY=1; sleep 50', SEND),
    "one that left the session": Command("sh", "-c", f'setsid "{PYTHON}" -c "$0" READY=1 & sleep 50', SEND),
    "one that is daemonised": Command("sh", "-c", f'(setsid "{PYTHON}" -c "$0" READY=1 &) ; sleep 50', SEND),
    "a process, on the socket": Process(say, "READY=1"),
    "a process, on descriptor 3": Process(write_newline),
}


@pytest.mark.parametrize("who", NOTIFIES)
async def test_child_that_says_so_is_ready(who: str) -> None:
    """By systemd's way or by s6's, from the child itself or whoever belongs to it."""
    async with Manager() as manager:
        handle = await manager.start(NOTIFIES[who].with_options(ready="notify", start_timeout=5.0))
        assert handle.ready


@pytest.mark.slow
@pytest.mark.parametrize(
    "spec",
    [
        Command(PYTHON, "-c", SEND, "READY=0", "READY=12", "STATUS=READY=1"),
        Command("sh", "-c", "printf half >&3; exec sleep 50"),
        Command("sh", "-c", "exec 3>&-; exec sleep 50"),
        Process(time.sleep, 50),
    ],
    ids=["other words", "no newline", "closed", "nothing"],
)
async def test_child_that_says_something_else_is_not_ready(spec: Any) -> None:
    """That it runs is not enough."""
    async with Manager() as manager:
        with pytest.raises(StartFailed, match=r"ran out of time.*it never sent READY=1, nor a newline on descriptor 3"):
            await manager.start(spec.with_options(ready="notify", start_timeout=0.4))


@pytest.mark.slow
async def test_stranger_cannot_say_it() -> None:
    """Neither this process, nor another child of the same manager."""
    async with Manager() as manager:
        starting = asyncio.create_task(
            manager.start(Command("sh", "-c", "sleep 0.5; echo >&3; exec sleep 50", name="x", ready="notify"))
        )
        await until(lambda: manager.nodes("app/x") and manager.find("x").pid)
        handle = manager.find("x")
        environ = dict(pair.split(b"=", 1) for pair in Path(f"/proc/{handle.pid}/environ").read_bytes().split(b"\0") if pair)
        name = environ[b"NOTIFY_SOCKET"].decode()
        assert name.startswith("@asyncproc/") and len(name) > 40
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"READY=1", name.replace("@", "\0", 1))
        other = await manager.start(Command(PYTHON, "-c", SEND, "READY=1", env={"NOTIFY_SOCKET": name}, stdout="capture"))
        assert (handle.state, starting.done()) == (State.STARTING, False)
        await starting
        assert handle.ready
        await other.stop()


async def test_barrier_is_let_go() -> None:
    """Newer systemd-notify waits until a descriptor that it has sent is closed."""
    program = (
        "import os, socket, sys\n"
        "name = os.environ['NOTIFY_SOCKET'].replace('@', '\\0', 1)\n"
        "reader, writer = os.pipe()\n"
        "sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "sock.connect(name)\n"
        "sock.send(b'READY=1')\n"
        "socket.send_fds(sock, [b'BARRIER=1'], [writer])\n"
        "os.close(writer)\n"
        "os.read(reader, 1)\n"
    )
    async with Manager() as manager:
        handle = await manager.start(Command(PYTHON, "-c", program, ready="notify", start_timeout=5.0))
        assert (await handle.wait()).ok


async def test_plain_children_get_no_fourth_descriptor() -> None:
    """Only who is to say it has one, and the variable."""
    async with Manager() as manager:
        listing = "ls /proc/self/fd; echo $NOTIFY_SOCKET"
        done = await manager.run(Command("sh", "-c", listing))
        assert done.stdout.split() == ["0", "1", "2", "3"]  # the last is the listing's own
        handle = await manager.start(Command("sh", "-c", f"echo >&3; {listing}", ready="notify"))
        *fds, name = (await handle).stdout.split()
        assert fds == ["0", "1", "2", "3", "4"]
        assert name.startswith("@")
        done = await manager.run(Command("sh", "-c", listing, rlimits={"nofile": 100}))
        assert done.stdout.split() == ["0", "1", "2", "3"], "nor what is the launcher's own"


# --- what is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "field", "value"),
    [
        (lambda: Port(0), "port", 0),
        (lambda: Port("80"), "port", "80"),  # type: ignore[arg-type]  # on purpose
        (lambda: Port(True), "port", True),
        (lambda: Port(80, ""), "host", ""),
        (lambda: Port(80, interval=0), "interval", 0),
        (lambda: Port(80, timeout=float("inf")), "timeout", float("inf")),
        (lambda: Port(80, failures=0), "failures", 0),
        (lambda: Port(80, again=-1), "again", -1),
        (lambda: Http("localhost"), "url", "localhost"),
        (lambda: Http("ftp://localhost/"), "url", "ftp://localhost/"),
        (lambda: Http("http://localhost:99999/"), "url", "http://localhost:99999/"),
        (lambda: Http("http://a b/"), "url", "http://a b/"),
        (lambda: Http("http://x/\r\nHost: y"), "url", "http://x/\r\nHost: y"),
        (lambda: Http("http://me:secret@x/"), "url", "http://me:secret@x/"),
        (lambda: Http("http://x/", status=99), "status", 99),
        (lambda: Http("http://x/", status=()), "status", ()),
        (lambda: LogLine("("), "regex", "("),
        (lambda: LogLine(b"x"), "regex", b"x"),  # type: ignore[arg-type]  # on purpose
        (lambda: LogLine("x", stream="both"), "stream", "both"),  # type: ignore[arg-type]  # on purpose
        (lambda: Exec(), "argv", ()),
        (lambda: Exec(["a", "b"]), "argv", ["a", "b"]),  # type: ignore[arg-type]  # on purpose
        (lambda: Exec("a", "b\0"), "argv[1]", "b\0"),
        (lambda: Command("x", ready="call"), "ready", "call"),  # type: ignore[arg-type]  # on purpose
        (lambda: Thread(print, ready="notify"), "ready", "notify"),
        (lambda: Coroutine(hang, ready=LogLine("x")), "ready", LogLine("x")),
        (lambda: Process(print, ready=LogLine("x", stream="stdout")), "ready", LogLine("x", stream="stdout")),
        (lambda: Command("x", ready=LogLine("x"), stdout="null", stderr="stdout"), "ready", LogLine("x")),
        (lambda: Process(print, ready=3), "ready", 3),  # type: ignore[call-overload]  # on purpose
        (lambda: Process(print, ready="soon"), "ready", "soon"),  # type: ignore[call-overload]  # on purpose
        (lambda: Process(print, ready=Port), "ready", Port),  # type: ignore[call-overload]  # on purpose
        (lambda: Process(print, ready=time.sleep), "ready", time.sleep),  # type: ignore[call-overload]  # on purpose
        (lambda: Process(print, alive="call"), "alive", "call"),  # type: ignore[call-overload]  # on purpose
        (lambda: Process(print, alive="notify"), "alive", "notify"),  # type: ignore[call-overload]  # on purpose
        (lambda: Process(print, alive=LogLine("x")), "alive", LogLine("x")),  # type: ignore[call-overload]  # on purpose
        (lambda: Process(print, alive=Port(80, again=1.0)), "alive", Port(80, again=1.0)),
        (lambda: Concurrent(ready=Port(80)), "ready", Port(80)),  # type: ignore[call-arg]  # on purpose
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(make: Callable[[], object], field: str, value: object) -> None:
    """When it is made, with field and value."""
    with pytest.raises(SpecError) as refused:
        make()
    (fault,) = refused.value.faults
    assert (fault.field, fault.value) == (field, value)
    assert fault.rule


def test_plain_function_is_refused_with_a_hint() -> None:
    """How it is to be spelled."""

    def up(handle: Handle[Any]) -> bool:
        return True

    with pytest.raises(SpecError, match=r"must be async: `async def up\(handle\) -> bool`; a plain one would block the loop"):
        Command("x", ready=up)  # type: ignore[arg-type]  # on purpose


def test_all_faults_of_a_probe_at_once() -> None:
    """Not only the first."""
    with pytest.raises(SpecError) as refused:
        Port(0, "", interval=-1, failures=True)
    assert [fault.field for fault in refused.value.faults] == ["port", "host", "interval", "failures"]


def test_probes_are_values() -> None:
    """Equal when they say the same, and not to be changed."""
    assert Port(80, interval=2.0) == Port(80, interval=2.0) != Port(80)
    assert Exec("a", "b").argv == ("a", "b")
    assert hash(Exec("a", "b")) == hash(Exec("a", "b"))
    with pytest.raises(AttributeError):
        Port(80).port = 81  # type: ignore[misc]  # on purpose


# --- https ----------------------------------------------------------------------------------------------------------------

CERTIFICATE = Path(__file__).parent / "localhost.pem"
"""Of a server that nobody has vouched for; its key is known to all."""


@contextmanager
def secure_service() -> Iterator[int]:
    """A server that answers well over TLS, in a thread."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    over = threading.Event()

    def serve(server: socket.socket) -> None:
        while True:
            connection, _ = server.accept()
            if over.is_set():
                connection.close()
                return
            try:
                with context.wrap_socket(connection, server_side=True) as secure:
                    secure.recv(1000)
                    secure.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            except OSError:
                continue

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            over.set()
            socket.create_connection(server.getsockname()).close()
            thread.join()


@pytest.mark.slow
@pytest.mark.parametrize("trusted", [True, False])
def test_https_is_trusted_only_where_its_certificate_is(trusted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the certificates that the system, or SSL_CERT_FILE, trusts."""
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE) if trusted else "/dev/null")

    async def main(port: int) -> None:
        async with Manager() as manager:
            probe = Http(f"https://127.0.0.1:{port}/")
            if trusted:
                assert (await manager.start(Coroutine(hang, ready=probe, start_timeout=5.0))).ready
                return
            with pytest.raises(StartFailed, match="certificate verify failed"):
                await manager.start(Coroutine(hang, ready=probe, start_timeout=0.4))

    with secure_service() as port:
        asyncio.run(main(port))
