"""A plain manager repeats on the host's own streams what is to be teed."""

from __future__ import annotations

import io
import sys

import pytest

from asyncproc import Command, Manager, Process


def complain() -> int:
    print("from the child", file=sys.stderr)
    print("no end of line", file=sys.stderr, end="")
    return 3


@pytest.mark.slow
async def test_standard_error_of_a_python_child_is_teed(capsys: pytest.CaptureFixture[str]) -> None:
    """By default, under the node's name, and all of it has come when the manager is closed."""
    async with Manager() as manager:
        assert await manager.run(Process(complain)) == 3
    assert capsys.readouterr().err == "complain | from the child\ncomplain | no end of line\n"


@pytest.mark.slow
async def test_command_is_teed_when_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """Each stream on its own; control characters are shown, captured as they came."""
    async with Manager() as manager:
        done = await manager.run(Command("printf", r"a\033[2Jb\n", stdout="tee", name="print"))
    assert capsys.readouterr().out == "print | a\\x1b[2Jb\n"
    assert done.stdout == "a\x1b[2Jb\n"


@pytest.mark.slow
async def test_captured_output_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """A command captures by default: nothing of it appears, and no thread is made for it."""
    async with Manager() as manager:
        await manager.run(Command("sh", "-c", "echo out; echo err >&2"))
    assert capsys.readouterr() == ("", "")


@pytest.mark.slow
async def test_stream_that_cannot_write_it_gets_it_spelled_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host whose standard output is ASCII still sees something."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    async with Manager() as manager:
        await manager.run(Command("echo", "gr\u00fcn", stdout="tee"))
    assert raw.getvalue() == b"echo | gr\\xfcn\n"


@pytest.mark.slow
@pytest.mark.parametrize("stream", [None, io.StringIO()])
async def test_host_without_a_stream_runs_all_the_same(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO | None) -> None:
    """Closed, or never there."""
    if stream is not None:
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    async with Manager() as manager:
        assert await manager.run(Process(complain)) == 3
