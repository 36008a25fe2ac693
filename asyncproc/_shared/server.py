"""The truth of a namespace, in the manager's process: fields as bytes, one lock, and who waits for what.

It takes questions from children (on the manager's loop) and from the owner (in any thread, with or without a loop, also while
the manager is closed), and never rebuilds a value of the user: what is sent is what was sent in.

The questions, as tuples; a *token* is unique in its asker:

- ``open``: the board, the class, its fields, the manager's name;
- ``read, {field: version}``: the version, and all fields, without the bytes of those that are known;
- ``begin, token, waits``: answered when the lock is held;
- ``commit, token, values, removed``: changes and ends what was begun; ``end, token`` ends it without;
- ``change, token, values`` and ``add, token, field, amount``: a transaction of one step;
- ``watch, token, version, {field: version} | None``: answered when something of it has changed; False at the manager's end;
- ``give_up, token``: whatever was asked under this token is not wanted any more.

Nobody waits for an answer to the last kind, nor to ``end``.
"""

from __future__ import annotations

import asyncio
import dataclasses
import sys
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from threading import RLock
from typing import TYPE_CHECKING, Any, assert_never

from asyncproc._core.fields import Fields
from asyncproc._core.turns import Ended, Event, GaveUp, Gone, Grant, Refuse, Turn, Turns, Wanted
from asyncproc._ipc.by_reference import error_text
from asyncproc._ipc.codec import decode, encode
from asyncproc._shared.board import Board
from asyncproc._shared.namespace import namespace_of
from asyncproc._shared.numbers import add_numbers
from asyncproc._shared.own_line import OwnLine
from asyncproc._shared.shape import Shape, shape_of
from asyncproc.errors import AsyncprocError, EncodeError, Fault, SpecError, StateError, TimedOut, WrongType

if TYPE_CHECKING:
    from asyncproc.abc import Question


class NamespaceServer:
    """Answers what children and the owner ask about one state.

    Args:
        node: the manager's name. state: a dataclass instance, a msgspec Struct instance or a mapping.

    Attributes:
        owners: the namespace as the owner has it.

    Raises:
        SpecError: it is none of these, or a field cannot be sent to a child.
    """

    def __init__(self, node: str, state: Any) -> None:
        self.shape, values = take_apart(node, state)
        self.board = Board(Fields.first(values))
        self._lock = RLock()
        self._turns = Turns()
        self._pending: dict[Turn, tuple[Question, Callable[[], Any] | None]] = {}
        self._watching: dict[Turn, tuple[Question, int, Mapping[str, int] | None]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self.owners = namespace_of(OwnLine(self))

    # --- for the manager ------------------------------------------------------------------------------------------------

    def serve(self, loop: asyncio.AbstractEventLoop) -> None:
        """The manager has opened: children will ask, on this loop."""
        self._loop = loop

    def close(self) -> None:
        """The manager has closed: there are no children any more, and whoever watches is told."""
        with self._lock:
            self._loop = None
            self.board.close()
            watching, self._watching = self._watching, {}
            for question, _, _ in watching.values():
                question.answer(False)

    def asked(self, asker: Any, question: Question) -> None:
        """A child asks."""
        assert self._loop is not None
        posted = _Posted(self._loop, question)
        try:
            request = question.take()
            self.ask(asker, request, posted)
        except Exception as error:  # whatever a child asks, its manager lives on
            posted.refuse(error)

    def gone(self, asker: Any) -> None:
        """A child has ended."""
        with self._lock:
            self._watching = {turn: watch for turn, watch in self._watching.items() if turn.asker is not asker}
            self._handle(Gone(asker))

    # --- questions --------------------------------------------------------------------------------------------------------

    def ask(self, asker: Hashable, request: tuple[Any, ...], question: Question) -> None:
        """Take in a question, from any thread; it is answered now or later."""
        with self._lock:
            match request:
                case ("open",):
                    question.answer((self.board, self.shape.kind, self.shape.names, self.shape.node))
                case ("read", known):
                    question.answer(self._unknown(known))
                case ("begin", int() as token, waits):
                    self._want(Turn(asker, token), question, None, waits)
                case ("commit", int() as token, values, removed):
                    self._commit(Turn(asker, token), question, values, removed)
                case ("end", int() as token):
                    self._handle(Ended(Turn(asker, token)))
                case ("change", int() as token, values):
                    self._want(Turn(asker, token), question, lambda: self._change(values, ()))
                case ("add", int() as token, field, amount):
                    self._want(Turn(asker, token), question, lambda: self._add(field, amount))
                case ("watch", int() as token, version, known):
                    self._watching[Turn(asker, token)] = question, version, known
                    self._tell_watchers()
                case ("give_up", int() as token):
                    self._give_up(Turn(asker, token))
                case _:
                    raise StateError(f"namespace of {self.shape.node}: no such question")

    def _unknown(self, known: Mapping[str, int]) -> tuple[int, dict[str, tuple[int, bytes | None]]]:
        fields = self.board.fields
        found = {name: (at, None if known.get(name) == at else data) for name, (at, data) in fields.table.items()}
        return fields.version, found

    # --- whose turn it is -------------------------------------------------------------------------------------------------

    def _want(self, turn: Turn, question: Question, deed: Callable[[], Any] | None, waits: bool = True) -> None:
        self._pending[turn] = question, deed
        self._handle(Wanted(turn, waits))

    def _give_up(self, turn: Turn) -> None:
        watch = self._watching.pop(turn, None)
        if watch is not None:
            watch[0].answer(False)
        else:
            self._handle(GaveUp(turn))

    def _handle(self, event: Event) -> None:
        actions = deque(self._turns.handle(event))
        while actions:
            match actions.popleft():
                case Grant(turn):
                    question, deed = self._pending.pop(turn)
                    if deed is None:
                        question.answer(None)
                        continue
                    _answer(question, deed)
                    actions += self._turns.handle(Ended(turn))
                case Refuse(turn):
                    text = f"namespace of {self.shape.node}: another transaction is open"
                    self._pending.pop(turn)[0].refuse(TimedOut(text, "namespace"))
                case action:
                    assert_never(action)

    # --- changes ----------------------------------------------------------------------------------------------------------

    def _commit(self, turn: Turn, question: Question, values: Mapping[str, bytes], removed: tuple[str, ...]) -> None:
        if turn != self._turns.holder:
            raise StateError(f"namespace of {self.shape.node}: this transaction is over, nothing of it was kept")
        _answer(question, lambda: self._change(values, removed))
        self._handle(Ended(turn))

    def _change(self, values: Mapping[str, bytes], removed: tuple[str, ...]) -> None:
        before = self.board.fields
        fields = before.changed(values, removed)
        if fields is not before:
            self.board.publish(fields)
            self._tell_watchers()

    def _add(self, field: str, amount: Any) -> Any:
        """Add to a plain number; None when the field holds anything else, which its asker has to do himself."""
        entry = self.board.fields.table.get(field)
        total = None if entry is None else add_numbers(entry[1], amount)
        if total is not None:
            self._change({field: encode(total)}, ())
        return total

    def _tell_watchers(self) -> None:
        fields = self.board.fields
        for turn, (question, version, known) in list(self._watching.items()):
            if version != fields.version and (known is None or fields.versions(known) != known):
                del self._watching[turn]
                question.answer(True)


def _answer(question: Question, deed: Callable[[], Any]) -> None:
    try:
        question.answer(deed())
    except AsyncprocError as error:
        question.refuse(error)


class _Posted:
    """The question of a child, which may be answered from any thread."""

    __slots__ = ("_loop", "_question", "service")

    def __init__(self, loop: asyncio.AbstractEventLoop, question: Question) -> None:
        self.service = question.service
        self._loop = loop
        self._question = question

    def take(self) -> Any:
        return self._question.take()

    def answer(self, value: object) -> None:
        self._call(self._question.answer, value)

    def refuse(self, error: BaseException) -> None:
        self._call(self._question.refuse, error)

    def _call(self, call: Callable[[Any], None], what: Any) -> None:
        if asyncio._get_running_loop() is self._loop:
            call(what)
            return
        try:
            self._loop.call_soon_threadsafe(call, what)
        except RuntimeError:  # the loop is closed, and the child with it
            pass


# --- the state as it is given ---------------------------------------------------------------------------------------------


def take_apart(node: str, state: Any) -> tuple[Shape, dict[str, bytes]]:
    """The shape of a state and its fields as bytes.

    Raises:
        SpecError: it cannot be a namespace; names the node, the field ``namespace`` and the value.
    """
    shape = _shape(node, state)
    given = dict(state) if shape.kind is None else shape.values_of(state)
    values: dict[str, bytes] = {}
    faults: list[Fault] = []
    for name, value in given.items():
        try:
            shape.check_value(name, value)
            values[name] = encode(value, f"namespace field {name}")
        except (EncodeError, WrongType) as error:
            faults.append(Fault(node, "namespace", state, f"has a field that cannot be shared ({error})"))
    if faults:
        raise SpecError(faults)
    return shape, values


def _shape(node: str, state: Any) -> Shape:
    kind = type(state)
    if isinstance(state, Mapping):
        bad = [name for name in state if not (isinstance(name, str) and name.isidentifier())]
        if bad:
            raise SpecError([Fault(node, "namespace", state, f"must have names of fields as keys, and {bad[0]!r} is none")])
        return shape_of(None, (), node)
    if isinstance(state, type):
        raise SpecError([Fault(node, "namespace", state, f"must be an instance: {state.__name__}(...)")])
    if dataclasses.is_dataclass(kind):
        names = tuple(field.name for field in dataclasses.fields(kind))
    elif "msgspec" in sys.modules and isinstance(state, sys.modules["msgspec"].Struct):
        names = kind.__struct_fields__
    else:
        raise SpecError([Fault(node, "namespace", state, "must be a dataclass instance, a msgspec Struct or a mapping")])
    _check_kind(node, state, kind)
    return shape_of(kind, names, node)


def _check_kind(node: str, state: Any, kind: type) -> None:
    try:
        data = encode(kind, "its class")
        if hasattr(kind, "__struct_fields__") and b"cloudpickle" in data:
            raise EncodeError(f"{kind.__name__}: a Struct cannot be sent by value; put it into a module, or use a dataclass")
    except EncodeError as error:
        raise SpecError([Fault(node, "namespace", state, f"has a class that cannot be shared ({error})")]) from None
    try:
        decode(data)
    except Exception as error:
        raise SpecError([Fault(node, "namespace", state, f"has a class that cannot be shared ({error_text(error)})")]) from None
