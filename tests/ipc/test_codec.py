"""Values over a process boundary, with a real second interpreter at the other end."""

from __future__ import annotations

import asyncio
import importlib
import os
import pickle
import subprocess
import sys
import threading
import types
import warnings
from collections import deque
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloudpickle  # type: ignore[import-untyped]  # it has no types
import pytest
from hypothesis import given
from hypothesis import strategies as st

import asyncproc.errors
from asyncproc._ipc.codec import by_reference, decode, decode_call, encode, encode_call
from asyncproc.errors import DecodeError, EncodeError, Fault, Stopping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(asyncproc.errors.__file__).parents[1]

PEER = """
import sys
from asyncproc._ipc.codec import decode_call, encode

while size := sys.stdin.buffer.read(8):
    data = sys.stdin.buffer.read(int.from_bytes(size, "big"))
    try:
        target, args, kwargs, _ = decode_call(data)
        reply = encode((True, target(*args, **kwargs)), "reply")
    except Exception as error:
        reply = encode((False, f"{type(error).__name__}: {error}"))
    sys.stdout.buffer.write(len(reply).to_bytes(8, "big") + reply)
    sys.stdout.buffer.flush()
"""

# What a user has typed into a notebook: it has no file, and its functions and classes are those of __main__.
NOTEBOOK = """
import abc, asyncio, dataclasses, enum, functools, threading, typing

OFFSET = 40
LOCK = threading.Lock()
CONFIG = {"lock": LOCK}
T = typing.TypeVar("T")
UserId = typing.NewType("UserId", int)
P = typing.ParamSpec("P")

def digest(x): return x + OFFSET
def twice(x): return 2 * digest(x)
def adder(n): return lambda x: x + n
def ident(x): return x
def typed(user: UserId, then: typing.Callable[P, T] | None = None) -> UserId: return user
def uses_lock(): return LOCK
def uses_config(): return CONFIG
async def later(x): return digest(x)
def run_later(x): return asyncio.run(later(x))

@functools.lru_cache(maxsize=7)
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)

@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: int = 0

@dataclasses.dataclass
class Box(typing.Generic[T]):
    item: T

class Color(enum.Enum):
    RED = 1
    BLUE = 2

class Row(typing.NamedTuple):
    name: str

class Slotted:
    __slots__ = ("a", "_Slotted__b")
    def __init__(self): self.a, self.__b = 1, 2
    def __eq__(self, other): return (self.a, self.__b) == (other.a, other.__b)

class Plugin:
    made = []
    def __init_subclass__(cls): Plugin.made.append(cls.__name__)

class Counter(Plugin):
    total = 0
    def __init__(self, start=0): self.start = start
    def __call__(self, x): return self.start + x
    def __eq__(self, other): return vars(self) == vars(other)
    def add(self, x): return self(x)
    @classmethod
    def made_by(cls, x): return cls(x)
    @staticmethod
    def static(x): return digest(x)
    @functools.cached_property
    def double(self): return 2 * self.start
    @functools.cache
    def cached(self): return self.start
    __hash__ = object.__hash__

def bump(counter):
    type(counter).total += 1
    return counter

class Locked:
    guard = threading.Lock()

class Outer:
    class Inner:
        def __eq__(self, other): return type(self) is type(other)
"""


def run_cell(source: str, namespace: dict[str, Any]) -> None:
    eval(compile(source, "<cell 1>", "exec"), namespace)


@pytest.fixture(scope="module")
def main() -> Any:
    """The notebook's namespace, as attributes."""
    module = types.ModuleType("__main__")
    run_cell(NOTEBOOK, module.__dict__)
    return module


class Peer:
    """A second interpreter that makes calls for us."""

    def __init__(self) -> None:
        env = os.environ | {"PYTHONPATH": str(ROOT)}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process: subprocess.Popen[bytes] = subprocess.Popen([sys.executable, "-c", PEER], env=env, **pipes)  # type: ignore[call-overload]  # pipes

    def call(self, target: Callable[..., object], *args: object, **kwargs: object) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        data = encode_call(target, args, kwargs)
        self.process.stdin.write(len(data).to_bytes(8, "big") + data)
        self.process.stdin.flush()
        size = int.from_bytes(self.process.stdout.read(8), "big")
        reply: Any = decode(self.process.stdout.read(size), "result")
        done, result = reply
        if not done:
            raise AssertionError(result)
        return result


@pytest.fixture(scope="module")
def peer() -> Iterator[Peer]:
    peer = Peer()
    with peer.process:
        yield peer
        assert peer.process.stdin is not None
        peer.process.stdin.close()
    assert peer.process.returncode == 0


# --- there and back -----------------------------------------------------------------------------------------------------

ATOMS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.complex_numbers(allow_nan=False)
)
KEYS = st.text() | st.integers() | st.tuples(st.integers(), st.text())
PLAIN = st.recursive(
    ATOMS,
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner) | st.tuples(inner, inner) | st.frozensets(KEYS),
    max_leaves=20,
)


@given(PLAIN)
def test_plain_values_come_back_equal_and_by_reference(value: object) -> None:
    """What the C pickler can do is left to it."""
    data = encode(value)
    assert decode(data) == value
    assert by_reference(value) == data


CALLS: dict[str, Callable[[Any], tuple[Callable[..., object], tuple[object, ...], object]]] = {
    "function_with_globals": lambda m: (m.twice, (1,), 82),
    "lambda": lambda m: (eval("lambda x: x * OFFSET", vars(m)), (2,), 80),
    "closure": lambda m: (m.adder(3), (4,), 7),
    "partial_of_main": lambda m: (partial(m.digest, 2), (), 42),
    "partial_of_stdlib": lambda m: (partial(int, base=16), ("ff",), 255),
    "bound_method": lambda m: (m.Counter(5).add, (1,), 6),
    "callable_object": lambda m: (m.Counter(5), (1,), 6),
    "class": lambda m: (m.Point, (1, 2), m.Point(1, 2)),
    "classmethod": lambda m: (m.Counter.made_by, (3,), m.Counter(3)),
    "staticmethod": lambda m: (m.Counter.static, (1,), 41),
    "coroutine_function": lambda m: (m.run_later, (1,), 41),
    "recursive_lru_cache": lambda m: (m.fib, (30,), 832040),
    "lru_cached_method": lambda m: (m.Counter(5).cached, (), 5),
    "typing_annotations": lambda m: (m.typed, (7,), 7),
    "builtin": lambda m: (len, ("abc",), 3),
    "method_of_builtin": lambda m: ("a,b".split, (",",), ["a", "b"]),
    "local_function_of_a_module": lambda m: (_make_local(), (1,), 2),
}


def _make_local() -> Callable[[int], int]:
    def local(x: int) -> int:
        return x + 1

    return local


@pytest.mark.parametrize("row", CALLS.values(), ids=CALLS)
def test_targets_run_in_a_second_interpreter(row: Callable[[Any], Any], main: Any, peer: Peer) -> None:
    """Every kind of callable is found or rebuilt where __main__ is another program."""
    target, args, expected = row(main)
    assert peer.call(target, *args) == expected


INSTANCES: dict[str, Callable[[Any], object]] = {
    "frozen_slotted_dataclass": lambda m: m.Point(1, 2),
    "generic_dataclass": lambda m: m.Box(m.Box(1)),
    "enum_member": lambda m: m.Color.RED,
    "named_tuple": lambda m: m.Row("a"),
    "slots_with_private_name": lambda m: m.Slotted(),
    "cached_property": lambda m: m.Counter(2),
    "nested_class": lambda m: m.Outer.Inner(),
    "inside_containers": lambda m: {m.Color.BLUE: [m.Point(1), (m.Row("b"),)]},
    "class_itself": lambda m: m.Counter,
    "local_class": lambda m: _LOCAL(),
}


def _make_local_class() -> type:
    @dataclass
    class Local:
        x: int = 1

    return Local


_LOCAL: type = _make_local_class()


@pytest.mark.parametrize("row", INSTANCES.values(), ids=INSTANCES)
def test_classes_keep_their_identity_on_a_round_trip(row: Callable[[Any], object], main: Any, peer: Peer) -> None:
    """An instance that went away and came back is of the host's own class."""
    value = row(main)
    back = peer.call(main.ident, value)
    assert type(back) is type(value)
    assert back == value


def test_instance_made_by_the_child_is_of_the_hosts_class(main: Any, peer: Peer) -> None:
    """The child has the class from a function's globals only, and from an earlier call."""
    assert isinstance(peer.call(main.Counter.made_by, 1), main.Counter)
    assert peer.call(eval("lambda c: isinstance(c, Counter)", vars(main)), main.Counter(1)) is True


def test_homecoming_leaves_the_hosts_class_untouched(main: Any, peer: Peer) -> None:
    """What the child did to its copy of a class, and the copies of its methods, do not replace the host's."""
    before = dict(vars(main.Counter))
    assert peer.call(main.bump, main.Counter(1)) == main.Counter(1)
    assert all(vars(main.Counter)[name] is value for name, value in before.items())
    assert main.Plugin.made == ["Counter"]  # nor was it made a second time


def test_child_gets_class_as_the_host_has_it_now(main: Any, peer: Peer) -> None:
    """A class that was changed in the notebook is the changed one at the next call."""
    source = main.Counter(2)
    assert peer.call(main.Counter.add, source, 1) == 3
    main.Counter.add, kept = (lambda self, x: -x), main.Counter.add
    try:
        assert peer.call(main.Counter.add, source, 1) == -1
    finally:
        main.Counter.add = kept


def test_main_goes_by_value_also_where_a_reference_would_work(main: Any, peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other end has another __main__, so a name in it is worth nothing."""
    for name in ("digest", "Point", "fib", "UserId"):
        monkeypatch.setattr(sys.modules["__main__"], name, getattr(main, name), raising=False)
        assert pickle.loads(pickle.dumps(getattr(main, name))) is getattr(main, name)
        assert peer.call(main.ident, getattr(main, name)) is not None
    nameless = types.FunctionType(main.ident.__code__, {}, "nameless")
    nameless.__module__ = None  # type: ignore[assignment]  # pickle would guess __main__
    monkeypatch.setattr(sys.modules["__main__"], "nameless", nameless, raising=False)
    assert by_reference(nameless) is None


def test_registered_modules_go_by_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, peer: Peer) -> None:
    """A module that the other end cannot import works once it is registered with cloudpickle."""
    (tmp_path / "only_here.py").write_text("class Thing: pass\ndef make(): return Thing()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module("only_here")
    with pytest.raises(AssertionError, match=r"DecodeError: call: .*No module named 'only_here'"):
        peer.call(module.make)
    cloudpickle.register_pickle_by_value(module)
    try:
        assert type(peer.call(module.make)) is module.Thing
    finally:
        cloudpickle.unregister_pickle_by_value(module)


def test_sharing_survives_a_call(main: Any, peer: Peer) -> None:
    """An object that is two arguments, also in a cycle, arrives as one."""
    shared: list[object] = []
    shared.append(shared)
    same = eval("lambda a, b, c: a is b is c[0] and a[0] is a", vars(main))
    assert peer.call(same, shared, shared, c=[shared]) is True


# --- what cannot be sent ------------------------------------------------------------------------------------------------


class Raises:
    """Raises when it is pickled."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        raise self.error


class Hidden:
    """Holds its lock where no path leads."""

    def __getstate__(self) -> object:
        return {"numbers": [1, 2], "lock": threading.Lock()}


class Hostile:
    """Answers nothing."""

    def __getattribute__(self, name: str) -> object:
        raise ValueError("never asked for")

    def __repr__(self) -> str:
        raise ValueError("no repr")

    def __eq__(self, other: object) -> bool:
        raise ValueError("no eq")

    __hash__ = None  # type: ignore[assignment]  # nor a hash


class Endless:
    def __reduce__(self) -> Any:
        return Endless, (Endless(),)


class Moody:
    """Cannot be pickled the first two times."""

    def __init__(self) -> None:
        self.times = 0

    def __reduce__(self) -> Any:
        self.times += 1
        if self.times <= 2:
            raise ValueError("not now")
        return int, ()


class Holder:
    def __init__(self, **attributes: object) -> None:
        self.__dict__.update(attributes)


class Slots:
    __slots__ = ("inner", "unset")
    inner: object


def _slots(inner: object) -> Slots:
    slots = Slots()
    slots.inner = inner
    return slots


def _cycle() -> Holder:
    child, parent = Holder(), Holder()
    child.parent, parent.children, parent.lock = parent, [child], threading.Lock()  # type: ignore[attr-defined]  # free
    return child


def _deep() -> list[object]:
    value: list[object] = []
    for _ in range(100_000):
        value = [value]
    return value


def _generator() -> Iterator[int]:
    yield 1


LOCK = threading.Lock()
CULPRITS: dict[str, tuple[Callable[[Any], object], str]] = {
    "itself": (lambda m: LOCK, "result: cannot send _thread.lock"),
    "path": (lambda m: {"a": Holder(items=[1, 2, 3, LOCK])}, "result: cannot send _thread.lock at result['a'].items[3]"),
    "slot": (lambda m: [_slots((LOCK,))], "result: cannot send _thread.lock at result[0].inner[0]"),
    "set": (lambda m: {"a", LOCK}, "result: cannot send _thread.lock at result (the element <_thread.lock>)"),
    "key": (lambda m: {(1, LOCK): 2}, "result: cannot send _thread.lock at result (the key <tuple>)[1]"),
    "huge_key": (lambda m: {10**9999: LOCK}, "result: cannot send _thread.lock at result[<int>]"),
    "long_key": (lambda m: {"k" * 99: LOCK}, f"result: cannot send _thread.lock at result['{'k' * 56}...]"),
    "deque": (lambda m: deque([1, LOCK]), "result: cannot send _thread.lock at result[1]"),
    "partial": (lambda m: partial(int, LOCK), "result: cannot send _thread.lock at result.args[0]"),
    "exception": (lambda m: ValueError(LOCK), "result: cannot send _thread.lock at result.args[0]"),
    "generator": (lambda m: [_generator()], "result: cannot send generator at result[0]"),
    "cycle": (lambda m: _cycle(), "result: cannot send _thread.lock at result.parent.lock"),
    "global": (lambda m: m.uses_lock, "result: cannot send _thread.lock at global LOCK of __main__.uses_lock"),
    "in_global": (
        lambda m: [m.uses_config],
        "result: cannot send _thread.lock at global CONFIG['lock'] of __main__.uses_config",
    ),
    "closure": (
        lambda m: m.adder(LOCK),
        "result: cannot send _thread.lock at closure variable n of __main__.adder.<locals>.<lambda>",
    ),
    "class": (lambda m: m.Locked(), "result: cannot send _thread.lock at attribute guard of class __main__.Locked"),
    "bound_method": (lambda m: Holder(lock=LOCK).__init__, "result: cannot send _thread.lock at result.__self__.lock"),  # type: ignore[misc]  # on an instance
    "made_while_pickling": (lambda m: [Hidden()], "result: cannot send _thread.lock at result[0]"),
    "reduce_raises": (
        lambda m: [Raises(ValueError("no"))],
        "result: cannot send test_codec.Raises at result[0]: ValueError: no",
    ),
    "hostile": (lambda m: [1, Hostile()], "result: cannot send test_codec.Hostile at result[1]: ValueError: never asked for"),
    "moody": (lambda m: [Moody()], "result: cannot be sent: ValueError: not now"),
    "deep": (lambda m: _deep(), "result: cannot be sent: it is nested too deeply, or without end"),
    "endless": (lambda m: Endless(), "result: cannot be sent: it is nested too deeply, or without end"),
    "many": (lambda m: [*range(300_000), LOCK], "result: cannot send _thread.lock"),
    "long_path": (lambda m: _nest(50, LOCK), f"result: cannot send _thread.lock at result{'[0]' * 30}…"),
}


def _nest(depth: int, value: object) -> object:
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(("make", "text"), CULPRITS.values(), ids=CULPRITS)
def test_culprit_is_named_with_the_path_to_it(make: Callable[[Any], object], text: str, main: Any) -> None:
    """The error says which type stands in the way and where, and keeps what the pickler said."""
    with pytest.raises(EncodeError) as caught:
        encode(make(main), "result")
    assert str(caught.value).replace(f"{__name__}.", "test_codec.") == text
    assert isinstance(caught.value.__cause__, Exception)


def test_wrong_part_of_a_call_is_named(main: Any) -> None:
    """Target, arguments by number from 1, keywords by name."""
    rows: list[tuple[Callable[..., object], tuple[object, ...], dict[str, object], str]] = [
        (main.uses_lock, (1,), {}, "target uses_lock: cannot send _thread.lock at global LOCK of __main__.uses_lock"),
        (main.digest, (1, [LOCK]), {}, "argument 2 of digest: cannot send _thread.lock at value[0]"),
        (partial(main.digest, 1), (LOCK,), {}, "argument 1 of digest: cannot send _thread.lock"),
        (main.Counter(1), (), {"x": LOCK}, "keyword x of Counter: cannot send _thread.lock"),
        (main.Counter, (LOCK,), {}, "argument 1 of Counter: cannot send _thread.lock"),
        (main.Counter(1).add, (LOCK,), {}, "argument 1 of Counter.add: cannot send _thread.lock"),
        (LOCK.acquire, (), {}, "target lock.acquire: cannot send _thread.lock at value.__self__"),
        (main.digest, (_deep(),), {}, "argument 1 of digest: cannot be sent: it is nested too deeply, or without end"),
        (Hostile(), (LOCK,), {}, "target Hostile: cannot send test_codec.Hostile: ValueError: never asked for"),  # type: ignore[list-item]  # hostile
        (len, (LOCK, Raises(SystemExit(3))), {}, "argument 1 of len: cannot send _thread.lock"),
    ]
    for target, args, kwargs, text in rows:
        with pytest.raises(EncodeError) as caught:
            encode_call(target, args, kwargs)
        assert str(caught.value).replace(f"{__name__}.", "test_codec.") == text


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, Stopping])
def test_requests_to_end_go_through_encode(kind: type[BaseException]) -> None:
    """They are meant for the sender, whose call this is."""
    with pytest.raises(kind):
        encode(Raises(kind()))


def test_big_copy_warns_once_with_size_and_name(main: Any) -> None:
    """Nobody sees in the source that a global travels along."""
    space: dict[str, Any] = {"__name__": "__main__", "TABLE": b"x" * 3_000_000}
    run_cell("def lookup(i): return TABLE[i]", space)
    with pytest.warns(RuntimeWarning, match=r"__main__\.lookup takes a copy .* 2\.9 MiB each time"):
        encode_call(space["lookup"], (1,), {})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encode_call(space["lookup"], (1,), {})
        encode_call(main.digest, (b"x" * 3_000_000,), {})  # data is big for a reason


# --- what cannot be rebuilt ---------------------------------------------------------------------------------------------


class Bomb:
    """Raises when it arrives."""

    def __init__(self, kind: type[BaseException]) -> None:
        self.kind = kind

    def __setstate__(self, state: dict[str, Any]) -> None:
        raise state["kind"]("boom")


class StringlessError(Exception):
    def __str__(self) -> str:
        raise SystemExit("hostile")


KINDS = [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError, MemoryError, StringlessError]


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_a_value_raises_on_arrival_is_a_decode_error(kind: type[BaseException]) -> None:
    """A child's value must not unwind the loop that receives it."""
    with pytest.raises(DecodeError, match=f"^result: cannot be rebuilt here: .*{kind.__name__}") as caught:
        decode(encode(Bomb(kind)), "result")
    assert type(caught.value.__cause__) is kind


def test_request_to_end_goes_through_decode() -> None:
    """Stopping is raised by the signal handler of the child, whatever it is doing."""
    with pytest.raises(Stopping):
        decode(encode(Bomb(Stopping)))


BAD_BYTES = {
    "truncated": (pickle.dumps([1, 2, 3], 5)[:-2], "UnpicklingError|EOFError"),
    "empty": (b"", "EOFError"),
    "garbage": (b"\xff\x00garbage", "UnpicklingError"),
    "no_module": (b"\x80\x05cno_such_module\nname\n.", "ModuleNotFoundError: No module named 'no_such_module'"),
    "no_attribute": (b"\x80\x05cos\nno_such_name\n.", "AttributeError: .*no_such_name"),
}


@pytest.mark.parametrize(("data", "text"), BAD_BYTES.values(), ids=BAD_BYTES)
def test_bytes_that_are_no_value_are_a_decode_error(data: bytes, text: str) -> None:
    """The error names what it was and keeps the reason."""
    with pytest.raises(DecodeError, match=f"^argument: cannot be rebuilt here: .*({text})"):
        decode(data, "argument")


def test_value_that_is_no_call_is_refused() -> None:
    """A wrong frame is told as such, not by what unpacking it would raise."""
    values: list[object] = [1, (1, 2), (1, (), {})]
    for value in values:
        with pytest.raises(DecodeError, match="call: is no call"):
            decode_call(encode(value))


# --- what it costs ------------------------------------------------------------------------------------------------------

LOADS = """
import sys
sys.path.insert(0, sys.argv[1])
from asyncproc._ipc import codec, remote_error
codec.decode_call(codec.encode_call(len, ([1, {"a": 2.5}],), {}))
heavy = {"typing", "traceback", "cloudpickle", "msgspec", "dataclasses", "inspect", "contextlib", "enum", "re", "asyncio"}
print(sorted(heavy & set(sys.modules)))
"""


def test_children_load_nothing_heavy() -> None:
    """Neither importing both modules nor a plain call brings in more than _pickle does."""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", LOADS, str(ROOT)], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_faults_unpack_and_survive_the_boundary() -> None:
    """A fault is still a tuple of four, though no NamedTuple."""
    fault = Fault("app/w", "grace", -1, "must be >= 0")
    path, field, value, rule = fault
    assert (
        (path, field, value, rule)
        == (fault.path, fault.field, fault.value, fault.rule)
        == ("app/w", "grace", -1, "must be >= 0")
    )
    assert decode(encode(fault)) == fault
    assert type(decode(encode(fault))) is Fault
    assert str(fault) == "node app/w: grace must be >= 0, got -1"
