"""What children write and read under faults: rows R45 to R50, D5.2 and D7.4."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import logging
import os
import pty
import resource
import select
import signal
import sys
import termios
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from asyncproc import (
    ChildCrashed,
    Command,
    Concurrent,
    Coroutine,
    LogFile,
    Manager,
    Process,
    Reason,
    SpecError,
    StartFailed,
    StateError,
    Thread,
    blocking,
)
from asyncproc._core.line import LINE_LIMIT
from asyncproc._runtime import log_writer, rotating_file, stdio
from tests.requirements.output_programs import CLOSES, FLOOD, SILENT, closes_its_channel, segfault

MIB = 1 << 20
FLOODED = 1 << 30
"""Bytes of the flood; it takes about a second."""


def python(program: str, *args: object, **options: Any) -> Command:
    return Command(sys.executable, "-I", "-S", "-c", program, *map(str, args), **options)


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


async def lags(stop: asyncio.Event) -> list[float]:
    """How late a timer of a millisecond comes, until *stop*."""
    found = []
    while not stop.is_set():
        begun = time.perf_counter()
        await asyncio.sleep(0.001)
        found.append(time.perf_counter() - begun - 0.001)
    return sorted(found)


async def gathered(reader: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in reader]


# --- R45: flood --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("reads", [False, True], ids=["nobody-reads", "slow-reader"])
async def test_r45_flood_of_a_gigabyte_without_a_reader(reads: bool) -> None:
    """The child is not blocked, memory stays under ring + 16 MiB, loop lag p99 under 20 ms, seen + dropped = written."""
    async with Manager() as manager:
        await manager.run(Command("true"))
        stop = asyncio.Event()
        measured = asyncio.ensure_future(lags(stop))
        before = resident()
        handle = await manager.start(python(FLOOD, FLOODED))
        slow = handle.output_bytes() if reads else None
        seen = len(await anext(slow)) if slow is not None else 0
        exit = await asyncio.wait_for(handle.wait(), 30)  # it came to its end: nothing held it up
        grown = resident() - before
        stop.set()
        found = await measured
        assert exit.reason is Reason.FINISHED
        assert grown < stdio.RING + 16 * MIB
        assert found[len(found) * 99 // 100] < 0.020
        for reader in [handle.output_bytes(), *([slow] if slow is not None else [])]:
            read = b"".join(await gathered(reader))
            assert read.endswith(b"x" * 1023 + b"\n")
            assert (seen if reader is slow else 0) + len(read) + reader.dropped == FLOODED
        assert (await handle).truncated


# --- R46: lines --------------------------------------------------------------------------------------------------------

STRANGE = "nul \0 é € 😀 end\n".encode() + b"\xff\xfe bad \xc3(\n" + "é".encode()[:1]
WRITES_STRANGE = """
import os, sys, time
data = bytes.fromhex(sys.argv[1])
for i in range(len(data)):
    os.write(1, data[i:i + 1])
    sys.stdin.buffer.read(1)
"""


@pytest.mark.slow
async def test_r46_line_of_a_hundred_mebibytes() -> None:
    """It is split with a "partial" mark, in bounded memory, and the bytes view is exact."""
    program = (
        "import sys; block = bytes(range(32, 96)) * 1024\n"
        "for _ in range(1600): sys.stdout.buffer.write(block)\nsys.stdout.buffer.write(b'\\nend')"
    )
    block = bytes(range(32, 96)) * 1024
    async with Manager() as manager:
        # The ring holds all of it: on one loop a reader cannot be as fast as a child that waits for nobody.
        handle = await manager.start(python(program, max_output=104 * MIB))
        hashed, count = hashlib.sha256(), 0
        raw = handle.output_bytes()
        lines = handle.output()
        async for piece in raw:
            hashed.update(piece)
            count += len(piece)
        assert raw.dropped == 0 and count == 100 * MIB + 4
        assert hashed.digest() == hashlib.sha256(block * 1600 + b"\nend").digest()
        found = [(len(line), line.partial) async for line in lines]
        assert found == [(LINE_LIMIT, True)] * 1599 + [(LINE_LIMIT, False), (3, False)]
        assert lines.dropped == 0


@pytest.mark.slow
async def test_r46_strange_bytes_at_every_edge() -> None:
    """NUL, invalid UTF-8 and half a character at the edge of each chunk: one byte is written when the last one was read."""
    async with Manager() as manager:
        handle = await manager.start(python(WRITES_STRANGE, STRANGE.hex(), stdin="pipe", encoding=None))
        raw, lines = handle.output_bytes(), asyncio.ensure_future(gathered(handle.output()))
        pieces = []
        async for piece in raw:
            pieces.append(piece)
            if len(pieces) < len(STRANGE):
                await handle.write(b".")
            else:
                await handle.write_eof()
        assert pieces == [STRANGE[at : at + 1] for at in range(len(STRANGE))]
        assert await lines == ["nul \0 é € 😀 end", "\\xff\\xfe bad \\xc3(", "\\xc3"]
        assert (await handle).stdout == STRANGE  # type: ignore[comparison-overlap]  # encoding=None gives bytes


async def test_r46_lines_of_both_streams_come_in_order_to_several_readers() -> None:
    """Each knows its stream and time; who comes late finds what is held; a restart begins a line of its own."""
    talk = "for i in 1 2 3; do echo o$i; read x; echo e$i >&2; read x; done; printf rest"
    async with Manager() as manager:
        begun = time.time()
        handle = await manager.start(Command(talk, shell=True, stdin="pipe"))
        first, second = handle.output(), handle.output()
        found = []
        for _ in range(6):
            found.append(await anext(first))
            await handle.write("\n")
        assert found == ["o1", "e1", "o2", "e2", "o3", "e3"]
        assert [line.stream for line in found] == ["stdout", "stderr"] * 3
        assert sorted(line.time for line in found) == [line.time for line in found]
        assert begun - 1 < found[0].time < time.time() + 1
        waiting = asyncio.ensure_future(anext(handle.output()))
        await handle.wait()
        await handle.restart()
        for _ in range(6):
            await handle.write("\n")
        assert await gathered(second) == ["o1", "e1", "o2", "e2", "o3", "e3", "rest"] + await gathered(handle.output())
        assert await waiting == "o1" and await anext(first) == "rest"
        closed = handle.output()
        await closed.aclose()
        assert await gathered(closed) == []


@pytest.mark.slow
async def test_r46_slow_reader_of_lines_is_told_of_the_gap() -> None:
    """The line before the gap is marked as partial, and what it saw and lost is what was written."""
    async with Manager() as manager:
        handle = await manager.start(python(ECHOES, stdin="pipe", max_output=300))
        slow, quick = handle.output(), handle.output()
        await handle.write("one\ntwo")
        assert await anext(slow) == await anext(quick) == "one"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(slow), 0.05)  # it has "two" now, without an end
        for number in range(100):
            await handle.write(f" {number:08}\n")
            await anext(quick)
        await handle.write_eof()
        rest = await gathered(slow)
        assert quick.dropped == 0
        assert (rest[0], rest[0].partial) == ("two", True)
        assert rest[-1] == " 00000099" and not any(line.partial for line in rest[1:])
        assert 4 + 3 + sum(len(line) + 1 for line in rest[1:]) + slow.dropped == 4 + 3 + 100 * 10


# --- R47: a grandchild holds the pipe ----------------------------------------------------------------------------------


def hold(pid: int, fd: int = 1) -> int:
    """Another writer of a child's pipe, which no sweep ends: it is this process."""
    return os.open(f"/proc/{pid}/fd/{fd}", os.O_WRONLY)


@pytest.mark.slow
@pytest.mark.alone
async def test_r47_exit_does_not_wait_for_who_holds_the_pipe() -> None:
    """Reported within 50 ms with what was written until then; the rest is drained for the drain limit, then it is closed."""
    async with Manager() as manager:
        handle = await manager.start(Command("sh", "-c", "echo before; read x; exit 0", stdin="pipe"))
        lines = handle.output()
        assert await anext(lines) == "before"
        assert handle.pid is not None
        held = hold(handle.pid)
        try:
            begun = time.perf_counter()
            await handle.write_eof()  # it ends at once
            done = await handle
            told = time.perf_counter()
            assert told - begun < 0.050 and done.stdout == "before\n"
            os.write(held, b"late\n")
            assert await anext(lines) == "late"
            assert await asyncio.wait_for(gathered(lines), stdio.DRAIN_LIMIT + 1) == []
            assert stdio.DRAIN_LIMIT - 0.1 < time.perf_counter() - told < stdio.DRAIN_LIMIT + 0.3
            with pytest.raises(BrokenPipeError):
                os.write(held, b"too late\n")
            assert done.stdout == "before\n"
        finally:
            os.close(held)


@pytest.mark.slow
async def test_r47_sleep_in_the_background() -> None:
    """The same by a shell; what it leaves behind is swept, and the output ends with it. A flood at the end holds up nobody."""
    async with Manager() as manager:
        for command in ("sleep 60 & echo done", "yes & echo done; sleep 0.1"):
            begun = time.perf_counter()
            handle = await manager.start(Command("sh", "-c", command))
            await handle
            assert time.perf_counter() - begun < 1.0
            async with asyncio.timeout(stdio.DRAIN_LIMIT + 1):
                async for _ in handle.output_bytes():
                    pass


@pytest.mark.slow
async def test_r47_result_has_all_that_was_written_before_the_exit() -> None:
    """However much a pipe can hold, whichever is seen first, the exit or the output, and although somebody holds the pipe."""
    program = "import fcntl, os; fcntl.fcntl(1, 1031, 1 << 20); os.write(1, b'x' * (1 << 20)); os.read(0, 1); os._exit(0)"
    async with Manager() as manager:
        for _ in range(5):
            handle = await manager.start(python(program, stdin="pipe", max_output=2 * MIB))
            time.sleep(0.05)  # this loop is busy: what is written and the exit are there when it looks
            assert handle.pid is not None
            held = hold(handle.pid)
            pidfd = os.pidfd_open(handle.pid)
            await handle.write_eof()
            select.select([pidfd], [], [], 5)
            os.close(pidfd)
            assert len((await handle).stdout) == MIB
            os.close(held)


@pytest.mark.slow
async def test_r47_manager_that_closes_first_leaves_no_descriptor() -> None:
    """While output is still drained it closes at once; the readers come to their end. The leak check counts."""
    async with Manager() as manager:
        handle = await manager.start(Command("sh", "-c", "read x; exit 0", stdin="pipe"))
        assert handle.pid is not None
        held = hold(handle.pid)
        await handle.write_eof()
        await handle
        lines = handle.output()
        os.write(held, b"last\n")
    with pytest.raises(BrokenPipeError):
        os.write(held, b"too late\n")
    os.close(held)
    assert await gathered(lines) == ["last"]


# --- R48: what a child closes ------------------------------------------------------------------------------------------


@contextmanager
def little_processor_time(limit: float = 0.02) -> Iterator[None]:
    """Fail when this process has used more than a part of the time."""
    begun, used = time.perf_counter(), time.process_time()
    yield
    assert (time.process_time() - used) / (time.perf_counter() - begun) < limit


async def readable(fd: int) -> None:
    """Until somebody has written something."""
    loop = asyncio.get_running_loop()
    there = asyncio.Event()
    loop.add_reader(fd, there.set)
    await asyncio.wait_for(there.wait(), 10)
    loop.remove_reader(fd)


@pytest.mark.slow
@pytest.mark.alone
async def test_r48_child_that_closes_its_streams_lives_on(tmp_path: Path) -> None:
    """Stdout, stderr and stdin, each and all: it goes on, nobody spins, a write to it fails by name, and it ends as asked."""
    async with Manager() as manager:
        handles = []
        for number, fds in enumerate([(0,), (1,), (2,), (0, 1, 2)]):
            fifo = tmp_path / str(number)
            os.mkfifo(fifo)
            says = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
            handles.append(await manager.start(python(CLOSES, fifo, *fds, stdin="pipe"), name=f"c{number}"))
            await readable(says)
            os.close(says)
        with little_processor_time():
            await asyncio.sleep(1.5)
        for number, handle in enumerate(handles):
            assert handle.exit is None
            if number in (0, 3):
                with pytest.raises(BrokenPipeError, match=f"app/c{number}"):
                    await handle.write(b"x")
            exit = await handle.stop()
            assert exit.reason is Reason.STOPPED and exit.signal is signal.SIGTERM
            assert await gathered(handle.output()) == []


@pytest.mark.slow
async def test_r48_child_that_closes_its_control_pipe_ends() -> None:
    """It counts as failed after the limit of a second, and is ended."""
    async with Manager() as manager:
        handle = await manager.start(Process(closes_its_channel))
        lines = handle.output()
        assert await anext(lines) == "closed"
        begun = time.perf_counter()
        exit = await asyncio.wait_for(handle.wait(), 5)
        assert 0.5 < time.perf_counter() - begun < 3
        assert exit.failed and "closed its channel and lived on" in exit.explain()


# --- R49: standard input -----------------------------------------------------------------------------------------------


@contextmanager
def no_loop_error() -> Iterator[None]:
    """Fail when the loop was told of an exception that nobody caught."""
    errors: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: errors.append(context))
    yield
    loop.set_exception_handler(None)
    assert not errors


@pytest.mark.slow
@pytest.mark.both_loops
async def test_r49_child_that_does_not_read_makes_the_writer_wait() -> None:
    """Back-pressure; when it dies the waiting writer gets BrokenPipeError, so does the next, and never the loop an error."""
    async with Manager() as manager:
        with no_loop_error():
            handle = await manager.start(python(SILENT, stdin="pipe"))
            await anext(handle.output())
            writing = [asyncio.ensure_future(handle.write(b"x" * 16 * MIB)) for _ in range(2)]
            with little_processor_time(0.2):
                done, _ = await asyncio.wait(writing, timeout=0.3)
            assert not done
            writing[1].cancel()  # one that only waits for its turn
            assert handle.pid is not None
            held = os.open(f"/proc/{handle.pid}/fd/0", os.O_RDONLY)  # as a grandchild would that has inherited it
            await handle.kill()
            with pytest.raises(BrokenPipeError, match="app/python"):
                await asyncio.wait_for(writing[0], 5)
            for _ in range(2):
                with pytest.raises(BrokenPipeError, match="has ended"):
                    await handle.write(b"x")
            with pytest.raises(asyncio.CancelledError):
                await writing[1]
            os.close(held)


@pytest.mark.slow
async def test_r49_input_arrives_whole_and_given_input_holds_up_nobody() -> None:
    """Through a pipe in the order of the writes; given as bytes it may be never read. Only a pipe can be written to."""
    block = os.urandom(MIB)
    async with Manager() as manager:
        handle = await manager.start(Command("sha256sum", stdin="pipe"))
        await asyncio.gather(*(handle.write(block) for _ in range(4)))
        await handle.write("äöü")
        await handle.write_eof()
        assert (await handle).stdout.split()[0] == hashlib.sha256(block * 4 + "äöü".encode()).hexdigest()
        assert (await manager.run(Command("true", stdin=block * 4))).returncode == 0
        given = await manager.start(Command("cat", stdin="x"))
        with pytest.raises(StateError, match="stdin='pipe'"):
            await given.write("y")
        with pytest.raises(StateError, match="has not started"):
            await manager.add(Command("cat", stdin="pipe")).write_eof()
        half = await manager.start(python("import os, signal; os.read(0, 1); os.close(0); signal.pause()", stdin="pipe"))
        with pytest.raises(BrokenPipeError, match="app/python"):
            await asyncio.wait_for(half.write(block), 5)


def test_r49_blocking_face() -> None:
    """The same without a loop: write, read lines in a for loop."""
    with blocking.Manager() as manager:
        handle = manager.start(Command("cat", stdin="pipe"))
        lines = handle.output()
        handle.write("a\nb\n")
        assert (next(lines), next(lines)) == ("a", "b")
        handle.write_eof()
        assert list(lines) == [] and lines.dropped == 0
        assert b"".join(handle.output_bytes()) == b"a\nb\n"
    assert [str(line) for line in handle.output()] == ["a", "b"]


# --- R50, D5.2: where output is written --------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What happens every second happens every few milliseconds."""
    monkeypatch.setattr(rotating_file, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(log_writer, "TELL_EVERY", 0.2)


NUMBERED = "import sys\nfor n in range(*map(int, sys.argv[1:])): print(f'{n:099}')"
"""Prints lines of 100 bytes each, which say their number."""
ECHOES = "import os\nwhile data := os.read(0, 65536): os.write(1, data)"


def numbers(*files: Path) -> list[int]:
    return [int(line) for file in files for line in file.read_text().splitlines()]


async def test_r50_log_file_is_rotated_by_size(tmp_path: Path) -> None:
    """Whole lines, backups numbered from the newest, at most so many; the ring and the result have the output as well."""
    file = tmp_path / "out.log"
    where = LogFile(file, max_bytes=1050, backups=3)
    async with Manager() as manager:
        done = await manager.run(python(NUMBERED, 0, 35, stdout=where))
        assert [int(line) for line in done.stdout.splitlines()] == list(range(35))
        await manager.run(python(NUMBERED, 35, 60, stdout=where, stderr=where))  # goes on where the last one has ended
    files = [file.with_name(f"out.log.{number}") for number in (3, 2, 1)] + [file]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    assert [len(numbers(file)) for file in files] == [10] * 4
    assert numbers(*files) == list(range(20, 60))


@pytest.mark.slow
async def test_r50_log_file_is_rotated_by_age(tmp_path: Path) -> None:
    """With the first line after its time; with no backups it begins anew."""
    old, kept = tmp_path / "old.log", tmp_path / "kept.log"
    old.write_text("yesterday\n")
    os.utime(old, (1, 1))
    async with Manager() as manager:
        await manager.run(Command("echo", "today", stdout=LogFile(old, backups=0, max_age=3600)))
        handle = await manager.start(python(ECHOES, stdin="pipe", stdout=LogFile(kept, max_age=0.3)))
        lines = handle.output()
        for text in ("first", "second"):
            await handle.write(f"{text}\n")
            await anext(lines)
            await asyncio.sleep(0.35)
        await handle.write_eof()
        await handle.wait()
    assert old.read_text() == "today\n" and not old.with_name("old.log.1").exists()
    assert (kept.with_name("kept.log.1").read_text(), kept.read_text()) == ("first\n", "second\n")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system with room for 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if os.system(f"mount -t tmpfs -o size=64k none {folder} 2>/dev/null"):
        pytest.skip("needs the right to mount")
    yield folder
    assert os.system(f"umount {folder}") == 0


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
async def test_r50_full_disk_disturbs_nobody(small_disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The child goes on, what does not fit is counted and logged at intervals; with room again it is written again."""
    file, begun, said = small_disk / "out.log", time.monotonic(), 0
    async with Manager() as manager:
        handle = await manager.start(python(ECHOES, stdin="pipe", stdout=LogFile(file, max_bytes=None)))
        lines = handle.output()
        for _ in range(40):
            await handle.write("x" * 4095 + "\n")
            assert len(await anext(lines)) == 4095
        await until(lambda: "No space left on device" in caplog.text)
        async with asyncio.timeout(5):
            while not file.read_text().endswith("again\n"):  # what waits to be written may fill it once more
                os.truncate(file, 0)
                said += 1
                await handle.write("again\n")
                assert await anext(lines) == "again"
                await asyncio.sleep(0.01)
        await handle.write_eof()
        assert (await handle).returncode == 0 and lines.dropped == 0
    warnings = [record for record in caplog.records if "bytes of output lost" in record.getMessage()]
    assert 1 <= len(warnings) <= 2 + (time.monotonic() - begun) / log_writer.TELL_EVERY and all(
        str(file) in record.getMessage() for record in warnings
    )
    kept = 65536 * (said + 1)  # at most so much between two emptyings
    assert int(warnings[-1].args[2]) >= 40 * 4096 + 6 * said - kept  # type: ignore[index,arg-type]  # of our own call


async def until(condition: Callable[[], object]) -> None:
    """Until the writing thread has come to it: it tells nobody."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  # there is no event
            await asyncio.sleep(0.005)


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("how", ["renamed", "removed", "folder"])
async def test_r50_file_that_is_taken_away_is_made_anew(how: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Rotated from outside, removed, or with its folder: supervision goes on, and so does the file when it can."""
    folder = tmp_path / "logs"
    folder.mkdir()
    file = folder / "out.log"
    async with Manager() as manager:
        handle = await manager.start(python(ECHOES, stdin="pipe", stdout=LogFile(file)))
        lines = handle.output()

        async def say(text: str) -> None:
            await handle.write(f"{text}\n")
            assert await anext(lines) == text

        await say("before")
        await until(lambda: file.read_text() == "before\n")
        file.rename(folder / "moved") if how == "renamed" else file.unlink()
        if how == "folder":
            folder.rmdir()
            await asyncio.sleep(0.02)
            await say("nowhere")
            await until(lambda: "No such file or directory" in caplog.text)
            folder.mkdir()
        await asyncio.sleep(0.02)
        await say("after")
        await until(lambda: file.exists() and file.read_text().endswith("after\n"))
        assert (await handle.stop()).reason is Reason.STOPPED
    assert file.read_text() == "after\n"
    if how == "renamed":
        assert (folder / "moved").read_text() == "before\n"


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.usefixtures("quick")
async def test_r50_paused_terminal_holds_up_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As a target it takes nothing for a while: the child, the loop and other files go on; what is lost is counted."""
    ours, theirs = pty.openpty()
    termios.tcflow(theirs, termios.TCOOFF)
    beside = tmp_path / "beside.log"
    async with Manager() as manager:
        terminal = LogFile(os.ttyname(theirs), max_bytes=None)
        stop = asyncio.Event()
        measured = asyncio.ensure_future(lags(stop))
        stuck = await manager.start(python(NUMBERED, 0, 5000, stdout=terminal))
        assert (await asyncio.wait_for(stuck.wait(), 5)).reason is Reason.FINISHED
        await manager.run(Command("echo", "well", stdout=LogFile(beside)))
        await until(lambda: beside.read_text() == "well\n")
        await until(lambda: "bytes of output lost" in caplog.text)
        stop.set()
        found = await measured
        assert found[len(found) * 99 // 100] < 0.050
        termios.tcflow(theirs, termios.TCOON)
        begun = time.perf_counter()
    assert time.perf_counter() - begun < 3
    os.close(ours)
    os.close(theirs)


@pytest.mark.slow
async def test_r50_what_comes_faster_than_it_can_be_written_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk that stands still (here a pipe whose reader does not read): the queue is bounded, the child is not held up."""
    monkeypatch.setattr(rotating_file, "STALL_LIMIT", 0.5)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        async with Manager() as manager:
            before = resident()
            handle = await manager.start(python(FLOOD, 64 * MIB, stdout=LogFile(fifo)))
            assert (await handle.wait()).reason is Reason.FINISHED
            assert resident() - before < stdio.RING + 16 * MIB
        size = fcntl.ioctl(reader, termios.FIONREAD, b"\0" * 4)
        lost = [record for record in caplog.records if "bytes of output lost" in record.getMessage()]
        assert lost[-1].args[2] + int.from_bytes(size, sys.byteorder) == 64 * MIB  # type: ignore[index,operator]  # of our own call
        async with Manager() as manager:
            os.close(reader)
            reader = -1
            with pytest.raises(StartFailed) as failed:
                await manager.start(Command("true", stdout=LogFile(fifo)))
            assert isinstance(failed.value.__cause__, OSError)
    finally:
        if reader >= 0:
            os.close(reader)


async def test_r50_no_thread_for_a_child_that_says_nothing(tmp_path: Path) -> None:
    """Nor for one that writes elsewhere; with the first line it is there, and with the manager it ends."""

    def has_thread() -> bool:
        return any(thread.name == "asyncproc-log" for thread in threading.enumerate())

    async with Manager() as manager:
        await manager.run(Command("echo", "x"))
        await manager.run(Command("true", stdout=LogFile(tmp_path / "empty"), stderr="log"))
        assert not has_thread() and (tmp_path / "empty").read_bytes() == b""
        await manager.run(Command("echo", "x", stdout=LogFile(tmp_path / "full")))
        assert has_thread()
    assert not has_thread() and (tmp_path / "full").read_bytes() == b"x\n"


async def test_r50_lines_become_log_records(caplog: pytest.LogCaptureFixture) -> None:
    """With path and stream; a handler that fails disturbs nobody."""

    class Fails(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("no")

    caplog.set_level(logging.INFO, "asyncproc.output")
    async with Manager() as manager:
        await manager.run(Command("sh", "-c", "echo out; echo err >&2; printf rest", stdout="log", stderr="log", name="say"))
    found = {
        (record.getMessage(), record.path, record.stream) for record in caplog.records if record.name == "asyncproc.output"
    }  # type: ignore[attr-defined]  # extra
    assert found == {("out", "app/say", "stdout"), ("err", "app/say", "stderr"), ("rest", "app/say", "stdout")}
    handler = Fails()
    logging.getLogger("asyncproc.output").addHandler(handler)
    try:
        async with Manager() as manager:
            assert (await manager.run(Command("echo", "x", stdout="log"))).stdout == "x\n"
    finally:
        logging.getLogger("asyncproc.output").removeHandler(handler)
    assert "RuntimeError('no')" in caplog.text


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"stdout": LogFile("")}, "path"), ({"stderr": LogFile("x", max_bytes=0)}, "max_bytes"),
        ({"stdout": LogFile("x", backups=-1)}, "backups"), ({"stderr": LogFile("x", max_age=-1)}, "max_age"),
        ({"stdout": "terminal"}, "terminal"), ({"stdin": "terminal"}, "terminal"),
    ],
)  # fmt: skip
def test_r50_bad_log_file_is_refused(options: dict[str, Any], word: str) -> None:
    """With node, field and value."""
    with pytest.raises(SpecError, match=word) as caught:
        Command("ls", **options)
    ((path, field, value, _),) = caught.value.faults
    assert (path, field, value) == ("ls", *next(iter(options.items())))


async def test_r50_missing_folder_fails_the_start(tmp_path: Path) -> None:
    """As it does for a plain path; and nobody is left."""
    async with Manager() as manager:
        for stream in ("stdout", "stderr"):
            with pytest.raises(StartFailed) as failed:
                await manager.start(Command("true", **{stream: LogFile(tmp_path / "no" / "file")}))  # type: ignore[arg-type]  # by name
            assert isinstance(failed.value.__cause__, FileNotFoundError)


# --- readers -----------------------------------------------------------------------------------------------------------


async def test_output_of_what_has_none_is_refused(tmp_path: Path) -> None:
    """Named, with what it would need."""

    async def nothing() -> None: ...

    async with Manager() as manager:
        for spec in (Thread(os.getpid), Coroutine(nothing), Concurrent(os.getpid)):
            handle = await manager.start(spec)
            with pytest.raises(StateError, match="no streams of its own"):
                handle.output()
            await handle.wait()
        bare = await manager.start(Command("true", stdout=tmp_path / "x", stderr="null"))
        with pytest.raises(StateError, match="'capture'"):
            bare.output_bytes()
        with pytest.raises(StateError, match="no pipe"):
            await bare.write(b"")


async def test_reader_that_waits_is_told_of_every_end() -> None:
    """Of a node that never starts, of one that never writes; cancelled, it can be asked again."""
    async with Manager() as manager:
        never = manager.add(Command("true"))
        waiting = asyncio.ensure_future(gathered(never.output()))
        silent = await manager.start(Command("sleep", "60"))
        lines = silent.output()
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(lines), 0.01)
        streams: Any = silent._place.child
        assert not streams.streams.output.waiting
        last = asyncio.ensure_future(gathered(lines))
        await silent.kill()
        assert await last == []
        await never.stop()
        assert await waiting == []


async def test_subscriber_gets_raw_pieces_until_it_has_enough() -> None:
    """First what is held; one that fails is told no more, and disturbs nobody; a stream that is not captured is refused."""
    async with Manager() as manager:
        handle = await manager.start(python(ECHOES, stdin="pipe", stderr="null"))
        child: Any = handle._place.child
        lines = handle.output()
        got: list[bytes] = []

        def fails(data: bytes) -> None:
            got.append(b"!")
            raise RuntimeError("no")

        await handle.write("a\n")
        await anext(lines)
        stop = child.streams.subscribe("stdout", got.append)
        assert got == [b"a\n"]
        child.streams.subscribe("stdout", lambda data: None)
        await handle.write("b\n")
        await anext(lines)
        assert got == [b"a\n", b"b\n"]
        stop()
        stop()
        with pytest.raises(RuntimeError):
            child.streams.subscribe("stdout", fails)
        await handle.write("c\n")
        await anext(lines)
        assert got == [b"a\n", b"b\n", b"!"]
        with pytest.raises(ValueError, match="stderr of app/"):
            child.streams.subscribe("stderr", got.append)


# --- D7.4: a crash of the interpreter ----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["auto", "portable"])
async def test_d74_segfault_tells_where(launcher: Any) -> None:
    """The stack of the crash stands in the exit and on the error; the innermost call is there, however deep it was."""
    async with Manager(launcher=launcher) as manager:
        handle = await manager.start(Process(segfault, stderr="capture"))
        with pytest.raises(ChildCrashed, match="Segmentation fault") as caught:
            await handle
        exit = caught.value.exit
        assert exit is not None and exit.signal is signal.SIGSEGV
        for text in (exit.stderr_tail, caught.value.__notes__[-1]):
            assert text.startswith("Fatal Python error: Segmentation fault")
            assert "string_at" in text and "in segfault" in text
