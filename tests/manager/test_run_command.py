"""``run_command`` and the manager that it belongs to."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest

from asyncproc import (
    ChildTimeout,
    Command,
    CommandError,
    Coroutine,
    Manager,
    Process,
    SpecError,
    StateError,
    current_manager,
    run_command,
)
from tests.manager.programs import Program

# --- what it gives --------------------------------------------------------------------------------------------------------


@pytest.mark.both_loops
async def test_it_gives_what_the_program_left_behind() -> None:
    """Its code is a result, whatever it is; a signal is a negative one."""
    async with Manager():
        done = await run_command("sh", "-c", "echo out; echo err >&2; exit 3")
        assert (done.returncode, done.stdout, done.stderr, done.truncated) == (3, "out\n", "err\n", False)
        assert done.argv == ("sh", "-c", "echo out; echo err >&2; exit 3") and done.duration > 0 and done.peak_memory > 0
        assert (await run_command("sh", "-c", "kill -9 $$")).returncode == -signal.SIGKILL
        assert (await run_command("printf", "\\377", encoding=None)).stdout == b"\xff"
        assert (await run_command("echo $((6 * 7))", shell=True)).stdout == "42\n"


async def test_a_code_that_is_not_wanted_is_an_error_when_asked_for() -> None:
    """With the command, the code and its last words."""
    async with Manager():
        with pytest.raises(CommandError, match="with code 3") as failed:
            await run_command("sh", "-c", "echo oh >&2; exit 3", check=True)
        assert failed.value.code == 3 and "oh" in str(failed.value)
        assert (await run_command("sh", "-c", "exit 3", check=True, ok_codes=[3])).returncode == 3


async def test_what_cannot_be_started_is_an_error() -> None:
    """The system's own, with the step; also with an input that would have been streamed."""
    async with Manager():
        for given in (None, "text", pieces("a")):
            with pytest.raises(FileNotFoundError, match="no-such-program") as failed:
                await run_command("no-such-program", input=given)
            assert "step: exec" in failed.value.__notes__


@pytest.mark.slow
async def test_a_timeout_says_what_was_written_until_then() -> None:
    """And so does its copy, in another process."""
    async with Manager():
        with pytest.raises(ChildTimeout) as failed:
            await run_command("sh", "-c", "echo a; echo b >&2; exec sleep 100", timeout=0.3)
    for error in (failed.value, pickle.loads(pickle.dumps(failed.value))):
        assert (error.completed.stdout, error.completed.stderr) == ("a\n", "b\n")


# --- its input ------------------------------------------------------------------------------------------------------------


async def pieces(*given: str | bytes, then: BaseException | None = None, forever: bool = False) -> AsyncIterator[str | bytes]:
    for piece in given:
        yield piece
    if then is not None:
        raise then
    if forever:
        await asyncio.Event().wait()


@pytest.mark.parametrize("given", ["text\n", b"bytes\n", bytearray(b"array\n"), "pipe", "", "ünï"])
async def test_input_that_is_there(given: Any) -> None:
    """A text is a text, also when it is a word that the option of a Command knows."""
    async with Manager():
        done = await run_command("cat", input=given)
        assert done.stdout == (given if isinstance(given, str) else given.decode())


async def test_input_piece_by_piece() -> None:
    """To its end, or as far as the program wants it."""
    async with Manager() as manager:
        many = pieces(*["x" * 65536] * 40, b"end")
        done = await run_command("wc", "-c", input=many)
        assert done.stdout.split() == [str(40 * 65536 + 3)]
        assert (await run_command("head", "-c", "1", input=pieces("abc", forever=True))).stdout == "a"
        assert (await run_command("true", input=pieces(*["x" * 65536] * 40))).returncode == 0
        assert all(node.exit is not None for node in manager.nodes("*/*"))


async def test_input_that_fails_ends_the_program() -> None:
    """Its error is raised, and nobody is left."""
    async with Manager() as manager:
        with pytest.raises(LookupError, match="mine"):
            await run_command("cat", input=pieces("a", then=LookupError("mine")))
        assert all(node.exit is not None for node in manager.nodes("*/*"))


async def test_input_that_makes_no_sense_is_refused() -> None:
    """Before anything starts."""
    async with Manager():
        for given, encoding in ((3, "utf-8"), ("text", None)):
            with pytest.raises(SpecError, match="run_command: input must be"):
                await run_command("cat", input=given, encoding=encoding)  # type: ignore[arg-type,call-overload]  # on purpose
        with pytest.raises(SpecError, match="timeout"):
            await run_command("cat", timeout=-1)


async def test_cancelled_it_ends_the_program() -> None:
    """Before the cancellation goes on, whatever its input is."""
    async with Manager() as manager:
        for given in (None, pieces("a", forever=True)):
            running = asyncio.create_task(run_command("sh", "-c", "cat; exec sleep 100", input=given))
            async for moved in manager.events():
                if moved.after.value == "running":
                    break
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert all(node.exit is not None for node in manager.nodes("*/*"))


# --- whose it is ----------------------------------------------------------------------------------------------------------


async def test_it_belongs_to_the_block_that_its_task_is_in() -> None:
    """Or that the task which has made it is in; after the block to the one around it."""

    async def asked() -> Manager[Any]:
        return current_manager()

    async with Manager(name="outer") as outer:
        assert current_manager() is outer
        async with Manager(name="inner") as inner:
            assert await asyncio.create_task(asked()) is inner
            assert await inner.run(Coroutine(asked)) is inner
        assert current_manager() is outer
        assert await asyncio.create_task(asked()) is outer


def test_without_a_loop_there_is_none() -> None:
    """It says what to use instead."""
    with pytest.raises(StateError, match=r"asyncproc\.blocking"):
        current_manager()


OWN = """
    import asyncio, os
    from asyncproc import Command, LogLine, current_manager, run_command
    async def main():
        own = current_manager()
        assert own is current_manager()
        print((await run_command("echo", "done")).stdout, end="")
        assert await asyncio.create_task(asyncio.to_thread(len, "ab")) == 2
        stubborn = "trap 'echo stopped; exit' TERM; echo up; sleep 100 & wait"
        await own.start(Command("sh", "-c", stubborn, stdout="tee", ready=LogLine("up")))
        %s
    %s
"""


@pytest.mark.slow
@pytest.mark.parametrize("loop", ["asyncio.run(main())", "import uvloop; uvloop.run(main())"], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("end", ["pass", "raise SystemExit(0)"], ids=["returns", "exits"])
def test_a_loops_own_ends_with_the_loop(loop: str, end: str, tmp_path: Any) -> None:
    """What still runs in it is stopped in order, and nothing is said of a manager that nobody has closed."""
    with Program(tmp_path, OWN % (end, loop)) as program:
        done = program.end()
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == ["done", "sh | up", "sh | stopped"]


def test_each_loop_has_its_own() -> None:
    """Nothing is left of the ones before."""
    seen = []

    async def main() -> None:
        seen.append(current_manager())
        assert (await run_command("true")).returncode == 0

    for _ in range(3):
        asyncio.run(main())
    assert len(set(map(id, seen))) == 3
    assert all("not open" in repr(manager) for manager in seen)


async def shown() -> tuple[str, str, int]:
    done = await run_command("sh", "-c", "echo $PPID")
    return current_manager().name, done.stdout, os.getpid()


@pytest.mark.slow
async def test_a_child_has_its_own() -> None:
    """Below its own path; it ends with the child."""
    async with Manager() as manager:
        name, printed, pid = await manager.run(Process(shown, name="child"))
        assert name == "app/child/app"
        assert printed.strip().isdigit() and pid != os.getpid()
        assert await manager.run(Command("true"))
