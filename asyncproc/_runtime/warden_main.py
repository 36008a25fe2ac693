"""The warden: waits for the end of the manager or of the launcher, then ends whoever is left.

It forks the launcher and does nothing else. Being a subreaper above it, it inherits every process of the launcher that the
launcher, killed, can no longer end itself; its own exit is the proof that nobody is left.
"""

from __future__ import annotations

import gc
import os
import resource
import select
import sys

from asyncproc._runtime import kernel
from asyncproc._runtime.keeper import calm_signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Never


def main(lifeline: int, requests: int, manager: int, open_files: int) -> None:
    """Run as the process that the manager spawned; does not return.

    Args:
        lifeline: a socket that ends with the manager, or when the manager closes the chain.
        requests: the launcher's socket.
        manager: pid of the manager.
        open_files: the soft limit of open files that children are to find.
    """
    gc.disable()  # while they load, helpers make no garbage; each collects again when it serves
    calm_signals()
    kernel.close_all_but((0, 1, 2, lifeline, requests))
    os.chdir("/")
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_files, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    kernel.set_name("aproc:warden")
    kernel.become_subreaper()
    watch = os.pidfd_open(manager)
    if os.getppid() != manager:  # it ended before we could watch it: the pid may be somebody else's by now
        os._exit(0)
    launcher = os.fork()
    if launcher == 0:
        _become_launcher(requests, watch)
    os.close(requests)
    _wait_for_any(watch, lifeline, os.pidfd_open(launcher))
    kernel.end_all_children()
    if os.getppid() != manager or _ends_without_a_word(lifeline):  # it has died, or become another program
        from asyncproc._runtime.cgroup import remove_folder

        remove_folder(os.getpid())
    os._exit(0)


def _become_launcher(requests: int, watch: int) -> Never:
    try:
        kernel.close_all_but((0, 1, 2, requests, watch))
        from asyncproc._runtime.launcher_main import Launcher

        Launcher(requests, watch).serve()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(70)


def _ends_without_a_word(lifeline: int) -> bool:
    os.set_blocking(lifeline, False)
    try:
        return not os.read(lifeline, 1)
    except BlockingIOError:  # it has not ended: the launcher has
        return False
    except OSError:
        return True


def _wait_for_any(*fds: int) -> None:
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    poll.poll()
