"""From a spec to what the tree machine must know of it."""

from __future__ import annotations

from typing import Any

from asyncproc._core import options as kinds
from asyncproc._core.supervision.plan import Kind, Ladder, Plan
from asyncproc._spec.base import Spec
from asyncproc._spec.group import members_of
from asyncproc._spec.leaf import missing_faults
from asyncproc.errors import Fault

_KIND = {kinds.SEQUENTIAL: Kind.SEQUENTIAL, kinds.CONCURRENT: Kind.CONCURRENT}
_LADDER = {
    kinds.PROCESS: Ladder.PYTHON,
    kinds.COMMAND: Ladder.COMMAND,
    kinds.THREAD: Ladder.TASK,
    kinds.COROUTINE: Ladder.TASK,
}


def plan_of(spec: Spec[Any], name: str, grace: float | None, held: bool = False) -> Plan:
    """The plan of a spec and all below it.

    Args:
        name: what the node is called.
        grace: for nodes that do not say their own.
        held: whether its parent holds it at each phase.
    """
    described = spec._asyncproc
    options = described.options
    grace = options.get("grace", grace)
    if described.kind in _KIND:
        return Plan(
            name,
            _KIND[described.kind],
            tuple(plan_of(member, member_name, grace) for member_name, member in members_of(spec)),
            grace=grace,
            timeout=options.get("timeout"),
            limit=options.get("limit"),
            continues=options.get("on_failure", "stop") == "continue",
        )
    return Plan(
        name,
        ladder=_LADDER[described.kind],
        grace=grace,
        start_timeout=options.get("start_timeout", 30.0),
        timeout=options.get("timeout"),
        join_in=options.get("join_in"),
        held=held,
    )


def tree_faults(spec: Spec[Any], path: str) -> list[Fault]:
    """What only shows when a tree is about to start: arguments that a target lacks, anywhere below."""
    faults = missing_faults(path, spec)
    if spec._asyncproc.kind in _KIND:
        for name, member in members_of(spec):
            faults += tree_faults(member, f"{path}/{name}")
    return faults


def kinds_below(spec: Spec[Any]) -> set[str]:
    """The kinds of children that a tree has."""
    if spec._asyncproc.kind in _KIND:
        return set().union(*(kinds_below(member) for member in spec._asyncproc.members))
    return {spec._asyncproc.kind}
