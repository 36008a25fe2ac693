"""Which part of a value cannot be sent, and where it is: the text of an :class:`~asyncproc.errors.EncodeError`.

Theory. The pickler asks ``persistent_id`` about each object before it saves it, so the last one asked about before the
failure is the culprit; no search is needed. A second walk, over the attributes and items of the value, finds a path to it. The
culprit may be something that no path leads to (made by a ``__reduce__``); then the path leads to the last object before it that
cannot be pickled either. Pickling every part by itself to find the bad one was rejected: quadratic, and wrong for
values with cycles, where each part on the cycle fails because of the others.

All objects here are hostile: nothing is asked of them that would run their code, except by pickling, and that is guarded.
Imported only after a failure.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from io import BytesIO
from itertools import chain, islice
from types import BuiltinMethodType, CellType, CodeType, FunctionType, MemberDescriptorType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from asyncproc._ipc import by_value
from asyncproc._ipc.by_reference import by_reference, error_text, type_name
from asyncproc._ipc.by_value import ByValue
from asyncproc.errors import Stopping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    Parts = Sequence[tuple[str, object]]

MAX_VISITED = 100_000  # objects, by the walk that looks for a path
MAX_TRACED = 10_000  # objects before the failure that are remembered
MAX_TRIALS = 200  # objects that are pickled by themselves, to see whether they are to blame
MAX_STEPS = 30  # of a path that is shown

_ATOMS = (int, str, bytes, float, bool, complex, bytearray, type(None))


def explain(parts: Parts, error: Exception) -> str:
    """Say what cannot be sent, e.g. ``result: cannot send _thread.lock at result['a'].items[3]``.

    Args:
        parts: what was to be sent, as ``(what, value)``.
        error: what pickling has raised.
    """
    what, value = parts[0]
    try:
        if len(parts) > 1:
            what, value = next((part for part in parts if not _can_be_sent(part[1])), parts[0])
        if isinstance(error, RecursionError) or isinstance(error.__cause__, RecursionError):
            return f"{what}: cannot be sent: it is nested too deeply, or without end"
        return f"{what}: {_locate(what, value)}{_reason(error)}"
    except Exception:  # a text is all that is at stake
        return f"{what}: cannot be sent: {error_text(error)}"


def parts_of_call(target: object, args: Sequence[object], kwargs: Mapping[str, object]) -> Parts:
    """The parts of a call, named for its user: target, arguments from 1, keywords."""
    name = callable_name(target)
    positional = [(f"argument {number} of {name}", value) for number, value in enumerate(args, 1)]
    return [(f"target {name}", target), *positional, *((f"keyword {key} of {name}", value) for key, value in kwargs.items())]


def callable_name(target: object) -> str:
    """The name of a callable without its module: of a function, a class, a method, a partial or a callable object."""
    for _ in range(10):
        if not issubclass(type(target), partial):  # isinstance would ask the object for its __class__
            break
        target = partial.func.__get__(target)
    if issubclass(type(target), type):
        return _qualname(target)
    try:
        name = getattr(target, "__qualname__", None)
    except Exception:
        name = None
    return name if type(name) is str else _qualname(type(target))


def _qualname(kind: Any) -> str:
    name: str = type.__dict__["__qualname__"].__get__(kind)
    return name


def _locate(what: str, value: object) -> str:
    blamed = _blamed(value)
    culprit = next(blamed, None)
    if culprit is None:
        return "cannot be sent"
    paths = _Paths(what if what.isidentifier() else "value", value)
    place = next((text for obj in chain([culprit], blamed) if (text := paths.to(obj)) is not None), "")
    return f"cannot send {_naming(culprit)}" + (f" at {place}" if place else "")


def _blamed(value: object) -> Iterator[object]:
    """The objects that were being pickled at the failure and cannot be pickled by themselves, the innermost first."""
    tracer = _Tracer(BytesIO())
    try:
        tracer.dump(value)
    except Exception:
        return (obj for obj in islice(reversed(tracer.seen), MAX_TRIALS) if not _can_be_sent(obj))
    return iter(())  # it went well this time: a value that changes its mind


class _Tracer(ByValue):
    def __init__(self, file: BytesIO) -> None:
        self.seen: deque[object] = deque(maxlen=MAX_TRACED)
        super().__init__(file)

    def persistent_id(self, obj: object) -> None:
        self.seen.append(obj)


def _can_be_sent(value: object) -> bool:
    if type(value) in _ATOMS:
        return True
    try:
        if by_reference(value) is None:
            by_value.dumps(value)
    except (KeyboardInterrupt, Stopping):
        raise
    except BaseException:  # a part whose turn had not come before the failure may raise anything
        return False
    return True


def _reason(error: Exception) -> str:
    text = str(error)
    return "" if isinstance(error, TypeError) and text.startswith("cannot pickle") else f": {error_text(error)}"


def _naming(obj: object) -> str:
    if type(obj) is FunctionType:
        return f"function {obj.__module__}.{obj.__qualname__}"
    return f"class {type_name(obj)}" if issubclass(type(obj), type) else type_name(type(obj))  # type: ignore[arg-type]  # is one


class _Step(NamedTuple):
    """One step of a path: *text* goes to the end of the path, or begins a new one, which *owner* ends."""

    text: str
    owner: str = ""


class _Paths:
    """The shortest way to each object that can be reached, breadth first."""

    def __init__(self, name: str, root: object) -> None:
        self._name = name
        # By id, because most objects have no hash; the object itself is kept so that its id stays its own.
        self._came: dict[int, tuple[object, int, _Step]] = {id(root): (root, 0, _Step(""))}
        queue = deque([root])
        while queue and len(self._came) < MAX_VISITED:
            obj = queue.popleft()
            for step, child in islice(_children(obj), MAX_VISITED):
                if id(child) not in self._came and type(child) not in _ATOMS:
                    self._came[id(child)] = (child, id(obj), step)
                    queue.append(child)

    def to(self, obj: object) -> str | None:
        """The path to an object; empty for the root, None if there is none."""
        if id(obj) not in self._came:
            return None
        steps: list[_Step] = []
        _, parent, step = self._came[id(obj)]
        while parent and not (steps and steps[-1].owner):
            steps.append(step)
            _, parent, step = self._came[parent]
        return self._text(steps[::-1]) if steps else ""

    def _text(self, steps: list[_Step]) -> str:
        start, owner = (steps[0].text, f" of {steps[0].owner}") if steps[0].owner else (self._name + steps[0].text, "")
        rest = "".join(step.text for step in steps[1:MAX_STEPS]) + ("…" if len(steps) > MAX_STEPS else "")
        return start + rest + owner


def _children(obj: object) -> Iterator[tuple[_Step, object]]:
    """What pickling an object by value would pickle next, with the step that leads there."""
    if type(obj) is ModuleType:
        return  # goes by reference, and leads everywhere
    for kind, items in _ITEMS.items():
        if issubclass(type(obj), kind):
            yield from ((_Step(text), child) for text, child in items(obj))
            break
    if type(obj) is FunctionType:
        yield from _function_parts(obj) if by_reference(obj) is None else ()
    elif issubclass(type(obj), type):
        yield from _class_parts(obj) if by_reference(obj) is None else ()  # type: ignore[arg-type]  # it is a class
    else:
        yield from ((_Step(f".{name}"), child) for name, child in _attributes(obj))
        yield _Step(".__class__"), type(obj)


def _mapping_items(obj: Any) -> Iterator[tuple[str, object]]:
    for key, value in dict.items(obj):
        yield f"[{_short(key)}]", value
        yield f" (the key {_short(key)})", key


def _short(key: object) -> str:
    if type(key) not in _ATOMS or (type(key) is int and abs(key) > 1 << 64):
        return f"<{type_name(type(key))}>"
    text = repr(key)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _numbered(iterate: Callable[[Any], Iterable[object]]) -> Callable[[Any], Iterator[tuple[str, object]]]:
    return lambda obj: ((f"[{number}]", item) for number, item in enumerate(iterate(obj)))


def _elements(obj: Any) -> Iterator[tuple[str, object]]:
    kind = set if issubclass(type(obj), set) else frozenset
    return ((f" (the element {_short(item)})", item) for item in kind.__iter__(obj))


# The method of the base class, not the object's own, which may be anybody's.
_ITEMS: dict[type, Callable[[Any], Iterable[tuple[str, object]]]] = {
    dict: _mapping_items,
    list: _numbered(list.__iter__),
    tuple: _numbered(tuple.__iter__),
    deque: _numbered(deque.__iter__),
    set: _elements,
    frozenset: _elements,
    partial: lambda obj: [(".func", obj.func), (".args", obj.args), (".keywords", obj.keywords)],
    MethodType: lambda obj: [(".__self__", obj.__self__), (".__func__", obj.__func__)],
    BuiltinMethodType: lambda obj: [(".__self__", obj.__self__)],
    staticmethod: lambda obj: [(".__func__", obj.__func__)],
    classmethod: lambda obj: [(".__func__", obj.__func__)],
    property: lambda obj: [(".fget", obj.fget), (".fset", obj.fset), (".fdel", obj.fdel)],
    CellType: lambda obj: [("", obj.cell_contents)],
    BaseException: lambda obj: [(".args", BaseException.args.__get__(obj))],  # type: ignore[attr-defined]  # a descriptor
}


def _attributes(obj: object) -> Iterator[tuple[str, object]]:
    try:
        state = object.__getattribute__(obj, "__dict__")
    except Exception:
        state = None
    if issubclass(type(state), dict):
        yield from ((name, child) for name, child in dict.items(state) if type(name) is str)
    for kind in type.__dict__["__mro__"].__get__(type(obj)):
        for name, slot in list(type.__dict__["__dict__"].__get__(kind).items()):
            if isinstance(slot, MemberDescriptorType):
                try:
                    yield name, slot.__get__(obj)
                except AttributeError:  # the slot is empty
                    continue


def _function_parts(function: FunctionType) -> Iterator[tuple[_Step, object]]:
    owner = f"{function.__module__}.{function.__qualname__}"
    for name in _used_names(function.__code__):
        if name in function.__globals__:
            yield _Step(f"global {name}", owner), function.__globals__[name]
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            yield _Step(f"closure variable {name}", owner), cell.cell_contents
        except ValueError:  # the cell is empty
            continue
    yield _Step("defaults", owner), function.__defaults__
    yield _Step("keyword defaults", owner), function.__kwdefaults__
    yield _Step("attributes", owner), function.__dict__


def _used_names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _used_names(const)


def _class_parts(cls: type) -> Iterator[tuple[_Step, object]]:
    owner = f"class {type_name(cls)}"
    for name, value in list(type.__dict__["__dict__"].__get__(cls).items()):
        yield _Step(f"attribute {name}", owner), value
    for base in type.__dict__["__bases__"].__get__(cls):
        yield _Step("base", owner), base
