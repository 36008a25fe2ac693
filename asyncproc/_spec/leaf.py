"""What runs a target: ``Process``, ``Thread``, ``Coroutine``. The three are spelled alike and differ in where the code runs."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from collections.abc import Coroutine as CoroutineType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVarTuple, Unpack, overload

from asyncproc._core import options as kinds
from asyncproc._core.names import legal
from asyncproc._spec.base import Described, LoopOptions, ProcessOptions, Spec
from asyncproc._spec.callables import is_async, name_of, runs_on_loop
from asyncproc._spec.current import BlockingCurrent, Current, current
from asyncproc._spec.setup import ARGUMENTS, Setup, hook_fault
from asyncproc.errors import Fault, SpecError

if TYPE_CHECKING:
    import logging
    import threading
    from typing import Never

    from typing_extensions import TypeVar

    from asyncproc._core.lifecycle.loop_times import LoopReport
    from asyncproc._shared.namespace import Namespace

    T = TypeVar("T", default=Any)
else:
    from typing import TypeVar

    T = TypeVar("T")
Ts = TypeVarTuple("Ts")

RESERVED = frozenset(
    {
        "name",
        "pid",
        "current_loop",
        "loops",
        "is_last_loop",
        "last_loop_time",
        "metadata",
        "namespace",
        "store",
        "shared",
        "log",
    }
    | {"sync", "loop_report", "rejoin", "force_finish", "ready", "background", "send", "receive"}
    | {"on_start", "before_loop", "loop", "after_loop", "on_finish"}
)
"""What the framework keeps on ``self`` of the class form."""


class Body(Spec[T]):
    """A target and its arguments, or a class with a ``loop`` method."""

    KIND: ClassVar[str]
    _defaults: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        faults = [
            Fault(cls.__name__, name, base.__dict__[name], "is the framework's own name: choose another")
            for base in cls.__mro__[: cls.__mro__.index(Body)]
            for name in sorted(RESERVED.difference(ARGUMENTS, ("loop",)))
            if name in base.__dict__
        ]
        if faults:
            raise SpecError(faults)

    def _describe(
        self,
        target: Callable[..., Any] | None,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any] | None,
        options: Mapping[str, Any],
    ) -> None:
        described = Described(
            self.KIND, {**self._defaults, **options}, target, args, kwargs if isinstance(kwargs, Mapping) else {}
        )
        object.__setattr__(self, "_asyncproc", described)
        hint = _spelling_fault(self, kwargs, options)
        if hint is not None:
            raise SpecError([hint])
        self._check()

    def _faults(self, path: str) -> list[Fault]:
        described = self._asyncproc
        faults = super()._faults(path)
        method = getattr(type(self), "loop", None)
        if described.target is None:
            if method is None:
                faults.append(Fault(path, "target", None, "is needed, or a class with a method `loop`"))
            faults += _hook_faults(path, self)
        elif not callable(described.target):
            faults.append(Fault(path, "target", described.target, "must be callable"))
        elif method is not None:
            faults.append(Fault(path, "target", described.target, "cannot be given beside a method `loop`"))
        else:
            faults += _argument_faults(path, described)
        if self.KIND == kinds.COROUTINE and not faults and not is_async(self.work):
            faults.append(
                Fault(path, "target", self.work, "must be a coroutine function: a plain one would block the loop; use Thread")
            )
        heartbeat = described.options.get("heartbeat")
        if self.KIND == kinds.THREAD and heartbeat is not None and not faults and not self.needs_loop:
            rule = "needs an async target or hook: plain code in a thread has no beat; limit it by timeouts={'loop': seconds}"
            faults.append(Fault(path, "heartbeat", heartbeat, rule))
        return faults

    @property
    def made_name(self) -> str:
        target = self._asyncproc.target
        return legal(type(self).__name__ if target is None else name_of(target))

    @property
    def work(self) -> Callable[..., Any]:
        """What is called in the child."""
        target = self._asyncproc.target
        return self.loop if target is None else target

    @property
    def needs_loop(self) -> bool:
        """Whether the child needs an event loop: its target or any of its hooks is async."""
        if is_async(self.work) or any(runs_on_loop(getattr(self, hook)) for hook in self.own_hooks):
            return True
        setup = self._asyncproc.options.get("setup")
        return setup is not None and setup.runs_on_loop

    @property
    def own_hooks(self) -> list[str]:
        """The phases that the class form has methods for."""
        if self._asyncproc.target is not None:
            return []
        return [phase for phase in ARGUMENTS if hasattr(type(self), phase)]

    if TYPE_CHECKING:
        # In the child, `self` answers as current() does; nothing of it can be assigned to.
        @property
        def name(self) -> str: ...
        @property
        def pid(self) -> int: ...
        @property
        def current_loop(self) -> int: ...
        @property
        def loops(self) -> int | None: ...
        @property
        def is_last_loop(self) -> bool: ...
        @property
        def last_loop_time(self) -> float | None: ...
        @property
        def log(self) -> logging.LoggerAdapter[logging.Logger]: ...
        def loop_report(self, title: str | None = None) -> LoopReport: ...
        def rejoin(self) -> None: ...
        def force_finish(self) -> Never: ...
        def ready(self) -> None: ...
        def background(
            self, target: Callable[[Unpack[Ts]], object], /, *args: Unpack[Ts], name: str | None = None, loops: int | None = 1
        ) -> threading.Thread: ...
        @property
        def metadata(self) -> dict[str, Any]: ...
        @property
        def namespace(self) -> Namespace[Any]: ...
        @property
        def sync(self) -> BlockingCurrent: ...
        async def send(self, value: object) -> None: ...
        async def receive(self) -> Any: ...

        # The phases, for subclasses to define; plain or async.
        def on_start(self) -> object: ...
        def before_loop(self) -> object: ...
        def loop(self, *args: Any, **kwargs: Any) -> T | Awaitable[T]: ...
        def after_loop(self, result: T) -> object: ...
        def on_finish(self) -> object: ...

    else:  # hidden from checkers: a __new__ would stand before the overloads of __init__, and __getattr__ would allow any name

        def __new__(cls, *args: Any, **options: Any) -> Body[T]:
            made = super().__new__(cls)
            # A user's __init__ need not call super: what it does not say is said here.
            object.__setattr__(made, "_asyncproc", Described(cls.KIND, cls._defaults))
            return made

        def __setattr__(self, name: str, value: object) -> None:
            if name in RESERVED:
                raise SpecError([Fault(type(self).__name__, name, value, "is the framework's own name: choose another")])
            object.__setattr__(self, name, value)

        def __getattr__(self, name: str) -> Any:
            # In the child, `self` answers as current() does; in the owner it is a description and has none of this.
            if name in RESERVED and name not in ("loop", *ARGUMENTS):
                return getattr(_view(self), name)
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


def _view(spec: Body[Any]) -> Current:
    try:
        return current()
    except Exception:
        raise AttributeError(f"{type(spec).__name__} runs nowhere yet: ask its handle") from None


def _spelling_fault(spec: Body[Any], kwargs: object, options: Mapping[str, Any]) -> Fault | None:
    name = spec.made_name
    if "target" in options or "args" in options:
        rule = f"is not how it is spelled: write {type(spec).__name__}(target, *args, kwargs={{...}})"
        return Fault(name, "target" if "target" in options else "args", options.get("target", options.get("args")), rule)
    if kwargs is not None and not isinstance(kwargs, Mapping):
        return Fault(name, "kwargs", kwargs, "must be a mapping of the target's keyword arguments")
    return None


def _hook_faults(path: str, spec: Body[Any]) -> list[Fault]:
    """What is wrong with the methods of the class form."""
    faults = []
    for phase in spec.own_hooks:
        rule = hook_fault(phase, getattr(spec, phase), ARGUMENTS[phase][1:])
        if rule is not None:
            rule = rule.replace("(", "(self, ").replace(", )", ")")
            faults.append(Fault(path, phase, getattr(type(spec), phase), rule))
    return faults


def _argument_faults(path: str, described: Described) -> list[Fault]:
    """What is wrong with the arguments for good; what is merely missing is noted, as hooks may still add it."""
    target = described.target
    assert target is not None
    try:
        signature = inspect.signature(target)
    except (ValueError, TypeError):  # a builtin that does not tell
        return []
    try:
        signature.bind(*described.args, **described.kwargs)
    except TypeError as error:
        described.missing = f"do not fit {name_of(target)}{signature}: {error}"
    else:
        return []
    try:
        signature.bind_partial(*described.args, **described.kwargs)
    except TypeError as error:
        return [Fault(path, "args", described.args, f"do not fit {name_of(target)}{signature}: {error}")]
    return []


def missing_faults(path: str, spec: Spec[Any]) -> list[Fault]:
    """Arguments that the target needs and nothing will add; asked when the spec is about to start.

    Of the class form everything: an ``__init__`` that does not call super has had nothing checked.
    """
    described = spec._asyncproc
    if isinstance(spec, Body) and described.target is None:
        return spec._faults(path)
    if described.missing is None or (isinstance(spec, Body) and _may_be_added_to(spec)):
        return []
    return [Fault(path, "args", described.args, described.missing)]


def _may_be_added_to(spec: Body[Any]) -> bool:
    setup: Setup | None = spec._asyncproc.options.get("setup")
    return setup is not None and setup.adds_arguments


class Process(Body[T]):
    """Run a target in a child process of its own.

    ``Process(target, *args, kwargs=None, **options)``: what follows the target positionally is the target's, keywords are ours.
    Subclasses define ``loop`` instead; keywords of the class statement are defaults for its instances.

    Raises:
        SpecError: an option, the target or its arguments are wrong; all faults at once, before anything starts.
    """

    KIND = kinds.PROCESS

    def __init_subclass__(cls, **defaults: Unpack[ProcessOptions]) -> None:
        super().__init_subclass__()
        cls._defaults = {**cls._defaults, **defaults}

    @overload
    def __init__(
        self, *, kwargs: Mapping[str, Any] | None = None, setup: Setup | None = None, **options: Unpack[ProcessOptions]
    ) -> None: ...
    @overload
    def __init__(
        self,
        target: Callable[[Unpack[Ts]], CoroutineType[Any, Any, T]],
        /,
        *args: Unpack[Ts],
        kwargs: None = None,
        setup: None = None,
        **options: Unpack[ProcessOptions],
    ) -> None: ...
    @overload
    def __init__(
        self,
        target: Callable[[Unpack[Ts]], T],
        /,
        *args: Unpack[Ts],
        kwargs: None = None,
        setup: None = None,
        **options: Unpack[ProcessOptions],
    ) -> None: ...
    @overload
    def __init__(
        self,
        target: Callable[..., CoroutineType[Any, Any, T]],
        /,
        *args: Any,
        kwargs: Mapping[str, Any],
        setup: Setup | None = None,
        **options: Unpack[ProcessOptions],
    ) -> None: ...
    @overload
    def __init__(
        self,
        target: Callable[..., T],
        /,
        *args: Any,
        kwargs: Mapping[str, Any],
        setup: Setup | None = None,
        **options: Unpack[ProcessOptions],
    ) -> None: ...
    @overload
    def __init__(
        self,
        target: Callable[..., CoroutineType[Any, Any, T]],
        /,
        *args: Any,
        kwargs: None = None,
        setup: Setup,
        **options: Unpack[ProcessOptions],
    ) -> None: ...
    @overload
    def __init__(
        self, target: Callable[..., T], /, *args: Any, kwargs: None = None, setup: Setup, **options: Unpack[ProcessOptions]
    ) -> None: ...
    def __init__(  # type: ignore[misc]  # *args of a TypeVarTuple has no type that an implementation could give
        self, target: Any = None, /, *args: Unpack[Ts], kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> None:
        self._describe(target, args, kwargs, options)


class Thread(Body[T]):
    """Run a target in a thread of this process; spelled as :class:`Process`. A thread cannot be killed, only given up."""

    KIND = kinds.THREAD

    def __init_subclass__(cls, **defaults: Unpack[LoopOptions]) -> None:
        super().__init_subclass__()
        cls._defaults = {**cls._defaults, **defaults}

    @overload
    def __init__(
        self, *, kwargs: Mapping[str, Any] | None = None, setup: Setup | None = None, **options: Unpack[LoopOptions]
    ) -> None: ...
    @overload
    def __init__(
        self,
        target: Callable[[Unpack[Ts]], CoroutineType[Any, Any, T]],
        /,
        *args: Unpack[Ts],
        kwargs: None = None,
        setup: None = None,
        **options: Unpack[LoopOptions],
    ) -> None: ...
    @overload
    def __init__(
        self,
        target: Callable[[Unpack[Ts]], T],
        /,
        *args: Unpack[Ts],
        kwargs: None = None,
        setup: None = None,
        **options: Unpack[LoopOptions],
    ) -> None: ...
    @overload
    def __init__(
        self,
        target: Callable[..., CoroutineType[Any, Any, T]],
        /,
        *args: Any,
        kwargs: Mapping[str, Any],
        setup: Setup | None = None,
        **options: Unpack[LoopOptions],
    ) -> None: ...
    @overload
    def __init__(
        self,
        target: Callable[..., T],
        /,
        *args: Any,
        kwargs: Mapping[str, Any],
        setup: Setup | None = None,
        **options: Unpack[LoopOptions],
    ) -> None: ...
    @overload
    def __init__(
        self,
        target: Callable[..., CoroutineType[Any, Any, T]],
        /,
        *args: Any,
        kwargs: None = None,
        setup: Setup,
        **options: Unpack[LoopOptions],
    ) -> None: ...
    @overload
    def __init__(
        self, target: Callable[..., T], /, *args: Any, kwargs: None = None, setup: Setup, **options: Unpack[LoopOptions]
    ) -> None: ...
    def __init__(  # type: ignore[misc]  # *args of a TypeVarTuple has no type that an implementation could give
        self, target: Any = None, /, *args: Unpack[Ts], kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> None:
        self._describe(target, args, kwargs, options)


class Coroutine(Body[T]):
    """Run a coroutine function as a task on the manager's loop; spelled as :class:`Process`."""

    KIND = kinds.COROUTINE

    def __init_subclass__(cls, **defaults: Unpack[LoopOptions]) -> None:
        super().__init_subclass__()
        cls._defaults = {**cls._defaults, **defaults}

    @overload
    def __init__(
        self, *, kwargs: Mapping[str, Any] | None = None, setup: Setup | None = None, **options: Unpack[LoopOptions]
    ) -> None: ...
    @overload
    def __init__(
        self,
        target: Callable[[Unpack[Ts]], Awaitable[T]],
        /,
        *args: Unpack[Ts],
        kwargs: None = None,
        setup: None = None,
        **options: Unpack[LoopOptions],
    ) -> None: ...
    @overload
    def __init__(
        self,
        target: Callable[..., Awaitable[T]],
        /,
        *args: Any,
        kwargs: Mapping[str, Any],
        setup: Setup | None = None,
        **options: Unpack[LoopOptions],
    ) -> None: ...
    @overload
    def __init__(
        self,
        target: Callable[..., Awaitable[T]],
        /,
        *args: Any,
        kwargs: None = None,
        setup: Setup,
        **options: Unpack[LoopOptions],
    ) -> None: ...
    def __init__(  # type: ignore[misc]  # *args of a TypeVarTuple has no type that an implementation could give
        self, target: Any = None, /, *args: Unpack[Ts], kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> None:
        self._describe(target, args, kwargs, options)
