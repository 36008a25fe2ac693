"""From ``FILE.py[:name]`` to what is to be run.

*The name of the module.* A function of the file is sent to a child by value when its module is ``__main__`` (the child has
another), and then all is as in ``python FILE.py``: classes keep their identity, ``pickle``, ``dataclasses`` and ``typing`` find
their module. But the block under ``if __name__ == "__main__":`` must not run: the command decides what runs. So the module *is*
``__main__`` (in ``sys.modules``, and in its functions' globals, where a function and a class take their ``__module__`` from),
while code at its top level sees another ``__name__``: it is executed with locals of its own that answer this one name
differently and pass on all others.

Rejected: another module name with ``cloudpickle.register_pickle_by_value``. It makes every value of the program go through
cloudpickle, also those that plain pickle sends in a tenth of the time, and results come home as instances of strange classes.
"""

from __future__ import annotations

import inspect
import os
import sys
import traceback
from collections.abc import Callable, Coroutine, Iterator, MutableMapping
from contextlib import contextmanager
from types import CodeType, ModuleType
from typing import Any, TypeAlias

from asyncproc._manager import Manager
from asyncproc._spec.base import Spec
from asyncproc._spec.callables import is_async
from asyncproc.cli.complaint import Complaint, faults_of
from asyncproc.errors import SpecError

Program: TypeAlias = Callable[[], Coroutine[Any, Any, Any]]
Loaded: TypeAlias = "Spec[Any] | Manager[Any] | Program | Callable[[], Any]"

TOP_LEVEL_NAME = "__asyncproc_main__"
DEFAULTS = ("tree", "app", "main")


@contextmanager
def loaded(program: str, arguments: list[str]) -> Iterator[Loaded]:
    """What *program* names; inside the block its file is the main module, and ``sys.argv`` and ``sys.path`` are as for it.

    Raises:
        Complaint: there is no such file or name, or the file cannot be executed.
    """
    file, name = _divided(program)
    module = ModuleType("__main__")
    module.__file__ = os.path.abspath(file)
    code = _compiled(file, module.__file__)
    before = sys.modules["__main__"], sys.argv, sys.path[:]
    sys.modules["__main__"], sys.argv = module, [file, *arguments]
    sys.path.insert(0, os.path.dirname(os.path.realpath(file)))
    try:
        _execute(code, module, file)
        yield _found(module, file, name)
    finally:
        sys.modules["__main__"], sys.argv, sys.path[:] = before


def _divided(program: str) -> tuple[str, str | None]:
    file, colon, name = program.rpartition(":")
    if not colon or os.path.exists(program):
        return program, None
    if not name.isidentifier():
        raise Complaint(f"{program}: what stands behind the colon must be a name in the file, got {name!r}")
    return file, name


def _compiled(file: str, path: str) -> CodeType:
    if not file.endswith(".py"):
        raise Complaint(f"{file}: is no FILE.py")
    try:
        with open(path, "rb") as source:
            return compile(source.read(), path, "exec", dont_inherit=True)
    except OSError as error:
        raise Complaint(f"{file}: cannot be read: {error.strerror}") from None
    except (SyntaxError, ValueError) as error:
        text = "".join(traceback.format_exception_only(error))
        raise Complaint(f"{file}: is not valid Python: {error}", traceback=text) from None


def _execute(code: CodeType, module: ModuleType, file: str) -> None:
    try:
        exec(code, vars(module), TopLevel(vars(module)))
    except SpecError as error:
        raise faults_of(error) from None
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # also SystemExit: a file that ends the program has nothing to be run
        raise Complaint(f"{file}: raised {_named(error)} when it was loaded", traceback=user_traceback(error)) from None


class TopLevel(MutableMapping[str, Any]):
    """The names of a module as its top level sees them: ``__name__`` says that it is not the program."""

    def __init__(self, names: dict[str, Any]) -> None:
        self._names = names

    def __getitem__(self, name: str) -> Any:
        return TOP_LEVEL_NAME if name == "__name__" else self._names[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._names[name] = value

    def __delitem__(self, name: str) -> None:
        del self._names[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _named(error: BaseException) -> str:
    return "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]


def user_traceback(error: BaseException) -> str:
    """The traceback of an error from where the user's own code begins; our frames explain nothing."""
    frame = error.__traceback__
    while frame is not None and not _is_users(frame.tb_frame.f_code.co_filename):
        frame = frame.tb_next
    return "".join(traceback.format_exception(type(error), error, frame or error.__traceback__))


def _is_users(file: str) -> bool:
    main = getattr(sys.modules["__main__"], "__file__", None)
    return file == main


def _found(module: ModuleType, file: str, name: str | None) -> Loaded:
    names = vars(module)
    if name is not None:
        if name not in names:
            raise Complaint(f"{file}: has no {name!r}{_what_there_is(names)}")
        return _checked(names[name], file, name)
    for default in DEFAULTS:
        if _can_run(names.get(default)):
            return _checked(names[default], file, default)
    raise Complaint(f"{file}: has no {', '.join(DEFAULTS[:-1])} or {DEFAULTS[-1]} to run{_what_there_is(names)}")


def _checked(found: Any, file: str, name: str) -> Loaded:
    if isinstance(found, type) and issubclass(found, Spec | Manager):
        raise Complaint(f"{file}:{name}: is a class: write {name}() and name what it gives")
    if inspect.iscoroutine(found):
        found.close()
        raise Complaint(f"{file}:{name}: is a coroutine: name the coroutine function, and it is called")
    if not _can_run(found):
        needed = "a spec, a function without arguments, a coroutine function or a Manager"
        raise Complaint(f"{file}:{name}: is a {type(found).__name__}; needs {needed}")
    if is_program(found):
        try:
            inspect.signature(found).bind()
        except TypeError as error:
            raise Complaint(f"{file}:{name}: needs a coroutine function without arguments: {error}") from None
    result: Loaded = found
    return result


def _can_run(found: Any) -> bool:
    return isinstance(found, Spec | Manager) or callable(found)


def is_program(found: object) -> bool:
    """Whether this is a coroutine function: a program of its own, not a node of a tree."""
    return not isinstance(found, Spec | Manager) and callable(found) and is_async(found)


def _what_there_is(names: dict[str, Any]) -> str:
    specs = [name for name, value in names.items() if isinstance(value, Spec | Manager)]
    if specs:
        return f"; there is {', '.join(specs)}"
    own = [name for name, value in names.items() if inspect.isfunction(value) and value.__module__ == "__main__"]
    return f"; there is no spec in it, but functions: {', '.join(own)}" if own else "; there is nothing in it that can be run"
