"""The launcher: starts commands and templates. It stays bare, so that a fork of it is cheap and clean."""

from __future__ import annotations

import _posixsubprocess
import os
import resource
import sys

from asyncproc._runtime import kernel
from asyncproc._runtime.keeper import READY, RECORD, Keeper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Never


NO_HOOK: Any = None  # the type stubs forget that there may be none


class Launcher(Keeper):
    """A keeper that starts programs by vfork, and templates by fork."""

    def __init__(self, fd: int, manager: int) -> None:
        super().__init__(fd, manager, kernel.own_interval())
        kernel.set_name("aproc:launcher")
        kernel.become_subreaper()
        self.warden = os.getppid()
        self.hard_locks = resource.getrlimit(kernel.RLIMIT_LOCKS)[1]
        self.tell(RECORD.pack(READY, 0, 0, 0, os.getpid(), 0, 0.0, 0))

    def on_request(self, request: tuple[Any, ...], fds: list[int]) -> None:
        if request[0] == "template":
            self._start_template(request[1], fds)
        else:
            self._start_command(request, fds)

    def after_the_end(self) -> None:
        if self.folder is not None and os.getppid() != self.warden:  # then nobody else is there to tidy up
            from asyncproc._runtime.cgroup import remove

            remove(self.folder)

    # --- templates ----------------------------------------------------------------------------------------------------

    def _start_template(self, number: int, fds: list[int]) -> None:
        me = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            self._close(fds)
            self.fail(number, "fork", error.errno or 0)
            return
        if pid == 0:
            self._become_template(me, fds[0])
        self._close(fds)
        self.started(number, pid, -number)
        self.by_pid[pid].ending = True  # when it ends, its children are orphans, and all of them have to go

    def _become_template(self, launcher: int, fd: int) -> Never:
        try:
            kernel.die_with(launcher)
            kernel.close_all_but((0, 1, 2, fd, self.manager))
            from asyncproc._runtime.template_main import Template

            Template(fd, self.manager).serve()
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(70)

    # --- commands -----------------------------------------------------------------------------------------------------

    def _start_command(self, request: tuple[Any, ...], fds: list[int]) -> None:
        _, number, index, argv, programs, cwd, env, options = request
        try:
            if options.get("slow"):
                pid = self._fork_command(argv, programs, cwd, env, options, fds, index)
            else:
                pid = self._spawn(argv, programs, cwd, env, options, fds, index)
        except StartError as error:
            self.fail(number, error.step, error.errno)
        except OSError as error:  # no descriptors left
            self.fail(number, "descriptors", error.errno or 0)
        except ValueError:  # NUL where none may be
            self.fail(number, "exec", 22)
        else:
            self.started(number, pid, index)
        finally:
            self._close(fds)

    def _spawn(
        self, argv: list[bytes], programs: list[bytes], cwd: bytes, env: list[bytes], options: Any, fds: list[int], index: int
    ) -> int:
        """The vfork path: everything is set by C code, and this process continues when the program runs."""
        failure, report = os.pipe2(os.O_CLOEXEC)
        stamp = self.top - index * self.width
        try:
            if self.width:
                resource.setrlimit(kernel.RLIMIT_LOCKS, (stamp, self.hard_locks))
            pid = _posixsubprocess.fork_exec(
                argv, programs, True, (report,), os.fsdecode(cwd), env,
                fds[0], -1, -1, fds[1], -1, fds[2], failure, report,
                True, True, -1, None, None, None, options.get("umask", -1), NO_HOOK, True,
            )  # fmt: skip
            os.close(report)
            report = -1
            text = os.read(failure, 50000)
        except OSError as error:
            raise StartError("fork", error.errno or 0) from None
        finally:
            if self.width:
                resource.setrlimit(kernel.RLIMIT_LOCKS, (self.hard_locks, self.hard_locks))
            os.close(failure)
            if report >= 0:
                os.close(report)
        if text:
            os.waitpid(pid, 0)
            _, errno, where = text.split(b":", 2)
            raise StartError("cwd" if where.startswith(b"noexec") else "exec", int(errno, 16))
        self._lower(pid, stamp)
        return pid

    def _lower(self, pid: int, stamp: int) -> None:
        if self.width:
            try:
                resource.prlimit(pid, kernel.RLIMIT_LOCKS, (stamp, stamp))
            except (ProcessLookupError, PermissionError):  # it has ended, or has another uid already
                pass

    def _fork_command(
        self, argv: list[bytes], programs: list[bytes], cwd: bytes, env: list[bytes], options: Any, fds: list[int], index: int
    ) -> int:
        """The slow path, for what only code in the child can set: limits, niceness, processors, another user."""
        failure, report = os.pipe2(os.O_CLOEXEC)
        try:
            pid = os.fork()
        except OSError as error:
            os.close(failure)
            os.close(report)
            raise StartError("fork", error.errno or 0) from None
        if pid == 0:
            _exec(argv, programs, cwd, env, options, fds, report, self.top - index * self.width if self.width else 0)
        os.close(report)
        text = os.read(failure, 1000)
        os.close(failure)
        if text:
            os.waitpid(pid, 0)
            step, errno = text.split(b":")
            raise StartError(step.decode(), int(errno))
        return pid

    def _close(self, fds: list[int]) -> None:
        for fd in fds:
            os.close(fd)


class StartError(Exception):
    """A start failed at a named step."""

    def __init__(self, step: str, errno: int) -> None:
        self.step = step
        self.errno = errno


def _exec(
    argv: list[bytes],
    programs: list[bytes],
    cwd: bytes,
    env: list[bytes],
    options: Any,
    fds: list[int],
    report: int,
    stamp: int,
) -> Never:
    from asyncproc._runtime.exec_main import become_program

    try:
        if report < len(fds):  # a fourth descriptor goes there
            report = os.dup(report)
        for target, fd in enumerate([os.dup(fd) for fd in fds]):  # dup: a source may be where another one goes
            os.dup2(fd, target)
        kernel.close_all_but((*range(len(fds)), report))  # ours may be inheritable, and are not the command's
        os.setsid()
        if stamp:
            resource.setrlimit(kernel.RLIMIT_LOCKS, (stamp, stamp))
    except OSError as error:
        os.write(report, b"fork:%d" % (error.errno or 22))
        os._exit(127)
    become_program(argv, programs, cwd, env, options, report, None)
