"""From a spec to what the tree machine must know of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asyncproc._core import options as kinds
from asyncproc._core.backoff import Backoff
from asyncproc._core.supervision.plan import AtLimit, AutoShutdown, Kind, Ladder, Overlap, Plan, Restart, Strategy
from asyncproc._spec.base import Spec
from asyncproc._spec.group import members_of
from asyncproc._spec.leaf import missing_faults
from asyncproc.errors import Fault

_KIND = {kinds.SEQUENTIAL: Kind.SEQUENTIAL, kinds.CONCURRENT: Kind.CONCURRENT, kinds.SUPERVISOR: Kind.SUPERVISOR}
_LADDER = {
    kinds.PROCESS: Ladder.PYTHON,
    kinds.COMMAND: Ladder.COMMAND,
    kinds.THREAD: Ladder.TASK,
    kinds.COROUTINE: Ladder.TASK,
}
_DEFAULT_BACKOFF = Backoff()


def plan_of(
    spec: Spec[Any],
    name: str,
    grace: float | None,
    *,
    held: bool = False,
    supervised: bool = False,
    backoff: Backoff | None = _DEFAULT_BACKOFF,
) -> Plan:
    """The plan of a spec and all below it.

    Args:
        name: what the node is called.
        grace, backoff: for nodes that do not say their own.
        held: whether its parent holds it at each phase.
        supervised: whether it is a member of a supervisor.
    """
    described = spec._asyncproc
    options = described.options
    grace = options.get("grace", grace)
    shared = {"grace": grace, "restart": _restart(options, supervised), **_shared(options)}
    if described.kind not in _KIND:
        return Plan(
            name,
            ladder=_LADDER[described.kind],
            start_timeout=options.get("start_timeout", 30.0),
            join_in=options.get("join_in"),
            says_ready=options.get("ready") is not None,
            held=held,
            backoff=options.get("backoff", backoff),
            **shared,
        )
    # A group's own restarts are as its parent says: what it says of delays is for its members.
    below = options.get("backoff", backoff)
    supervises = described.kind == kinds.SUPERVISOR
    members = tuple(
        plan_of(member, member_name, grace, supervised=supervises, backoff=below) for member_name, member in members_of(spec)
    )
    return Plan(
        name,
        _KIND[described.kind],
        members,
        limit=options.get("limit"),
        continues=supervises or options.get("on_failure", "stop") == "continue",
        backoff=backoff,
        **shared,
        **(_supervision(options) if supervises else {}),
    )


def _shared(options: Mapping[str, Any]) -> dict[str, Any]:
    """What groups have as well as leaves."""
    return {
        "timeout": options.get("timeout"),
        "needs": tuple(options.get("needs", ())),
        "essential": options.get("essential", False),
        "resources": tuple(sorted(options.get("resources", {}).items())),
        **_rhythm(options),
    }


def _restart(options: Mapping[str, Any], supervised: bool) -> Restart:
    lasting = supervised and options.get("schedule") is None
    restart = options.get("restart", "permanent" if lasting else "temporary")
    return Restart(restart) if isinstance(restart, str) else Restart.JUDGED


def _rhythm(options: Mapping[str, Any]) -> dict[str, Any]:
    if options.get("schedule") is None:
        return {}
    from asyncproc._spec.schedule import schedule_of

    schedule = schedule_of(options)
    assert schedule is not None
    return {"overlap": Overlap(schedule.overlap), "at_once": schedule.at_once}


def _supervision(options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "strategy": Strategy(options["strategy"]),
        "intensity": options["intensity"],
        "period": options["period"],
        "at_limit": AtLimit(options["at_limit"]),
        "auto_shutdown": AutoShutdown(options["auto_shutdown"] or "any"),
    }


def tree_faults(spec: Spec[Any], path: str) -> list[Fault]:
    """What only shows when a tree is about to start: arguments that a target lacks, anywhere below."""
    faults = missing_faults(path, spec)
    if watched := spec._asyncproc.options.get("watch"):
        from asyncproc._spec.watch import path_faults

        faults += path_faults(path, watched)
    if spec._asyncproc.kind in _KIND:
        for name, member in members_of(spec):
            faults += tree_faults(member, f"{path}/{name}")
    return faults


def kinds_below(spec: Spec[Any]) -> set[str]:
    """The kinds of children that a tree has."""
    if spec._asyncproc.kind in _KIND:
        return set().union(*(kinds_below(member) for member in spec._asyncproc.members))
    return {spec._asyncproc.kind}
