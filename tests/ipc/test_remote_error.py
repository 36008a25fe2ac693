"""Exceptions over a process boundary, raised for real in a second interpreter."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import traceback
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import asyncproc.errors
from asyncproc._ipc.codec import encode_call
from asyncproc._ipc.remote_error import MAX_NODES, MAX_TEXT, pack_error, unpack_error
from asyncproc.errors import ChildCrashed, DecodeError, RemoteError, StartFailed, Stopping

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(asyncproc.errors.__file__).parents[1]

PEER = """
import sys, types
from asyncproc._ipc.codec import decode_call
from asyncproc._ipc.remote_error import pack_error

exec("class Error(Exception): pass", vars(sys.modules.setdefault("only_there", types.ModuleType("only_there"))))
while size := sys.stdin.buffer.read(8):
    try:
        target, args, kwargs, _ = decode_call(sys.stdin.buffer.read(int.from_bytes(size, "big")))
        target(*args, **kwargs)
    except BaseException as error:
        reply = pack_error(error)
    sys.stdout.buffer.write(len(reply).to_bytes(8, "big") + reply)
    sys.stdout.buffer.flush()
"""

NOTEBOOK = '''
import threading

class Refused(Exception):
    """With its own idea of its arguments."""
    def __init__(self, code, why="no"):
        super().__init__(f"refused: {code}")
        self.code, self.why = code, why

class Pair(Exception):
    def __init__(self, first, second):
        super().__init__(first)

class Worded(Exception):
    def __init__(self, *, word):
        super().__init__(f"said {word}")
        self.word = word

class WordedFile(OSError):
    def __init__(self, *, word):
        super().__init__(2, "no such word", word)
        self.word = word

def worded(): raise Worded(word="w")
def worded_file(): raise WordedFile(word="w")

class Unpicklable(Exception):
    def __init__(self, text):
        super().__init__(text)
        self.lock = threading.Lock()

class Reduced(Exception):
    """Arrives as whatever its reduce says."""
    reduced = (str, ("text",))
    def __reduce__(self): return self.reduced

class BadReduce(Exception):
    def __reduce__(self): raise SystemExit("hostile")

class BadState(Exception):
    def __init__(self, *args): super().__init__(*args); self.mark = 1
    def __setstate__(self, state): raise KeyboardInterrupt

class BadStr(Exception):
    def __str__(self): raise ValueError("no text")
    __repr__ = __str__

class Everything(BadStr):
    """Overrides all that a manager could look at."""
    args = __cause__ = __context__ = __suppress_context__ = __notes__ = __traceback__ = property(lambda self: 1 / 0)
    def __getattribute__(self, name): raise SystemExit("hostile")
    def __setattr__(self, name, value): raise SystemExit("hostile")

class Team(ExceptionGroup):
    """A group with parameters of its own."""
    def __new__(cls, name, errors):
        group = super().__new__(cls, f"team {name}", errors)
        group.name = name
        return group
    def __init__(self, name, errors): pass

class LockedTeam(ExceptionGroup):
    def __init__(self, *args): self.lock = threading.Lock()

class BaseTeam(BaseExceptionGroup): pass

def throw(error): raise error
def throw_with_cause():
    try:
        1 / 0
    except ZeroDivisionError as error:
        raise Refused(404) from error
def throw_in_handler():
    try:
        1 / 0
    except ZeroDivisionError:
        raise KeyError("k")
def throw_from_none():
    try:
        1 / 0
    except ZeroDivisionError:
        raise KeyError("k") from None
def throw_notes():
    error = ValueError("v")
    error.add_note("first")
    error.add_note("second")
    raise error
def throw_module_error():
    import only_there
    raise only_there.Error("where?")
def make(name, *args):
    raise globals()[name](*args)
def throw_circle():
    a, b = ValueError("a"), ValueError("b")
    a.__cause__, b.__cause__ = b, a
    raise a
def throw_chain(length):
    error = None
    for number in range(length):
        error, last = ValueError(number), error
        error.__cause__ = last
    raise error
def throw_group():
    raise ExceptionGroup("all", [ValueError(1), Unpicklable("locked"), ExceptionGroup("in", [KeyError("k"), Unpicklable(2)])])
def throw_deep_group(depth):
    error = ValueError("bottom")
    for _ in range(depth):
        error = ExceptionGroup("deep", [error])
    raise error
def throw_raised_members():
    errors = []
    for number in range(2):
        try:
            int("x" * (number + 1))
        except ValueError as error:
            errors.append(error)
    raise ExceptionGroup("raised", errors)
def throw_unpicklable_with_cause():
    try:
        1 / 0
    except ZeroDivisionError as error:
        locked = Unpicklable("locked")
        locked.add_note("noted")
        raise locked from error
'''


@pytest.fixture(scope="module")
def main() -> Any:
    """A notebook's namespace, as attributes."""
    module = types.ModuleType("__main__")
    eval(compile(NOTEBOOK, "<cell 1>", "exec"), module.__dict__)
    return module


class Peer:
    """A second interpreter in which we let things go wrong."""

    def __init__(self, main: Any) -> None:
        self.main = main
        env = os.environ | {"PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", PEER]
        self.process = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def error_of(self, target: Any, *args: object) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        data = encode_call(target, args, {})
        self.process.stdin.write(len(data).to_bytes(8, "big") + data)
        self.process.stdin.flush()
        return unpack_error(self.process.stdout.read(int.from_bytes(self.process.stdout.read(8), "big")))

    def made(self, name: str, *args: object) -> Any:
        """What becomes of an exception of the notebook that is made and raised there."""
        main = self.main
        space = {"Class": getattr(main, name)}
        return self.error_of(eval("lambda *args: (_ for _ in ()).throw(Class(*args))", space | {"__name__": "__main__"}), *args)


@pytest.fixture(scope="module")
def peer(main: Any) -> Iterator[Peer]:
    peer = Peer(main)
    with peer.process:
        yield peer
        assert peer.process.stdin is not None
        peer.process.stdin.close()
    assert peer.process.returncode == 0


def causes(error: BaseException) -> list[BaseException]:
    chain = []
    while (cause := error.__cause__) is not None:
        chain.append(cause)
        error = cause
    return chain


# --- what can be rebuilt ------------------------------------------------------------------------------------------------

KEPT = [
    ValueError("v", 2),
    OSError(2, "no", "file"),
    UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"),
    KeyboardInterrupt(),
    SystemExit(3),
    GeneratorExit(),
    asyncio.CancelledError("why"),
    Stopping(),
    StartFailed("failed"),
]


@pytest.mark.parametrize("error", KEPT, ids=lambda error: type(error).__name__)
def test_exception_arrives_as_its_own_class_with_the_remote_traceback(error: BaseException, main: Any, peer: Peer) -> None:
    """Class, args and text are the same; the cause tells where it was raised."""
    back = peer.error_of(main.throw, error)
    assert (type(back), back.args, str(back)) == (type(error), error.args, str(error))
    remote = back.__cause__
    assert type(remote) is RemoteError
    assert 'File "<cell 1>"' in remote.traceback
    assert "in throw" in remote.traceback
    assert remote.traceback in str(remote)
    assert remote.type_name == traceback.format_exception_only(error)[0].partition(":")[0].strip()


def test_class_of_main_keeps_identity_args_and_attributes(main: Any, peer: Peer) -> None:
    """Also where __init__ makes other args of what it is given."""
    error = peer.made("Refused", 404, "gone")
    assert type(error) is main.Refused
    assert (error.args, error.code, error.why) == (("refused: 404",), 404, "gone")


def test_class_whose_init_does_not_take_its_args_is_kept(main: Any, peer: Peer) -> None:
    """With fewer arguments, or keywords alone: args and attributes are put back, its ``__init__`` does not run again."""
    pair = peer.made("Pair", 1, 2)
    assert (type(pair), pair.args) == (main.Pair, (1,))
    worded = peer.error_of(main.worded)
    assert (type(worded), worded.args, worded.word) == (main.Worded, ("said w",), "w")
    file = peer.error_of(main.worded_file)
    assert (type(file), file.errno, file.filename, file.word) == (main.WordedFile, 2, "w", "w")


def test_own_cause_is_kept_and_the_traceback_hangs_at_its_end(main: Any, peer: Peer) -> None:
    """The user's chain comes first."""
    error = peer.error_of(main.throw_with_cause)
    assert [type(cause) for cause in causes(error)] == [ZeroDivisionError, RemoteError]
    assert "in throw_with_cause" in causes(error)[-1].traceback  # type: ignore[attr-defined]  # a RemoteError, see above
    assert type(error.__context__) is ZeroDivisionError


def test_context_and_its_suppression_are_kept(main: Any, peer: Peer) -> None:
    """As the child saw them, though a cause was set here."""
    for throw, suppressed in ((main.throw_in_handler, False), (main.throw_from_none, True)):
        error = peer.error_of(throw)
        assert type(error.__context__) is ZeroDivisionError
        assert error.__suppress_context__ is suppressed
        assert [type(cause) for cause in causes(error)] == [RemoteError]


def test_notes_are_kept(main: Any, peer: Peer) -> None:
    """In their order, and not twice."""
    assert peer.error_of(main.throw_notes).__notes__ == ["first", "second"]


def test_notes_of_our_own_errors_are_kept() -> None:
    """Their reduce leaves notes out, and takes the cause along, which here cannot be pickled."""
    error = ChildCrashed("gone")
    error.add_note("of app/w")
    error.__cause__ = ValueError(lambda: (yield))
    error.__cause__.args = (iter_forever(),)
    back = unpack_error(pack_error(error))
    assert type(back) is ChildCrashed
    assert back.__notes__ == ["of app/w"]
    assert type(back.__cause__) is RemoteError
    assert error.__cause__ is not None  # the child's own is as it was


def iter_forever() -> Iterator[int]:
    while True:
        yield 1


# --- what cannot --------------------------------------------------------------------------------------------------------

PROXIES: dict[str, tuple[str, tuple[object, ...], str, str]] = {
    "unpicklable_attribute": ("Unpicklable", ("locked",), "Unpicklable: locked", "cannot pickle '_thread.lock'"),
    "not_an_exception": ("Reduced", ("r",), "Reduced: r", "a str came out"),
    "reduce_raises": ("BadReduce", ("r",), "BadReduce: r", "SystemExit: hostile"),
    "setstate_raises": ("BadState", ("s",), "BadState: s", "KeyboardInterrupt"),
}


@pytest.mark.parametrize(("name", "args", "message", "why"), PROXIES.values(), ids=PROXIES)
def test_what_cannot_be_rebuilt_arrives_as_text(
    name: str, args: tuple[object, ...], message: str, why: str, peer: Peer
) -> None:
    """Class and text as the message, the traceback, and a note that says why."""
    error = peer.made(name, *args)
    assert type(error) is RemoteError
    assert error.args == (message,)
    assert error.type_name == f"__main__.{name}"
    assert "Traceback (most recent call last)" in error.traceback
    assert why in error.__notes__[-1]
    assert error.__cause__ is None


def test_class_of_a_module_that_is_missing_here_arrives_as_text(peer: Peer) -> None:
    """The child may have what its manager has not."""

    def throw() -> None:
        raise sys.modules["only_there"].Error("where?")

    error = peer.error_of(throw)
    assert type(error) is RemoteError
    assert (error.args, error.type_name) == (("Error: where?",), "only_there.Error")


def test_another_class_out_of_a_pickle_is_not_believed(main: Any, peer: Peer) -> None:
    """Also when it is an exception."""
    throw = eval("lambda: throw(Reduced('r'))", vars(main))
    main.Reduced.reduced, kept = (ValueError, ("v",)), main.Reduced.reduced
    try:
        error = peer.error_of(throw)
    finally:
        main.Reduced.reduced = kept
    assert type(error) is RemoteError
    assert "a ValueError came out" in error.__notes__[0]


def test_proxy_keeps_notes_and_causes(main: Any, peer: Peer) -> None:
    """Only the exception itself is text; what led to it is rebuilt."""
    error = peer.error_of(main.throw_unpicklable_with_cause)
    assert type(error) is RemoteError
    assert error.__notes__[0] == "noted"
    assert [type(cause) for cause in causes(error)] == [ZeroDivisionError]
    assert "in throw_unpicklable_with_cause" in error.traceback


def test_exception_without_text_keeps_its_class(main: Any, peer: Peer) -> None:
    """A __str__ that raises is no reason to lose it."""
    error = peer.made("BadStr", 1)
    assert type(error) is main.BadStr
    assert isinstance(error.__cause__, RemoteError)
    assert error.__cause__.args == ("BadStr: <str() of __main__.BadStr failed>",)


def test_exception_that_overrides_everything_is_told(main: Any, peer: Peer) -> None:
    """Nothing of it runs that could unwind the manager."""
    error = peer.made("Everything")
    assert type(error) is RemoteError
    assert error.type_name == "__main__.Everything"


def test_bytes_that_are_no_exception_are_told() -> None:
    """A reader gets an exception in any case."""
    for data in (b"", b"\x80\x05].", pack_error(ValueError())[:-9]):
        error = unpack_error(data)
        assert type(error) is RemoteError
        assert "cannot be read" in str(error)
    assert type(error.__cause__) is DecodeError


# --- chains and groups --------------------------------------------------------------------------------------------------


def test_circle_of_causes_is_cut_open(main: Any, peer: Peer) -> None:
    """Each exception of it is there once."""
    error = peer.error_of(main.throw_circle)
    assert [cause.args[0] for cause in [error, *causes(error)][:2]] == ["a", "b"]
    assert [type(cause) for cause in causes(error)] == [ValueError, RemoteError]


def test_long_chain_is_bounded(main: Any, peer: Peer) -> None:
    """The nearest causes travel, in no more than a bounded text."""
    error = peer.error_of(main.throw_chain, 3 * MAX_NODES)
    chain = causes(error)
    assert len(chain) == MAX_NODES
    assert error.args[0] - chain[-2].args[0] == MAX_NODES - 1
    assert isinstance(chain[-1], RemoteError)
    assert len(chain[-1].traceback) < 10_000


def test_long_text_is_bounded(main: Any, peer: Peer) -> None:
    """Its beginning and its end are the interesting parts."""
    error = peer.made("Unpicklable", "a" * 10 * MAX_TEXT + "z")
    assert isinstance(error, RemoteError)
    assert len(str(error)) < 3 * MAX_TEXT
    assert str(error.args[0]).endswith("z")


def test_group_keeps_its_structure_around_a_proxy(main: Any, peer: Peer) -> None:
    """One member that cannot be rebuilt costs only itself; except* sees the others."""
    group = peer.error_of(main.throw_group)
    assert type(group) is ExceptionGroup
    assert group.message == "all"
    assert [type(member) for member in group.exceptions] == [ValueError, RemoteError, ExceptionGroup]
    inner = group.exceptions[2]
    assert isinstance(inner, ExceptionGroup)
    assert [type(member) for member in inner.exceptions] == [KeyError, RemoteError]
    caught: list[str] = []
    try:
        raise group
    except* ValueError:
        caught.append("value")
    except* KeyError:
        caught.append("key")
    except* RemoteError as rest:
        caught += [str(member.args[0]) for member in leaves(rest)]
    assert caught == ["value", "key", "Unpicklable: locked", "Unpicklable: 2"]
    assert isinstance(group.__cause__, RemoteError)
    assert "in throw_group" in group.__cause__.traceback


def leaves(group: BaseExceptionGroup[Any]) -> Iterator[BaseException]:
    for member in group.exceptions:
        yield from leaves(member) if isinstance(member, BaseExceptionGroup) else [member]


def test_members_tell_where_they_were_raised(main: Any, peer: Peer) -> None:
    """They are taken out of their group and looked at alone."""
    group = peer.error_of(main.throw_raised_members)
    assert isinstance(group, ExceptionGroup)
    for number, member in enumerate(group.exceptions, 1):
        assert isinstance(member.__cause__, RemoteError)
        assert "x" * number in member.__cause__.traceback


def test_group_classes_are_kept(main: Any, peer: Peer) -> None:
    """With attributes, and whatever the parameters of their constructors are."""
    team = peer.made("Team", "blue", [ValueError(1)])
    assert type(team) is main.Team
    assert (team.name, team.message, team.exceptions[0].args) == ("blue", "team blue", (1,))
    base = peer.made("BaseTeam", "base", [KeyboardInterrupt(), ValueError()])
    assert type(base) is main.BaseTeam
    assert [type(member) for member in base.exceptions] == [KeyboardInterrupt, ValueError]
    plain = peer.error_of(main.throw, BaseExceptionGroup("plain", [SystemExit(2)]))
    assert type(plain) is BaseExceptionGroup


def test_group_that_cannot_be_rebuilt_becomes_a_plain_one(main: Any, peer: Peer) -> None:
    """Its members are worth more than its class."""
    group = peer.made("LockedTeam", "team", [ValueError(1)])
    assert type(group) is ExceptionGroup
    assert type(group.exceptions[0]) is ValueError
    assert "this __main__.LockedTeam could not be rebuilt" in group.__notes__[0]


def test_deep_and_wide_groups_are_bounded(main: Any, peer: Peer) -> None:
    """What is left out is told."""
    deep = peer.error_of(main.throw_deep_group, 500)
    for _ in range(500):
        assert isinstance(deep, ExceptionGroup)
        deep = deep.exceptions[0]
    assert deep.args == ("bottom",)
    bottomless: Any = peer.error_of(main.throw_deep_group, 3 * MAX_NODES)
    while isinstance(bottomless, ExceptionGroup):
        bottomless = bottomless.exceptions[0]
    assert type(bottomless) is RemoteError
    assert "its members are left out" in bottomless.__notes__[0]
    wide = unpack_error(pack_error(ExceptionGroup("wide", [ValueError(number) for number in range(2 * MAX_NODES)])))
    assert isinstance(wide, ExceptionGroup)
    assert len(wide.exceptions) == MAX_NODES - 1
    assert wide.__notes__ == [f"({MAX_NODES + 1} more exceptions of this group are left out)"]


def test_shared_members_are_still_shared() -> None:
    """An exception that stands in two groups, and is a cause besides, is one."""
    shared = ValueError("shared")
    inner = ExceptionGroup("inner", [shared])
    group = ExceptionGroup("outer", [shared, inner, ExceptionGroup("other", [inner])])
    group.__cause__ = shared
    back = unpack_error(pack_error(group))
    assert isinstance(back, ExceptionGroup)
    first, second, third = back.exceptions
    assert isinstance(second, ExceptionGroup)
    assert isinstance(third, ExceptionGroup)
    assert first is second.exceptions[0] is back.__cause__
    assert third.exceptions[0] is second


def test_error_crosses_two_boundaries() -> None:
    """A child's child: each hop adds its traceback at the end, and none is lost."""

    def fail() -> None:
        raise ValueError("far away")

    try:
        fail()
    except ValueError as error:
        once = unpack_error(pack_error(error))
    twice = unpack_error(pack_error(once))
    assert type(twice) is ValueError
    assert [type(cause) for cause in causes(twice)] == [RemoteError, RemoteError]
    assert "in fail" in str(twice.__cause__)
