"""Gates and stepping for code without a loop."""

from __future__ import annotations

from asyncproc import Process, blocking
from tests.lifecycle.targets import quick
from tests.lifecycle.test_gates import train


def test_gates_without_a_loop() -> None:
    """The blocking face: the same names with ``with``."""
    with blocking.Manager() as manager:
        handle = manager.add(Process(train, loops=1), hold=True)  # type: ignore[call-overload]
        with blocking.OnStart(handle) as start:
            start.add(config="c")
        with blocking.BeforeLoop(handle) as before:
            assert (before.number, before.kwargs) == (1, {"config": "c"})
        with blocking.AfterLoop(handle) as after:
            assert after.result == ("c", None, None)
        with blocking.OnFinish(handle, timeout=10):
            pass
        assert handle.result() == ("c", None, None)
        stepped = manager.add(Process(quick, loops=2), hold=True)
        with blocking.OnStart(stepped):
            pass
        assert [before.number for before in stepped.steps()] == [1, 2]
        assert stepped.result() == 2
