"""Exceptions across a process boundary: what a child raised, as its manager will see it.

An exception is not one value. Pickle drops its cause, context and traceback, and one bad attribute, or one bad member of a
group, would cost all of it. So an exception travels as a flat list of *nodes*, one for each exception that can be reached
from it; a node says what the exception was in plain text, carries its pickle if it has one, and names its cause, its context
and its members by their place in the list. Cycles and long chains are then no special case, and each node fails alone: one
that has no pickle, or whose pickle cannot be loaded here, becomes a :class:`~asyncproc.errors.RemoteError` in its place.

What every exception has is read and written through the descriptors of ``BaseException``, so that nothing which a class of
the user overrides runs in the manager, apart from what unpickling has to run.

Every child imports this module; ``traceback`` comes in when something is raised.
"""

from __future__ import annotations

from asyncproc._ipc.by_reference import error_text, safe_str, type_name
from asyncproc._ipc.codec import decode, dumps
from asyncproc.errors import DecodeError, RemoteError

TYPE_CHECKING = False  # importing typing for this name alone costs a child 9 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    T = TypeVar("T")

MAX_NODES = 1000  # exceptions that travel with one; those farthest from it are left out
MAX_IN_TEXT = 100  # exceptions up to which the text tells the whole chain
MAX_TEXT = 200_000  # characters of a text; the middle of a longer one is left out

_CAUSE: Any = BaseException.__dict__["__cause__"]
_CONTEXT: Any = BaseException.__dict__["__context__"]
_SUPPRESS: Any = BaseException.__dict__["__suppress_context__"]
_TRACEBACK: Any = BaseException.__dict__["__traceback__"]
_ARGS: Any = BaseException.__dict__["args"]
_DICT: Any = BaseException.__dict__["__dict__"]
_MESSAGE: Any = BaseExceptionGroup.__dict__["message"]
_MEMBERS: Any = BaseExceptionGroup.__dict__["exceptions"]


def pack_error(error: BaseException) -> bytes:
    """Turn an exception into bytes, in the process that raised it. Never raises."""
    try:
        return dumps(_Packer(error).nodes)
    except BaseException as failure:  # nobody is left to tell if telling of an error fails
        lost = Node(type_name(type(error)), safe_str(error))
        lost.notes = [f"(the rest was lost: {error_text(failure)})"]
        return dumps([lost])


def unpack_error(data: bytes | memoryview) -> BaseException:
    """Rebuild an exception, in the process that is told of it.

    Returns:
        The exception, of its own class if that can be rebuilt here, else a RemoteError; with its cause, context, notes and
        members. Of one that was rebuilt, the chain of causes ends in a RemoteError with the traceback as text; so it does
        for each member of a group.
    """
    try:
        nodes: Any = decode(data, "exception")
        return _Unpacker(nodes).errors[0]
    except Exception as failure:
        error = RemoteError(f"an exception arrived that cannot be read: {error_text(failure)}")
        _CAUSE.__set__(error, failure)
        return error


class Node:
    """One exception, as text and as a pickle; its relatives by their place in the list of nodes.

    Attributes:
        pickle: of ``(exception, args)``, for a group of ``(class, attributes)``; None if there is none.
        parts: a pickle of its class, args and attributes, for a class whose ``__init__`` may not take its args; else None.
        no_pickle: why there is none.
        members: of a group; None for all others. left_out: how many members found no place.
    """

    __slots__ = (
        "cause",
        "context",
        "left_out",
        "members",
        "no_pickle",
        "notes",
        "parts",
        "pickle",
        "suppress_context",
        "text",
        "traceback",
        "type_name",
    )

    def __init__(self, type_name: str, text: str) -> None:
        self.type_name = type_name
        self.text = text
        self.notes: list[str] = []
        self.traceback = ""
        self.pickle: bytes | None = None
        self.parts: bytes | None = None
        self.no_pickle = ""
        self.cause: int | None = None
        self.context: int | None = None
        self.suppress_context = False
        self.members: list[int] | None = None
        self.left_out = 0


class _Packer:
    """Finds the exceptions that can be reached from one, the nearest first, and makes a node of each."""

    def __init__(self, error: BaseException) -> None:
        self._errors: list[BaseException] = []
        self._places: dict[int, int] = {}  # by id; the list keeps them alive
        self._place(error)
        self.nodes = [self._node(each) for each in self._errors]  # the list grows under way
        whole = len(self.nodes) <= MAX_IN_TEXT
        self.nodes[0].traceback = whole_text(error) if whole else _apart(error, _own_text)

    def _place(self, error: BaseException | None) -> int | None:
        """The place of an exception in the list, a new one if need be; None when the list is full."""
        if error is None:
            return None
        place = self._places.get(id(error))
        if place is None and len(self._errors) < MAX_NODES:
            place = self._places[id(error)] = len(self._errors)
            self._errors.append(error)
        return place

    def _node(self, error: BaseException) -> Node:
        group = issubclass(type(error), BaseExceptionGroup)
        node = Node(type_name(type(error)), shortened(safe_str(_MESSAGE.__get__(error) if group else error)))
        node.notes = notes_of(error)
        if error is not self._errors[0]:
            node.traceback = _apart(error, _own_text)
        node.cause, node.context = self._place(_CAUSE.__get__(error)), self._place(_CONTEXT.__get__(error))
        node.suppress_context = _SUPPRESS.__get__(error)
        try:
            node.pickle = _apart(error, _pickle_of_group if group else _pickle)
        except BaseException as failure:  # also what a hostile __reduce__ raises: the error has to be told, if only as text
            node.no_pickle = error_text(failure)
        if not group and _makes_its_own_args(type(error)):
            node.parts = _apart(error, _pickle_of_parts)
        if group:
            members = _MEMBERS.__get__(error)
            node.members = [place for member in members if (place := self._place(member)) is not None]
            node.left_out = len(members) - len(node.members)
        return node


def _apart(error: BaseException, make: Callable[[BaseException], T]) -> T:
    """Make something of an exception while it has no relatives.

    Some classes, ours too, pickle their cause along: it would be sent twice, or spoil the pickle. And formatting one
    exception walks its whole chain, even with ``chain=False``.
    """
    cause, context, suppress = _CAUSE.__get__(error), _CONTEXT.__get__(error), _SUPPRESS.__get__(error)
    _CAUSE.__set__(error, None)
    _CONTEXT.__set__(error, None)
    try:
        return make(error)
    finally:
        _CAUSE.__set__(error, cause)
        _CONTEXT.__set__(error, context)
        _SUPPRESS.__set__(error, suppress)  # setting the cause has set it


def _pickle(error: BaseException) -> bytes:
    """An exception, with its args beside it: they are put back if its ``__init__`` makes others of them."""
    try:
        return dumps((error, _ARGS.__get__(error)))
    except Exception:  # a class that leaves its args out of its pickle may have reason to
        return dumps((error, None))


def _makes_its_own_args(cls: Any) -> bool:
    """Whether a class has an ``__init__`` of its own and leaves its pickle to BaseException, which calls that with the args."""
    inherited = all(type(getattr(cls, name)) is _BUILTIN for name in ("__reduce__", "__setstate__"))
    return inherited and type(cls.__init__) is not type(BaseException.__init__)


_BUILTIN = type(BaseException.__reduce__)


def _pickle_of_parts(error: BaseException) -> bytes | None:
    state = {name: value for name, value in _DICT.__get__(error).items() if name != "__notes__"}
    try:
        return dumps((type(error), error.__reduce__()[1], state))  # BaseException's own, or another builtin's
    except Exception:  # then it stays a text, as without them
        return None


def _pickle_of_group(group: BaseException) -> bytes:
    """The class and attributes of a group: its own ``__reduce__`` would take its members along."""
    return dumps((type(group), {name: value for name, value in _DICT.__get__(group).items() if name != "__notes__"}))


def notes_of(error: BaseException) -> list[str]:
    notes = _DICT.__get__(error).get("__notes__", [])
    return [shortened(safe_str(note)) for note in notes[:MAX_NODES]] if type(notes) is list else [safe_str(notes)]


def whole_text(error: BaseException) -> str:
    import traceback

    frames = _TRACEBACK.__get__(error)
    try:
        return shortened("".join(traceback.format_exception(type(error), error, frames)).rstrip())
    except BaseException as failure:  # something in the exception is hostile
        return f"{_frames_and_text(error)}\n(not all is told: {error_text(failure)})"


def _own_text(error: BaseException) -> str:
    """The traceback without members: each tells its own, and a group of groups would tell the innermost at every level."""
    group = issubclass(type(error), BaseExceptionGroup)
    return _frames_and_text(error) if group else whole_text(error)


def _frames_and_text(error: BaseException) -> str:
    import traceback

    frames = traceback.format_tb(_TRACEBACK.__get__(error))
    return shortened(
        "".join(["Traceback (most recent call last):\n", *frames, error_text(error)] if frames else [error_text(error)])
    )


def shortened(text: str) -> str:
    if len(text) <= MAX_TEXT:
        return text
    half = MAX_TEXT // 2
    return f"{text[:half]}\n[… {len(text) - MAX_TEXT} characters are left out …]\n{text[-half:]}"


class _Unpacker:
    """Makes an exception of each node, *errors*, and then makes relatives of them."""

    def __init__(self, nodes: list[Node]) -> None:
        self._nodes = nodes
        self._proxies: set[int] = set()  # places
        self._tails: set[int] = set()  # ids of the remote tracebacks that end a chain
        built = self._build_all()
        self.errors = [built[place] for place in range(len(nodes))]
        for node, error in zip(nodes, self.errors, strict=True):
            self._link(node, error)
        self._end_chain(0)
        for place in [place for node in nodes for place in node.members or ()]:
            # Members are taken out of their group and looked at alone, so each tells where it was raised, if it was.
            if nodes[place].members is None and nodes[place].traceback.startswith("Traceback"):
                self._end_chain(place)

    def _build_all(self) -> dict[int, BaseException]:
        """Build every exception, a group after its members."""
        built: dict[int, BaseException] = {}
        waiting = list(reversed(range(len(self._nodes))))  # mostly members stand behind their group already
        while waiting:
            ready = [place for place in waiting if all(member in built for member in self._nodes[place].members or ())]
            for place in ready or waiting:  # a group that waits for itself is no group: it becomes a proxy
                built[place] = self._build(place, built)
            waiting = [place for place in waiting if place not in built]
        return built

    def _build(self, place: int, built: dict[int, BaseException]) -> BaseException:
        node = self._nodes[place]
        members = [built[member] for member in node.members or () if member in built]
        notes = list(node.notes)
        try:
            error = _rebuild(node) if node.members is None else _rebuild_group(node, members)
        except _NotRebuiltError as failure:
            error = BaseExceptionGroup(node.text, members) if members else _proxy(node)
            notes.append(f"(this {node.type_name} could not be rebuilt: {failure})")
            self._proxies.add(place)
        if node.left_out:
            notes.append(f"({node.left_out} more exceptions of this group are left out)")
        if notes:
            _DICT.__get__(error)["__notes__"] = notes
        return error

    def _link(self, node: Node, error: BaseException) -> None:
        _CAUSE.__set__(error, None if node.cause is None else self.errors[node.cause])
        _CONTEXT.__set__(error, None if node.context is None else self.errors[node.context])
        _SUPPRESS.__set__(error, node.suppress_context)

    def _end_chain(self, place: int) -> None:
        """Let the chain of causes that begins here end in the traceback; a chain that runs in a circle is cut open."""
        node, last = self._nodes[place], self.errors[place]
        if place in self._proxies and type(last) is RemoteError:
            return  # it carries its traceback itself
        seen = {id(last)}
        while (cause := _CAUSE.__get__(last)) is not None and id(cause) not in seen:
            seen.add(id(cause))
            last = cause
        if id(last) in self._tails and place:
            return  # another member of the group has the same cause
        tail, suppress = _proxy(node), _SUPPRESS.__get__(last)
        self._tails.add(id(tail))
        _CAUSE.__set__(last, tail)
        _SUPPRESS.__set__(last, suppress)


def _rebuild(node: Node) -> BaseException:
    try:
        error, args = _loaded(node)
    except _NotRebuiltError:
        if node.parts is None:
            raise
        return _from_parts(node)
    _check_class(type(error), BaseException, node)
    if args is not None:
        _ARGS.__set__(error, args)
    return error  # type: ignore[no-any-return]  # _check_class has seen to it


def _from_parts(node: Node) -> BaseException:
    """An exception of its own class, without its ``__init__``: that takes other arguments than its args."""
    try:
        parts: Any = decode(node.parts or b"", "exception")
        cls, args, state = parts
        _check_class(cls, BaseException, node)
        builtin = next(base for base in cls.__mro__ if base.__module__ == "builtins")
        error: BaseException = builtin.__new__(cls, *args)
        _check_class(type(error), cls, node)
        builtin.__init__(error, *args)
        _DICT.__get__(error).update(state)
    except _NotRebuiltError:
        raise
    except Exception as failure:
        raise _NotRebuiltError(error_text(failure)) from failure
    return error


def _rebuild_group(node: Node, members: list[BaseException]) -> BaseException:
    """A group of its own class, without its ``__new__`` and ``__init__``, whose parameters nobody knows."""
    if not members:
        raise _NotRebuiltError("its members are left out")
    cls, state = _loaded(node)
    _check_class(cls, BaseExceptionGroup, node)
    group: BaseException = BaseExceptionGroup.__new__(cls, node.text, members)
    _check_class(type(group), cls, node)
    _DICT.__get__(group).update(state)
    return group


class _NotRebuiltError(Exception):
    """Why an exception stays a text."""


def _loaded(node: Node) -> Any:
    if node.pickle is None:
        raise _NotRebuiltError(node.no_pickle)
    try:
        return decode(node.pickle, "exception")
    except DecodeError as failure:
        raise _NotRebuiltError(error_text(failure.__cause__ or failure)) from failure


def _check_class(cls: type, base: type, node: Node) -> None:
    """A pickle may turn out to be anything, by its ``__reduce__`` or because another version of the class is here."""
    if not (issubclass(cls, base) and type_name(cls) == node.type_name):
        raise _NotRebuiltError(f"a {type_name(cls)} came out of its pickle")


def _proxy(node: Node) -> RemoteError:
    message = node.type_name.rpartition(".")[2] + (f": {node.text}" if node.text else "")
    return RemoteError(message, type_name=node.type_name, traceback=node.traceback)
