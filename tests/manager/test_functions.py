"""What may be a target, what a child is given, and what it does not get: no more than its code needs."""

from __future__ import annotations

import functools
import gc
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from asyncproc import Coroutine, Manager, Process, Sequential, SpecError, Thread, current
from tests.manager.programs import environment, run_program
from tests.manager.targets import (
    Counter,
    Square,
    add,
    descriptors,
    draw,
    leave_traces,
    modules,
    modules_async,
    until_told,
)

# --- targets: S2.89, M29, M32, M33 ---------------------------------------------------------------------------------------

NOTEBOOK = """
import asyncio, asyncproc, functools
from asyncproc import Concurrent, Coroutine, Manager, Process, Thread

OFFSET = 100

def plain(n):
    return n + OFFSET

async def awaited(n):
    return plain(n)

class Bound:
    def __init__(self, n):
        self.n = n
    def method(self, m):
        return self.n + m
    def __call__(self):
        return -self.n

class Meter(Process, grace=1.0):
    def __init__(self, n):
        self.n = n
    def loop(self):
        self.n += 1
        return plain(self.n)

def closure(n):
    def inner():
        return plain(n)
    return inner

class Mine(Exception):
    pass

def broken():
    raise Mine("of __main__")

async def main():
    async with Manager() as manager:
        meter = Meter(7)
        specs = [Process(plain, 1), Process(awaited, 2), Process(lambda: plain(3)), Process(closure(4)),
                 Process(Bound(5).method, 0), Process(Bound(6)), meter, Process(functools.partial(plain, 8)), Thread(plain, 9)]
        for spec in specs:
            print(await manager.run(spec), end=" ")
        print(meter.n)
        try:
            await manager.run(broken)
        except Mine as error:
            print(type(error) is Mine, error)
"""
SAID = "101 102 103 104 5 -6 108 108 109 7\nTrue of __main__\n"


def test_functions_of_main_just_work_without_a_main_guard(tmp_path: Path) -> None:
    """Functions, lambdas, closures, bound methods, callable objects, partials and classes of a script without a guard."""
    done = run_program(tmp_path, f"{NOTEBOOK}\nprint('once')\nasyncproc.run(main())\n")
    assert (done.err, done.out, done.code) == ("", f"once\n{SAID}", 0)


def test_a_main_without_a_file_works_as_in_a_notebook(tmp_path: Path) -> None:
    """``python -c`` and a program from standard input have no file that a child could import."""
    text = f"{NOTEBOOK}\nasyncproc.run(main())\n"
    for arguments, given in ((["-c", text], None), (["-"], text)):
        done = subprocess.run(
            [sys.executable, *arguments],
            input=given,
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert (done.stderr, done.stdout, done.returncode) == ("", SAID, 0)


def test_asyncproc_run_in_a_script_without_a_guard(tmp_path: Path) -> None:
    """Nothing of the script is run again in a child."""
    text = """
        import asyncproc, os
        print("once")
        def digest(text): return text.upper()
        print(asyncproc.run(asyncproc.Process(digest, "a")))
        print(dict(asyncproc.run(asyncproc.Concurrent(asyncproc.Process(digest, "b"), lambda: "c"))))
    """
    done = run_program(tmp_path, text)
    assert (done.err, done.out) == ("", "once\nA\n{'digest': 'B', 'lambda': 'c'}\n")


@pytest.mark.parametrize("make", [Process, Thread])
async def test_every_kind_of_callable_is_a_target(make: Any) -> None:
    """S2.89: of a module, of this test, with what it closes over; builtins too."""
    base = 40

    def closure(number: int) -> int:
        return base + number

    async def async_closure(number: int) -> int:
        return base + number

    counter = Counter(40)
    targets = [
        make(add, 40, 2), make(add, 40, kwargs={"two": 2}), make(lambda: base + 2), make(closure, 2), make(async_closure, 2),
        make(counter.plus, 2), make(counter.plus_async, 2), make(counter, 2), make(functools.partial(add, 40), 2),
        make(functools.partial(async_closure, 2)), make(int, "42"), make(sum, [40, 2]),
    ]  # fmt: skip
    async with Manager() as manager:
        for spec in targets:
            assert await manager.run(spec) == 42, spec
    assert counter.value == 40 if make is Process else counter.value in (40, 42)


async def test_a_class_with_a_loop_is_a_target() -> None:
    """M32: an __init__ without super; the same instance twice and again; in the owner it does not change."""
    square = Square(7)
    async with Manager() as manager:
        assert [await manager.run(square) for _ in range(2)] == [49, 49]
        assert await manager.run(square.with_options(name="other")) == 49
    assert vars(square).keys() - {"_asyncproc"} == {"side"} and square.side == 7


@pytest.mark.parametrize("base", [Process, Thread, Coroutine])
async def test_an_instance_never_changes_in_the_owner(base: Any) -> None:
    """M32: each run works on a copy, for threads and coroutines too."""

    class Mutating(base):
        def __init__(self) -> None:
            self.number = 1

        async def loop(self) -> tuple[int, str, str]:
            self.number += 1
            self.added = True
            return self.number, self.name, current().name

    mine = Mutating()
    async with Manager() as manager:
        for _ in range(2):
            assert await manager.run(mine) == (2, "Mutating", "Mutating")
    assert mine.number == 1 and not hasattr(mine, "added")
    with pytest.raises(AttributeError, match="runs nowhere"):
        mine.name  # noqa: B018


async def test_defaults_by_keywords_of_the_class() -> None:
    """Of the class, overridden by its subclass, then by an instance that calls super; checked when an instance is made."""

    class Meter(Process[str], name="metered", grace=2.0):
        def loop(self) -> str:
            return self.name

    class Slow(Meter, grace=9.0):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)

    async with Manager() as manager:
        handle = await manager.start(Meter())
        assert (await handle, handle.name) == ("metered", "metered")
        handle = await manager.start(Slow(name="own"))
        assert await handle == "own"
        assert handle.spec._asyncproc.options["grace"] == 9.0

    class Wrong(Meter, nice=99):
        pass

    with pytest.raises(SpecError, match="nice"):
        Wrong()


async def test_wrong_defaults_of_a_class_with_its_own_init_are_told() -> None:
    """A class that does not call super is checked too, when it starts at the latest; nothing is silently ignored."""

    class Wrong(Process[int], nice=99):  # type: ignore[call-arg]
        def __init__(self) -> None:
            pass

        def before_loop(self, number: int) -> None: ...  # type: ignore[override]
        def loop(self) -> int:
            return 1

    async with Manager() as manager:
        for call in (manager.run(Wrong()), manager.start(Wrong()), manager.run(Sequential(Wrong(), name="s"))):
            with pytest.raises(SpecError) as caught:
                await call
            assert [fault.field for fault in caught.value.faults] == ["nice", "before_loop"]


# --- what a child has, and has not --------------------------------------------------------------------------------------------


async def test_a_child_has_three_streams_and_its_channel() -> None:
    """Nothing of the owner's is open in it, whatever the owner has open, inheritable or not."""
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    try:
        async with Manager() as manager:
            assert await manager.run(Process(descriptors)) == [0, 1, 2, 3]
            done = [await manager.start(Process(descriptors)) for _ in range(5)]
            assert [await handle for handle in done] == [[0, 1, 2, 3]] * 5
    finally:
        os.close(reader)
        os.close(writer)


async def test_random_numbers_differ_between_children() -> None:
    """Of random and of os, also against the owner's own."""
    random.seed(1)
    async with Manager() as manager:
        drawn = [await manager.run(Process(draw)) for _ in range(4)]
    random.seed(1)
    assert len({*drawn, (random.random(), b"")}) == 5 and len({one for one, _ in drawn}) == 4


@pytest.mark.parametrize("loops", [1, 2])
async def test_atexit_and_threads_of_a_child_run_to_their_end(loops: int, tmp_path: Path) -> None:
    """As at the end of any program: threads are joined, atexit runs, streams are flushed. One that loops has one of ours."""
    async with Manager() as manager:
        await manager.run(Process(leave_traces, str(tmp_path), stdout=tmp_path / "out", loops=loops))
    assert (tmp_path / "thread").read_text() == "ended"
    assert (tmp_path / "atexit").read_text() == "ran"
    assert (tmp_path / "out").read_text() == "no newline" * loops


OURS = {
    f"asyncproc{name}" for name in (
        "", "._child", "._core", "._ipc", "._ipc.codec", "._ipc.by_reference", "._ipc.frame", "._ipc.link",
        "._ipc.remote_error", "._ipc.wire", "._ipc.async_line", "._runtime", "._runtime.bootstrap", "._runtime.forking",
        "._runtime.kernel", "._runtime.keeper", "._runtime.launcher_main", "._runtime.limits", "._runtime.template_main",
        "._runtime.warden_main", "._spec",
        "._spec.current", ".errors", "._runtime.lifecycle", "._runtime.host", "._runtime.entered", "._core.lifecycle",
        *(f"._core.lifecycle.{part}" for part in ("action", "event", "machine", "arguments", "loop_times")),
    )
}  # fmt: skip
"""What a child may have of this package."""
HEAVY = (
    "structlog",
    "rich",
    "anyio",
    "msgspec",
    "psutil",
    "cyclopts",
    "aiomultiprocess",
    "typing",
    "dataclasses",
    "enum",
    "inspect",
)


def test_a_child_imports_no_more_than_it_needs(tmp_path: Path) -> None:
    """A closed list of our modules; of others, none that only the owner needs, though the owner has them all."""
    text = """
        import structlog, rich, anyio, msgspec, psutil
        import asyncproc, sys
        def modules(): return sorted(__import__("sys").modules)
        async def modules_async(): return sorted(__import__("sys").modules)
        print(*asyncproc.run(asyncproc.Process(modules)))
        print(*asyncproc.run(asyncproc.Process(modules_async)))
    """
    plain, awaited = (set(line.split()) for line in run_program(tmp_path, text).out.splitlines())
    ours = {name for name in plain if name.partition(".")[0] == "asyncproc"}
    assert ours <= OURS | {"asyncproc._ipc.by_value"}  # functions of __main__ travel by value
    assert not {name.partition(".")[0] for name in plain | awaited} & {"structlog", "rich", "anyio", "msgspec", "psutil"}
    assert "asyncio" not in plain and "asyncio" in awaited


def test_a_child_by_reference_imports_little_of_the_standard_library() -> None:
    """A plain function of a module: neither asyncio nor what costs milliseconds; hence no typing, dataclasses, inspect."""
    text = "import asyncproc, bare; print(*asyncproc.run(asyncproc.Process(bare.modules)))"
    path = f"{environment()['PYTHONPATH']}:{Path(__file__).parent / 'plain'}"
    done = subprocess.run(
        [sys.executable, "-c", text], env={**environment(), "PYTHONPATH": path}, capture_output=True, text=True, timeout=30
    )
    loaded = set(done.stdout.split())
    assert done.stderr == "" and "bare" in loaded
    assert not loaded & {*HEAVY, "asyncio", "cloudpickle"}
    assert {name for name in loaded if name.partition(".")[0] == "asyncproc"} <= OURS


def test_importing_asyncproc_loads_only_itself() -> None:
    """D7.9: no side effect, nothing of its dependencies, and none of its own parts before they are used."""
    text = "import sys; before = set(sys.modules); import asyncproc; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", text], env=environment(), capture_output=True, text=True, timeout=30)
    assert done.stdout.split() == ["asyncproc"] or done.stdout.split() == ["__future__", "asyncproc"]


def test_a_manager_loads_no_more_than_it_needs() -> None:
    """When it is open the supervisor is still to be loaded; what takes milliseconds also when a plain function has run."""
    text = """
import asyncio, sys
import asyncproc, bare
def found(): return sorted({"asyncproc._supervision.supervisor", "dataclasses", "json", "msgspec"} & set(sys.modules))
async def main():
    async with asyncproc.Manager() as manager:
        print(found())
        await manager.run(asyncproc.Process(bare.modules))
        print(found())
asyncio.run(main())
"""
    path = f"{environment()['PYTHONPATH']}:{Path(__file__).parent / 'plain'}"
    done = subprocess.run(
        [sys.executable, "-c", text], env={**environment(), "PYTHONPATH": path}, capture_output=True, text=True, timeout=30
    )
    assert done.stdout.splitlines() == ["[]", "['asyncproc._supervision.supervisor']"], done.stderr


async def test_a_first_child_collects_garbage() -> None:
    """Its template, which has not loaded everything when it forks it, does not."""
    async with Manager(spares=0) as manager:
        assert await manager.run(Process(gc.isenabled)) is True


async def test_modules_of_async_children() -> None:
    """An async child has asyncio and still none of the owner's libraries."""
    async with Manager() as manager:
        loaded = await manager.run(Process(modules_async))
        assert "asyncio" in loaded and "msgspec" not in loaded and "anyio" not in loaded
        assert "asyncio" in await manager.run(Process(modules))  # targets.py imports it itself


async def test_a_child_is_a_session_of_its_own() -> None:
    """No terminal signal of the owner's reaches it by itself."""
    async with Manager() as manager:
        handle = await manager.start(Process(until_told))
        assert handle.pid is not None and os.getsid(handle.pid) == handle.pid
        await handle.kill()
