"""Children that run as another user, and children whose values are data: seed D4.7."""

from __future__ import annotations

import asyncio
import os
import pickle
import pwd
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from asyncproc import Command, Manager, Process
from asyncproc._core.exit import Reason
from asyncproc._ipc.frame import ERROR, GATES, QUESTION, QUESTION_HEADER, RESULT, VALUE, frame
from asyncproc._ipc.wire import CODE
from asyncproc.errors import DecodeError, EncodeError, RemoteError, SpecError, StateError
from asyncproc.testing.leaks import Leaks
from tests.faults.harness import PATIENCE, Victim, wait_end
from tests.requirements import limits_targets as targets

pytestmark = pytest.mark.slow
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")


class RootHost(Victim):
    program = Path(__file__).with_name("limits_hosts.py")


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
    with RootHost("runs_as_another") as host:
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
