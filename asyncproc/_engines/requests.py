"""How the helper processes are told what to start: the first message of a Python child, and the request for a command."""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from asyncproc._engines.provision import difference, directory, environment, limits, plain_metadata, unless_equal
from asyncproc._ipc.codec import encode_call
from asyncproc._runtime.bootstrap import describe
from asyncproc._runtime.chain import Chain, host_path
from asyncproc._runtime.lifecycle import hooks_of, terms_of
from asyncproc._spec.base import Described
from asyncproc._spec.leaf import Body

if TYPE_CHECKING:
    from asyncproc._ipc.spawn import Setting
    from asyncproc._runtime.stdio import Streams
    from asyncproc._spec.command import Command
    from asyncproc.abc import Order


def chain_setting(options: Mapping[str, Any], chain: Chain, streams: Streams) -> Setting:
    """What a fork of a template is given, as far as it differs from what the template has."""
    return (
        streams.places,
        directory(options.get("cwd")),
        limits(options) or None,
        difference(chain.base_env, environment(options, chain.base_env)),
        unless_equal(chain.base_path, host_path()),
        unless_equal(chain.base_argv, list(sys.argv)),
    )


def first_message(spec: Body[Any], order: Order, setting: Setting) -> tuple[bytes, bool, bool]:
    """What a Python child is told of itself.

    Returns:
        The message, whether the target needs a loop, and whether it goes by value.

    Raises:
        EncodeError: the target or an argument cannot be sent.
    """
    described = spec._asyncproc
    options = described.options
    call = encode_call(_portable(spec).work, described.args, described.kwargs, hooks_of(spec))
    loop = spec.needs_loop
    metadata = plain_metadata(options.get("metadata", {})) or None
    main_file = getattr(sys.modules.get("__main__"), "__file__", None)
    work = (
        order.path,
        order.incarnation,
        order.round,
        order.level,
        metadata,
        loop,
        main_file,
        call,
        None if not loop and _is_one_call(spec, order.held) else terms_of(spec, order.held),
    )
    return describe(setting, work), loop, b"cloudpickle" in call


def _is_one_call(spec: Body[Any], held: bool) -> bool:
    """Whether there is nothing to its life but one call."""
    options = spec._asyncproc.options
    plain = not held and options.get("setup") is None and options.get("ready") != "call" and not spec.own_hooks
    return plain and all(options.get(name, default) == default for name, default in _ONE_CALL.items())


_ONE_CALL: dict[str, Any] = {"loops": 1, "retries": 0, "timeouts": {}}


def _portable(spec: Body[Any]) -> Body[Any]:
    """The spec as it travels: of the class form a copy without options, which are the owner's business."""
    if spec._asyncproc.target is not None:
        return spec
    body = copy.copy(spec)
    object.__setattr__(body, "_asyncproc", Described(spec._asyncproc.kind, {}))
    return body


def request_command(chain: Chain, spec: Command, streams: Streams, number: int, index: int) -> None:
    """Hand a command to the launcher."""
    options = spec._asyncproc.options
    env = environment(options, chain.base_env)
    given = limits(options)
    if set(given) - {"umask"} or len(streams.places) > 3:
        given["slow"] = True
    what = command_message(spec, env, given)
    chain.launcher.request("command", number, index, *what, fds=standard(streams), owes=True)
    streams.handed_over()


def command_message(spec: Command, env: Mapping[str, str], given: dict[str, Any]) -> tuple[Any, ...]:
    """Words, programs, folder, environment and limits: what whoever becomes the command needs to know."""
    cwd = os.fsencode(directory(spec._asyncproc.options.get("cwd")))
    return _words(spec.argv), _programs(spec.argv[0], env), cwd, _pairs(env), given


def _words(argv: tuple[str, ...]) -> list[bytes]:
    return [os.fsencode(word) for word in argv]


def _pairs(env: Mapping[str, str]) -> list[bytes]:
    return [os.fsencode(name) + b"=" + os.fsencode(value) for name, value in env.items()]


def _programs(program: str, env: Mapping[str, str]) -> list[bytes]:
    """Where the program may be, in the order in which the child's PATH says."""
    if "/" in program:
        return [os.fsencode(os.path.expanduser(program))]
    return [os.path.join(os.fsencode(folder or "."), os.fsencode(program)) for folder in os.get_exec_path(dict(env))]


def standard(streams: Streams) -> tuple[int, ...]:
    """A child's descriptors from 0 on, three unless it has one more; the null device where there is none."""
    fds: list[int] = []
    for place in streams.places:
        fds.append(streams.null() if place == -1 else fds[1] if place == -2 else streams.fds[place])
    return tuple(fds)
