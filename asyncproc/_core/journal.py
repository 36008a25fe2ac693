"""Events and actions of the tree machine as plain data, and events back from it: what a journal on disk is made of.

A record is what a machine was told, and when. The machine reads no clock and draws no random number, so the records of
a run, told to a fresh machine, lead to the same actions. Errors do not survive as such: an exit keeps the class name and
the text, and comes back with a stand-in that is called the same.
"""

from __future__ import annotations

from contextlib import suppress
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, get_args

from asyncproc._core.backoff import Backoff
from asyncproc._core.exit import Exit, Phase, Reason
from asyncproc._core.supervision.event import Event, Timer
from asyncproc._core.supervision.plan import AtLimit, AutoShutdown, Kind, Ladder, Overlap, Plan, Restart, Strategy
from asyncproc._core.value import Value, fields_of, names_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from asyncproc._core.supervision.action import Action

Record = dict[str, Any]
"""JSON-able: str, int, float, bool, None, and lists and dicts of them."""


class RecordedError(Exception):
    """The base of stand-ins for what a child raised, if it was an Exception; each has the name and the text of its original."""


class RecordedInterrupt(BaseException):
    """The base of stand-ins for what a child raised and was no Exception: the machine tells them apart."""


class RecordedSignal(int):
    """A signal without the module that knows it: equal to its number, with its name."""

    name: str

    def __new__(cls, number: int, name: str) -> Self:
        signal = super().__new__(cls, number)
        signal.name = name
        return signal


def to_record(now: float, event: Event) -> Record:
    """The event and its time as plain data."""
    return {"now": now, **encode(event)}


def from_record(record: Record) -> tuple[float, Event]:
    """The time and the event that :func:`to_record` was given.

    Raises:
        KeyError: there is no such event, or a field is missing.
    """
    kind = _EVENTS[record["type"]]
    return record["now"], kind(**_decoded(kind, record))


def encode(value: Event | Action) -> Record:
    """An event or an action as plain data."""
    return {"type": type(value).__name__, **_fields(value)}


def _fields(value: Value) -> Record:
    return {name: _plain(field) for name, field in fields_of(value).items()}


def _plain(value: object) -> object:
    if isinstance(value, Enum):
        return {"name": value.name, "number": int(value)} if isinstance(value, int) else value.value
    if isinstance(value, RecordedSignal):
        return {"name": value.name, "number": int(value)}
    if isinstance(value, BaseException):
        kept = {"name": type(value).__name__, "text": _text(value), "interrupt": not isinstance(value, Exception)}
        return {**kept, "errno": number} if isinstance(number := getattr(value, "errno", None), int) else kept
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return _fields(value) if isinstance(value, Value) else value


def _text(error: BaseException) -> str:
    with suppress(Exception):  # a user's __str__ may raise; the journal goes on
        return str(error)
    return ""


def _decoded(kind: type[Value], record: Record) -> Record:
    return {name: _value(name, record[name]) for name in names_of(kind)}


def _value(name: str, value: Any) -> Any:
    decode = _DECODERS.get(name)
    return value if value is None or decode is None else decode(value)


def _plan(record: Record) -> Plan:
    return Plan(**_decoded(Plan, record))


def _exit(record: Record) -> Exit:
    return Exit(**_decoded(Exit, record))


def _error(record: Record) -> BaseException:
    error = _stand_in(record["name"], record["interrupt"])(record["text"])
    if "errno" in record:
        error.errno = record["errno"]  # type: ignore[attr-defined]  # of an OSError, which the machine looks at
    return error


@lru_cache(maxsize=256)
def _stand_in(name: str, interrupt: bool) -> type[BaseException]:
    return type(name, (RecordedInterrupt if interrupt else RecordedError,), {})


_EVENTS: dict[str, type[Event]] = {kind.__name__: kind for kind in get_args(Event)}

_DECODERS: dict[str, Callable[[Any], Any]] = {
    "timer": Timer,
    "plan": _plan,
    "kind": Kind,
    "ladder": Ladder,
    "restart": Restart,
    "strategy": Strategy,
    "at_limit": AtLimit,
    "auto_shutdown": AutoShutdown,
    "overlap": Overlap,
    "backoff": lambda record: Backoff(**record),
    "needs": tuple,
    "resources": lambda pairs: tuple((name, amount) for name, amount in pairs),
    "members": lambda members: tuple(map(_plan, members)),
    "exit": _exit,
    "reason": Reason,
    "phase": Phase,
    "signal": lambda signal: RecordedSignal(signal["number"], signal["name"]),
    "error": _error,
}
"""How a field of this name comes back from plain data: names mean the same in all events."""
