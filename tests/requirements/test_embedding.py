"""Where a host may put a manager, and what it may do to it: rows R66 to R76.

Hosts are programs of their own, see ``embedding_hosts.py``; the core of what must work in each is ``core_selection.py``.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from asyncproc import Command, Coroutine, Manager, Process, Reason, State, StateError, Thread, blocking, current
from asyncproc.testing import hostile
from asyncproc.testing.leaks import Leaks
from tests import portable
from tests.faults.harness import PATIENCE, Victim, helpers_of, wait_end
from tests.manager.programs import ROOT
from tests.requirements.core_selection import answer, everything, handlers

pytestmark = pytest.mark.slow

KEEPS_STATUSES = tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 15)
"""Whether the kernel tells the status of a process that somebody else has reaped."""


class Host(Victim):
    """A host of ``embedding_hosts.py``, on the same path as the tests."""

    program = Path(__file__).with_name("embedding_hosts.py")

    def __init__(self, *words: str, flags: tuple[str, ...] = (), around: tuple[str, ...] = ()) -> None:
        super().__init__(*words, *(["portable"] if portable.is_default() else []))
        self._flags, self._around = flags, around

    @property
    def command(self) -> list[str]:
        _, *rest = super().command
        return [*self._around, "env", f"PYTHONPATH={ROOT}", sys.executable, *self._flags, *rest]

    def told(self, word: str = "done") -> dict[str, Any]:
        facts: dict[str, Any] = json.loads(self.until(word))
        return facts

    def end(self) -> str:
        """Wait for its end, which must be a good one; what it wrote to its standard error."""
        errors = self.errors()
        assert self.process.wait(PATIENCE) == 0, errors
        return errors


# --- R66 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_r66_manager_works_in_any_thread_and_touches_no_handler(loop: str) -> None:
    """All of it works there; the handler of every signal is the one that it was, the wake-up descriptor too; nothing warns."""
    with Host("in_another_thread", loop) as host:
        facts = host.told()
        host.end()
    assert facts == {"changed": [], "wakeup": [-1, -1], "warned": []}


async def test_r66_manager_on_the_main_thread_touches_no_handler_either() -> None:
    """The manager is open, and at work: every handler is the host's own."""
    before = handlers()
    async with Manager() as manager:
        assert handlers() == before
        assert await manager.run(Process(hostile.return_it, 7)) == 7
        assert (await manager.run(Command("echo", "on"))).stdout == "on\n"
        assert handlers() == before
    assert handlers() == before


# --- R67 ---------------------------------------------------------------------------------------------------------------

STATUSES = {
    "returns": ["FINISHED", 0, None, "NoneType"],
    "fails": ["CRASHED", 1, None, "ValueError"],
    "exits": ["CRASHED", 3, None, "NoneType"],
    "exits well": ["CRASHED", 0, None, "NoneType"],
    "is killed": ["CRASHED", None, int(signal.SIGKILL), "NoneType"],
    "command 0": ["FINISHED", 0, None, "NoneType"],
    "command 7": ["CRASHED", 7, None, "NoneType"],
    "command 255": ["CRASHED", 255, None, "NoneType"],
    "command killed": ["CRASHED", None, int(signal.SIGUSR1), "NoneType"],
    "stopped": ["STOPPED", None, int(signal.SIGTERM), "NoneType"],
}
UNKNOWN = {
    **{name: ["LOST", None, None, "NoneType"] for name in STATUSES},
    "returns": ["FINISHED", None, None, "NoneType"],
    "fails": ["CRASHED", None, None, "ValueError"],
    "stopped": ["STOPPED", None, None, "NoneType"],
}
"""What may be told on the portable path, always where the kernel keeps no status: that it is not known."""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("host", ["waits_for_all", "handles_sigchld", "ignores_sigchld"])
def test_r67_status_is_right_whatever_the_host_does_with_sigchld(host: str, loop: str) -> None:
    """Each code and signal is the child's own, or is not known; none is guessed, and none is waited for in vain."""
    with Host(host, loop) as program:
        ends: dict[str, list[Any]] = {}
        for _ in range(3 * (len(STATUSES) - 1) + 1):
            end = program.told("end")
            ends.setdefault(end["name"], []).append(end["told"])
        program.end()
        assert not program.survivors()
    assert set(ends) == set(STATUSES)
    for name, told in ends.items():
        allowed = [STATUSES[name]]
        if portable.is_default():
            allowed.append(UNKNOWN[name])
        assert all(one in allowed for one in told), (name, told)
    if KEEPS_STATUSES:  # but of who has been reaped before anybody could look
        known = [one == STATUSES[name] for name, told in ends.items() for one in told]
        assert sum(known) > len(known) / 2


# --- R68 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.both_loops
async def test_r68_children_of_the_host_are_never_reaped_and_our_own_always() -> None:
    """Those that have ended, and those that end meanwhile, keep their code for the host; of ours no zombie is left."""
    early = subprocess.Popen(["sh", "-c", "exit 5"])
    wait_end(early.pid, time.monotonic() + PATIENCE)
    during = subprocess.Popen(["sh", "-c", "read line; exit 6"], stdin=subprocess.PIPE)
    assert during.stdin is not None
    foreign = {early.pid, during.pid}
    async with Manager() as manager:
        assert await manager.run(Process(hostile.return_it, 7)) == 7
        exit = await (await manager.start(Process(hostile.idle))).kill()
        during.stdin.close()
        wait_end(during.pid, time.monotonic() + PATIENCE)
        await _child_of_the_loop()
        await manager.run(Command("true"))
        assert _zombies() == foreign
    assert exit.signal is signal.SIGKILL
    assert _zombies() == foreign
    assert (early.wait(0), during.wait(0)) == (5, 6)


async def _child_of_the_loop() -> None:
    """Its code is the host's too."""
    if "uvloop" in type(asyncio.get_running_loop()).__module__:  # which leaves a descriptor of each open
        return
    child = await asyncio.create_subprocess_exec("sh", "-c", "read line; exit 7", stdin=asyncio.subprocess.PIPE)
    assert child.stdin is not None
    child.stdin.close()
    assert await child.wait() == 7


def _zombies() -> set[int]:
    """Children of this process that have ended and that nobody has reaped."""
    children = [int(word) for file in Path("/proc/self/task").glob("*/children") for word in file.read_text().split()]
    return {pid for pid in children if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"}


# --- R69 ---------------------------------------------------------------------------------------------------------------

OWN_PIDS = ("unshare", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]), "--pid", "--fork", "--mount-proc")


@pytest.fixture
def own_pids() -> tuple[str, ...]:
    """Where a host chooses its pids."""
    if subprocess.run([*OWN_PIDS, "sh", "-c", "echo 500 > /proc/sys/kernel/ns_last_pid"], capture_output=True).returncode:
        pytest.skip("needs a pid namespace, which this system does not give us")
    return OWN_PIDS


def test_r69_whoever_has_the_pid_of_a_child_that_is_gone_is_not_hit(own_pids: tuple[str, ...]) -> None:
    """The child is gone, a stranger has its pid, and the manager has not seen it yet: whatever it does, the stranger lives."""
    with Host("reuses_pids", around=own_pids) as host:
        assert host.told() == {"hits": []}
        host.end()


@pytest.mark.parametrize("rounds", [20, pytest.param(1000, marks=[pytest.mark.full, pytest.mark.timeout(600)])])
def test_r69_no_stranger_is_hit_while_pids_go_round(rounds: int, own_pids: tuple[str, ...]) -> None:
    """Children that end by themselves, by others and by us, among strangers, within a few hundred pids."""
    with Host("cycles_pids", str(rounds), around=own_pids) as host:
        facts = host.told()
        host.end()
    assert facts["hit"] == []
    assert facts["shared"] > 0 and facts["ours"] == 4 * rounds


# --- R70 ---------------------------------------------------------------------------------------------------------------


def test_r70_starts_do_not_hang_on_locks_that_threads_hold(tmp_path: Path) -> None:
    """The host is never forked, helpers have one thread each; children log, import and allocate; nothing warns of forks."""
    count = 40 if portable.is_default() else 500
    with Host("starts_beside_locks", str(count), str(tmp_path)) as host:
        facts = host.told()
        host.end()
    assert facts["forks"] == []
    assert facts["threads"] == ([] if portable.is_default() else [1, 1, 1])


# --- R71 ---------------------------------------------------------------------------------------------------------------


async def _three(manager: Manager) -> list[Any]:
    specs: list[Any] = [Process(hostile.tell_and_idle), Command("sleep", "1000"), Coroutine(_for_ever)]
    return [await manager.start(spec) for spec in specs]


async def _for_ever() -> None:
    await asyncio.Event().wait()


@pytest.mark.both_loops
@pytest.mark.parametrize("end", ["stop", "kill", "aclose"])
async def test_r71_the_end_of_one_manager_touches_no_other(end: str) -> None:
    """Two independent ones, and one that is nested in the same process: children of the others live, and can be started."""
    async with Manager(name="one", grace=0.3) as one, Manager(name="two", grace=0.3) as two:
        ones, twos = await _three(one), await _three(two)
        nested = await one.start(Coroutine(_holds_a_manager))
        inner, inner_handles = await nested.receive()
        await inner.kill()
        assert {handle.state for handle in inner_handles} == {State.ENDED}
        assert {handle.state for handle in (*ones, *twos)} == {State.RUNNING}
        await getattr(one, end)()
        assert {handle.state for handle in ones} == {State.ENDED}
        await _go_on(two, twos)


async def _go_on(manager: Manager, handles: list[Any]) -> None:
    assert {handle.state for handle in handles} == {State.RUNNING}
    assert all(os.path.exists(f"/proc/{handle.pid}") for handle in handles[:2])
    assert await manager.run(Process(hostile.return_it, 7)) == 7


async def test_r71_lost_helpers_of_one_manager_touch_no_other() -> None:
    """Each has its own."""
    async with Manager(name="one", grace=0.3) as one, Manager(name="two", grace=0.3) as two:
        ones, twos = await _three(one), await _three(two)
        for helper in one._opened().engine.chains[0].keepers:  # type: ignore[attr-defined]  # it has a launcher
            with suppress(ProcessLookupError):  # it has ended with the one above it
                os.kill(helper, signal.SIGKILL)
        assert [(await handle.wait()).reason for handle in ones[:2]] == [Reason.LOST] * 2
        await _go_on(two, twos)
        await _go_on(one, await _three(one))


async def _holds_a_manager() -> None:
    async with Manager(name="inner", grace=0.3) as inner:
        await current().send((inner, await _three(inner)))
        await asyncio.Event().wait()


# --- R72 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["is killed", "exits", "crashes", "fails", "returns", "execs", "sleeps"])
def test_r72_inner_tree_ends_with_the_child_that_it_is_in(how: str) -> None:
    """In any way: by a signal, without a word, by an error, well, as another program, or by a stop. Nobody beside it is hit."""
    with Host("has_a_middle", *how.split()) as host:
        up = host.told("up")
        inner = set(up["inner"])
        assert len(inner) >= (4 if portable.is_default() else 7)
        over = host.told("over")
        deadline = time.monotonic() + PATIENCE
        assert all(wait_end(pid, deadline) for pid in inner)
        assert over["alive"] and host.process.poll() is None
        left = host.leaks.survivors()
        host.kill()
        assert not host.survivors(), left


async def middle_on_a_loop() -> None:
    async with Manager(name="inner", grace=1000.0) as inner:
        handle = await inner.start(Process(hostile.ignore_term))
        await handle.receive()
        await current().send((inner.stop_bound, None))
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await current().send((inner.stop_bound, None))
            raise
    # here, in order, it is not cut off


def middle_in_plain_code() -> None:
    with blocking.Manager(name="inner", grace=1000.0) as inner:
        handle = inner.start(Process(hostile.ignore_term))
        handle.receive()
        current().sync.send((inner.stop_bound, None))
        current().sync.wait_stopping()
        current().sync.send((inner.stop_bound, None))


async def middle_of_a_middle() -> None:
    async with Manager(name="between", grace=1000.0) as manager:
        handle = await manager.start(Process(middle_on_a_loop))
        await handle.receive()
        await current().send((manager.stop_bound, None))
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await current().send((manager.stop_bound, None))
            raise


@pytest.mark.parametrize(
    "spec",
    [
        Process(middle_on_a_loop),
        Process(middle_in_plain_code),
        Process(middle_of_a_middle),
        Coroutine(middle_on_a_loop),
        Thread(middle_in_plain_code),
    ],
    ids=["process on a loop", "process", "process in a process", "coroutine", "thread"],
)
async def test_r72_inner_bound_is_below_the_outer_grace(spec: Any) -> None:
    """However long the inner manager would wait for its deaf child, it has ended it in order before its own end comes."""
    grace = 1.2
    async with Manager() as outer:
        handle = await outer.start(spec.with_options(grace=grace))
        before, _ = await handle.receive()
        assert before > 1000
        exit = await handle.stop()
        bound, _ = await handle.receive()
        assert bound <= grace
        assert (exit.reason, exit.killed, exit.signal) == (Reason.STOPPED, False, None), exit.explain()
        assert exit.duration < 1000


# --- R73 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("debug", ["plain", "debug"])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_r73_works_on_each_loop_without_a_word_of_warning(loop: str, debug: str) -> None:
    """Warnings are errors, and asyncio looks closely: nothing was never awaited, nothing left open, no callback over 100 ms."""
    with Host("selection", loop, debug, flags=("-W", "error")) as host:
        assert host.told() == {"slow": []}
        assert not host.end()
        assert not host.survivors()


# --- R74 ---------------------------------------------------------------------------------------------------------------


def test_r74_manager_belongs_to_the_loop_of_its_block(tmp_path: Path) -> None:
    """With loops of a function, a module and a session, with anyio's plugin, and on loops in sequence; elsewhere: an error."""
    preamble = portable.PREAMBLE if portable.is_default() else ""
    (tmp_path / "conftest.py").write_text(
        f"{preamble}from tests.requirements.scopes import of_session, of_module, of_function\n"
    )
    (tmp_path / "test_scopes.py").write_text("from tests.requirements.scopes import *\n")
    options = "-q -p no:cacheprovider -o asyncio_mode=strict -o asyncio_default_fixture_loop_scope=function -W error"
    words = [*options.split(), "--rootdir", str(tmp_path), str(tmp_path)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pytest", *words]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "12 passed" in done.stdout, done.stdout


async def test_r74_every_call_on_another_loop_is_refused() -> None:
    """Everything that waits is a StateError which says why, and changes nothing."""
    async with Manager() as manager:
        handle = await manager.start(Process(hostile.idle))
        calls = [
            lambda: manager.start(Process(hostile.idle)), lambda: manager.run(Coroutine(answer)), manager.stop, manager.kill,
            manager.aclose, handle.wait, handle.stop, handle.kill, handle.restart, handle.receive, lambda: handle.send(1),
            lambda: handle, handle.wait_for, handle.loop_report, handle.stacks,
        ]  # fmt: skip
        errors: list[BaseException] = []

        async def elsewhere() -> None:
            for call in calls:
                try:
                    await call()
                except BaseException as error:
                    errors.append(error)

        thread = threading.Thread(target=lambda: asyncio.run(elsewhere()))
        thread.start()
        thread.join()
        assert [type(error) for error in errors] == [StateError] * len(calls), errors
        assert all("another event loop" in str(error) for error in errors)
        assert handle.exit is None
        await everything()


# --- R75, R76 ----------------------------------------------------------------------------------------------------------

FORGETFUL = {
    "forgets": "manager 'shop' was not closed before its loop",
    "keeps_it_to_the_end": "manager 'shop' was not closed before its loop",
    "closes_the_loop": "manager 'shop' was not closed before its program ended",
    "drops_it": "manager 'shop' was not closed",
    "leaves_the_loop": "manager 'shop' was not closed before its program ended",
    "leaves_a_daemon_thread": "manager 'shop' was not closed before its program ended",
}


@pytest.mark.parametrize("strict", ["always", "error"])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("host", FORGETFUL)
def test_r75_forgotten_manager_is_named_and_leaves_nobody(host: str, loop: str, strict: str) -> None:
    """The loop is closed, over, or left as it is: a ResourceWarning names the manager, and nobody lives on at the end."""
    with Host(host, loop, "tells_who_is_left", flags=("-W", f"{strict}::ResourceWarning")) as program:
        program.told("leaving")
        assert json.loads(program.until("left")) == []
        said = program.errors()
        program.process.wait()
        left = program.leaks.survivors()
    assert program.process.returncode == 0, said
    assert FORGETFUL[host] in said, said
    assert not left
    assert "Traceback" not in said or strict == "error", said


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize(("host", "code"), [("sys_exits", 3), ("fails", 1), ("sys_exits_beside", 3), ("fails_beside", 1)])
def test_r76_host_that_exits_while_children_live_ends_at_once_and_they_before_it(host: str, code: int, loop: str) -> None:
    """Its code and its error are its own, no thread is waited for, the manager is named, its children are gone first."""
    with Host(host, loop, "tells_who_is_left", flags=("-W", "always::ResourceWarning")) as program:
        at = program.told("leaving")["at"]
        assert json.loads(program.until("left")) == []
        said = program.errors()
        program.process.wait()
        took = time.monotonic() - at
        left = program.leaks.survivors()
    assert program.process.returncode == code, said
    assert not left
    assert ('KeyError: "the host\'s own"' in said) is (code == 1), said
    assert "manager 'shop' was not closed" in said
    assert took < PATIENCE / 2  # a second, on a machine that does nothing else


def test_r75_helper_processes_end_a_manager_that_no_finaliser_met() -> None:
    """`os._exit`: nothing runs any more in the host."""
    with Leaks(), Victim("os_exits") as victim:
        victim.until("up")
        assert not victim.survivors()
    assert helpers_of(os.getpid()) == {}
