"""The four phases in every form and kind: their order, what flows between them, and what the result is."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from asyncproc import (
    Coroutine,
    Current,
    Manager,
    PhaseError,
    Process,
    Setup,
    SpecError,
    StartFailed,
    Thread,
    current,
)
from asyncproc._spec.leaf import Body
from tests.lifecycle.targets import (
    SETUP_TRACE,
    TRACES,
    TWO_LOOPS,
    Knows,
    Raises,
    async_setup,
    body,
    body_async,
    fails_twice,
    plain_value,
    quick,
    setup,
)

KINDS: list[Any] = [Process, Thread]


@pytest.mark.both_loops
@pytest.mark.parametrize("cls", TRACES)
async def test_class_form_runs_its_phases_in_order(cls: Any) -> None:
    """S2.18 to S2.22, S2.35, S2.41, S2.60, D1.3: of every kind, plain, async and mixed."""
    spec = cls(loops=2)
    async with Manager() as manager:
        assert await manager.run(spec) == TWO_LOOPS
        assert await manager.run(spec) == TWO_LOOPS  # an incarnation works on its own copy
    assert not hasattr(spec, "seen")


@pytest.mark.both_loops
@pytest.mark.parametrize("spec", [kind(body, setup=setup, loops=2) for kind in KINDS], ids=["process", "thread"])
@pytest.mark.parametrize("awaits", [False, True])
async def test_setup_runs_its_phases_in_order(spec: Body[Any], awaits: bool) -> None:
    """S2.11 to S2.16, S2.35: several hooks in order and left in reverse, functions and generators, values into the loops."""
    if awaits:
        spec = type(spec)(body_async, setup=setup, loops=2)
    async with Manager() as manager:
        assert await manager.run(spec) == SETUP_TRACE


async def test_setup_of_a_coroutine() -> None:
    """The same on the manager's own loop."""
    async with Manager() as manager:
        assert await manager.run(Coroutine(body_async, setup=setup, loops=2)) == SETUP_TRACE


async def test_async_hook_gives_a_plain_function_a_loop() -> None:
    """M34: and an async generator is left with the error."""
    async with Manager() as manager:
        for kind in KINDS:
            handle = await manager.start(kind(plain_value, setup=async_setup))
            assert await handle.receive() == ["enter", "leave"]
            assert await handle == 1


async def test_setup_beside_a_class_runs_outside_of_it() -> None:
    """Its hooks run before the class's own, and leave after them."""
    seen: list[str] = []
    around = Setup()

    @around.on_start
    def outer(child: Current) -> Any:
        seen.append("enter")
        yield None
        seen.append("leave")

    class Inner(Thread[None]):
        def on_start(self) -> None:
            seen.append("on_start")

        def loop(self) -> None:
            seen.append("loop")

        def on_finish(self) -> None:
            seen.append("on_finish")

    async with Manager() as manager:
        await manager.run(Inner(setup=around))
    assert seen == ["enter", "on_start", "loop", "on_finish", "leave"]


async def test_context_managers_of_contextlib_are_entered_and_left() -> None:
    """As generators are, plain and async."""
    seen: list[str] = []
    managed = Setup()

    @managed.on_start
    @contextmanager
    def plain(child: Current) -> Any:
        seen.append("plain")
        yield {"value": 1}
        seen.append("plain left")

    @managed.before_loop
    @asynccontextmanager
    async def awaited(child: Current) -> Any:
        seen.append("async")
        yield None
        seen.append("async left")

    async with Manager() as manager:
        assert await manager.run(Thread(plain_value, setup=managed)) == 1
    assert seen == ["plain", "async", "async left", "plain left"]


async def test_context_manager_that_cannot_be_entered_is_not_left() -> None:
    """As in a with statement; what was entered before it is."""
    seen: list[str] = []

    class Broken:
        def __enter__(self) -> None:
            raise OSError("locked")

        def __exit__(self, *exc: object) -> None:
            seen.append("broken left")

    managed = Setup()

    @managed.on_start
    def first(child: Current) -> Any:
        try:
            yield None
        finally:
            seen.append("first left")

    managed.on_start(lambda child: Broken())
    async with Manager() as manager:
        with pytest.raises(OSError, match="locked"):
            await manager.run(Thread(quick, setup=managed))
    assert seen == ["first left"]


async def test_child_knows_its_loops() -> None:
    """S2.16, S2.17, S2.23, S2.26."""
    async with Manager() as manager:
        assert await manager.run(Knows(name="k")) == [
            (0, False, None),
            (1, False, True),
            ("k", True, 2, 1, "test"),
            (2, True, False),
            ("k", True, 2, 2, "test"),
            ("k loop times report", 2, "custom", True),
        ]


@pytest.mark.parametrize("kind", KINDS)
async def test_result_is_that_of_the_last_loop(kind: Any) -> None:
    """M5: without an OnFinish; with no loop at all it is None."""
    async with Manager() as manager:
        assert await manager.run(kind(quick, loops=3)) == 3
        assert await manager.run(kind(quick, loops=0)) is None


async def test_report_comes_to_the_parent() -> None:
    """While it runs and afterwards; of a command there is none."""
    async with Manager() as manager:
        for kind in KINDS:
            handle = await manager.start(kind(quick, loops=3))
            await handle
            report = await handle.loop_report()
            assert (report.count, report.name) == (3, f"{handle.name} loop times report")


async def test_background_hooks_and_keywords_of_the_spec_meet() -> None:
    """M12: later wins, spec < OnStart < BeforeLoop."""
    order = Setup()

    @order.on_start
    def start(child: Current) -> dict[str, str]:
        assert child.kwargs == {"a": "spec", "b": "spec", "c": "spec"}
        return {"b": "start", "c": "start"}

    @order.before_loop
    def before(child: Current) -> dict[str, str]:
        return {"c": "before"}

    async with Manager() as manager:
        spec = Thread(lambda a, b, c: (a, b, c), kwargs=dict.fromkeys("abc", "spec"), setup=order)
        assert await manager.run(spec) == ("spec", "start", "before")


async def test_each_loop_is_logged_on_demand(caplog: pytest.LogCaptureFixture) -> None:
    """S2.74: a debug line with its time and what is left."""
    caplog.set_level("DEBUG", "asyncproc.child")
    async with Manager() as manager:
        await manager.run(Thread(quick, loops=2, name="t"))
        await manager.run(Thread(quick, loops=None, join_in=0.0, name="u"))
    lines = [record.message for record in caplog.records if record.name == "asyncproc.child"]
    assert lines[0].startswith("app/t: loop 1 took ") and lines[0].endswith(" s, 1 left")
    assert lines[1].endswith(" s, 0 left")


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("phase", "loop", "error"),
    [
        ("on_start", None, None),
        ("before_loop", 2, "ValueError('in before_loop')"),
        ("loop", 2, "ValueError('in loop')"),
        ("after_loop", 2, "ValueError('in after_loop')"),
        ("on_finish", 3, "None"),
    ],
)
async def test_error_in_a_phase_is_told_with_phase_and_loop(phase: str, loop: int | None, error: str | None) -> None:
    """M13, S2.65, S2.76: OnFinish runs with it, if OnStart was through; the class and the traceback are kept."""
    async with Manager() as manager:
        handle = manager.add(Raises(phase, loops=3, name="r"))
        if phase == "on_start":
            with pytest.raises(StartFailed) as failed:
                await handle.restart()
            assert isinstance(failed.value.__cause__, ValueError)
            with pytest.raises(Exception, match="nothing more will come"):
                await handle.receive()
        else:
            await handle.restart()
            assert await handle.receive() == error
        with pytest.raises(ValueError, match=f"in {phase}") as caught:
            await handle
        exit = handle.exit
        assert exit is not None
        assert (exit.phase, exit.loop) == (phase, loop)
        where = f"phase {phase}" + ("" if loop is None else f", loop {loop}")
        assert any(where in note for note in caught.value.__notes__)
        assert "in fail" in str(caught.value.__cause__)


async def test_error_while_one_is_pending_is_attached() -> None:
    """M13: a note and the context of the first, which stays the child's error; all that was entered is left with it."""
    left: list[Any] = []
    both = Setup()

    @both.before_loop
    def entered(child: Current) -> Any:
        try:
            yield None
        except ValueError as error:
            left.append(str(error))
            raise KeyError("while unwinding") from None

    @both.on_finish
    def finish(child: Current) -> None:
        left.append(child.error)
        raise OSError("while finishing")

    def fail() -> None:
        raise ValueError("first")

    async with Manager() as manager:
        with pytest.raises(ValueError, match="first") as caught:
            await manager.run(Thread(fail, setup=both))
    assert left == ["first", caught.value]
    notes = caught.value.__notes__
    assert any("after_loop of loop 1: KeyError: 'while unwinding'" in note for note in notes)
    assert any("on_finish: OSError: while finishing" in note for note in notes)
    assert isinstance(caught.value.__context__, KeyError)


async def test_traceback_tells_where_it_was_raised_not_what_it_was_thrown_into() -> None:
    """An exception passes through every generator that is left with it, and stays as it was."""
    entered = Setup()

    @entered.on_start
    def outer(child: Current) -> Any:
        yield None

    def fail() -> None:
        raise ValueError("here")

    async with Manager() as manager:
        with pytest.raises(ValueError, match="here") as caught:
            await manager.run(Thread(fail, setup=entered))
    names = [entry.name for entry in caught.traceback]
    assert names[-1] == "fail"
    assert "outer" not in names


async def test_one_bad_exit_does_not_keep_others_from_being_left() -> None:
    """Every hook that was entered is left, innermost first; on_finish hooks all run."""
    seen: list[str] = []
    several = Setup()

    for name in "abc":

        def entered(child: Current, name: str = name) -> Any:
            try:
                yield None
            finally:
                seen.append(name)
                raise OSError(name)

        several.on_start(entered)

    def finish(child: Current) -> None:
        seen.append("finish")
        raise OSError("finish")

    several.on_finish(finish)
    several.on_finish(finish)
    async with Manager() as manager:
        with pytest.raises(OSError, match="finish"):
            await manager.run(Thread(lambda: None, setup=several))
    assert seen == ["finish", "finish", "c", "b", "a"]


@pytest.mark.parametrize("kind", KINDS)
async def test_retries_repeat_the_loop_in_place(kind: Any) -> None:
    """S2.78, M18: same number, state kept; without enough of them the last error, which names those before."""
    async with Manager() as manager:
        assert await manager.run(kind(fails_twice, retries=2)) == "try 3 of loop 1"
        with pytest.raises(ValueError, match="try 2 of loop 1") as caught:
            await manager.run(kind(fails_twice, retries=1))
        assert any("attempt 1 of this loop had ended by ValueError: try 1" in note for note in caught.value.__notes__)


# --- bad input --------------------------------------------------------------------------------------------------------


def nothing(**kwargs: Any) -> None: ...


def one(child: Current) -> Any:
    if False:
        yield {}


def two(child: Current) -> Any:
    yield {}
    yield {}


def lingering(child: Current, result: Any = None) -> Any:
    yield {}


async def none_async(child: Current) -> Any:
    if False:
        yield {}


async def two_async(child: Current) -> Any:
    yield {}
    yield {}


@pytest.mark.parametrize(
    ("phase", "hook", "text"),
    [
        ("on_start", lambda child: 3, "node app/n: on_start gave 3, which is no mapping"),
        ("on_start", lambda child: {1: 2}, r"node app/n: on_start gave \{1: 2\}, which is no mapping of names"),
        ("before_loop", lambda child: "x", "node app/n: before_loop of loop 1 gave 'x', which is no mapping"),
        ("on_start", one, "node app/n: on_start hook one is a generator that ended without a yield"),
        ("before_loop", one, "node app/n: before_loop of loop 1 hook one is a generator that ended without a yield"),
        ("on_start", two, "node app/n: on_finish hook two is a generator that yielded twice"),
        ("before_loop", two, "node app/n: after_loop of loop 1 hook two is a generator that yielded twice"),
        ("on_start", none_async, "node app/n: on_start hook none_async is a generator that ended without"),
        ("on_start", two_async, "node app/n: on_finish hook two_async is a generator that yielded twice"),
    ],
)
async def test_hook_that_breaks_the_rules_is_a_phase_error(phase: str, hook: Any, text: str) -> None:
    """Naming node, phase, loop and value."""
    wrong = Setup()
    getattr(wrong, phase)(hook)
    async with Manager() as manager:
        for kind in KINDS:
            with pytest.raises((PhaseError, StartFailed), match=text) as caught:
                await manager.run(kind(nothing, setup=wrong, name="n"))
            error: Any = caught.value if isinstance(caught.value, PhaseError) else caught.value.__cause__
            assert isinstance(error, PhaseError)
            assert error.phase in text


async def test_value_that_collides_with_an_argument() -> None:
    """The spec gave it positionally: a PhaseError; one that the target does not take: a TypeError (M12)."""
    wrong = Setup()
    wrong.on_start(lambda child: {"value": 2})
    async with Manager() as manager:
        with pytest.raises(PhaseError, match=r"on_start gave 'value', which collides with an argument of plain_value\(\)"):
            await manager.run(Process(plain_value, 1, setup=wrong))
        with pytest.raises(TypeError, match=r"on_start gave 'value', which quick\(\) does not take"):
            await manager.run(Process(quick, setup=wrong))
        assert await manager.run(Process(plain_value, setup=wrong)) == 2


def test_hooks_are_checked_when_they_are_given() -> None:
    """A SpecError names the phase and what it must take."""
    wrong = Setup()
    for phase, hook, rule in [
        ("on_start", 3, "must be callable"),
        ("on_start", lambda: None, r"must take \(child\)"),
        ("before_loop", lambda a, b: None, r"must take \(child\)"),
        ("after_loop", lambda child: None, r"must take \(child, result\)"),
        ("on_finish", lambda: None, r"must take \(child\)"),
        ("after_loop", lingering, "left later"),
        ("on_finish", lingering, "left later"),
    ]:
        with pytest.raises(SpecError, match=rule) as caught:
            getattr(wrong, phase)(hook)
        assert caught.value.faults[0][:3] == ("setup", phase, hook)


def test_missing_arguments_may_come_from_hooks() -> None:
    """M41: a setup can add them; without one the spec is refused when it starts."""
    adds = Setup()
    adds.before_loop(lambda child: {"value": 1})
    Manager(Process(plain_value, setup=adds)).check_run(None, 1, True)
    with pytest.raises(SpecError, match="value"):
        Manager(Process(plain_value)).check_run(None, 1, True)  # type: ignore[call-overload]


def test_setup_shows_its_hooks() -> None:
    """By phase and name."""
    shown = Setup()
    shown.on_start(nothing_at_all)
    assert repr(shown) == "Setup(on_start=['nothing_at_all'])"


def nothing_at_all(child: Current) -> None: ...


def speaks_then_awaits() -> Any:
    found = current()
    found.sync.send("plain")
    assert found.sync.receive() == "one"

    async def rest() -> tuple[Any, Any]:
        return await found.receive(), await current().receive()

    return rest()


async def test_plain_function_that_has_spoken_goes_on_as_a_coroutine() -> None:
    """Its line stays its own: nothing that was sent is lost."""
    async with Manager() as manager:
        handle = await manager.start(Process(speaks_then_awaits))
        assert await handle.receive() == "plain"
        for word in ("one", "two", "three"):
            await handle.send(word)
        assert await handle == ("two", "three")
