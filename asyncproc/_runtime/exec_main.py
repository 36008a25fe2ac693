"""The last steps of a process that becomes a command: limits, folder, program; what fails is reported with its step.

Also a process of its own, on the portable path: a bare interpreter between the manager and the program. It is there for what
only code in the child can set (the parent-death signal, signals that the host ignores, limits), and because code between fork
and exec is safe in no host that has threads. It costs about ten milliseconds.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C half of signal: loading that one costs 3 ms
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Never

START = "import sys;sys.path.insert(0,sys.argv[1]);from asyncproc._runtime.exec_main import main;main(*map(int,sys.argv[2:]))"


def main(description: int, report: int, parent: int, stamp: int, fourth: int = -1) -> Never:
    """Become what *description*, an open file, says.

    Args:
        report: a pipe; it ends without a word when the program runs. parent: whose end is the command's. stamp: 0 for none.
        fourth: what is to be its descriptor 3; -1 for nothing.
    """
    try:
        import marshal
        import resource

        from asyncproc._runtime import kernel
        from asyncproc._runtime.keeper import CALMED

        _signal.pthread_sigmask(_signal.SIG_SETMASK, [])
        for number in (*CALMED, _signal.SIGCHLD):
            _signal.signal(number, _signal.SIG_DFL)
        with open(description, "rb") as file:
            argv, programs, cwd, env, options = marshal.load(file)
        os.set_inheritable(report, False)
        if fourth >= 0:
            os.dup2(fourth, 3)
            os.close(fourth)
        if stamp:
            resource.setrlimit(kernel.RLIMIT_LOCKS, (stamp, stamp))
        kernel.die_with(parent)
    except BaseException as error:
        os.write(report, b"fork:%d" % (getattr(error, "errno", None) or 22))
        os._exit(127)
    become_program(argv, programs, cwd, env, options, report, parent)


def become_program(
    argv: list[bytes],
    programs: list[bytes],
    cwd: bytes,
    env: list[bytes],
    options: dict[str, Any],
    report: int,
    parent: int | None,
) -> Never:
    """Apply limits, go to the folder, become the user, and execute the first of *programs* that is there.

    What fails is written to *report* as ``step:errno``. *parent*: whose end is the program's; None: nobody's.
    """
    step = "limits"
    try:
        from asyncproc._runtime.limits import apply_limits, become_user

        _signal.signal(_signal.SIGXFSZ, _signal.SIG_DFL)  # Python ignores it, and what is ignored stays so through exec
        apply_limits(options)
        step = "cwd"
        os.chdir(cwd)
        step = "user"
        if "user" in options:
            become_user(options["user"], parent)
        step = "exec"
        failed: OSError | None = None
        for program in programs:
            try:
                os.execve(program, argv, dict(pair.split(b"=", 1) for pair in env))
            except OSError as error:
                if failed is None or error.errno not in (2, 20):  # that it is not there is said when it is nowhere
                    failed = error
        raise failed or OSError(2, "")
    except OSError as error:
        os.write(report, b"%s:%d" % (step.encode(), int(error.errno or 22)))
    except ValueError:  # NUL where none may be
        os.write(report, b"%s:22" % step.encode())
    finally:
        os._exit(127)
