"""What a child may use of the machine, and what fails by name where it may not: rows R10, R29, R30, R79, seed D4.7."""

from __future__ import annotations

import errno
import json
import logging
import os
import resource
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asyncproc import Command, Manager, Process
from asyncproc._core.exit import Reason
from asyncproc.errors import SpecError, StartFailed
from asyncproc.testing import hostile
from tests.faults.harness import OrdinaryVictim, descriptors_left, helpers_of
from tests.requirements import limits_targets as targets

pytestmark = pytest.mark.slow
BOTH = ["process", "command"]


class OrdinaryHost(OrdinaryVictim):
    program = Path(__file__).with_name("limits_hosts.py")

    def saw(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads(self.until("saw"))
        return facts


@pytest.fixture
def closed() -> Iterator[str]:
    """A folder with a program in it, closed to whoever runs the host, in one that is open to all."""
    outer = tempfile.mkdtemp(prefix="asyncproc-")
    os.chmod(outer, 0o755)
    folder = Path(outer, "closed")
    folder.mkdir()
    shutil.copy("/bin/true", folder / "program")
    folder.chmod(0o700 if os.geteuid() == 0 else 0)
    yield str(folder)
    folder.chmod(0o700)
    shutil.rmtree(outer)


# --- R29 ---------------------------------------------------------------------------------------------------------------


def _busy(folder: Path) -> str:
    shutil.copy("/bin/sleep", folder / "busy")
    return str(folder / "busy")


def _plain_file(folder: Path) -> str:
    (folder / "plain").write_text("text")
    return str(folder / "plain")


IMPOSSIBLE: dict[str, tuple[Any, str, int]] = {
    "not found": (lambda _: Command("/does/not/exist"), "exec", errno.ENOENT),
    "not executable": (lambda folder: Command(_plain_file(folder)), "exec", errno.EACCES),
    "text busy": (lambda folder: Command(_busy(folder), "1000"), "exec", errno.ETXTBSY),
    "wrong folder": (lambda _: Command("true", cwd="/does/not/exist"), "cwd", errno.ENOENT),
    "wrong folder of a process": (lambda _: Process(hostile.idle, cwd="/does/not/exist"), "cwd", errno.ENOENT),
    "unknown user": (lambda _: Command("true", user="does-not-exist"), "user", errno.EINVAL),
    "unknown user of a process": (lambda _: Process(hostile.idle, user="does-not-exist"), "user", errno.EINVAL),
    "unknown number": (lambda _: Process(hostile.idle, user=4_000_000), "user", errno.EINVAL),
    "unknown group": (lambda _: Command("true", group="does-not-exist"), "user", errno.EINVAL),
    "no such processor": (lambda _: Command("true", cpus=[4000]), "limits", errno.EINVAL),
    "too high a limit": (lambda _: Command("true", rlimits={"nofile": 1 << 40}), "limits", errno.EPERM),
    "too high a limit of a process": (lambda _: Process(hostile.idle, rlimits={"nofile": 1 << 40}), "limits", errno.EPERM),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
async def test_r29_impossible_start_is_told_by_errno_and_step(case: str, tmp_path: Path) -> None:
    """Each is a failed start, at once, with an OSError that has errno and step; no descriptor is left, the next start works."""
    make, step, number = IMPOSSIBLE[case]
    spec = make(tmp_path)
    writer = open(tmp_path / "busy", "r+b") if case == "text busy" else None
    try:
        async with Manager(spares=0) as manager:
            await manager.run(Process(hostile.return_it, 1))
            before = len(os.listdir("/proc/self/fd"))
            with pytest.raises(StartFailed) as failed:
                await manager.start(spec)
            cause = failed.value.__cause__
            assert isinstance(cause, OSError)
            assert (cause.errno, f"step: {step}" in cause.__notes__) == (number, True)
            assert failed.value.exit is not None and failed.value.exit.reason is Reason.CRASHED and failed.value.exit.failed
            assert "unknown" not in case or "does-not-exist" in str(cause) or "4000000" in str(cause)
            assert len(os.listdir("/proc/self/fd")) == before
            assert await manager.run(Process(hostile.return_it, 7)) == 7
    finally:
        if writer is not None:
            writer.close()


def test_r29_what_an_ordinary_user_may_not_is_refused_by_name(closed: str) -> None:
    """Another user or group, more niceness or files than allowed, a closed folder: distinct errors; our own user is none."""
    with OrdinaryHost("refusals", closed) as host:
        facts = host.saw()
    seen = {name: (one["class"], one["errno"], one["step"]) for name, one in facts["seen"].items()}
    assert seen == {
        "user of a process": ("StartFailed", "EPERM", ["user"]),
        "user of a command": ("StartFailed", "EPERM", ["user"]),
        "group": ("StartFailed", "EPERM", ["user"]),
        "niceness": ("StartFailed", "EPERM", ["limits"]),
        "niceness of a process": ("StartFailed", "EPERM", ["limits"]),
        "limit": ("StartFailed", "EPERM", ["limits"]),
        "limit of a process": ("StartFailed", "EPERM", ["limits"]),
        "folder": ("StartFailed", "EACCES", ["cwd"]),
        "folder of a process": ("StartFailed", "EACCES", ["cwd"]),
        "program": ("StartFailed", "EACCES", ["exec"]),
        "output": ("StartFailed", "EACCES", ["output"]),
    }
    assert "node app/idle: user 'daemon' needs root or CAP_SETUID" in facts["seen"]["user of a process"]["text"]
    assert "group 'daemon' needs root or CAP_SETGID" in facts["seen"]["group"]["text"]
    assert facts["own"] not in (0, None)


# --- R30, R10 ----------------------------------------------------------------------------------------------------------


def test_r30_eagain_at_fork_is_a_clean_error() -> None:
    """A failed start with EAGAIN and the step "fork"; every descriptor is closed, a kill works, and so does the next start."""
    with OrdinaryHost("cannot_fork") as host:
        facts = host.saw()
    for name, seen in facts["starts"].items():
        assert (seen["class"], seen["errno"]) == ("StartFailed", "EAGAIN"), name
        assert seen["step"] == ["fork"], name
    assert facts["killed"]
    assert max(facts["lost"]) == 0  # one fewer: a helper had not closed one yet that it had passed on before
    assert facts["values"] == [7, "on\n", 8]


@pytest.mark.parametrize("kind", BOTH)
async def test_r30_emfile_is_a_clean_error(kind: str) -> None:
    """With no descriptor left: a failed start with EMFILE, none is lost, others can be killed, and the next start works."""

    def spec() -> Any:
        return Process(hostile.return_it, 7) if kind == "process" else Command("echo", "7")

    async with Manager(spares=0) as manager:
        sibling = await manager.start(Command("sleep", "1000"))
        await manager.run(spec())
        before = len(os.listdir("/proc/self/fd"))
        with descriptors_left(0):
            with pytest.raises(StartFailed) as failed:
                await manager.start(spec())
            cause = failed.value.__cause__
            assert isinstance(cause, OSError) and cause.errno == errno.EMFILE
            assert "step: descriptors" in cause.__notes__
            assert (await sibling.kill()).killed
        assert len(os.listdir("/proc/self/fd")) == before - 2  # the sibling's two streams
        await manager.run(spec())


@pytest.mark.parametrize("end", ["stopped", "killed"])
def test_r10_clean_up_needs_no_descriptor_and_no_process(end: str) -> None:
    """A host and helpers that can have neither leave nobody: neither a stop of everything nor the manager's own death."""
    with OrdinaryHost("has_nothing_left", end) as host:
        host.until("nothing left")
        if end == "stopped":
            assert host.until("left") == "0"
            helpers = {pid for pids in helpers_of(host.pid).values() for pid in pids}
            assert set(host.leaks.survivors()) <= {host.pid, *helpers}
        host.kill()
        assert not host.survivors()


# --- R79 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BOTH)
async def test_r79_environment_is_exact_to_the_byte(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names and values that are no UTF-8, and huge ones, arrive as the bytes that they were; exact means nothing else."""
    strange = {b"N\xff\xfe": b"v\xc3\x28\x80", b"EMPTY": b"", b"LINES": b"a\nb=c\n", b"HUGE": b"x" * 100_000}
    for name, value in strange.items():
        monkeypatch.setitem(os.environb, name, value)
    monkeypatch.setenv("GONE", "x")

    async def seen(**options: Any) -> dict[bytes, bytes]:
        if kind == "process":
            return dict(await manager.run(Process(targets.environment, **options)))
        done = await manager.run(Command("/usr/bin/env", "-0", encoding=None, **options))
        return dict(pair.split(b"=", 1) for pair in done.stdout.split(b"\0") if pair)

    async with Manager() as manager:
        found = await seen(env={"GONE": None, "NEW\udcff": "\udcfe"})
        expected = {**os.environb, b"NEW\xff": b"\xfe"}
        del expected[b"GONE"]
        assert {name: value for name, value in found.items() if name != b"ASYNCPROC_RUN"} == {
            name: value for name, value in expected.items() if name != b"ASYNCPROC_RUN"
        }
        assert await seen(env={"ONLY\udcff": "\udcfe"}, inherit_env=False) == {b"ONLY\xff": b"\xfe"}
        assert await seen(inherit_env=False) == {}


async def test_r79_environment_stands_in_no_log_and_no_error(caplog: pytest.LogCaptureFixture) -> None:
    """Neither in what a spec, a tree, a failure or a refused value says of itself."""
    env = {"TOKEN": "hunter2", "OTHER": "swordfish"}
    said = []
    with caplog.at_level(logging.DEBUG):
        with pytest.raises(SpecError) as refused:
            Command("true", env={**env, "BAD": "\0"})
        said.append(str(refused.value))
        assert "BAD, " not in said[0] and "'BAD'" in said[0]
        async with Manager() as manager:
            for spec in (Command("false", env=env), Command("/does/not/exist", env=env), Process(targets.fail, env=env)):
                said.append(repr(spec))
                with pytest.raises(Exception) as failed:
                    await manager.run(spec)
                said += [repr(failed.value), str(failed.value), *getattr(failed.value, "__notes__", ())]
            said += [manager.tree().text(), str(manager.tree().json())]
    text = "\n".join([*said, caplog.text])
    assert "hunter2" not in text and "swordfish" not in text


# --- what limits promise -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BOTH)
async def test_d4_7_breach_of_a_limit_is_a_typed_outcome(kind: str, tmp_path: Path) -> None:
    """Processor time: SIGXCPU in the exit. File size: SIGXFSZ, or EFBIG in Python, which ignores that signal. Files: EMFILE.
    Memory: MemoryError, or what the program makes of it."""
    path = str(tmp_path / "large")
    async with Manager() as manager:
        if kind == "process":
            burns: Any = Process(targets.burn, rlimits={"cpu": (1, 2)}, nice=1)
            exit = await (await manager.start(burns)).wait()
            assert (exit.reason, exit.signal) == (Reason.CRASHED, signal.SIGXCPU)
            with pytest.raises(OSError) as large:
                await manager.run(Process(targets.write_file, path, 5000, rlimits={"fsize": 8000}))
            assert large.value.errno == errno.EFBIG
            with pytest.raises(OSError) as many:
                await manager.run(Process(targets.open_many, 100, rlimits={"nofile": 50}))
            assert many.value.errno == errno.EMFILE
            with pytest.raises(MemoryError):
                await manager.run(Process(targets.take_memory, 1 << 34, rlimits={"as": 1 << 32}))
        else:
            exit = await (await manager.start(Command("sh", "-c", "while :; do :; done", rlimits={"cpu": (1, 2)}))).wait()
            assert (exit.reason, exit.signal) == (Reason.CRASHED, signal.SIGXCPU)
            write = Command("sh", "-c", f"exec dd if=/dev/zero of={path} bs=5000 count=2", rlimits={"fsize": 8192})
            exit = await (await manager.start(write)).wait()
            assert exit.signal is signal.SIGXFSZ
    assert os.path.getsize(path) <= 8192


@pytest.mark.parametrize("kind", BOTH)
async def test_d4_7_every_limit_reaches_the_child_and_no_other(kind: str) -> None:
    """Each name, soft and hard; a sibling without has the manager's."""
    given = {"core": 0, "cpu": (50, 60), "fsize": 1 << 30, "nofile": (100, 200), "nproc": 5000, "stack": (1 << 20, 1 << 22)}
    names = {name: f"RLIMIT_{name.upper()}" for name in given}
    async with Manager() as manager:
        if kind == "process":
            found = await manager.run(Process(targets.limits, rlimits=given))
            plain = await manager.run(Process(targets.limits))
        else:
            found, plain = [
                _read_limits((await manager.run(Command("cat", "/proc/self/limits", **options))).stdout)
                for options in ({"rlimits": given}, {})
            ]
    for name, limit in given.items():
        assert found[names[name]] == (limit if isinstance(limit, tuple) else (limit, limit)), name
        assert plain[names[name]] == resource.getrlimit(getattr(resource, names[name])), name


def _read_limits(text: str) -> dict[str, tuple[int, int]]:
    words = {
        "core file size": "CORE", "cpu time": "CPU", "file size": "FSIZE", "open files": "NOFILE", "processes": "NPROC",
        "stack size": "STACK",
    }  # fmt: skip
    found = {}
    for line in text.splitlines():
        for word, name in words.items():
            if line.startswith(f"Max {word}  "):
                soft, hard = line[25:].split()[:2]
                found[f"RLIMIT_{name}"] = (_number(soft), _number(hard))
    return found


def _number(word: str) -> int:
    return -1 if word == "unlimited" else int(word)
