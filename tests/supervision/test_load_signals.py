"""Load: what is read here, what limits do to it, and who is told when."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asyncproc import LoadChange, LoadLevel, Manager, Process, SpecError, StateError, blocking
from asyncproc._core.load import STANDARD
from asyncproc._runtime import load as readings
from asyncproc._runtime.load import Groups, group_memory, group_time, groups_of
from asyncproc._supervision import load as module
from asyncproc._supervision.load import Load
from tests.supervision.stage import Stage

NORMAL, WARNING, CRITICAL = LoadLevel


class Played:
    """Shares as the test has them."""

    def __init__(self, share: float | None = 0.1) -> None:
        self.share = share
        self.read = 0

    def __call__(self) -> float | None:
        self.read += 1
        return self.share


def played(stage: Stage, **readers: Callable[[], float | None]) -> Load:
    return Load(stage.supervisor, 5.0, readers, dict.fromkeys(readers, STANDARD))


# --- when it samples --------------------------------------------------------------------------------------------------------


async def test_it_samples_at_its_interval_and_only_while_it_is_open() -> None:
    """One timer; none before, none after; the clock is the manager's."""
    stage, cpu = Stage(), Played()
    assert stage.clock.next_due is None
    load = played(stage, cpu=cpu)
    assert (load.last, load.level, stage.clock.next_due) == (None, NORMAL, stage.clock.now() + module.SOON)
    stage.clock.advance(module.SOON)
    assert (cpu.read, len(load.history)) == (1, 1)
    stage.clock.advance(15.0)
    assert cpu.read == 4 and [sample.cpu for sample in load.history] == [0.1] * 4
    assert load.history[-1].at - load.history[-2].at == pytest.approx(5.0)
    await load.aclose()
    await load.aclose()
    assert stage.clock.next_due is None and stage.supervisor.on_close == []


async def test_changes_come_in_order_and_to_the_callbacks_of_their_level() -> None:
    """One that fails harms nobody; what was ended is called no more."""
    stage, cpu = Stage(), Played()
    told: list[tuple[str, LoadLevel]] = []
    load = played(stage, cpu=cpu)

    def fails(change: LoadChange) -> None:
        raise ValueError("oh")

    load.on(CRITICAL, fails)
    load.on(CRITICAL, lambda change: told.append((change.what, change.after)))
    end = load.on(NORMAL, lambda change: told.append((change.what, change.after)))
    for share in (0.75, 0.95, 0.88, 0.1, 0.95, 0.1):
        if share == 0.95 and told:
            end()
            end()
        cpu.share = share
        stage.clock.advance(5.0)
    assert told == [("cpu", CRITICAL), ("cpu", NORMAL), ("cpu", CRITICAL)]
    load.close()
    changes = [(change.before, change.after) async for change in load]
    assert changes == [(NORMAL, WARNING), (WARNING, CRITICAL), (CRITICAL, NORMAL), (NORMAL, CRITICAL), (CRITICAL, NORMAL)]
    assert load.peaks == {"cpu": 0.95} and load.levels == {"cpu": NORMAL}


async def test_slow_reader_loses_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    """And is told how many."""
    monkeypatch.setattr(module, "CHANGES_KEPT", 2)
    stage, cpu = Stage(), Played()
    async with played(stage, cpu=cpu) as load:
        for share in (0.95, 0.1, 0.75):
            cpu.share = share
            stage.clock.advance(5.0)
        assert load.dropped == 1
        assert (await anext(load)).after is NORMAL


async def test_who_waits_sleeps_until_the_level_has_fallen() -> None:
    """Also for the first sample; nobody is woken by one that changes nothing; the end is an error."""
    stage, cpu = Stage(), Played(0.95)
    load = played(stage, cpu=cpu)
    waiting = asyncio.create_task(load.wait_at_most(WARNING))
    await asyncio.sleep(0)
    stage.clock.advance(1.0)
    await asyncio.sleep(0)
    assert load.level is CRITICAL and not waiting.done()
    (future,) = load._waiting
    stage.clock.advance(50.0)
    assert not future.done()
    cpu.share = 0.75
    stage.clock.advance(5.0)
    await waiting
    await load.wait_at_most(WARNING)
    waiting = asyncio.create_task(load.wait_at_most())
    await asyncio.sleep(0)
    await load.aclose()
    with pytest.raises(StateError, match="manager 'app': this subscription to its load is closed"):
        await waiting
    assert not load._waiting


async def test_reading_that_fails_is_not_known_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """The others go on."""
    stage, cpu = Stage(), Played(0.95)

    def broken() -> float:
        raise OSError("no such sensor")

    async with played(stage, cpu=cpu, gpu=broken) as load:
        stage.clock.advance(11.0)
        assert load.last is not None and load.last.shares == {"cpu": 0.95, "gpu": None}
        assert load.levels == {"cpu": CRITICAL, "gpu": NORMAL}
    assert [record.getMessage() for record in caplog.records] == ["app: the load of gpu cannot be told"]


# --- of a manager -----------------------------------------------------------------------------------------------------------


def burn(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


@pytest.mark.slow
@pytest.mark.both_loops
async def test_real_work_is_seen() -> None:
    """Children that burn every processor there is for us make a change; what is measured beside lies between 0 and 1."""
    async with Manager() as manager:
        burning = [await manager.start(Process(burn, 20.0)) for _ in range(len(os.sched_getaffinity(0)))]
        async with manager.load(every=0.1, thresholds={"cpu": (0.5, 2.0), "memory": (2, 2), "disk": (2, 2)}) as load:
            async with asyncio.timeout(15.0):
                change = await anext(load)
        assert (change.what, change.before, change.after) == ("cpu", NORMAL, WARNING)
        assert change.share is not None and change.share >= 0.5
        assert 0 < (change.sample.memory or 0) < 1 and 0 < (change.sample.disk or 0) < 1
        for handle in burning:
            await handle.kill()


async def test_it_ends_with_the_manager() -> None:
    """Whoever iterates comes to an end, also of several at once, and of one that was closed before."""
    async with Manager() as manager:
        loads = [manager.load() for _ in range(3)]
        readers = [asyncio.create_task(_all(load)) for load in loads]
        await loads[1].aclose()
    assert [await reader for reader in readers] == [[], [], []]
    with pytest.raises(StateError, match="is not open"):
        manager.load()


async def _all(load: Load) -> list[LoadChange]:
    return [change async for change in load]


def test_blocking_face_iterates() -> None:
    """Changes as they come, and no more after the close."""
    gpu = Played(0.95)
    with blocking.Manager() as manager:
        changes = manager.load(every=0.01, disk=None, also={"gpu": gpu}, thresholds={"cpu": (2, 2), "memory": (2, 2)})
        change = next(changes)
        assert (change.what, change.after, change.sample.disk) == ("gpu", CRITICAL, None)
        gpu.share = 0.0
        assert next(changes).after is NORMAL
        changes.close()
        assert list(changes) == []


BAD: list[tuple[str, dict[str, Any]]] = [
    ("every", {"every": 0}),
    ("disk", {"disk": "/no/such/folder"}),
    ("disk", {"disk": 3}),
    ("also", {"also": {"gpu": 0.5}}),
    ("also", {"also": {"cpu": Played()}}),
    ("thresholds", {"thresholds": {"gpu": (0.7, 0.9)}}),
    ("thresholds", {"disk": None, "thresholds": {"disk": (0.7, 0.9)}}),
    ("thresholds", {"thresholds": {"cpu": (0.9, 0.7)}}),
]


@pytest.mark.parametrize(("field", "options"), BAD)
async def test_what_is_wrong_is_named(field: str, options: dict[str, Any]) -> None:
    """Manager, field, value; nothing samples."""
    async with Manager(name="farm") as manager:
        with pytest.raises(SpecError) as refused:
            manager.load(**options)
        (fault,) = refused.value.faults
        assert (fault.path, fault.field, fault.value) == ("farm", field, options[field])


def test_a_manager_that_is_not_asked_loads_none_of_it() -> None:
    """Neither the readings nor what they mean."""
    text = (
        "import asyncio, asyncproc, sys\n"
        "asyncio.run(asyncproc.Manager(asyncproc.Coroutine(asyncio.sleep, 0)).run())\n"
        "print([name for name in sys.modules if name.startswith('asyncproc.') and name.endswith('.load')])"
    )
    assert subprocess.run([sys.executable, "-c", text], capture_output=True, text=True).stdout == "[]\n"


# --- control groups ---------------------------------------------------------------------------------------------------------

V2 = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate"
V1 = (
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw"
)
BOUND = "35 31 0:32 /docker/7f /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory"


@pytest.mark.parametrize(
    ("controller", "cgroups", "mounts", "found"),
    [
        ("memory", "0::/", V2, Groups(2, ["/sys/fs/cgroup"])),
        ("cpu", "0::/user.slice/a.scope", V2,
         Groups(2, ["/sys/fs/cgroup/user.slice/a.scope", "/sys/fs/cgroup/user.slice", "/sys/fs/cgroup"])),
        ("memory", "4:memory:/a\n0::/", V1, Groups(1, ["/sys/fs/cgroup/memory/a", "/sys/fs/cgroup/memory"])),
        ("cpuacct", "2:cpu,cpuacct:/\n0::/", V1, Groups(1, ["/sys/fs/cgroup/cpu,cpuacct"])),
        ("memory", "4:memory:/docker/7f", BOUND, Groups(1, ["/sys/fs/cgroup/memory"])),
        ("memory", "4:memory:/docker/7f/x", BOUND, Groups(1, ["/sys/fs/cgroup/memory/x", "/sys/fs/cgroup/memory"])),
        ("memory", "4:memory:/elsewhere", BOUND, Groups(1, ["/sys/fs/cgroup/memory"])),
        ("memory", "", "22 1 0:20 / /proc rw - proc proc rw", Groups(2, [])),
    ],
)  # fmt: skip
def test_groups_from_ours_upwards(controller: str, cgroups: str, mounts: str, found: Groups) -> None:
    """In a container, on a host, and where both versions are mounted."""
    assert groups_of(controller, cgroups, mounts) == found


def written(folder: Path, **files: str) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return str(folder)


def test_memory_of_the_limits_that_are_set(tmp_path: Path) -> None:
    """What can be dropped does not count; "max" and the endless figure of version 1 are no limits."""
    stat = "anon 300\nfile 500\ninactive_file 100\n"
    inner = written(tmp_path / "a" / "b", memory__max="1000\n", memory__current="400\n", memory__stat=stat)
    outer = written(tmp_path / "a", memory__max="max\n", memory__current="9\n", memory__stat=stat)
    assert list(group_memory(Groups(2, [inner, outer, str(tmp_path)]))) == [pytest.approx(0.3)]
    old = {"memory__usage_in_bytes": "600", "memory__stat": "total_inactive_file 100\n"}
    v1 = written(tmp_path / "c", memory__limit_in_bytes="1000", **old)
    free = written(tmp_path / "d", memory__limit_in_bytes=str((1 << 63) - 4096), **old)
    assert list(group_memory(Groups(1, [v1, free]))) == [0.5]


def test_processor_time_of_quotas(tmp_path: Path) -> None:
    """Half of a quota of two processors is one processor."""
    v2 = written(tmp_path / "a", cpu__max="200000 100000\n", cpu__stat="usage_usec 3000000\nuser_usec 1\n")
    free = written(tmp_path / "b", cpu__max="max 100000\n", cpu__stat="usage_usec 3000000\n")
    assert dict(group_time(Groups(2, [v2, free, str(tmp_path)]), Groups(2, []), 10.0)) == {v2: (3.0, 20.0)}
    v1 = written(tmp_path / "c", cpu__cfs_quota_us="50000", cpu__cfs_period_us="100000")
    none = written(tmp_path / "d", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    books = written(tmp_path / "e", cpuacct__usage="4000000000")
    assert dict(group_time(Groups(1, [v1, none]), Groups(1, [books, books]), 10.0)) == {v1: (4.0, 5.0)}


def test_a_quota_that_is_used_up_is_full_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However idle the machine is."""
    group = written(tmp_path, cpu__max="10000 100000\n", cpu__stat="usage_usec 0\n")
    monkeypatch.setattr(readings, "own_groups", lambda controller: Groups(2, [group]))
    processors = readings.Processors()
    written(tmp_path, cpu__stat="usage_usec 60000000\n")
    assert processors.share() == 1.0


def test_a_limit_that_is_nearer_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of memory too."""
    group = written(tmp_path, memory__max="1000\n", memory__current="990\n", memory__stat="inactive_file 0\n")
    monkeypatch.setattr(readings, "own_groups", lambda controller: Groups(2, [group]))
    assert readings.memory_share() == 0.99


def test_file_system_that_is_gone_is_not_known(tmp_path: Path) -> None:
    """It may be unmounted while we look."""
    assert readings.disk_share(str(tmp_path / "gone")) is None
    assert 0 < (readings.disk_share("/") or 0) < 1
