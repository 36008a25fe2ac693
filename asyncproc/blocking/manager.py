"""The manager for code without a loop."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, overload

from asyncproc._core.supervision.state import State
from asyncproc._manager import Manager as AsyncManager
from asyncproc._spec.base import Spec
from asyncproc._spec.group import Member
from asyncproc._supervision.handle import Handle as AsyncHandle
from asyncproc.blocking.face import Face, asked, awaited, iterated
from asyncproc.blocking.handle import Handle, faced
from asyncproc.blocking.portal import Lease, Portal, lease
from asyncproc.errors import StateError

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    from asyncproc._shared.namespace import BlockingNamespace
    from asyncproc.errors import RestartLimitReached

    S = TypeVar("S", default=Any)
    R = TypeVar("R")
else:
    from typing import TypeVar

    S = TypeVar("S")
    R = TypeVar("R")


class Manager(Face, Generic[S]):
    """Owns a tree of children: :class:`asyncproc.Manager` for code without a loop.

    ``with Manager() as manager`` opens it and, on leaving, stops what still runs; an error goes on as it was.
    ``Manager(tree).run()`` opens, runs and closes. Any thread may use it, any number of them at once; its loop runs in a thread
    that all blocking managers of the process share. A program that ends with it open stops its children first.

    Ctrl-C in ``start``, ``run`` and ``close`` first ends what the call began, then is raised; a second one kills it, a third
    does not wait.

    Args:
        tree, name, namespace, grace, launcher, preload, spares: as those of the async one.
    """

    @overload
    def __init__(
        self: Manager[Any],
        tree: Member | None = None,
        *,
        name: str | None = None,
        namespace: Mapping[str, Any] | None = None,
        grace: float | None = 5.0,
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
        launcher: Literal["auto", "portable"] = "auto",
        preload: Sequence[str] = (),
        spares: int = 1,
    ) -> None:
        self._inner: AsyncManager[S] = _Owned(
            tree, name=name, namespace=namespace, grace=grace, launcher=launcher, preload=preload, spares=spares
        )
        self._lease: Lease | None = None

    def __repr__(self) -> str:
        return f"<blocking.{repr(self._inner)[1:]}"

    @property
    def name(self) -> str:
        """The first part of every path."""
        return self._inner.name

    @property
    def _where(self) -> str:
        return f"manager {self.name}"

    @property
    def _portal(self) -> Portal | None:  # type: ignore[override]  # read-only here: it changes with the lease
        return None if self._lease is None else self._lease.portal

    # --- opening and closing --------------------------------------------------------------------------------------------

    def open(self) -> Self:
        """Open it. For where ``with`` cannot stand, e.g. between two notebook cells.

        Raises:
            StateError: it is open already.
        """
        self._check_place("open()", "await manager.aopen()")
        if self._is_open:
            raise StateError(f"manager {self.name!r} is open already")
        held = lease(self._inner)
        try:
            held.portal.call(partial(self._open_with, held), ends=True)
            self._lease = held
        except BaseException:
            if held.is_held:  # Ctrl-C, in the moment in which it had been opened
                held.portal.call(held.aclose, ends=True)
            held.portal.join()
            raise
        return self

    async def _open_with(self, held: Lease) -> None:
        try:
            await self._inner.aopen()
        except BaseException:
            held.give_back()
            raise

    def close(self) -> None:
        """Stop everything and wait until nothing is left. Any thread may call it, any number of times."""
        self._close(self._inner.aclose)

    def _close(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._check_place("close()", "await manager.aclose()")
        held = self._lease
        if held is None:
            self._await("close()", work)
            return
        then = None if held.is_closing else held.give_back  # whoever closes it already, or runs in it, gives it back
        held.is_closing = True
        try:
            self._await("close()", work, ends=True, then=then)
        finally:
            held.portal.join()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._is_foreign:  # a fork leaves the block: the manager is its parent's
            return
        self._close(partial(self._inner.__aexit__, kind, error, traceback))

    def __del__(self) -> None:
        held = getattr(self, "_lease", None)
        if held is not None and held.is_held and not held.is_closing and not self._is_foreign:
            warnings.warn(f"manager {self.name!r} was not closed", ResourceWarning, source=self, stacklevel=1)
            held.portal.abandon(held)

    @property
    def _is_open(self) -> bool:
        return self._lease is not None and self._lease.is_held

    # --- running --------------------------------------------------------------------------------------------------------

    @overload
    def start(self, spec: Spec[R], *, name: str | None = None, replace: bool = False) -> Handle[R]: ...
    @overload
    def start(
        self, spec: Callable[[], Coroutine[Any, Any, R]], *, name: str | None = None, replace: bool = False
    ) -> Handle[R]: ...
    @overload
    def start(self, spec: Callable[[], R], *, name: str | None = None, replace: bool = False) -> Handle[R]: ...
    def start(self, spec: Any, *, name: str | None = None, replace: bool = False) -> Handle[Any]:
        """Begin *spec* and return when it is ready.

        Args:
            name: instead of the spec's own. replace: stop a live node of this name first.

        Raises:
            StartFailed: it ended badly before it was ready; ``__cause__`` is its own exception.
            SpecError: it cannot run as it stands. NameTaken: a live node has this name. StateError: the manager is not open.
        """
        work = partial(self._inner.start, spec, name=name, replace=replace)
        return self._faced(self._await("start()", work, ends=True))

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
        """Make a node for *spec* that has not started; its OnStart gate or ``restart()`` starts it. As on the async one."""
        return self._faced(self._ask("add()", partial(self._inner.add, spec, name=name, replace=replace, hold=hold)))

    @overload
    def run(self, spec: None = None, *, rounds: int | None = 1, binding: bool = True) -> Any: ...
    @overload
    def run(self, spec: Spec[R], *, rounds: int | None = 1, binding: bool = True) -> R: ...
    @overload
    def run(self, spec: Callable[[], Coroutine[Any, Any, R]], *, rounds: int | None = 1, binding: bool = True) -> R: ...
    @overload
    def run(self, spec: Callable[[], R], *, rounds: int | None = 1, binding: bool = True) -> R: ...
    def run(self, spec: Any = None, *, rounds: int | None = 1, binding: bool = True) -> Any:
        """Run a spec (None: the manager's own tree) to its end, and return its result.

        Opens and closes the manager when it is not open.

        Args:
            rounds: passes through the tree; None until stopped. binding: whether the members of the root group wait for each
                other between rounds.

        Raises:
            ExceptionGroup: members of the group failed, nested as the groups are. What the target raised, for a single one.
            SpecError: it cannot run as it stands. StateError: this tree runs already.
        """
        self._check_place("run()", "await manager.run()")
        self._inner.check_run(spec, rounds, binding)
        work = partial(self._inner.run, spec, rounds=rounds, binding=binding)
        if self._is_open:
            return self._await("run()", work, ends=True)
        held = self._lease = lease(self._inner)
        held.is_closing = True
        try:
            return held.portal.call(work, ends=True, then=held.give_back)
        finally:
            held.portal.join()

    def set(self, tree: Member) -> None:
        """Replace the tree; only while nothing of the old one runs.

        Raises:
            StateError: the manager is open.
        """
        self._inner.set(tree)

    # --- ending ---------------------------------------------------------------------------------------------------------

    stop = awaited(AsyncManager.stop)
    kill = awaited(AsyncManager.kill)

    @property
    def stop_bound(self) -> float | None:
        """Seconds that ``stop()`` takes at most; None when a node may take for ever."""
        return self._ask("stop_bound", lambda: self._inner.stop_bound)

    @property
    def given_up(self) -> list[RestartLimitReached]:
        """Who has failed more often than its limit allows since the manager was opened, oldest first, at most 1000."""
        return self._ask("given_up", lambda: self._inner.given_up)

    @property
    def guarantees(self) -> Mapping[str, bool | str]:
        """What holds on this system for this manager's launcher."""
        return self._inner.guarantees

    @property
    def namespace(self) -> BlockingNamespace[S]:
        """The state that this manager and its children share; its blocking face.

        Raises:
            StateError: the manager was given none.
        """
        return self._inner.namespace.sync

    # --- looking --------------------------------------------------------------------------------------------------------

    def find(self, path: str) -> Handle[Any]:
        """The node at *path*, with or without the manager's own name in front.

        Raises:
            UnknownNode: there is none, or it was forgotten.
        """
        return self._faced(self._ask("find()", partial(self._inner.find, path)))

    def nodes(self, pattern: str = "**", *, state: State | None = None) -> Sequence[Handle[Any]]:
        """Every node whose path matches a glob (``**`` any depth, ``*`` within one part), in order of the tree."""
        found = self._ask("nodes()", partial(self._inner.nodes, pattern, state=state))
        return [self._faced(handle) for handle in found]

    forget_ended = asked(AsyncManager.forget_ended)
    tree = asked(AsyncManager.tree)
    events = iterated(AsyncManager.events)
    load = iterated(AsyncManager.load)

    def _faced(self, inner: AsyncHandle[R]) -> Handle[R]:
        return faced(inner, self._portal)


class _Owned(AsyncManager[S]):
    """The async manager beneath; its errors say how the blocking one is opened."""

    _OPENING = "`with`, or open()"


@overload
def run(main: Spec[R], /, *, rounds: int | None = 1, binding: bool = True, grace: float | None = 5.0) -> R: ...
@overload
def run(
    main: Callable[[], Coroutine[Any, Any, R]],
    /,
    *,
    rounds: int | None = 1,
    binding: bool = True,
    grace: float | None = 5.0,
) -> R: ...
@overload
def run(main: Callable[[], R], /, *, rounds: int | None = 1, binding: bool = True, grace: float | None = 5.0) -> R: ...
def run(main: Any, /, *, rounds: int | None = 1, binding: bool = True, grace: float | None = 5.0) -> Any:
    """Run a spec in a manager of its own and return its result: open, run, close.

    Unlike :func:`asyncproc.run` it owns nothing of the program: it hears no signal, and any thread may call it.

    Args:
        rounds, binding: as :meth:`Manager.run`. grace: seconds between asking and killing, for nodes that do not say their own.
    """
    return Manager(main, grace=grace).run(rounds=rounds, binding=binding)
