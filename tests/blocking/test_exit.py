"""Programs that end with a blocking manager open: children get their ladder, nobody is left (the leak check looks)."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from asyncproc.testing.leaks import Leaks
from tests.faults.harness import wait_gone
from tests.manager.programs import Program, run_program

pytestmark = pytest.mark.slow
PRELUDE = """
    import atexit, os, signal, sys, threading, time
    from asyncproc import Command, Coroutine, Process, State, Thread, blocking, current
    def polite():
        current().sync.send("up")
        try: current().sync.wait_stopping()
        finally: print("finally", flush=True)
    def plant():
        manager = blocking.Manager().open()
        manager.start(Command("sh", "-c", "setsid sleep 1000 & sleep 1000"))
        handle = manager.start(Process(polite))
        handle.receive()
        return manager, handle
"""

ENDS = {
    "normal": ("keep = plant()", 0, ""),
    "sys.exit": ("keep = plant(); sys.exit(3)", 3, ""),
    "exception": ("keep = plant(); raise KeyError('mine')", 1, "KeyError: 'mine'"),
    "interrupt": ("keep = plant(); raise KeyboardInterrupt", -signal.SIGINT, "KeyboardInterrupt"),
    "opened in a thread": ("t = threading.Thread(target=lambda: keep.append(plant())); keep = []; t.start(); t.join()", 0, ""),
    "sys.exit in a thread": (
        "keep = []; t = threading.Thread(target=lambda: (keep.append(plant()), sys.exit(3))); t.start(); t.join()", 0, ""
    ),
    "a thread that lives longer": (
        "keep = []; threading.Thread(target=lambda: (threading.main_thread().join(), keep.append(plant()))).start()", 0, ""
    ),
    "a daemon thread that waits": (
        "keep = plant(); threading.Thread(target=keep[1].result, daemon=True).start()", 0, ""
    ),
    "a daemon thread in its block": ("""up = threading.Event()
    def work():
        with blocking.Manager() as manager:
            handle = manager.start(Process(polite))
            handle.receive()
            up.set()
            threading.Event().wait()
    threading.Thread(target=work, daemon=True).start()
    up.wait()""", 0, ""),
    "two managers": ("keep = plant(), blocking.Manager(name='two').open()", 0, ""),
}  # fmt: skip


@pytest.mark.parametrize("how", ENDS)
def test_end_with_an_open_manager(tmp_path: Path, how: str) -> None:
    """The child's finally has run when the program is gone; its code and its errors are its own."""
    text, code, said = ENDS[how]
    done = run_program(tmp_path, f"{PRELUDE}\n    {text}\n")
    assert (done.out, done.code) == ("finally\n", code)
    assert done.err.strip().endswith(said) and (said or not done.err)


def test_end_while_a_daemon_thread_runs_something(tmp_path: Path) -> None:
    """A manager that run() had opened for itself."""
    text = """
    up = threading.Event()
    spec = Process(polite, started=lambda handle: up.set())
    threading.Thread(target=blocking.run, args=(spec,), daemon=True).start()
    up.wait()
    """
    done = run_program(tmp_path, PRELUDE + text)
    assert (done.code, done.err) == (0, "")


def test_hooks_of_the_program(tmp_path: Path) -> None:
    """Those registered later run first and may use it; those registered before find it closed, and can open none."""
    text = """
    def before():
        print("before", keep[1].state.value, keep[1].exit.reason.value)
        try: blocking.run(Thread(int))
        except RuntimeError as error: print(error)
    atexit.register(before)
    keep = plant()
    atexit.register(lambda: print("later", keep[0].run(Coroutine(answer)), flush=True))
    async def answer(): return 42
    """
    done = run_program(tmp_path, PRELUDE + text)
    assert done.out.splitlines() == [
        "later 42", "finally", "before ended stopped", "the interpreter is ending: no manager can be opened any more",
    ]  # fmt: skip
    assert (done.code, done.err) == (0, "")


def test_a_child_that_ends_with_its_manager_open(tmp_path: Path) -> None:
    """A process child is a program too."""
    text = """
    def outer():
        globals()["keep"] = plant()
        return "ended"
    print(blocking.run(Process(outer)), flush=True)
    """
    done = run_program(tmp_path, PRELUDE + text)
    assert (done.out, done.err, done.code) == ("finally\nended\n", "", 0)


@pytest.mark.parametrize("kill", ["os._exit(5)", "os.kill(os.getpid(), signal.SIGKILL)", "os.abort()"])
def test_end_without_a_last_word(tmp_path: Path, leaks: Leaks, kill: str) -> None:
    """No hook runs: the helpers end everybody."""
    done = run_program(tmp_path, f"{PRELUDE}\n    keep = plant()\n    print('up', flush=True)\n    {kill}\n")
    assert done.out.startswith("up\n") and done.code in (5, -signal.SIGKILL, -signal.SIGABRT)
    assert not wait_gone(leaks)


def test_ctrl_c_while_the_program_ends(tmp_path: Path, leaks: Leaks) -> None:
    """A deaf child with an hour of grace: the second interruption kills it."""
    text = """
    from asyncproc.blocking.call import Call
    cancel = Call.cancel
    def told(call):
        cancel(call)
        print("again", flush=True)
    Call.cancel = told
    def deaf():
        current().sync.send("up")
        current().sync.wait_stopping()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("asked", flush=True)
        threading.Event().wait()
    manager = blocking.Manager(grace=3600.0).open()
    manager.start(Process(deaf)).receive()
    """
    with Program(tmp_path, PRELUDE + text) as program:
        assert program.line() == "asked"
        program.tell(signal.SIGINT)
        assert program.line() == "again"
        program.tell(signal.SIGINT)
        done = program.end()
    assert done.out == "again\n" and "KeyboardInterrupt" in done.err
    assert not wait_gone(leaks)


# --- forks -------------------------------------------------------------------------------------------------------------

FORK = """
    def in_fork(work):
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            work()
            sys.exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    def refused(*calls):
        for call in calls:
            try: print("not refused", call())
            except RuntimeError as error: print("belongs to process" in str(error))
"""


def test_fork_of_the_host_cannot_use_its_manager(tmp_path: Path) -> None:
    """Every call is a StateError that says whose it is, none hangs; the fork's end does nothing to the parent's children."""
    text = """
    with blocking.Manager() as manager:
        handle = manager.start(Process(polite))
        handle.receive()
        events = manager.events()
        def work():
            refused(manager.nodes, manager.close, manager.open, handle.result, handle.stop, lambda: next(events))
            refused(lambda: manager.start(Thread(int)), lambda: manager.run(Thread(int)), lambda: handle.send(1))
            print(handle.state.value, threading.active_count())
        print(in_fork(work))
        print(manager.run(Process(int, "3")), handle.state.value, flush=True)
    """
    done = run_program(tmp_path, PRELUDE + FORK + text)
    assert done.out.split() == ["True"] * 9 + ["running", "1", "0", "3", "running", "finally"]
    assert (done.err, done.code) == ("", 0)


def test_fork_leaves_the_block_of_its_parent(tmp_path: Path) -> None:
    """By falling out of it, or by an exception: nothing is done there, the error stays what it is."""
    text = """
    pids = []
    for leave in (lambda: None, lambda: sys.exit(4)):
        try:
            with blocking.Manager() as manager, manager.start(Process(polite)) as handle:
                handle.receive()
                sys.stdout.flush()
                pid = os.fork()
                if pid == 0:
                    leave()
                else:
                    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), handle.state.value, flush=True)
        finally:
            if pid == 0 and leave.__code__.co_names == (): os._exit(0)
    """
    done = run_program(tmp_path, PRELUDE + text)
    assert done.out.split() == ["0", "running", "finally", "4", "running", "finally"]
    assert (done.err, done.code) == ("", 0)


def test_fork_may_have_a_manager_of_its_own(tmp_path: Path) -> None:
    """Also one that it leaves open, and one that the parent had closed; the parent's goes on beside it."""
    text = """
    closed = blocking.Manager()
    with closed: old = closed.start(Process(int, "1"))
    with blocking.Manager() as manager:
        def work():
            print(blocking.run(Process(int, "2")), old.result())
            with closed: print(closed.run(Process(int, "3")))
            globals()["keep"] = plant()
        print(in_fork(work), flush=True)
        handle = manager.start(Process(polite))
        handle.receive()
    print(handle.exit.reason.value)
    """
    done = run_program(tmp_path, PRELUDE + FORK + text)
    assert done.out.split() == ["2", "1", "3", "finally", "0", "finally", "stopped"]
    assert (done.err, done.code) == ("", 0)


def test_fork_by_a_thread_while_others_call(tmp_path: Path) -> None:
    """Locks of ours that stood closed at that moment do not stay so. Those of modules that another thread is importing do, in
    every Python program: here all have been imported."""
    text = """
    over = threading.Event()
    def calls():
        while not over.is_set():
            blocking.run(Coroutine(answer))
    async def answer(): return 42
    blocking.run(Coroutine(answer)), blocking.run(Thread(int))
    with blocking.Manager() as manager:
        threads = [threading.Thread(target=calls) for _ in range(4)]
        for thread in threads: thread.start()
        codes = {in_fork(lambda: blocking.run(Thread(int)) == 0 or sys.exit(1)) for _ in range(10)}
        over.set()
        for thread in threads: thread.join()
    print(codes)
    """
    done = run_program(tmp_path, PRELUDE + FORK + text)
    assert (done.out, done.err, done.code) == ("{0}\n", "", 0)


# --- nothing to be had -------------------------------------------------------------------------------------------------


def test_open_without_descriptors_or_threads_fails_and_works_later(tmp_path: Path) -> None:
    """The system's own error; nothing is left open, and nothing stays locked."""
    text = """
    import resource
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    manager = blocking.Manager()
    def attempt():
        for call in (manager.open, lambda: blocking.run(Thread(int))):
            try: print(call())
            except (OSError, RuntimeError) as error: print(type(error).__name__)
    blocking.run(Thread(int))  # libuv aborts where it finds no descriptors for its first loop
    opened = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (opened, hard))
    attempt()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    threading.stack_size(1 << 46)
    attempt()
    threading.stack_size(0)
    print(threading.active_count(), len(os.listdir("/proc/self/fd")) - opened)
    print(blocking.run(Thread(int)))
    """
    done = run_program(tmp_path, PRELUDE + text)
    assert done.code == 0
    assert set(done.err.splitlines()) <= {"deallocating an open event loop"}  # uvloop's word for a loop that failed to come up
    *first, errors, left, last = done.out.splitlines()
    assert errors == "RuntimeError" and last == "0" and left.startswith("1 ")
    assert set(first) <= {"OSError", "RuntimeError"}


def test_module_is_loaded_when_it_is_asked_for(tmp_path: Path) -> None:
    """``import asyncproc`` does not; the attribute does."""
    text = """
        import sys, asyncproc
        print("asyncproc.blocking" in sys.modules, asyncproc.blocking.Manager().name, "blocking" in dir(asyncproc))
    """
    assert run_program(tmp_path, text).out == "False app True\n"
