"""One check of each probe: what is amiss, in a few words, or None when all is well. An exception says that something is.

Whoever asks sets the limit: a check that is cancelled leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Awaitable, Callable
from math import inf
from typing import TYPE_CHECKING, Any

from asyncproc._core.supervision.action import Rung
from asyncproc._spec.callables import name_of
from asyncproc._spec.command import Command, masked
from asyncproc._spec.probes import Exec, Http, Port, Question
from asyncproc._supervision.bounded import carry_through

if TYPE_CHECKING:
    from asyncproc._core.exit import Exit
    from asyncproc._supervision.handle import Handle
    from asyncproc.abc import Engine, Order

MOST_READ = 16384
"""Bytes of an answer that are read before its status counts as missing: interim answers come with headers."""
MOST_KEPT = 8192
"""Bytes of a program's standard error."""


def called(probe: Any) -> str:
    """What a probe is called in messages, with its verb."""
    match probe:
        case Port():
            where = "" if probe.host == "127.0.0.1" else f" of {probe.host}"
            return f"Port {probe.port}{where} did not answer"
        case Http():
            return f"{probe.url} did not answer well"
        case Exec():
            return f"{' '.join(masked(probe.argv))} failed"
        case _:
            return f"{name_of(probe)}() failed"


def in_words(error: BaseException) -> str:
    """An error of a check: what the system says by its number, else class and text."""
    if isinstance(error, OSError) and error.errno is not None and error.strerror == os.strerror(error.errno):
        return error.strerror.lower()  # an SSLError has numbers of its own
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


# --- network --------------------------------------------------------------------------------------------------------------


async def ask_port(probe: Port) -> str | None:
    with await _connected(probe.host, probe.port) as sock:
        return "connection refused" if is_its_own_peer(sock) else None


def is_its_own_peer(sock: socket.socket) -> bool:
    """Whether nobody listens, and the system has chosen just that port for our end: then TCP connects it with itself."""
    return bool(sock.getsockname() == sock.getpeername())


async def _connected(host: str, port: int) -> socket.socket:
    """A connection, by the first of the host's addresses that takes one. No transport: uvloop keeps a descriptor for these."""
    failed: OSError | None = None
    for family, address in await _addresses(host, port):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            await _connect(sock, address)
        except BaseException as error:
            sock.close()
            if not isinstance(error, OSError):
                raise
            failed = failed or error
        else:
            return sock
    raise failed or OSError(f"{host} has no address")


async def _connect(sock: socket.socket, address: Any) -> None:
    """By hand: uvloop asks a thread for the address of an address."""
    loop = asyncio.get_running_loop()
    sock.setblocking(False)
    code = sock.connect_ex(address)
    if code == errno.EINPROGRESS:
        done: asyncio.Future[None] = loop.create_future()
        loop.add_writer(sock, _tell, done)
        try:
            await done
        finally:
            loop.remove_writer(sock)
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))


def _tell(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)


async def _addresses(host: str, port: int) -> list[tuple[int, Any]]:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return [(family, (host, port))]  # a loop would ask a thread
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, address) for family, _, _, _, address in found]


async def ask_http(probe: Http) -> str | None:
    from urllib.parse import urlsplit

    parts = urlsplit(probe.url)
    assert parts.hostname is not None
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = (f"GET {target} HTTP/1.1", f"Host: {parts.netloc}", "User-Agent: asyncproc", "Accept: */*", "Connection: close")
    request = "\r\n".join([*lines, "", ""]).encode()
    if parts.scheme == "https":
        status = await _answer_over_tls(parts.hostname, parts.port or 443, request)
    else:
        status = await _answer(parts.hostname, parts.port or 80, request)
    if status is None:
        return "it spoke no HTTP"
    wanted = [probe.status] if isinstance(probe.status, int) else probe.status
    return None if status in wanted else f"it answered {status}"


async def _answer(host: str, port: int, request: bytes) -> int | None:
    loop = asyncio.get_running_loop()
    with await _connected(host, port) as sock:
        await loop.sock_sendall(sock, request)
        return await _status(lambda: loop.sock_recv(sock, 4096))


async def _answer_over_tls(host: str, port: int, request: bytes) -> int | None:
    import ssl

    sock = await _connected(host, port)
    try:
        reader, writer = await asyncio.open_connection(sock=sock, ssl=ssl.create_default_context(), server_hostname=host)
    except BaseException:
        sock.close()
        raise
    try:
        writer.write(request)
        return await _status(lambda: reader.read(4096))
    finally:
        writer.transport.abort()


async def _status(receive: Callable[[], Awaitable[bytes]]) -> int | None:
    """The code of the first answer that is not an interim one; None when there is none within what is read at most."""
    data = b""
    while len(data) < MOST_READ and (more := await receive()):
        data += more
        for line in data.split(b"\n")[:-1]:
            words = line.split(None, 2)
            if len(words) > 1 and words[0].startswith(b"HTTP/1.") and words[1].isdigit() and int(words[1]) >= 200:
                return int(words[1])
    return None


# --- programs -------------------------------------------------------------------------------------------------------------


class Program:
    """A run of an Exec probe, as a child of the same engine; it stands in no tree.

    Args:
        options: those of the child that it is for: it has its folder and its environment.
    """

    def __init__(self, engine: Engine, order: Order, probe: Exec, options: dict[str, Any]) -> None:
        self._ended: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        shared = {name: options[name] for name in ("env", "inherit_env", "cwd") if name in options}
        command = Command(*probe.argv, stdout="null", stderr="capture", max_output=MOST_KEPT, **shared)
        self._child = engine.start(command, order, self)

    async def outcome(self) -> Exit:
        """How it ended. Cancelled, it is killed with all that it has started, and gone when the cancellation goes on."""
        try:
            return await asyncio.shield(self._ended)
        except asyncio.CancelledError:
            self._child.take_rung(Rung.KILL)
            await carry_through(self._ended, lambda: None)
            raise

    def on_exit(self, exit: Exit, result: Any) -> None:
        if not self._ended.done():
            self._ended.set_result(exit)

    def on_spawned(self, pid: int | None) -> None: ...
    def on_ready(self) -> None: ...
    def on_acknowledged(self) -> None: ...
    def on_value(self, take: Callable[[], Any], size: int) -> None: ...
    def on_credit(self, count: int) -> None: ...
    def on_report(self, report: Any) -> None: ...
    def on_question(self, question: Any) -> None: ...
    def time_left(self) -> float:
        return inf


async def ask_program(engine: Engine, order: Order, probe: Exec, options: dict[str, Any]) -> str | None:
    exit = await Program(engine, order, probe, options).outcome()
    if exit.error is not None:
        return in_words(exit.error)
    if exit.code == 0:
        return None
    how = f"code {exit.code}" if exit.signal is None else exit.signal.name
    last = exit.stderr_tail.strip().rpartition("\n")[2].strip()[:200]
    return f"{how}, {last}" if last else how


# --- functions ------------------------------------------------------------------------------------------------------------


async def ask_function(question: Question, handle: Handle[Any]) -> str | None:
    said = await question(handle)
    return None if said else f"it said {said!r:.50}"
