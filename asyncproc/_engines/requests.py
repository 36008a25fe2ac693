"""How the helper processes are told what to start: the first message of a Python child, and the request for a command."""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from asyncproc._core.supervision.heartbeat import BEATS
from asyncproc._engines.provision import difference, directory, environment, plain_metadata, unless_equal
from asyncproc._ipc.codec import encode_call
from asyncproc._runtime.bootstrap import describe
from asyncproc._runtime.chain import Chain, host_path
from asyncproc._runtime.lifecycle import hooks_of, terms_of
from asyncproc._spec.base import Described
from asyncproc._spec.leaf import Body

if TYPE_CHECKING:
    from asyncproc._engines.identity import Identity
    from asyncproc._ipc.spawn import Setting
    from asyncproc._runtime.page import Page
    from asyncproc._runtime.stdio import Streams
    from asyncproc._spec.command import Command
    from asyncproc.abc import Order


def chain_setting(
    options: Mapping[str, Any], chain: Chain, streams: Streams, given: dict[str, Any], identity: Identity | None
) -> Setting:
    """What a fork of a template is given, as far as it differs from what the template has.

    Args:
        given: its limits. identity: whom it runs as, when that is somebody else.
    """
    env = environment(options, chain.base_env, identity)
    return (
        streams.places,
        directory(options.get("cwd")),
        given or None,
        difference(chain.base_env, env, exact=not options.get("inherit_env", True)),
        unless_equal(chain.base_path, host_path()),
        unless_equal(chain.base_argv, list(sys.argv)),
    )


def first_message(spec: Body[Any], order: Order, setting: Setting, is_data: bool = False) -> tuple[bytes, bool, bool]:
    """What a Python child is told of itself; *is_data*: its arguments are data.

    Returns:
        The message, whether the target needs a loop, and whether it goes by value.

    Raises:
        EncodeError: the target or an argument cannot be sent.
    """
    described = spec._asyncproc
    options = described.options
    encode = encode_call
    if is_data:
        from asyncproc._ipc.data import encode_call as encode
    call = encode(_portable(spec).work, described.args, described.kwargs, hooks_of(spec))
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
        beat_of(options),
    )
    return describe(setting, work), loop, b"cloudpickle" in call


def beat_of(options: Mapping[str, Any]) -> float | None:
    """Seconds between two beats of a child; None for one that has no heartbeat."""
    limit = options.get("heartbeat")
    return None if limit is None else limit / BEATS


def page_of(options: Mapping[str, Any]) -> Page | None:
    """The page that a child stamps its beats in; None for one that has no heartbeat."""
    if options.get("heartbeat") is None:
        return None
    from asyncproc._runtime.page import Page

    return Page()


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


def request_command(
    chain: Chain, spec: Command, streams: Streams, number: int, index: int, given: dict[str, Any], identity: Identity | None
) -> None:
    """Hand a command to the launcher; see :func:`chain_setting`."""
    env = environment(spec._asyncproc.options, chain.base_env, identity)
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
