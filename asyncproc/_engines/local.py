"""The engine of this machine: makes each kind of child, and keeps the helper processes that Python children and commands need.

Helpers are started on first use. A start never raises: what goes wrong comes to the watcher as an exit.
"""

from __future__ import annotations

import asyncio
import copy
import marshal
import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from asyncproc._core.exit import Exit, Reason
from asyncproc._core.options import COMMAND, COROUTINE, PROCESS, RLIMITS, THREAD
from asyncproc._spec.base import Described, Spec
from asyncproc.errors import AsyncprocError

if TYPE_CHECKING:
    from asyncproc._runtime.chain import Chain
    from asyncproc._runtime.process import ProcessChild
    from asyncproc._runtime.stdio import Streams
    from asyncproc._spec.command import Command
    from asyncproc._spec.leaf import Body
    from asyncproc.abc import Child, Order, Watcher

PLAIN, BY_VALUE, LOOP, PRELOADED = 1, 2, 3, 4
REFILL_AFTER = 0.02
"""Seconds without a start after which a warm spare is forked: never in the way of a start."""


class LocalEngine:
    """Children of this machine, for one manager on one loop.

    Args:
        loop: the manager's loop.
        preload: modules that Python children find imported.
        spares: Python children that are forked ahead.
        on_line: told ``(path, stream, data)`` of output that is to be shown.
        shows_all: show every captured stream (the command line does).
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        preload: tuple[str, ...] = (),
        spares: int = 1,
        on_line: Callable[[str, str, bytes], None] | None = None,
        shows_all: bool = False,
    ) -> None:
        self._loop = loop
        self._preload = preload
        self._wanted_spares = spares
        self._on_line = on_line
        self._shows_all = shows_all
        self._chain: Chain | None = None
        self._retired: list[Chain] = []
        self._spares: list[ProcessChild] = []
        self._refill: asyncio.TimerHandle | None = None
        self._closed = False

    # --- the helper processes -------------------------------------------------------------------------------------------

    def chain(self) -> Chain:
        """The helper processes that new children come from; started when there are none."""
        if self._chain is None:
            from asyncproc._runtime.warden import Warden

            warden = Warden()  # first: what follows is loaded while it starts
            from asyncproc._runtime.chain import Chain

            self._chain = Chain(self._loop, warden, self._preload, self._chain_gone)
        return self._chain

    def warm_up(self, kinds: set[str]) -> None:
        """Start what children of these kinds will need, ahead of them."""
        if kinds & {PROCESS, COMMAND}:
            first = self._chain is None
            chain = self.chain()
            if PROCESS in kinds:
                chain.template()
                if first:  # in the time that the helpers need
                    self._loop.call_soon(__import__, "asyncproc._ipc.message")

    def _chain_gone(self, chain: Chain, lost: bool) -> None:
        if chain is self._chain:
            self._chain = None
            self._retired.append(chain)
            self._spares.clear()
        if lost and self.on_lost is not None:
            self.on_lost()

    on_lost: Callable[[], None] | None = None
    """Told when a launcher and all of its children were lost."""

    @property
    def chains(self) -> list[Chain]:
        """Every chain that is not closed yet, the one for new children first."""
        return [*([self._chain] if self._chain else []), *self._retired]

    async def aclose(self) -> None:
        """End whatever is left of this engine's processes, and return when nothing is."""
        self._closed = True
        if self._refill is not None:
            self._refill.cancel()
        chains = self.chains
        self._chain = None
        self._retired = []
        self._spares.clear()
        for chain in chains:
            await chain.aclose()

    def hang_up(self) -> None:
        """The same without waiting, for when there is no loop any more."""
        self._closed = True
        for chain in self.chains:
            chain.hang_up()

    # --- starts ---------------------------------------------------------------------------------------------------------

    def start(self, spec: Spec[Any], order: Order, watcher: Watcher) -> Child:
        """Begin a child."""
        kind = spec._asyncproc.kind
        try:
            if kind == PROCESS:
                return self._start_process(spec, order, watcher)
            if kind == COMMAND:
                return self._start_command(spec, order, watcher)
            return self._start_local(kind, spec, order, watcher)
        except (OSError, AsyncprocError, ValueError) as error:
            return Stillborn(order, watcher, error)

    def _start_local(self, kind: str, spec: Spec[Any], order: Order, watcher: Watcher) -> Child:
        body: Body[Any] = copy.copy(cast("Body[Any]", spec))
        if kind == THREAD:
            from asyncproc._runtime.thread import ThreadChild

            return ThreadChild(self._loop, body, order, watcher)
        assert kind == COROUTINE
        from asyncproc._runtime.coroutine import CoroutineChild

        return CoroutineChild(self._loop, body, order, watcher)

    def _start_process(self, spec: Any, order: Order, watcher: Watcher) -> Child:
        from asyncproc._runtime.stdio import Streams

        chain = self.chain()
        options = spec._asyncproc.options
        wanted = {name: self._shown(options, name, default) for name, default in (("stdout", "inherit"), ("stderr", "tee"))}
        streams = Streams(self._loop, wanted, self._shower(order))
        try:
            description, stage = self._describe(spec, order, chain, streams)
            spare = self._take_spare()
            child, fork = (spare, None) if spare is not None else self._prepare(chain, stage)
        except BaseException:
            streams.handed_over()
            streams.finish()
            raise
        # What it is to be waits in its socket when it is born: from the request on, the template has this processor.
        child.assign(order, description, streams, watcher, options.get("on_stop", "cancel") == "cancel")
        if fork is not None:
            fork()
        self._plan_refill()
        return child

    def _describe(self, spec: Body[Any], order: Order, chain: Chain, streams: Streams) -> tuple[bytes, int]:
        """The first message for a child, and the stage that its template must have come to."""
        from asyncproc._ipc.codec import encode_call
        from asyncproc._runtime.bootstrap import describe
        from asyncproc._runtime.chain import host_path
        from asyncproc._spec.leaf import is_async

        described = spec._asyncproc
        call = encode_call(_portable(spec).work, described.args, described.kwargs)
        loop = is_async(spec.work)
        env = self._env(described.options, chain.base_env)
        setting = (
            streams.places,
            _directory(described.options.get("cwd")),
            _limits(described.options) or None,
            _difference(chain.base_env, env),
            _unless_equal(chain.base_path, host_path()),
            _unless_equal(chain.base_argv, list(sys.argv)),
        )
        metadata = _plain(described.options.get("metadata", {})) or None
        main_file = getattr(sys.modules.get("__main__"), "__file__", None)
        work = (order.path, order.incarnation, order.round, order.level, metadata, loop, main_file, call)
        return describe(setting, work), self._stage(loop, call)

    def _stage(self, loop: bool, call: bytes) -> int:
        """How much a template must have imported before it forks this child."""
        if self._preload:
            return PRELOADED
        if loop:
            return LOOP
        return BY_VALUE if b"cloudpickle" in call else PLAIN

    def _prepare(self, chain: Chain, stage: int) -> tuple[ProcessChild, Callable[[], None]]:
        """A child that is not born yet, and the request for it."""
        from asyncproc._runtime.pairs import own_pair

        link = chain.template()  # first: a new one needs its time
        ours, theirs = own_pair()
        from asyncproc._runtime.process import ProcessChild

        number, index = chain.next_number()
        child = ProcessChild(self._loop, chain, ours, number, index, link)

        def fork() -> None:
            link.request("fork", number, index, stage, fds=[theirs.fileno()], keep=theirs, owes=True)

        return child, fork

    def _take_spare(self) -> ProcessChild | None:
        while self._spares:
            spare = self._spares.pop()
            if not spare.ended and spare.pid is not None:
                return spare
        return None

    def _plan_refill(self) -> None:
        if self._wanted_spares and not self._closed:
            if self._refill is not None:
                self._refill.cancel()
            self._refill = self._loop.call_later(REFILL_AFTER, self._fill)

    def _fill(self) -> None:
        self._refill = None
        chain = self._chain
        while chain is not None and len(self._spares) < self._wanted_spares:
            try:
                spare, fork = self._prepare(chain, PRELOADED if self._preload else LOOP)
            except OSError:  # no descriptors to spare: the next start says so by name, if it needs one
                return
            fork()
            self._spares.append(spare)

    def _start_command(self, spec: Any, order: Order, watcher: Watcher) -> Child:
        from asyncproc._runtime.command import CommandChild
        from asyncproc._runtime.stdio import Streams

        command: Command = spec
        options = command._asyncproc.options
        chain = self.chain()
        env = self._env(options, chain.base_env)
        wanted = {
            "stdin": options.get("stdin", "null"),
            "stdout": self._shown(options, "stdout", "capture"),
            "stderr": self._shown(options, "stderr", "capture"),
        }
        streams = Streams(self._loop, wanted, self._shower(order), options.get("max_output", 1 << 20))
        number, index = chain.next_number()
        request = (
            _words(command.argv),
            _programs(command.argv[0], env),
            os.fsencode(_directory(options.get("cwd"))),
            _pairs(env),
        )
        child = CommandChild(self._loop, chain, command, order, watcher, streams, number, index)
        _send_command(chain, number, index, request, _limits(options), streams)
        return child

    # --- what a child is given -------------------------------------------------------------------------------------------

    def _shown(self, options: Mapping[str, Any], stream: str, default: str) -> Any:
        wanted = options.get(stream, default)
        return "tee" if self._shows_all and wanted in ("capture", "inherit") and stream not in options else wanted

    def _shower(self, order: Order) -> Callable[[str, bytes], None] | None:
        on_line = self._on_line
        if on_line is None:
            return None
        path = order.path
        return lambda stream, data: on_line(path, stream, data)

    def _env(self, options: Mapping[str, Any], base: Mapping[str, str]) -> dict[str, str]:
        from asyncproc._runtime.warden import RUN_VARIABLE

        env = {**os.environ, RUN_VARIABLE: base[RUN_VARIABLE]} if options.get("inherit_env", True) else {}
        for name, value in options.get("env", {}).items():
            if value is None:
                env.pop(name, None)
            else:
                env[name] = value
        return env


class Stillborn:
    """A child that could not be made: it has ended before it began."""

    pid: int | None = None

    def __init__(self, order: Order, watcher: Watcher, error: BaseException) -> None:
        watcher.on_exit(Exit(order.path, order.incarnation, Reason.CRASHED, error=error), None)

    def take_rung(self, rung: object) -> None:
        """It has ended."""

    def signal(self, number: int) -> None:
        """It has ended."""

    def abandon(self) -> None:
        """It has ended."""

    def send_value(self, value: object) -> int:
        return 0

    def send_credit(self, count: int) -> None:
        """It has ended."""


def _portable(spec: Body[Any]) -> Body[Any]:
    """The spec as it travels: of the class form a copy without options, which are the owner's business."""
    if spec._asyncproc.target is not None:
        return spec
    body = copy.copy(spec)
    object.__setattr__(body, "_asyncproc", Described(spec._asyncproc.kind, {}))
    return body


def _plain(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata as it can travel beside the call: what is no plain value goes as its text."""
    kept: dict[str, Any] = {}
    for key, value in metadata.items():
        try:
            marshal.dumps(value)
            kept[key] = value
        except ValueError:
            kept[key] = repr(value)
    return kept


def _cwd() -> str:
    try:
        return os.getcwd()
    except OSError:  # it has been removed
        return "/"


def _directory(cwd: Any) -> str:
    return _cwd() if cwd is None else os.path.abspath(os.path.expandvars(os.path.expanduser(os.fsdecode(cwd))))


def _limits(options: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: options[name] for name in ("nice", "umask") if name in options}
    if "cpus" in options:
        found["cpus"] = tuple(options["cpus"])
    if options.get("rlimits"):
        pairs = {name.lower().removeprefix("rlimit_"): limit for name, limit in options["rlimits"].items()}
        found["rlimits"] = {
            RLIMITS[name]: limit if isinstance(limit, tuple) else (limit, limit) for name, limit in pairs.items()
        }
    return found


def _unless_equal(base: list[str], wanted: list[str]) -> list[str] | None:
    return None if base == wanted else wanted


def _difference(base: Mapping[str, str], wanted: Mapping[str, str]) -> tuple[list[str], dict[str, str]] | None:
    if base == wanted:
        return None
    changed = {name: value for name, value in wanted.items() if base.get(name) != value}
    return [name for name in base if name not in wanted], changed


def _words(argv: tuple[str, ...]) -> list[bytes]:
    return [os.fsencode(word) for word in argv]


def _pairs(env: Mapping[str, str]) -> list[bytes]:
    return [os.fsencode(name) + b"=" + os.fsencode(value) for name, value in env.items()]


def _programs(program: str, env: Mapping[str, str]) -> list[bytes]:
    """Where the program may be, in the order in which the child's PATH says."""
    if "/" in program:
        return [os.fsencode(os.path.expanduser(program))]
    return [os.path.join(os.fsencode(folder or "."), os.fsencode(program)) for folder in os.get_exec_path(dict(env))]


def _send_command(
    chain: Chain, number: int, index: int, request: tuple[Any, ...], limits: dict[str, Any], streams: Any
) -> None:
    """Hand a command to the launcher; what is larger than a packet goes in a memory file."""
    if set(limits) - {"umask"}:
        limits["slow"] = True
    words = ("command", number, index, False, *request, limits)
    places = _three(streams)
    data = marshal.dumps(words)
    if len(data) > 1 << 15:
        file = os.memfd_create("command", os.MFD_CLOEXEC)
        with open(file, "wb", closefd=False) as out:
            out.write(data)
        chain.launcher.request("command", number, index, True, fds=[*places, file], owes=True)
        os.close(file)
    else:
        chain.launcher.request(*words, fds=places, owes=True)
    streams.handed_over()


def _three(streams: Any) -> list[int]:
    """The command's three descriptors; the null device where there is none."""
    fds: list[int] = []
    for place in streams.places:
        fds.append(streams.null() if place == -1 else fds[1] if place == -2 else streams.fds[place])
    return fds
