"""Ctrl-C, as a real SIGINT: what a call began is ended, what it only waited for lives on; then KeyboardInterrupt."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.manager.programs import Done, Program

pytestmark = pytest.mark.slow
INT = signal.SIGINT

PRELUDE = """
    import asyncio, os, signal, sys, threading, time
    from asyncproc import Command, Concurrent, Coroutine, Process, State, blocking, current
    from asyncproc.blocking.call import Call
    def say(word):  # in one write: another thread may say something at the same moment
        os.write(1, f"{word}\\n".encode())
    def tell(step, word):  # what happens on the loop is said: a signal that comes then finds the main thread waiting
        do = getattr(Call, step)
        def told(call):
            do(call)
            say(word)
        setattr(Call, step, told)
    def polite():
        print("up", flush=True)
        try: current().sync.wait_stopping()
        finally: print("finally", flush=True)
    def deaf():
        print("up", flush=True)
        current().sync.wait_stopping()
        print("asked", flush=True)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        threading.Event().wait()
"""


def interrupted(folder: Path, text: str, *lines: str) -> Done:
    """Run a program; each line that it says is answered by a SIGINT. It must end well, and say nothing wrong."""
    with Program(folder, PRELUDE + text) as program:
        for line in lines:
            assert program.line() == line
            program.tell(INT)
        done = program.end()
    assert (done.code, done.err) == (0, "")
    return done


def test_in_run_it_ends_what_run_began(tmp_path: Path) -> None:
    """The child gets its ladder; the manager stays open and works."""
    text = """
    with blocking.Manager() as manager:
        try: manager.run(Process(polite))
        except KeyboardInterrupt: print("interrupted", manager.nodes(state=State.RUNNING))
        print(manager.run(Process(int, "3")))
    """
    assert interrupted(tmp_path, text, "up").out == "finally\ninterrupted []\n3\n"


@pytest.mark.parametrize("call", ["blocking.run(Process(polite))", "blocking.Manager(Concurrent(polite)).run(rounds=None)"])
def test_in_run_of_a_manager_that_is_not_open(tmp_path: Path, call: str) -> None:
    """It is closed as well, and the thread of its loop has ended."""
    text = f"""
    try: {call}
    except KeyboardInterrupt: print("interrupted", threading.active_count())
    """
    assert interrupted(tmp_path, text, "up").out == "finally\ninterrupted 1\n"


def test_in_start_it_ends_what_start_began(tmp_path: Path) -> None:
    """A child that is not ready yet: it is stopped before KeyboardInterrupt comes."""
    text = """
    def slowly():
        print("up", flush=True)
        threading.Event().wait()
    class Slow:
        def __reduce__(self): return slowly, ()
    with blocking.Manager(grace=0.1) as manager:
        try: manager.start(Process(id, Slow(), name="slow"))
        except KeyboardInterrupt: print("interrupted", manager.find("slow").state.value)
    """
    assert interrupted(tmp_path, text, "up").out == "interrupted ended\n"


def test_a_second_one_kills(tmp_path: Path) -> None:
    """Long before the grace of an hour is over."""
    text = """
    try: blocking.run(Process(deaf), grace=3600.0)
    except KeyboardInterrupt: print("interrupted")
    """
    assert interrupted(tmp_path, text, "up", "asked").out == "interrupted\n"


def test_a_third_one_does_not_wait(tmp_path: Path) -> None:
    """A coroutine that blocks the loop: nothing can be asked of it, the program goes on; its end waits for the loop again."""
    text = """
    go_on = threading.Event()
    async def naughty():
        say("up")
        go_on.wait()
    wait = Call.wait
    def told(call, timeout=None):
        say("waits")
        return wait(call, timeout)
    Call.wait = told
    try: blocking.run(Coroutine(naughty))
    except KeyboardInterrupt: print("interrupted", threading.active_count(), flush=True)
    go_on.set()
    """
    with Program(tmp_path, PRELUDE + text) as program:
        assert {program.line(), program.line()} == {"up", "waits"}
        for _ in range(2):
            program.tell(INT)
            assert program.line() == "waits"
        program.tell(INT)
        assert program.line() == "interrupted 2"
        done = program.end()
    assert (done.code, done.err) == (0, "")


@pytest.mark.parametrize(
    "call", ["result()", "wait()", "wait(3600)", "wait_for(state=State.ENDED)", "receive()", "stop(grace=None)"]
)
def test_in_waiting_it_ends_the_waiting_only(tmp_path: Path, call: str) -> None:
    """The child lives on until the block is left."""
    text = f"""
    def patient():
        current().sync.send("up")
        signal.pause()
    with blocking.Manager() as manager:
        handle = manager.start(Process(patient, grace=0.0))
        handle.receive()
        tell("begin", "waiting")
        try: handle.{call}
        except KeyboardInterrupt: print("interrupted", handle.exit)
    print(handle.state.value)
    """
    assert interrupted(tmp_path, text, "waiting").out == "interrupted None\nwaiting\nended\n"


def test_in_the_block_it_stops_children_and_goes_on_as_it_was(tmp_path: Path) -> None:
    """M28, in the user's own code."""
    text = """
    try:
        with blocking.Manager() as manager:
            manager.start(Process(polite))
            time.sleep(3600)
    except KeyboardInterrupt as error: print("interrupted", error.args, threading.active_count())
    """
    assert interrupted(tmp_path, text, "up").out == "finally\ninterrupted () 1\n"


@pytest.mark.parametrize("leave", ["manager.close()", "manager.__exit__(None, None, None)"])
def test_in_leaving_it_leaves_nobody(tmp_path: Path, leave: str) -> None:
    """The first is told when all have ended; the second kills."""
    text = f"""
    manager = blocking.Manager(grace=3600.0).open()
    manager.start(Process(deaf))
    tell("cancel", "again")
    try: {leave}
    except KeyboardInterrupt: print("interrupted", manager.nodes()[0].exit.killed, threading.active_count())
    """
    with Program(tmp_path, PRELUDE + text) as program:
        assert [program.line(), program.line()] == ["up", "asked"]
        program.tell(INT)
        assert program.line() == "again"
        program.tell(INT)
        done = program.end()
    assert (done.out, done.err, done.code) == ("again\ninterrupted True 1\n", "", 0)


def test_iteration_goes_on_after_it(tmp_path: Path) -> None:
    """What waited for the next event may wait again: none is lost."""
    text = """
    with blocking.Manager() as manager:
        handle = manager.start(Process(lambda: current().sync.receive()))
        events = handle.events()
        tell("begin", "waiting")
        try: next(events)
        except KeyboardInterrupt: handle.send(1)
        print([moved.after.value for moved in events])
    """
    assert interrupted(tmp_path, text, "waiting").out.splitlines()[-2] == "['ended']"


def test_another_signal_that_raises_is_treated_alike(tmp_path: Path) -> None:
    """A handler of the user's for SIGTERM that exits: children are stopped, the code is the user's."""
    text = """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
    with blocking.Manager() as manager:
        manager.run(Process(polite))
    """
    with Program(tmp_path, PRELUDE + text) as program:
        assert program.line() == "up"
        program.tell(signal.SIGTERM)
        done = program.end()
    assert (done.out, done.err, done.code) == ("finally\n", "", 7)


def test_handlers_of_the_program_stay_what_they_were(tmp_path: Path) -> None:
    """D2.14: it touches no signal and no wake-up descriptor."""
    text = """
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
    before = [signal.getsignal(number) for number in numbers]
    with blocking.Manager() as manager:
        manager.run(Process(int, "3"))
        print([signal.getsignal(number) for number in numbers] == before, signal.set_wakeup_fd(-1))
    """
    with Program(tmp_path, PRELUDE + text) as program:
        assert program.end().out == "True -1\n"
