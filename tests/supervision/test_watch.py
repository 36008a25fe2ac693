"""Nodes that watch files: real files, real changes, and a restart of exactly those that they concern."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from asyncproc import Command, Concurrent, Handle, LogLine, Manager, Process, Reason, SpecError, StartFailed, State, Supervisor
from asyncproc._supervision import file_changes, watching
from asyncproc._supervision.ignored import Ignored

SLEEP = ("sleep", "60")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with a folder of sources."""
    (tmp_path / ".git").mkdir()
    (tmp_path / ".gitignore").write_text("*.log\nbuild/\n")
    source = tmp_path / "src"
    source.mkdir()
    (source / "a.py").write_text("1")
    return tmp_path


@pytest.fixture
async def manager() -> AsyncIterator[Manager[Any]]:
    async with Manager() as manager:
        yield manager
    assert not watchers()


def watchers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "asyncproc watch"]


async def restarted(handle: Handle[Any], change: Callable[[], object]) -> str | None:
    """Make a change, and wait for what follows; who asked."""
    count = handle.incarnation
    await seeing(handle)
    change()
    await reaching(handle, lambda: handle.incarnation == count + 1 and handle.state is State.RUNNING)
    return handle.exit and handle.exit.asked_by


async def seeing(handle: Handle[Any]) -> None:
    """Wait until all that it watches is seen."""
    watcher = handle._supervisor._watching
    assert watcher is not None
    await reaching(handle, lambda: watcher.seen >= watcher._roots[handle._place])


async def reaching(handle: Handle[Any], condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        await handle._supervisor.until(handle._place, condition)


@pytest.mark.slow
async def test_a_change_restarts_the_node_and_nobody_else(manager: Manager[Any], project: Path) -> None:
    """Of a file below the folder; by a restart that counts for nothing, and says what it was."""
    handle = await manager.start(Command(*SLEEP, name="a", watch=[project / "src"]))
    other = await manager.start(Command(*SLEEP, name="b"))
    file = project / "src" / "a.py"
    assert await restarted(handle, lambda: file.write_text("2")) == f"change of {file}"
    assert handle.exit is not None
    assert handle.exit.reason is Reason.STOPPED
    assert other.incarnation == 1
    assert watchers() == ["asyncproc watch"]
    await handle.stop()
    await other.stop()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["replaced", "new folder", "deleted", "a watched file", "a watched file that went"])
async def test_kinds_of_changes(manager: Manager[Any], project: Path, kind: str) -> None:
    """Also what editors do: a new file in place of the old one, twice."""
    source = project / "src"
    file = source / "a.py"
    handle = await manager.start(Command(*SLEEP, watch=[file if "watched" in kind else source]))

    def replace() -> None:
        (source / "a.py~").write_text("2")
        os.replace(source / "a.py~", file)

    match kind:
        case "replaced" | "a watched file":
            assert await restarted(handle, replace) == f"change of {file}"
            assert await restarted(handle, replace) == f"change of {file}"
        case "new folder":
            await restarted(handle, lambda: (source / "sub" / "deep").mkdir(parents=True))
            await restarted(handle, (source / "sub" / "deep" / "c.py").touch)
        case "deleted":
            await restarted(handle, file.unlink)
        case _:
            await restarted(handle, file.unlink)
            await restarted(handle, lambda: file.write_text("again"))


@pytest.mark.slow
async def test_changes_that_concern_nobody(manager: Manager[Any], project: Path) -> None:
    """What version control ignores, what Python and editors leave, and the neighbours of what is watched."""
    source = project / "src"
    handle = await manager.start(Command(*SLEEP, watch=[source]))
    await seeing(handle)
    for name in ("x.log", ".a.py.swp", "a.py~", "a.pyc"):
        (source / name).write_text("1")
    for folder in ("build", "__pycache__", ".git", "node_modules"):
        (source / folder).mkdir()
        (source / folder / "b.py").write_text("1")
    (project / "beside.py").write_text("1")
    await asyncio.sleep(2 * watching.QUIET + 4 * file_changes.STEP_MS / 1000)
    assert handle.incarnation == 1
    await restarted(handle, (source / "b.py").touch)


@pytest.mark.slow
async def test_many_changes_are_one_restart(manager: Manager[Any], project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node is restarted when it has been quiet; when it never is, all the same."""
    monkeypatch.setattr(watching, "QUIET", 0.5)
    monkeypatch.setattr(watching, "LONGEST", 1.2)
    source = project / "src"
    handle = await manager.start(Command(*SLEEP, watch=[source, source / "a.py"]))
    await seeing(handle)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    count = 0
    while handle.incarnation == 1:
        (source / f"{count}.py").write_text("1")
        count += 1
        await asyncio.sleep(0.05)
    assert loop.time() - begun >= 1.2
    assert count > 10


@pytest.mark.slow
async def test_a_group_is_restarted_as_a_branch(manager: Manager[Any], project: Path) -> None:
    """All in it, once, though a member of it watches the same; its siblings not."""
    source = project / "src"
    group = Concurrent(Command(*SLEEP, name="x", watch=[source]), Command(*SLEEP, name="y"), name="g", watch=[source])
    supervisor = await manager.start(Supervisor(group, Command(*SLEEP, name="z"), name="s"))
    nodes = {name: manager.find(f"s/{name}") for name in ("g", "g/x", "g/y", "z")}
    await restarted(nodes["g"], (source / "b.py").touch)
    await asyncio.sleep(2 * watching.QUIET)
    assert [node.incarnation for node in nodes.values()] == [2, 2, 2, 1]
    await supervisor.stop()


@pytest.mark.slow
async def test_a_member_does_not_begin_twice_with_its_group(manager: Manager[Any], project: Path) -> None:
    """Of a group that rests, all begin at the change, at once; whoever watches the same is not restarted for it."""
    source = project / "src"
    group = Concurrent(Command(*SLEEP, name="x", watch=[source]), name="g", watch=[source], schedule="@yearly")
    handle = await manager.start(group)
    member = manager.find("g/x")
    await seeing(handle)
    (source / "b.py").touch()
    await reaching(member, lambda: member.state is State.RUNNING)
    await asyncio.sleep(2 * watching.QUIET)
    assert (handle.incarnation, member.incarnation) == (1, 1)


READ = LogLine("up")
"""A shell has read its script: what becomes of that then is no concern of it."""


@pytest.mark.slow
async def test_a_restart_that_fails_leaves_the_watch_on(manager: Manager[Any], project: Path) -> None:
    """The next change tries again, until somebody stops it."""
    script = project / "src" / "run.sh"
    script.write_text("echo up; exec sleep 60")
    handle = await manager.start(Command("sh", str(script), watch=[script], ready=READ))
    await seeing(handle)
    script.write_text("exit 3")
    assert (await handle.wait()).code == 3
    await restarted(handle, lambda: script.write_text("echo up; exec sleep 60"))
    await handle.stop()
    assert handle._supervisor._watching._roots == {}  # type: ignore[union-attr]  # it has watched


@pytest.mark.slow
async def test_a_member_that_was_given_up_is_tried_again(manager: Manager[Any], project: Path) -> None:
    """In a supervisor that goes on without it."""
    script = project / "src" / "run.sh"
    script.write_text("echo up; exec sleep 60")
    member = Command("sh", str(script), watch=[script], name="m", ready=READ)
    supervisor = await manager.start(Supervisor(member, Command(*SLEEP), name="s", intensity=0, at_limit="stay"))
    handle = manager.find("s/m")
    await seeing(handle)
    script.write_text("exit 3")
    await handle.wait()
    await restarted(handle, lambda: script.write_text("echo up; exec sleep 60"))
    await supervisor.stop()


@pytest.mark.slow
async def test_the_thread_ends_with_the_last_that_watches(project: Path) -> None:
    """And is one for all; a node that has ended well watches no longer."""
    source = project / "src"
    async with Manager() as manager:
        assert not watchers()
        first = await manager.start(Command(*SLEEP, name="a", watch=[source]))
        second = await manager.start(Command(*SLEEP, name="b", watch=[project / ".gitignore"]))
        assert len(watchers()) == 1
        await first.stop()
        assert len(watchers()) == 1
        await restarted(second, lambda: (project / ".gitignore").write_text("#"))
        await second.stop()
        await asyncio.wait(list(second._supervisor._watching._ending.values()))  # type: ignore[union-attr]  # it watched
        assert not watchers()
        third = await manager.start(Command("true", watch=[source]))
        await third
        fourth = await manager.start(Command(*SLEEP, name="d", watch=[source]))
        await restarted(fourth, (source / "b.py").touch)
    assert not watchers()


@pytest.mark.slow
async def test_a_watch_survives_what_is_around_it(manager: Manager[Any], project: Path) -> None:
    """The folder goes with all around it, and comes again."""
    deep = project / "x" / "y" / "z"
    deep.mkdir(parents=True)
    handle = await manager.start(Command(*SLEEP, watch=[deep]))
    await restarted(handle, lambda: shutil.rmtree(project / "x"))
    await restarted(handle, lambda: deep.mkdir(parents=True))
    await restarted(handle, (deep / "b.py").touch)


@pytest.mark.slow
async def test_files_are_looked_at_where_the_system_tells_nothing(
    manager: Manager[Any], project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When there are no watches left, it falls back to looking."""
    real = file_changes.RustNotify

    def refuse(folders: list[str], debug: bool, polls: bool, *rest: Any) -> Any:
        if not polls:
            raise OSError(28, "no space left for watches")
        return real(folders, debug, polls, *rest)

    monkeypatch.setattr(file_changes, "RustNotify", refuse)
    handle = await manager.start(Command(*SLEEP, watch=[project / "src"]))
    await seeing(handle)
    await restarted(handle, (project / "src" / "b.py").touch)
    assert "are looked at instead" in caplog.text


@pytest.mark.slow
async def test_a_node_that_waits_for_its_time_runs_at_once(manager: Manager[Any], project: Path) -> None:
    """A change is a restart, and that does not wait."""
    handle = await manager.start(Command("true", watch=[project / "src"], schedule="@yearly"))
    await seeing(handle)
    (project / "src" / "b.py").touch()
    async with asyncio.timeout(10):
        await handle.wait_for(incarnation=1)
    await handle.wait_for(state=State.WAITING)


async def test_paths_must_be_there(manager: Manager[Any], tmp_path: Path) -> None:
    """Said before anything starts, with path, field and value, wherever in the tree."""
    absent = tmp_path / "absent"
    with pytest.raises(SpecError, match="absent") as caught:
        await manager.start(Concurrent(Command("true"), Command("false", name="x", watch=[tmp_path, absent])))
    (fault,) = caught.value.faults
    assert fault[:3] == ("app/concurrent/x", "watch", absent)
    with pytest.raises(SpecError, match="sequence of paths"):
        Command("true", watch=str(tmp_path))  # type: ignore[arg-type]  # the point
    with pytest.raises(SpecError, match="watch is not for what is held"):
        manager.add(Process(print, watch=[tmp_path]), hold=True)


def test_without_the_extra_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As a SpecError."""
    from asyncproc._spec import watch

    monkeypatch.setattr(watch, "find_spec", lambda name: None)
    with pytest.raises(SpecError, match=r"pip install asyncproc\[watch\]"):
        Command("true", watch=[tmp_path])
    Command("true", watch=())


def test_rules_of_each_folder_count_and_the_nearest_decides(project: Path) -> None:
    """From the top of the repository down; a folder that is ignored hides all in it."""
    source = project / "src"
    (source / ".gitignore").write_text("!keep.log\n/only.txt\nsecret/\n")
    (source / "sub" / "secret").mkdir(parents=True)
    (source / "sub" / "build").mkdir()
    ignored = Ignored(str(source))
    for name, well in {
        "a.py": True, "x.log": False, "keep.log": True, "sub/x.log": False, "only.txt": False, "sub/only.txt": True,
        "sub/build/a.py": False, "sub/secret/keep.log": False, "sub/secret": False, "__pycache__/a.py": False,
    }.items():  # fmt: skip
        assert ignored(str(source / name)) != well, name
    assert sorted(os.path.relpath(folder, project) for folder in ignored.folders()) == ["src", "src/sub"]


def test_a_folder_that_is_no_repository_has_its_own_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands above it says nothing; a hidden folder around it hides nothing."""
    folder = tmp_path / ".venv" / "lib"
    folder.mkdir(parents=True)
    (tmp_path / ".gitignore").write_text("*.py\n")
    (folder / ".gitignore").write_text("*.txt\n")
    from asyncproc._supervision import ignored as module

    monkeypatch.setattr(module, "_repository", lambda folder: None)
    ignored = Ignored(str(folder))
    assert not ignored(str(folder / "a.py"))
    assert ignored(str(folder / "a.txt"))


async def test_a_start_failed_is_told_and_its_file_is_watched(manager: Manager[Any], project: Path) -> None:
    """The first start too: whoever mends the file has it started."""
    program = project / "src" / "program"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    with pytest.raises(StartFailed):
        await manager.start(Command(str(program), watch=[program]))
    handle = manager.find("program")
    await restarted(handle, lambda: program.chmod(0o755))
    await handle.stop()
