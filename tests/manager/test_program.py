"""``asyncproc.run`` as a program: its result, its signals, its handlers, its log."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.manager.programs import Program, run_program

INT, TERM, HUP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP


def test_it_returns_the_result(tmp_path: Path) -> None:
    """Of a spec, a group, a bare callable and a coroutine; again and again; None of a loop is left."""
    text = """
        import asyncio, asyncproc, threading
        from asyncproc import Command, Concurrent, Process, Thread
        async def main():
            async with asyncproc.Manager() as manager:
                return await manager.run(Process(int, "7"))
        print(asyncproc.run(Process(int, "1")), dict(asyncproc.run(Concurrent(Process(int, "2"), Thread(int, "3")), rounds=2)))
        print(asyncproc.run(lambda: 4), asyncproc.run(main()), asyncproc.run(main), end=" ")
        print(asyncproc.run(Command("echo", "x")).stdout.strip())
        print(asyncproc.run(Concurrent(lambda: 5), rounds=2, binding=False).rounds, threading.active_count())
    """
    done = run_program(tmp_path, text)
    assert (done.err, done.code) == ("", 0)
    assert done.out.splitlines() == ["1 {'int': 2, 'int-2': 3}", "4 7 7 x", "2 1"]


def test_it_raises_what_the_target_raised(tmp_path: Path) -> None:
    """Its own class for one, an ExceptionGroup for a group, SpecError before anything starts; nothing is printed by itself."""
    text = """
        import asyncproc
        from asyncproc import Concurrent, Process, Sequential, SpecError
        def fail(): raise KeyError("mine")
        for main in (Process(fail), Concurrent(fail)):
            try: asyncproc.run(main, log="off")
            except* KeyError as error: print(type(error.exceptions[0]).__name__, len(error.exceptions))
        for options in ({"rounds": -1}, {"grace": -1}, {"binding": False}):
            try: asyncproc.run(Sequential(fail), **options)
            except SpecError as error: print([fault.field for fault in error.faults])
        try: asyncproc.run(3)
        except SpecError as error: print("refused")
    """
    done = run_program(tmp_path, text)
    assert (done.err, done.code) == ("", 0)
    assert done.out.splitlines() == ["KeyError 1", "KeyError 1", "['rounds']", "['grace']", "['binding']", "refused"]


HEARS = """
    import asyncproc, signal, sys, threading, os
    from asyncproc import Concurrent, Process, current
    def polite():
        print("up", flush=True)
        try: signal.pause()
        finally: print("finally", flush=True)
    def deaf():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("up", flush=True)
        while True: signal.pause()
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    try: asyncproc.run({main}, grace={grace})
    except BaseException as error: print(type(error).__name__, getattr(error, "code", None))
    print([signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before)
"""


def heard(folder: Path, main: str, grace: float, *numbers: signal.Signals) -> tuple[list[str], int]:
    with Program(folder, HEARS.format(main=main, grace=grace)) as program:
        assert program.line() == "up"
        for number in numbers:
            program.tell(number)
        done = program.end()
    assert "Traceback" not in done.err
    return done.out.split("\n")[:-1], done.code


@pytest.mark.parametrize("number, ends", [(INT, "KeyboardInterrupt None"), (TERM, "SystemExit 0"), (HUP, "SystemExit 0")])
def test_the_first_signal_is_graceful(tmp_path: Path, number: signal.Signals, ends: str) -> None:
    """M27: the child's finally runs; SIGINT raises KeyboardInterrupt, the others SystemExit(0); D2.14: handlers come back."""
    assert heard(tmp_path, "Process(polite)", 1.0, number) == (["finally", ends, "True"], 0)


@pytest.mark.parametrize("number, ends", [(INT, "KeyboardInterrupt None"), (TERM, "SystemExit 1"), (HUP, "SystemExit 1")])
def test_what_had_to_be_killed_after_its_grace_is_told(tmp_path: Path, number: signal.Signals, ends: str) -> None:
    """M27: SystemExit(1) when something had to be killed."""
    assert heard(tmp_path, "Process(deaf)", 0.2, number) == ([ends, "True"], 0)


@pytest.mark.parametrize("number, ends", [(INT, "KeyboardInterrupt None"), (TERM, "SystemExit 1")])
def test_the_second_signal_kills(tmp_path: Path, number: signal.Signals, ends: str) -> None:
    """M27: long before the grace of an hour is over."""
    text = HEARS.format(main="Process(deaf, ended=lambda handle: None)", grace=3600.0)
    with Program(tmp_path, WATCHED.format(program=text)) as program:
        assert program.line() == "up"
        program.tell(number)
        assert program.line() == "stopping"
        program.tell(number)
        done = program.end()
    assert (done.out.split("\n")[:-1], done.code) == ([ends, "True"], 0)


# The first signal is told, so that the second is not merged with it.
WATCHED = """
    import asyncproc._program as program
    take = program.Ends.take
    def told(ends, number):
        take(ends, number)
        if ends._count == 1: print("stopping", flush=True)
    program.Ends.take = told
{program}
"""


def test_the_third_signal_exits_at_once(tmp_path: Path) -> None:
    """M27: 128 and the signal; the helpers end what was left."""
    text = """
        import asyncio, asyncproc, signal, time
        from asyncproc import Coroutine
        async def stubborn():
            print("up", flush=True)
            while True:
                try: await asyncio.Event().wait()
                except asyncio.CancelledError: print("again", flush=True)
        asyncproc.run(Coroutine(stubborn), grace=3600.0)
    """
    with Program(tmp_path, text) as program:
        assert program.line() == "up"
        program.tell(INT)
        assert program.line() == "again"
        program.tell(INT)
        assert program.line() == "again"
        program.tell(INT)
        assert program.end().code == 130


def test_a_coroutine_is_cancelled_by_the_first_signal(tmp_path: Path) -> None:
    """Its finally runs, its managers close, then KeyboardInterrupt."""
    text = """
        import asyncio, asyncproc
        from asyncproc import Command, Manager
        async def main():
            async with Manager() as manager:
                handle = await manager.start(Command("sleep", "1000"))
                print("up", flush=True)
                try: await handle
                finally: print("finally", flush=True)
        try: asyncproc.run(main())
        except KeyboardInterrupt: print("interrupted")
    """
    with Program(tmp_path, text) as program:
        assert program.line() == "up"
        program.tell(INT)
        done = program.end()
    assert (done.out, done.err, done.code) == ("finally\ninterrupted\n", "", 0)


def test_rounds_without_end_drain_on_sigint(tmp_path: Path) -> None:
    """S1.30: the pattern of the sample, without a handler of one's own."""
    text = """
        import asyncproc
        from asyncproc import Sequential, current
        def work():
            if current().round == 3: print("third", flush=True)
        try: asyncproc.run(Sequential(work), rounds=None)
        except KeyboardInterrupt: print("interrupted")
    """
    with Program(tmp_path, text) as program:
        assert program.line() == "third"
        program.tell(INT)
        done = program.end()
    assert (done.out, done.err, done.code) == ("interrupted\n", "", 0)


def test_a_handler_of_the_users_comes_back(tmp_path: Path) -> None:
    """D2.14: and hears nothing while asyncproc owns the program, everything after."""
    text = """
        import asyncproc, os, signal
        from asyncproc import Process
        heard = []
        signal.signal(signal.SIGTERM, lambda *_: heard.append("user"))
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        print(asyncproc.run(Process(int, "1")))
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGHUP)
        print(heard, signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)
        print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
        print(signal.set_wakeup_fd(-1))
    """
    done = run_program(tmp_path, text)
    assert (done.out, done.err) == ("1\n['user'] True\nTrue\n-1\n", "")


def test_in_a_thread_it_hears_no_signals(tmp_path: Path) -> None:
    """It runs all the same, and touches no handler."""
    text = """
        import asyncproc, signal, threading
        from asyncproc import Process
        out = []
        thread = threading.Thread(target=lambda: out.append(asyncproc.run(Process(int, "3"))))
        thread.start(); thread.join()
        print(out, signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
    """
    done = run_program(tmp_path, text)
    assert (done.out, done.err) == ("[3] True\n", "")


def test_inside_a_running_loop_it_says_so(tmp_path: Path) -> None:
    """A clear error, and no warning about a coroutine that was never awaited."""
    text = """
        import asyncio, asyncproc
        from asyncproc import Process
        async def main():
            for work in (Process(int, "3"), main()):
                try: asyncproc.run(work)
                except asyncproc.StateError as error: print(error)
        asyncio.run(main())
    """
    done = run_program(tmp_path, text)
    assert done.out.count("runs one already") == 2 and done.err == ""


def test_log_styles(tmp_path: Path) -> None:
    """off says nothing, text and auto a line, json one object a line; a program that has configured logging keeps its own."""
    text = """
        import asyncproc, asyncio, logging, sys
        from asyncproc import Manager, Process
        if sys.argv[2:]: logging.basicConfig(format="MINE %(message)s")
        def fail(): raise ValueError("oh")
        async def main():
            async with Manager() as manager:
                handle = await manager.start(Process(fail), name="bad")
                await handle.wait_for(state=asyncproc.State.ENDED)
                await handle.wait()
        asyncproc.run(main(), log=sys.argv[1])
    """
    assert run_program(tmp_path, text, "off").err == ""
    for style in ("text", "auto"):
        done = run_program(tmp_path, text, style)
        assert "app/bad crashed" in done.err and done.code == 0
    lines = run_program(tmp_path, text, "json").err.splitlines()
    assert any("app/bad crashed" in json.loads(line).get("event", "") for line in lines)
    assert "MINE app/bad crashed" in run_program(tmp_path, text, "auto", "configured").err
