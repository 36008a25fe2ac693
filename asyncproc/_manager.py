"""The manager: what a program makes and runs. It owns a tree and nothing else: no signal, no SIGCHLD, no main thread."""

from __future__ import annotations

import fnmatch
import os
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, overload

from asyncproc._core.names import name_fault
from asyncproc._core.options import CONCURRENT, GROUPS, LOOPED, SUPERVISOR
from asyncproc._core.stop_report import StopReport
from asyncproc._core.supervision.event import OWN, StopAsked
from asyncproc._core.supervision.state import State
from asyncproc._core.transition import Transition
from asyncproc._engines.choice import LAUNCHERS, guarantees
from asyncproc._ipc.frame import NAMESPACE
from asyncproc._observe.tee import Tee
from asyncproc._root import Root, shown_by
from asyncproc._spec.base import Spec
from asyncproc._spec.current import Current, current
from asyncproc._spec.group import Member, as_spec
from asyncproc._supervision.below import lone_faults
from asyncproc._supervision.events import Events
from asyncproc._supervision.group import handle_of
from asyncproc._supervision.handle import Handle, check_grace, require_loop, started
from asyncproc._supervision.outcome import error_of, results_of
from asyncproc._supervision.planning import kinds_below, tree_faults
from asyncproc.errors import Fault, SpecError, StateError, UnknownNode

if TYPE_CHECKING:
    import asyncio

    from typing_extensions import TypeVar

    from asyncproc._core.snapshot import Snapshot
    from asyncproc._shared.namespace import Namespace
    from asyncproc._shared.server import NamespaceServer
    from asyncproc._supervision.load import Load
    from asyncproc._supervision.place import Place
    from asyncproc.errors import RestartLimitReached

    S = TypeVar("S", default=Any)
    R = TypeVar("R")
else:
    from typing import TypeVar

    S = TypeVar("S")
    R = TypeVar("R")


entered: ContextVar[Manager[Any] | None] = ContextVar("asyncproc manager", default=None)
"""Whose block this task, or the one that has made it, is in."""


class Manager(Generic[S]):
    """Owns a tree of children on the running loop.

    ``async with Manager() as manager`` opens it and, on leaving, stops what still runs. ``Manager(tree).run()`` opens, runs and
    closes. Leaving raises, as an ExceptionGroup, failures of started nodes that nobody awaited.

    Args:
        tree: what ``run()`` without a spec runs. name: first part of every path.
        namespace: the state that all children share: a dataclass instance, a msgspec Struct or a mapping. It is copied.
        grace: seconds between asking and killing, for nodes that do not say their own; None waits for ever.
        resources: what nodes can hold while they live, by name, e.g. ``{"gpu": 2}``: a node with ``resources={"gpu": 1}`` waits
            until that is free. A capacity that is an int has numbered slots, any other is a mere quantity.
        launcher: "auto": on Linux a chain of helper processes, elsewhere as "portable". "portable": each Python child is a
            fresh interpreter, and the manager keeps its children itself; ``guarantees`` says what holds then.
        preload: modules that Python children find imported. spares: Python children that are forked ahead, by the launcher.

    Raises:
        SpecError: a value is wrong; all faults at once.
    """

    _OPENING = "`async with`, or aopen()"

    @overload
    def __init__(
        self: Manager[Any],
        tree: Member | None = None,
        *,
        name: str | None = None,
        namespace: Mapping[str, Any] | None = None,
        grace: float | None = 5.0,
        resources: Mapping[str, float] | None = None,
        launcher: Literal["auto", "portable"] = "auto",
        preload: Sequence[str] = (),
        spares: int = 1,
    ) -> None: ...
    @overload
    def __init__(
        self,
        tree: Member | None = None,
        *,
        name: str | None = None,
        namespace: S,
        grace: float | None = 5.0,
        resources: Mapping[str, float] | None = None,
        launcher: Literal["auto", "portable"] = "auto",
        preload: Sequence[str] = (),
        spares: int = 1,
    ) -> None: ...
    def __init__(
        self,
        tree: Member | None = None,
        *,
        name: str | None = None,
        namespace: Any = None,
        grace: float | None = 5.0,
        resources: Mapping[str, float] | None = None,
        launcher: Literal["auto", "portable"] = "auto",
        preload: Sequence[str] = (),
        spares: int = 1,
    ) -> None:
        faults = _manager_faults(name, grace, resources, launcher, preload, spares)
        self._state = None if namespace is None else _state_server(name or "app", namespace, faults)
        if faults:
            raise SpecError(faults)
        self._tree = None if tree is None else as_spec(tree, name or "app")
        self._above = _own_child()
        self._name = name or "app" if self._above is None else f"{self._above.path}/{name or 'app'}"
        self._grace = grace
        self._resources = dict(resources or {})
        self._engine_options: dict[str, Any] = {"launcher": launcher, "preload": tuple(preload), "spares": spares}
        self._root: Root | None = None
        self._around: Manager[Any] | None = None  # whose block this one's is in

    def __repr__(self) -> str:
        state = "open" if self._is_open else "not open"
        return f"<Manager {self._name}, {state}>"

    @property
    def name(self) -> str:
        """The first part of every path."""
        return self._name

    # --- opening and closing --------------------------------------------------------------------------------------------

    @property
    def _is_open(self) -> bool:
        return self._root is not None and not self._root.closed

    async def aopen(self) -> Self:
        """Open it on the running loop. For where ``async with`` cannot stand, e.g. between two notebook cells.

        A Supervisor as its tree is started, and ready when this returns; anything else waits for :meth:`run`.

        Raises:
            StartFailed: a member of the Supervisor ended badly before it was ready; all are stopped, and the manager is closed.
            StateError: it is open already.
        """
        root = self._open()
        if self._tree is not None and self._tree._asyncproc.kind == SUPERVISOR:
            await self._open_tree(root, self._tree)
        return self

    def _open(self) -> Root:
        if self._is_open:
            raise StateError(f"manager {self._name!r} is open already")
        show = shown_by.get() or Tee()
        self._root = Root(self._name, self._tree, self._grace, resources=self._resources, show=show, **self._engine_options)
        if self._above is not None:  # that child's end is the end of all that it has: in order, and before it is killed
            self._root.end_with(self._above._line)
        if self._state is not None:
            self._state.serve(self._root.loop)
            self._root.supervisor.services[NAMESPACE] = self._state
            self._root.supervisor.on_close.append(self._state.close)
        return self._root

    async def _open_tree(self, root: Root, tree: Spec[Any]) -> None:
        if faults := [*lone_faults(tree, self._name), *tree_faults(tree, self._name)]:
            await root.aclose()
            raise SpecError(faults)
        root.engine.warm_up(kinds_below(tree))
        assert root.tree is not None
        root.begin_tree(root.tree)
        try:
            await started(handle_of(root.supervisor, root.tree))
        except BaseException:
            await root.aclose()
            raise

    async def aclose(self) -> None:
        """Stop everything and wait until nothing is left. Any task may call it, any number of times."""
        if self._is_open:
            self._opened_here()
        if self._root is not None:
            await self._root.aclose()

    async def __aenter__(self) -> Self:
        await self.aopen()
        self._around = entered.get()
        entered.set(self)
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if entered.get() is self:
            entered.set(self._around)
        self._around = None
        await self.aclose()
        assert self._root is not None
        untold = [failure for place in self._root.below.places if (failure := _untold(place)) is not None]
        if not untold:
            return
        if error is None:
            raise BaseExceptionGroup(f"{len(untold)} node(s) of {self._name} failed and nobody awaited them", untold)
        for failure in untold:
            error.add_note(f"meanwhile a node failed: {type(failure).__name__}: {failure}")

    def __del__(self) -> None:
        root = getattr(self, "_root", None)
        if root is not None and not root.closed:
            try:
                warnings.warn(f"manager {self._name!r} was not closed", ResourceWarning, source=self, stacklevel=1)
            finally:  # warnings may be errors
                root.abandon()

    def _opened(self) -> Root:
        if self._root is None or self._root.closed:
            raise StateError(f"manager {self._name!r} is not open: use {self._OPENING}")
        return self._root

    def _opened_here(self) -> Root:
        root = self._opened()
        require_loop(root.loop, f"manager {self._name!r}")
        return root

    # --- running --------------------------------------------------------------------------------------------------------

    @overload
    async def start(self, spec: Spec[R], *, name: str | None = None, replace: bool = False) -> Handle[R]: ...
    @overload
    async def start(
        self, spec: Callable[[], Coroutine[Any, Any, R]], *, name: str | None = None, replace: bool = False
    ) -> Handle[R]: ...
    @overload
    async def start(self, spec: Callable[[], R], *, name: str | None = None, replace: bool = False) -> Handle[R]: ...
    async def start(self, spec: Any, *, name: str | None = None, replace: bool = False) -> Handle[Any]:
        """Begin *spec* and return when it is ready.

        Args:
            name: instead of the spec's own. replace: stop a live node of this name first.

        Raises:
            StartFailed: it ended badly before it was ready; ``__cause__`` is its own exception.
            SpecError: it cannot run as it stands. NameTaken: a live node has this name. StateError: the manager is not open.
        """
        root = self._opened_here()
        place = await self._place(root, spec, name, replace)
        handle = handle_of(root.supervisor, place)
        root.below.begin(place)
        await started(handle)
        return handle

    @overload
    def add(self, spec: Spec[R], *, name: str | None = None, replace: bool = False, hold: bool = False) -> Handle[R]: ...
    @overload
    def add(
        self, spec: Callable[[], Coroutine[Any, Any, R]], *, name: str | None = None, replace: bool = False, hold: bool = False
    ) -> Handle[R]: ...
    @overload
    def add(
        self, spec: Callable[[], R], *, name: str | None = None, replace: bool = False, hold: bool = False
    ) -> Handle[R]: ...
    def add(self, spec: Any, *, name: str | None = None, replace: bool = False, hold: bool = False) -> Handle[Any]:
        """Make a node for *spec* that has not started, in state CREATED; its OnStart gate or ``restart()`` starts it.

        Args:
            name: instead of the spec's own. replace: take the place of a node that has not started either; one that runs
                must be stopped first, as this cannot wait.
            hold: let the child wait at each of its phases until the gate of that phase was entered and left.

        Raises:
            SpecError: it cannot run as it stands, or has no phases to be held at. NameTaken: a live node has this name.
            StateError: the manager is not open.
        """
        root = self._opened_here()
        ran, made = root.below.checked(spec, name, _hold_faults if hold else tree_faults)
        if made is None:
            made = root.below.free_name(ran.made_name)
        else:
            if replace and root.below.may_replace(made):
                old = root.supervisor.by_path[f"{root.supervisor.root.path}/{made}"]
                root.supervisor.post(StopAsked(old.id, 0.0, "another of its name"))
            root.below.take_name(made)
        root.engine.warm_up(kinds_below(ran))
        place = root.supervisor.add(ran, root.supervisor.root, made, hold)
        root.below.retire(place)
        return handle_of(root.supervisor, place)

    @overload
    async def run(self, spec: None = None, *, rounds: int | None = 1, binding: bool = True) -> Any: ...
    @overload
    async def run(self, spec: Spec[R], *, rounds: int | None = 1, binding: bool = True) -> R: ...
    @overload
    async def run(self, spec: Callable[[], Coroutine[Any, Any, R]], *, rounds: int | None = 1, binding: bool = True) -> R: ...
    @overload
    async def run(self, spec: Callable[[], R], *, rounds: int | None = 1, binding: bool = True) -> R: ...
    async def run(self, spec: Any = None, *, rounds: int | None = 1, binding: bool = True) -> Any:
        """Run a spec (None: the manager's own tree) to its end, and return its result.

        Opens and closes the manager when it is not open. Cancelled, it ends what it began before the cancellation goes on.

        Args:
            rounds: passes through the tree; None until stopped. binding: whether the members of the root group wait for each
                other between rounds.

        Raises:
            ExceptionGroup: members of the group failed, nested as the groups are. What the target raised, for a single one.
            SpecError: it cannot run as it stands. StateError: this tree runs already.
        """
        self.check_run(spec, rounds, binding)
        if self._is_open:
            return await self._run(self._opened_here(), spec, rounds, binding)
        async with self:
            return await self._run(self._opened(), spec, rounds, binding)

    async def _run(self, root: Root, spec: Any, rounds: int | None, binding: bool) -> Any:
        own = spec is None
        if own:
            assert self._tree is not None
            root.engine.warm_up(kinds_below(self._tree))  # first, as in _place
            place = root.tree
            assert place is not None
        else:
            place = await self._place(root, spec, None, False)
        if own and root.took_over():
            exit = await root.ended(place, "a cancelled run()")
        else:
            exit = await root.run(place, rounds, binding, "a cancelled run()")
        error = error_of(place, exit)
        result = results_of(place) if place.spec._asyncproc.kind in GROUPS else place.result
        if not own:
            root.supervisor.forget(place)
        if error is not None:
            raise error
        return result

    def check_run(self, spec: Any, rounds: int | None, binding: bool) -> None:
        """Raise SpecError, with all faults, for what :meth:`run` would refuse; nothing starts."""
        if spec is None and self._tree is None:
            raise SpecError([Fault(self._name, "spec", None, "is needed: this manager has no tree of its own")])
        ran = self._tree if spec is None else as_spec(spec, self._name)
        assert ran is not None
        path = self._name if spec is None else f"{self._name}/{ran._asyncproc.options.get('name', ran.made_name)}"
        faults = [*lone_faults(ran, path), *tree_faults(ran, path)]
        if rounds is not None and (not isinstance(rounds, int) or isinstance(rounds, bool) or rounds < 0):
            faults.append(Fault(self._name, "rounds", rounds, "must be an int >= 0, or None"))
        if ran._asyncproc.kind == SUPERVISOR and rounds != 1:
            faults.append(Fault(self._name, "rounds", rounds, "must be 1: a Supervisor keeps its members running as it is"))
        if not binding and ran._asyncproc.kind != CONCURRENT:
            faults.append(Fault(self._name, "binding", binding, f"needs a Concurrent root, not a {ran._asyncproc.kind}"))
        if faults:
            raise SpecError(faults)

    async def _place(self, root: Root, spec: Any, name: str | None, replace: bool) -> Place:
        ran, made = root.below.checked(spec, name)
        root.engine.warm_up(kinds_below(ran))  # first: what follows is loaded while the helpers start
        return await root.below.place(ran, made, replace)

    def set(self, tree: Member) -> None:
        """Replace the tree; only while nothing of the old one runs.

        Raises:
            StateError: the manager is open.
        """
        if self._is_open:
            raise StateError(f"manager {self._name!r} is open: its tree can be set before it is opened and after it is closed")
        self._tree = as_spec(tree, self._name)

    # --- ending ---------------------------------------------------------------------------------------------------------

    async def stop(self, grace: float | None = OWN) -> StopReport:
        """Ask everything to end: what runs gets its ladder, nothing new starts, what was not begun is skipped.

        Cancelled, it goes on to its end, within its bound, before the cancellation does; cancelled once more, it kills.
        Several calls at once are one stop, and get the same report.

        Args:
            grace: seconds between asking and killing, instead of each node's own; None: each ends its current work.
        """
        if not self._is_open:
            return StopReport((), (), (), 0.0)
        return await self._opened_here().stop(check_grace(self._name, grace), "manager.stop()")

    async def kill(self) -> StopReport:
        """End everything now; returns when all have really ended."""
        if not self._is_open:
            return StopReport((), (), (), 0.0)
        return await self._opened_here().kill("manager.kill()")

    @property
    def stop_bound(self) -> float | None:
        """Seconds that ``stop()`` takes at most; None when a node may take for ever."""
        return 0.0 if self._root is None else self._root.stop_bound

    @property
    def given_up(self) -> list[RestartLimitReached]:
        """Who has failed more often than its limit allows since the manager was opened, oldest first, at most 1000.

        Each with its path in its text, the failures as ``exits`` and what the last one was raised as, as its cause. One that
        was started again since stays in the list.
        """
        return [] if self._root is None else list(self._root.supervisor.given_up)

    @property
    def guarantees(self) -> Mapping[str, bool | str]:
        """What holds on this system for this manager's launcher: True, False, or the condition under which it does."""
        return guarantees(self._engine_options["launcher"])

    # --- what is shared -------------------------------------------------------------------------------------------------

    @property
    def namespace(self) -> Namespace[S]:
        """The state that this manager and its children share. Usable before opening and after closing too.

        Raises:
            StateError: the manager was given none.
        """
        if self._state is None:
            raise StateError(f"manager {self._name!r} was given no namespace: Manager(namespace=State())")
        return self._state.owners

    # --- looking --------------------------------------------------------------------------------------------------------

    def find(self, path: str) -> Handle[Any]:
        """The node at *path*, with or without the manager's own name in front.

        Raises:
            UnknownNode: there is none, or it was forgotten.
        """
        root = self._known()
        for candidate in (path, f"{self._name}/{path}"):
            place = root.supervisor.by_path.get(candidate)
            if place is not None:
                return handle_of(root.supervisor, place)
        raise UnknownNode(f"manager {self._name!r} has no node {path!r}")

    def nodes(self, pattern: str = "**", *, state: State | None = None) -> Sequence[Handle[Any]]:
        """Every node whose path matches a glob (``**`` any depth, ``*`` within one part), in order of the tree."""
        root = self._known()
        places = [root.supervisor.places[view.id] for view in root.supervisor.machine.subtree(root.supervisor.root.id)]
        found = [place for place in places if _matches(place.path, pattern, self._name)]
        handles = [
            handle_of(root.supervisor, place) for place in found if place is not root.supervisor.root or place is root.tree
        ]
        return [handle for handle in handles if state is None or handle.state is state]

    def forget_ended(self) -> int:
        """Forget nodes that were started and have ended; returns how many."""
        return self._opened().below.forget_ended()

    def tree(self) -> Snapshot:
        """A consistent picture of all nodes, as data: ``.text()``, ``.json()``."""
        from asyncproc._supervision.picture import snapshot_of

        return snapshot_of(self._known().supervisor)

    def events(self) -> AsyncIterator[Transition]:
        """Every transition from now on, in order, until the manager is closed. A slow reader loses the oldest, counted."""
        root = self._opened()
        events = Events(root.supervisor, lambda moved: True, lambda: root.closed)
        root.supervisor.on_close.append(events.wake)
        return events

    def load(
        self,
        *,
        every: float = 5.0,
        disk: str | os.PathLike[str] | None = "/",
        thresholds: Mapping[str, tuple[float, float]] | None = None,
        also: Mapping[str, Callable[[], float | None]] | None = None,
    ) -> Load:
        """How loaded the machine is, to throttle by: sampled from now on, until it is closed, and only then.

        Shares are of what this process may have: its processors, and the limits of its control groups. Close it, best by
        ``async with``.

        Args:
            every: seconds between samples. disk: a path on the file system that counts, which must be a local one; None: none.
            thresholds: shares of a warning and of what is critical, by resource: ``{"cpu": (0.7, 0.9)}``; these are what
                ``cpu`` and ``memory`` have anyway, and what is in *also*; ``disk`` has ``(0.8, 0.95)``.
            also: more to be measured, by name: each called on the loop for a share, 0 to 1, or None; it must not block.

        Raises:
            SpecError: a value is wrong; all faults at once. StateError: the manager is not open.
        """
        from asyncproc._core.load import thresholds_of
        from asyncproc._runtime.load import readers
        from asyncproc._supervision.load import Load

        root = self._opened_here()
        if faults := _load_faults(self._name, every, disk, thresholds, also):
            raise SpecError(faults)
        measured = {**readers(None if disk is None else os.fspath(disk)), **(also or {})}
        return Load(root.supervisor, every, measured, thresholds_of(list(measured), thresholds or {}))

    def _known(self) -> Root:
        if self._root is None:
            raise StateError(f"manager {self._name!r} was never opened: it has no nodes yet")
        return self._root


def open_until_the_loop_ends(manager: Manager[Any]) -> None:
    """Open one that has no tree, on the running loop, which closes it at its end."""
    manager._open().closes_with_loop = True


def is_open_on(manager: Manager[Any], loop: asyncio.AbstractEventLoop) -> bool:
    """Whether nodes can be started in it here."""
    root = manager._root
    return root is not None and not root.closed and not root.supervisor.closing and root.loop is loop


def _manager_faults(name: Any, grace: Any, resources: Any, launcher: Any, preload: Any, spares: Any) -> list[Fault]:
    from asyncproc._core.options import HONOURED

    path = str(name)
    faults = []
    if name is not None and (rule := name_fault(name)) is not None:
        faults.append(Fault(path, "name", name, rule))
    if (rule := HONOURED["grace"][1](grace)) is not None:
        faults.append(Fault(path, "grace", grace, rule))
    if (rule := HONOURED["resources"][1]({} if resources is None else resources)) is not None:
        faults.append(Fault(path, "resources", resources, rule))
    if launcher not in LAUNCHERS:
        faults.append(Fault(path, "launcher", launcher, f"must be one of {', '.join(map(repr, LAUNCHERS))}"))
    if isinstance(preload, str) or not all(isinstance(module, str) for module in preload):
        faults.append(Fault(path, "preload", preload, "must be a sequence of module names"))
    if not isinstance(spares, int) or isinstance(spares, bool) or spares < 0:
        faults.append(Fault(path, "spares", spares, "must be an int >= 0"))
    return faults


def _load_faults(name: str, every: Any, disk: Any, thresholds: Any, also: Any) -> list[Fault]:
    from asyncproc._core.load import threshold_fault

    faults = []
    if not isinstance(every, int | float) or isinstance(every, bool) or not every > 0:
        faults.append(Fault(name, "every", every, "must be seconds > 0"))
    if disk is not None and not (isinstance(disk, str | os.PathLike) and os.path.exists(disk)):
        faults.append(Fault(name, "disk", disk, "must be a path that exists, or None"))
    own = ["cpu", "memory", *([] if disk is None else ["disk"])]
    more = {} if also is None else also
    if not isinstance(more, Mapping) or not all(isinstance(what, str) and callable(read) for what, read in more.items()):
        faults.append(Fault(name, "also", also, "must be a mapping of names and what tells a share"))
    elif taken := [what for what in more if what in own]:
        faults.append(Fault(name, "also", also, f"must have names of its own, and {taken[0]!r} is measured anyway"))
    elif (rule := threshold_fault({} if thresholds is None else thresholds, [*own, *more])) is not None:
        faults.append(Fault(name, "thresholds", thresholds, rule))
    return faults


def _state_server(name: str, state: Any, faults: list[Fault]) -> NamespaceServer | None:
    from asyncproc._shared.server import NamespaceServer

    try:
        return NamespaceServer(name, state)
    except SpecError as error:
        faults += error.faults
        return None


def _hold_faults(spec: Spec[Any], path: str) -> list[Fault]:
    """Of one that is held, arguments that it lacks may still be added; who steps it says when it starts."""
    kind, options = spec._asyncproc.kind, spec._asyncproc.options
    if kind in LOOPED:
        words = [word for word in ("schedule", "watch") if options.get(word)]
        return [Fault(path, word, options[word], "is not for what is held: its gates say when it starts") for word in words]
    return [Fault(path, "hold", True, f"is for what has phases: {', '.join(sorted(LOOPED))}; not a {kind}")]


def _own_child() -> Current | None:
    """The child that this code runs in: a manager in one continues its path, and ends with it."""
    try:
        return current()
    except StateError:
        return None


def _matches(path: str, pattern: str, root: str) -> bool:
    parts = path.split("/")
    return _match_parts(parts, pattern.split("/")) or (
        path.startswith(f"{root}/") and _match_parts(path[len(root) + 1 :].split("/"), pattern.split("/"))
    )


def _match_parts(parts: list[str], patterns: list[str]) -> bool:
    if not patterns:
        return not parts
    if patterns[0] == "**":
        return any(_match_parts(parts[cut:], patterns[1:]) for cut in range(len(parts) + 1))
    return bool(parts) and fnmatch.fnmatchcase(parts[0], patterns[0]) and _match_parts(parts[1:], patterns[1:])


def _untold(place: Place) -> BaseException | None:
    exit = place.view.exit
    if exit is None or not exit.failed or place.awaited:
        return None
    return error_of(place, exit)
