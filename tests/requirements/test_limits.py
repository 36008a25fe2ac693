"""What a child may use, and whom it runs as: limits, user, trust, memory, control groups. R4, R10, R29, R30, R79, D4.7."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import pickle
import pwd
import resource
import shutil
import signal
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from asyncproc import Command, Manager, Process
from asyncproc._core.exit import Reason
from asyncproc._core.size import in_mib, size_in_bytes
from asyncproc._ipc.frame import ERROR, GATES, QUESTION, QUESTION_HEADER, RESULT, VALUE, frame
from asyncproc._ipc.wire import CODE
from asyncproc._runtime import cgroup
from asyncproc.errors import ChildCrashed, DecodeError, EncodeError, RemoteError, SpecError, StartFailed, StateError
from asyncproc.testing import hostile
from asyncproc.testing.leaks import Leaks
from tests.faults.harness import PATIENCE, OrdinaryVictim, Victim, descriptors_left, helpers_of, wait_end
from tests.requirements import limits_targets as targets
from tests.requirements.limits_targets import MIB

pytestmark = pytest.mark.slow
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
in_groups = pytest.mark.skipif(cgroup.own_group() is None, reason="no cgroup of version 2 is mounted here")
BOTH = ["process", "command"]


class OrdinaryHost(OrdinaryVictim):
    program = Path(__file__).with_name("limits_hosts.py")

    def saw(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads(self.until("saw"))
        return facts


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[str]:
    """A folder of ours with a program in it, closed to everybody else."""
    folder = tmp_path / "closed"
    folder.mkdir(0o700)
    shutil.copy("/bin/true", folder / "program")
    for above in (folder.parent, *folder.parent.parents):
        if not above.stat().st_mode & stat.S_IXOTH and above.owner() == pwd.getpwuid(os.getuid()).pw_name:
            above.chmod(above.stat().st_mode | stat.S_IXOTH)
    if os.geteuid():
        folder.chmod(0)
    yield str(folder)
    folder.chmod(0o700)


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
    assert set(facts["lost"]) == {0}
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


# --- R4 ----------------------------------------------------------------------------------------------------------------


@in_groups
@pytest.mark.parametrize("end", ["kill", "stop"])
async def test_r4_fork_bomb_in_a_group_ends_at_once(end: str) -> None:
    """Fifty lines that fork each millisecond: none is left when the end of their node is told, and the sibling lives."""
    with Leaks() as leaks:
        async with Manager(grace=0.1, spares=0) as manager:
            sibling = await manager.start(Process(hostile.leave_daemon))
            await sibling.receive()
            before = set(leaks.survivors())
            bomb = await manager.start(Process(hostile.fork_bomb, 50, max_memory="8GiB", name="bomb"))
            await bomb.receive()
            await (bomb.kill() if end == "kill" else bomb.stop())
            assert set(leaks.survivors()) == before
            assert sibling.exit is None


@pytest.mark.parametrize("grouped", [True, False], ids=["group", "no group"])
def test_r4_fork_bomb_ends_with_its_manager(grouped: bool) -> None:
    """The manager is killed while a bomb goes off: the tree is empty within the limit, and no group of ours is left."""
    with OrdinaryHostOfRoot("bombs", *(["grouped"] if grouped else [])) as host:
        host.until("up")
        folder = host.until("folder")
        assert bool(folder) == (grouped and cgroup.own_group() is not None)
        host.kill()
        assert not host.survivors()
        assert not folder or not os.path.exists(folder)


class OrdinaryHostOfRoot(Victim):
    program = Path(__file__).with_name("limits_hosts.py")


# --- control groups ----------------------------------------------------------------------------------------------------


def test_groups_are_found_in_hybrid_and_unified_mounts_alike() -> None:
    """The one line of mountinfo that is about version 2 counts, wherever it is mounted and whatever part of it is shown."""
    hybrid = b"41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
    old = b"40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd\n"
    part = b"33 24 0:29 /docker/abc /sys/fs/my\\040groups rw shared:9 - cgroup2 cgroup rw,nsdelegate\n"
    assert cgroup._below(hybrid, b"/") == "/sys/fs/cgroup/unified"
    assert cgroup._below(hybrid, b"/user.slice/a") == "/sys/fs/cgroup/unified/user.slice/a"
    assert cgroup._below(old, b"/") is None
    assert cgroup._below(part, b"/docker/abc") == "/sys/fs/my groups"
    assert cgroup._below(part, b"/docker/abc/x") == "/sys/fs/my groups/x"
    assert cgroup._below(part, b"/docker/abcd") is None


@in_groups
@pytest.mark.parametrize("kind", BOTH)
async def test_a_child_has_a_group_only_if_it_asks_for_a_limit(kind: str) -> None:
    """It is below ours, nothing that is ours is written to, and it is gone when the child is; a plain child makes none."""
    ours = cgroup.own_group()
    assert ours is not None
    before = os.listdir(ours), Path(ours, "cgroup.subtree_control").read_text()

    def spec(**options: Any) -> Any:
        return (
            Process(targets.own_group, **options)
            if kind == "process"
            else Command("grep", "^0::", "/proc/self/cgroup", **options)
        )

    async with Manager(spares=0) as manager:
        plain = await manager.run(spec())
        assert os.listdir(ours) == before[0]
        limited = await manager.run(spec(max_memory="1GB"))
        if kind == "command":
            plain, limited = plain.stdout[3:].strip(), limited.stdout[3:].strip()
        assert ours.endswith(plain) or plain == "/"
        (folder,) = set(os.listdir(ours)) - set(before[0])
        assert limited.endswith(f"/{folder}/1")
        assert not [entry for entry in os.scandir(f"{ours}/{folder}") if entry.is_dir()]
    assert (os.listdir(ours), Path(ours, "cgroup.subtree_control").read_text()) == before


@in_groups
async def test_a_forgotten_folder_is_removed_by_the_next() -> None:
    """One of a warden that lives no more goes; one of a warden that lives stays."""
    ours = cgroup.own_group()
    dead = f"{ours}/{cgroup.PREFIX}4194305"  # no pid is that high
    living = f"{ours}/{cgroup.PREFIX}{os.getpid()}"
    os.makedirs(f"{dead}/3")
    os.makedirs(living)
    try:
        async with Manager(spares=0) as manager:
            await manager.run(Command("true", max_memory="1GB"))
        assert not os.path.exists(dead) and os.path.exists(living)
    finally:
        cgroup.remove(dead)
        cgroup.remove(living)


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


# --- another user ------------------------------------------------------------------------------------------------------


def _account() -> tuple[str, pwd.struct_passwd]:
    entry = pwd.getpwnam("nobody")
    return entry.pw_name, entry


@as_root
@pytest.mark.parametrize("target", [targets.who, targets.who_async])
async def test_d4_7_process_is_another_user_for_good(target: Any) -> None:
    """All three uids and gids, its own groups, no privilege and no way to one; it still dies with its parent; HOME follows."""
    name, entry = _account()
    async with Manager() as manager:
        found = await manager.run(Process(target, user=name))
        assert found == {
            "uid": [entry.pw_uid] * 3,
            "gid": [entry.pw_gid] * 3,
            "groups": sorted(os.getgrouplist(name, entry.pw_gid)),
            "env": {"HOME": entry.pw_dir, "USER": name, "LOGNAME": name},
            "privileges": [0, 0, 0],
            "no_new_privs": "1",
            "dies_with_its_parent": signal.SIGKILL,
        }
        given = await manager.run(Process(target, user=entry.pw_uid, group="daemon", env={"HOME": "/mine", "USER": None}))
        assert given["gid"] == [1, 1, 1]
        assert given["env"] == {"HOME": "/mine", "USER": None, "LOGNAME": name}
        number = await manager.run(Process(target, user=4_000_000, group=4_000_001))
        assert (number["uid"], number["gid"], number["groups"]) == ([4_000_000] * 3, [4_000_001] * 3, [4_000_001])
        assert number["env"] == {"HOME": "/", "USER": None, "LOGNAME": None}
        plain = await manager.run(Process(target))
        assert plain["uid"] == (0, 0, 0) and plain["no_new_privs"] == "0"


@as_root
async def test_d4_7_group_alone_keeps_user_and_trust() -> None:
    """The group is another, the uid and the supplementary groups are the manager's, and so are the values."""
    async with Manager() as manager:
        found = await manager.run(Process(targets.who, group="daemon"))
        assert (found["uid"], found["gid"]) == ((0, 0, 0), (1, 1, 1))
        assert found["groups"] == sorted(os.getgroups())


@as_root
async def test_d4_7_command_is_another_user_for_good() -> None:
    """As a process; a program with a setuid bit gives it nothing."""
    name, entry = _account()
    text = "id -ru; id -u; id -g; id -G; echo $HOME $USER $LOGNAME; grep -E 'NoNewPrivs|CapEff' /proc/self/status"
    async with Manager() as manager:
        done = await manager.run(Command("sh", "-c", text, user=name))
        uid, gid = str(entry.pw_uid), str(entry.pw_gid)
        groups = " ".join(map(str, os.getgrouplist(name, entry.pw_gid)))
        lines = done.stdout.splitlines()
        assert lines[:5] == [uid, uid, gid, groups, f"{entry.pw_dir} {name} {name}"]
        assert {line.split()[1] for line in lines[5:]} == {"1", "0" * 16}


@as_root
@pytest.mark.parametrize("end", ["stop", "kill", "leaves"])
async def test_d4_7_another_users_child_ends_with_all_it_has_left(end: str) -> None:
    """The ladder reaches it though it is deaf, the sweep reaches its daemon; nobody is left."""
    with Leaks():
        async with Manager(grace=0.2) as manager:
            handle = await manager.start(Process(targets.deaf_with_daemon, user="nobody"))
            child, daemon = await handle.receive()
            if end == "leaves":
                os.kill(child, signal.SIGKILL)
                assert (await handle.wait()).reason is Reason.CRASHED
            else:
                exit = await (handle.stop() if end == "stop" else handle.kill())
                assert exit.killed and exit.reason is Reason.STOPPED
                assert not os.path.exists(f"/proc/{daemon}")
            assert wait_end(daemon, asyncio.get_running_loop().time() + PATIENCE)
            command = await manager.start(Command("sh", "-c", "setsid sleep 1000 & sleep 1000; sleep 1000", user="daemon"))
            assert (await command.stop()).signal is signal.SIGTERM


@as_root
def test_d4_7_another_users_tree_ends_with_its_manager() -> None:
    """The manager is killed: what runs as another user goes as everybody else does."""
    with OrdinaryHostOfRoot("runs_as_another") as host:
        host.until("up")
        host.kill()
        assert not host.survivors()


# --- trust -------------------------------------------------------------------------------------------------------------

DATA = [None, True, 3, 2.5, "text", b"bytes", [1, [2]], {"a": {"b": None}}, {1: 2}]


@pytest.mark.parametrize("echo", [targets.echo, targets.echo_async])
async def test_data_goes_both_ways(echo: Any) -> None:
    """As argument, as result, and as what is sent; a tuple arrives as a list, as MessagePack has it."""
    async with Manager() as manager:
        assert await manager.run(Process(targets.give_back, *DATA, trust="data")) == [DATA, {}]
        found = await manager.run(Process(targets.give_back, (1, 2), trust="data", kwargs={"key": {3}}))
        assert found == [[[1, 2]], {"key": [3]}]
        handle = await manager.start(Process(echo, trust="data"))
        for value in DATA:
            await handle.send(value)
            assert await handle.receive() == value
        await handle.send("end")
        assert await handle == "ended"


async def test_what_is_no_data_is_refused_where_it_is_sent() -> None:
    """An argument and a sent value in the manager, a result and a sent value in the child; each names its type."""
    async with Manager() as manager:
        with pytest.raises(EncodeError, match=r"argument 1: .*complex"):
            await manager.run(Process(targets.give_back, 1j, trust="data"))
        with pytest.raises(EncodeError, match=r"argument 'key': .*function"):
            await manager.run(Process(targets.give_back, trust="data", kwargs={"key": targets.make}))
        handle = await manager.start(Process(targets.echo, trust="data"))
        with pytest.raises(EncodeError, match="object is no data"):
            await handle.send(object())
        await handle.send("end")
        assert await handle == "ended"
        for what, named in (("object", "object"), ("function", "function"), ("class", "type"), ("complex", "complex")):
            with pytest.raises(RemoteError, match=f"EncodeError: result: .*{named} is no data"):
                await manager.run(Process(targets.make, what, trust="data"))
        assert "EncodeError: value: complex is no data" in await manager.run(Process(targets.send, "complex", trust="data"))


async def test_an_exception_of_a_data_child_arrives_as_its_proxy() -> None:
    """A RemoteError with the name of the class, the text, the traceback with its cause, and the notes; never the class."""
    async with Manager() as manager:
        with pytest.raises(RemoteError) as failed:
            await manager.run(Process(targets.fail, trust="data"))
        error = failed.value
        assert error.type_name == "tests.requirements.limits_targets.OwnError"
        assert error.args[0].startswith("OwnError: ('it is', 'so')")
        assert "ValueError: the cause" in error.traceback and "in fail" in error.traceback
        assert "a note" in error.__notes__
        handle = await manager.start(Process(targets.echo_async, trust="data"))
        exit = await handle.stop()
        assert exit.reason is Reason.STOPPED and type(exit.error) is asyncio.CancelledError


async def test_a_target_without_a_name_travels_by_value() -> None:
    """Towards the child, which trusts its manager; what it returns is data all the same."""
    factor = 6
    async with Manager() as manager:
        assert await manager.run(Process(lambda value: value * factor, 7, trust="data")) == 42
        with pytest.raises(RemoteError, match="complex is no data"):
            await manager.run(Process(lambda: complex(factor), trust="data"))


async def test_a_data_child_has_no_namespace_and_no_gates() -> None:
    """Both are refused by name: what goes over them holds pickles."""
    async with Manager(namespace=Counter()) as manager:
        with pytest.raises(RemoteError, match="app/ask_namespace exchanges data only: it has no namespace and no gates"):
            await manager.run(Process(targets.ask_namespace, trust="data"))


@dataclass
class Counter:
    count: int = 0


class Trap:
    """Whoever loads it leaves a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("kind", ["result", "error", "value", "question", "question of a held one"])
async def test_no_pickle_of_a_data_child_is_loaded(kind: str, tmp_path: Path) -> None:
    """One that writes a pickle to its channel by hand gets a DecodeError at most; a child that is trusted would be believed."""
    trap = str(tmp_path / "trapped")
    bomb = pickle.dumps(Trap(trap))
    ask = QUESTION_HEADER.pack(1, GATES) + CODE.encode(("on_start", 0, bomb), "question")
    data = {"result": frame(RESULT, bomb), "error": frame(ERROR, bomb), "value": frame(VALUE, bomb)}.get(
        kind, frame(QUESTION, ask)
    )
    frames = [frame(1, bytes((0x91, 1))), data]
    async with Manager() as manager:
        spec: Any = Process(targets.write_frames, frames, kind == "value", trust="data")
        if kind == "value":
            handle = await manager.start(spec)
            with pytest.raises(DecodeError, match="value: is no data"):
                await handle.receive()
            await handle.kill()
        elif kind == "question of a held one":
            from asyncproc import OnStart

            held = manager.add(spec, hold=True)
            with pytest.raises(StateError, match="is past"):
                async with OnStart(held, timeout=5):
                    pass
            await held.wait()
        else:
            handle = await manager.start(spec)
            exit = await handle.wait()
            assert kind == "question" or isinstance(exit.error, DecodeError | RemoteError)
    assert not os.path.exists(trap)


async def test_a_trap_would_be_sprung_by_who_trusts(tmp_path: Path) -> None:
    """The test above proves something: the same frame, of a child that is trusted, runs its code."""
    trap = str(tmp_path / "trapped")
    frames = [frame(1, bytes((0x91, 1))), frame(RESULT, pickle.dumps(Trap(trap)))]
    async with Manager() as manager:
        await manager.run(Process(targets.write_frames, frames))
    assert os.path.exists(trap)


@as_root
async def test_another_user_implies_data() -> None:
    """By itself; to trust it is refused by name, and our own user stays trusted."""
    async with Manager() as manager:
        with pytest.raises(RemoteError, match="complex is no data"):
            await manager.run(Process(targets.make, "complex", user="nobody"))
        with pytest.raises(SpecError, match="node app/make: trust cannot be given to another user"):
            await manager.run(Process(targets.make, "complex", user="nobody", trust="code"))
        assert await manager.run(Process(targets.make, "complex", user="root")) == 1j


@as_root
async def test_another_user_and_trust_without_a_launcher() -> None:
    """The portable path: the same identity, the same data, and a deaf child that ends."""
    async with Manager(launcher="portable", grace=0.2) as manager:
        found = await manager.run(Process(targets.who, user="nobody"))
        entry = pwd.getpwnam("nobody")
        assert (found["uid"], found["gid"], found["env"]["USER"]) == ([entry.pw_uid] * 3, [entry.pw_gid] * 3, "nobody")
        assert (found["no_new_privs"], found["dies_with_its_parent"]) == ("1", signal.SIGKILL)
        assert (await manager.run(Command("id", "-u", user="daemon"))).stdout == "1\n"
        with pytest.raises(RemoteError, match="complex is no data"):
            await manager.run(Process(targets.make, "complex", trust="data"))
        deaf = await manager.start(Process(targets.deaf_with_daemon, user="nobody"))
        _, daemon = await deaf.receive()
        assert (await deaf.stop()).killed
        assert wait_end(daemon, asyncio.get_running_loop().time() + PATIENCE)


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


# --- memory ------------------------------------------------------------------------------------------------------------


def test_sizes_are_read_as_people_write_them() -> None:
    """Powers of 1024 with an i, of 1000 without; what is no size is none."""
    good = {
        1: 1,
        512: 512,
        "512": 512,
        "512MiB": 512 * MIB,
        "1GB": 10**9,
        "1.5 gib": 3 << 29,
        "10 kB": 10_000,
        "7b": 7,
        "2TiB": 2 << 40,
    }
    assert {text: size_in_bytes(text) for text in good} == good
    for bad in (0, -1, True, 1.5, "", "MiB", "x", "1 XB", "-1MB", "1e3", "1..5MB", "0", "٣MB", None, b"1MB", "1 2MB"):
        assert size_in_bytes(bad) is None, bad
    with pytest.raises(SpecError, match="node true: max_memory must be bytes >= 1, or a text"):
        Command("true", max_memory="lots")
    assert (in_mib(530 * MIB), in_mib(3 * MIB // 2)) == ("530 MiB", "1.5 MiB")


@pytest.mark.parametrize("where", ["itself", "child", "daemon"])
async def test_d4_7_more_memory_than_allowed_ends_the_tree_and_says_so(where: str) -> None:
    """The child itself, its child or its daemon takes too much: the ladder, not a kill; the exit tells reason and amount."""
    with Leaks():
        async with Manager(spares=0) as manager:
            sibling = await manager.start(Process(targets.hold, 80 * MIB, where))
            handle = await manager.start(Process(targets.hold, 80 * MIB, where, max_memory="64MiB"))
            exit = await handle.wait()
            assert exit.reason is Reason.OUT_OF_MEMORY and not exit.ok and exit.failed
            assert not exit.killed  # it obeyed
            assert (
                exit.asked_by is not None and exit.asked_by.startswith("uses ") and exit.asked_by.endswith("more than 64 MiB")
            )
            assert "ran out of memory, uses" in exit.explain()
            assert sibling.exit is None
            with pytest.raises(ChildCrashed):
                await handle


async def test_d4_7_memory_is_limited_without_a_launcher() -> None:
    """The portable path: of the child and of what has it among its parents."""
    async with Manager(launcher="portable") as manager:
        handle = await manager.start(Process(targets.hold, 120 * MIB, "child", max_memory="100MiB"))
        assert (await handle.wait()).reason is Reason.OUT_OF_MEMORY


async def test_d4_7_command_out_of_memory_gets_its_signal_first() -> None:
    """A command has its grace too."""
    text = (
        "import signal,sys,time;signal.signal(15, lambda *_: sys.exit(9));block=b'x' * (80 << 20)\nwhile True: time.sleep(0.05)"
    )
    async with Manager(spares=0) as manager:
        handle = await manager.start(Command(sys.executable, "-S", "-c", text, max_memory=64 * MIB))
        exit = await handle.wait()
        assert (exit.reason, exit.code) == (Reason.OUT_OF_MEMORY, 9)


async def test_d4_7_shared_pages_count_once() -> None:
    """Five processes that share 60 MiB use 60 MiB, though each shows all of it: less than the limit."""
    async with Manager(spares=0) as manager:
        handle = await manager.start(Process(targets.share, 60 * MIB, 4, max_memory="160MiB"))
        assert await handle > 160 * MIB


async def test_memory_is_looked_at_only_while_somebody_has_a_limit() -> None:
    """Nothing is loaded or planned for children without; the last with one takes the alarm along."""
    async with Manager(spares=0) as manager:
        await manager.run(Process(hostile.return_it, 1))
        supervisor = manager._opened().supervisor
        assert supervisor._memory is None
        first = await manager.start(Process(hostile.idle, max_memory="1GB"))
        second = await manager.start(Command("sleep", "1000", max_memory="1GB"))
        assert supervisor._memory is not None
        await first.stop(grace=0)
        assert supervisor._memory._alarm is not None
        await second.stop()
        assert supervisor._memory._alarm is None


async def test_two_managers_of_one_process_count_apart() -> None:
    """They hand out the same stamps: what one's child uses is not the other's."""
    async with Manager(spares=0, name="one") as one, Manager(spares=0, name="two") as two:
        large = await one.start(Process(targets.hold, 120 * MIB, "daemon"))
        small = await two.start(Process(hostile.idle, max_memory="60MiB"))
        engine = two._opened().engine
        for _ in range(300):
            used = one._opened().engine.memory_of(
                {place.child: 1 for place in one._opened().supervisor.places.values() if place.child}
            )
            if max(used.values(), default=0) > 100 * MIB:
                break
            await asyncio.sleep(0.01)
        assert max(used.values()) > 100 * MIB
        assert engine.memory_of({child_of(two): 1})[child_of(two)] < 60 * MIB
        assert large.exit is None and small.exit is None


def child_of(manager: Manager) -> Any:
    (child,) = [place.child for place in manager._opened().supervisor.places.values() if place.child is not None]
    return child
