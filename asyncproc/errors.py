"""Every exception of asyncproc, one tree.

Families end in ``Error``; leaves say what happened. An error keeps its facts as attributes and survives pickling. How a
child ended is data (:class:`asyncproc.Exit`); it is raised, as one of these, only where somebody awaits that child.
"""

from __future__ import annotations

TYPE_CHECKING = False  # every child imports this file, and importing typing for this name costs it 9 ms
if TYPE_CHECKING:
    from typing import Self

    from asyncproc._core.exit import Exit

__all__ = [
    "AsyncprocError",
    "ChannelBroken",
    "ChannelClosed",
    "ChannelError",
    "ChildCrashed",
    "ChildError",
    "ChildSkipped",
    "ChildStopped",
    "ChildTimeout",
    "CircuitOpen",
    "CommandError",
    "DecodeError",
    "EncodeError",
    "EndOfChannel",
    "Fault",
    "InternalError",
    "NameTaken",
    "PhaseError",
    "PhaseTimeout",
    "RemoteError",
    "SharedError",
    "SpecError",
    "StartFailed",
    "StateError",
    "Stopping",
    "TimedOut",
    "UnknownField",
    "UnknownNode",
    "WouldBlock",
    "WrongType",
]


class AsyncprocError(Exception):
    """The root of the tree: ``except AsyncprocError`` catches all of them."""


class Fault(tuple[str, str, object, str]):
    """One thing that is wrong in a description; unpacks as ``path, field, value, rule``.

    Written out, because a ``NamedTuple`` makes every child import typing.
    """

    __slots__ = ()
    __match_args__ = ("path", "field", "value", "rule")

    def __new__(cls, path: str, field: str, value: object, rule: str) -> Self:
        return super().__new__(cls, (path, field, value, rule))

    def __getnewargs__(self) -> tuple[str, str, object, str]:
        return self[0], self[1], self[2], self[3]

    @property
    def path(self) -> str:
        return self[0]

    @property
    def field(self) -> str:
        return self[1]

    @property
    def value(self) -> object:
        return self[2]

    @property
    def rule(self) -> str:
        return self[3]

    def __repr__(self) -> str:
        return f"Fault(path={self.path!r}, field={self.field!r}, value={self.value!r}, rule={self.rule!r})"

    def __str__(self) -> str:
        value = sorted(map(str, self.value)) if self.field == "env" and isinstance(self.value, dict) else self.value
        return f"node {self.path}: {self.field} {self.rule}, got {_short(value)}"  # of an environment the names alone


class SpecError(AsyncprocError, ValueError):
    """The description is wrong; raised before anything starts, with all faults at once.

    Attributes:
        faults: every fault found, as ``(path, field, value, rule)``.
    """

    def __init__(self, faults: str | list[Fault]) -> None:
        self.faults: list[Fault] = [] if isinstance(faults, str) else list(faults)
        super().__init__(faults if isinstance(faults, str) else "; ".join(map(str, faults)))

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.faults or str(self),)


class StateError(AsyncprocError, RuntimeError):
    """The call is not legal in this state; the text names the node and the state."""


class UnknownNode(StateError, LookupError):
    """No node has this path."""


class UnknownField(StateError, AttributeError):
    """The namespace has no field of this name, or it cannot be reached in this way."""


class NameTaken(StateError):
    """A live node has this name already."""


class ChildError(AsyncprocError):
    """A child did not give a result.

    Attributes:
        exit: how the child ended; None when it never ran.
    """

    def __init__(self, message: str, exit: Exit | None = None) -> None:
        super().__init__(message)
        self.exit = exit

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (str(self), self.exit), {"__cause__": self.__cause__}

    def __setstate__(self, state: dict[str, object] | None) -> None:
        state = dict(state or {})
        self.__cause__ = state.pop("__cause__", None)  # type: ignore[assignment]  # an exception or None, by __reduce__
        self.__dict__.update(state)


class StartFailed(ChildError):
    """The child ended before it was ready; ``__cause__`` is its own exception, if it had one."""


class ChildCrashed(ChildError):
    """The child died without a result and without an exception of its own."""


class ChildStopped(ChildError):
    """The child was cut off because somebody asked for its end."""


class ChildSkipped(ChildError):
    """The child was never started; the text names the node that was the cause."""


class RestartLimitReached(ChildError):
    """A node failed more often than its restarts allow; ``__cause__`` is what the last failure was raised as, if it was.

    Attributes:
        exits: its failures, of a supervisor those of all its members, that counted, oldest first.
    """

    def __init__(self, message: str, exit: Exit | None = None, exits: tuple[Exit, ...] = ()) -> None:
        super().__init__(message, exit)
        self.exits = exits

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (str(self), self.exit, self.exits), {"__cause__": self.__cause__}


class ChildTimeout(ChildError, TimeoutError):
    """The child did not end within its ``timeout``.

    Attributes:
        completed: of a command, what it had written until then.
    """

    def __init__(self, message: str, exit: Exit | None = None, completed: object = None) -> None:
        super().__init__(message, exit)
        self.completed = completed

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (str(self), self.exit, self.completed), {"__cause__": self.__cause__}


class CommandError(ChildError):
    """A command ended with a code outside ``ok_codes``.

    Attributes:
        argv: what ran, secrets masked. code: its exit code, negative for a signal. completed: output and usage, if captured.
    """

    def __init__(self, message: str, exit: Exit | None = None, argv: tuple[str, ...] = (), completed: object = None) -> None:
        super().__init__(message, exit)
        self.argv = argv
        self.completed = completed

    @property
    def code(self) -> int | None:
        return None if self.exit is None else self.exit.code

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (str(self), self.exit, self.argv, self.completed), {"__cause__": self.__cause__}


class PhaseError(ChildError):
    """A hook did not keep to what a hook may do.

    Attributes:
        phase: the phase, e.g. ``"on_start"``; equal to its :class:`asyncproc.Phase`. loop: its number, None outside of loops.
    """

    def __init__(self, message: str, exit: Exit | None = None, phase: str = "", loop: int | None = None) -> None:
        super().__init__(message, exit)
        self.phase = phase
        self.loop = loop

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (str(self), self.exit, self.phase, self.loop), {"__cause__": self.__cause__}


class PhaseTimeout(PhaseError, TimeoutError):
    """A phase took longer than its limit in ``timeouts``."""


class RemoteError(ChildError):
    """What a child raised, as text: the cause of a rebuilt exception, or the proxy of one that cannot be rebuilt.

    Attributes:
        type_name: qualified name of the class that was raised. traceback: the child's traceback as text.
    """

    def __init__(self, message: str, exit: Exit | None = None, type_name: str = "", traceback: str = "") -> None:
        super().__init__(message, exit)
        self.type_name = type_name
        self.traceback = traceback

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message}\n\n{self.traceback}" if self.traceback else message

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.args[0], self.exit, self.type_name, self.traceback), {"__cause__": self.__cause__}


class SharedError(AsyncprocError):
    """Something about what nodes share.

    Attributes:
        name: of what is shared; ``namespace`` for the namespace.
    """

    def __init__(self, message: str, name: str = "") -> None:
        super().__init__(message)
        self.name = name

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (str(self), self.name)


class CircuitOpen(SharedError):
    """The call was refused at once: what it goes to has failed too often; see :class:`asyncproc.Circuit`.

    Attributes:
        name: of the circuit. retry_in: seconds from then until the next call is let in; None: not before it is reset.
    """

    def __init__(self, message: str, name: str = "", retry_in: float | None = None) -> None:
        super().__init__(message, name)
        self.retry_in = retry_in

    @classmethod
    def of(cls, name: str, seconds: float) -> Self:
        """Of a circuit that lets nobody in for so many seconds, ``inf`` for as long as nobody resets it."""
        retry_in = seconds if seconds < 1e999 else None
        when = " until it is reset" if retry_in is None else f": the next call is let in after {retry_in:.3g} s"
        return cls(f"circuit {name!r} is open{when}", name, retry_in)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (str(self), self.name, self.retry_in)


class TimedOut(SharedError, TimeoutError):
    """It could not be had in time."""


class WrongType(SharedError):
    """A value is not of the type that was declared for it."""


class ChannelError(AsyncprocError):
    """Something is wrong with a channel, or with one value on it."""


class ChannelClosed(ChannelError):
    """This side has closed the channel."""


class ChannelBroken(ChannelError):
    """The peer is gone."""


class EndOfChannel(ChannelError):
    """The peer has said that nothing more will come."""


class WouldBlock(ChannelError):
    """Nothing is there (or no room is left) and waiting was not wanted."""


class EncodeError(ChannelError):
    """A value cannot be sent; the text names its type and the field that stands in the way. Only this transfer fails."""


class DecodeError(ChannelError):
    """A value arrived that cannot be rebuilt here; only this transfer fails."""


class InternalError(AsyncprocError):
    """A bug in asyncproc: please report it."""


class Stopping(BaseException):  # not an error: the request to end, raised where the child's code stands
    """Raised in the main thread of a child that is asked to end, so that ``finally`` and OnFinish run."""


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:197] + "..."
