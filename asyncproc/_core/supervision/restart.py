"""When a node is started again after its end, how long it waits, and when it has failed too often."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncproc._core.exit import Reason
from asyncproc._core.results import failure_of
from asyncproc._core.supervision.action import Judge
from asyncproc._core.supervision.cause import Cause
from asyncproc._core.supervision.event import Timer
from asyncproc._core.supervision.order import departed, enlist, starts_alone, take_along, turn
from asyncproc._core.supervision.plan import AtLimit, AutoShutdown, Restart, Strategy
from asyncproc._core.supervision.record import Supervised
from asyncproc._core.supervision.rhythm import rests
from asyncproc._core.supervision.state import State
from asyncproc.errors import RestartLimitReached, StartFailed

if TYPE_CHECKING:
    from asyncproc._core.exit import Exit
    from asyncproc._core.supervision.life import Life
    from asyncproc._core.supervision.plan import Plan
    from asyncproc._core.supervision.record import History, Node

PAUSE_SPREAD = 1.5
"""A pause takes a period, and at random up to so many."""

_SHORT = frozenset({11, 12, 23, 24})
"""EAGAIN, ENOMEM, ENFILE, EMFILE: the system had nothing left, which says nothing about the child."""


def comes_back(life: Life, node: Node, exit: Exit) -> bool:
    """Whether the node, whose incarnation has just ended by *exit*, will be started again; all that this takes is done."""
    return _is_restarted(life, node, exit) or rests(life, node, exit)


def _is_restarted(life: Life, node: Node, exit: Exit) -> bool:
    renew, node.renew = node.renew, False
    if node.course is None or node.out or any(above.ending for above in node.ancestors()):
        return False
    supervisor = node.supervisor
    if supervisor is not None and node.id in supervisor.leaving:
        return _with_others(life, supervisor, node, exit)
    if renew:
        life.move(node, State.ENDED, exit)
        node.failures = 0
        if isinstance(node.above, Supervised) and node.id in node.above.leaving:  # it ran by itself, and goes on so
            departed(life, node.above, node)
        resume(life, node)
        return True
    if (exit.failed or node.unsaid) and not (node.proven or _was_short(exit)):
        node.out = node.out or _joined(node)  # who started it was told that it failed: it must not come back with others
        return False  # a first start that fails is told to who wants it, and not repeated
    return life.has_taken_time(node) and _by_its_own_rule(life, node, exit)


def _with_others(life: Life, supervisor: Supervised, node: Node, exit: Exit) -> bool:
    """It was to end because another one comes back, and comes back with it, unless it never does."""
    if node.plan.restart is Restart.TEMPORARY:
        return False
    life.move(node, State.ENDED, exit)
    enlist(life, supervisor, node)
    departed(life, supervisor, node)
    return True


def _by_its_own_rule(life: Life, node: Node, exit: Exit) -> bool:
    match node.plan.restart:
        case Restart.PERMANENT:
            return _again(life, node, exit)
        case Restart.TRANSIENT:
            return exit.failed and _again(life, node, exit)
        case Restart.TEMPORARY:
            return False
        case _:  # JUDGED
            _rest(life, node, exit)
            life.actions.append(Judge(node.id, node.incarnation, exit))
            return True


def judged(life: Life, node: Node, again: bool) -> None:
    """The owner's predicate has spoken."""
    assert node.exit is not None
    if not (again and _again(life, node, node.exit)) and not rests(life, node, node.exit):
        life.end_for_good(node, node.exit)


def _joined(node: Node) -> bool:
    return node.supervisor is not None and node.rank >= len(node.supervisor.plan.members)


def _was_short(exit: Exit) -> bool:
    return exit.pid is None and getattr(exit.error, "errno", None) in _SHORT


def _again(life: Life, node: Node, exit: Exit) -> bool:
    """Let it rest, then start; False: the limit is reached."""
    supervisor = node.supervisor
    keeper = supervisor or node
    low, high = _delay(node, exit)
    if exit.failed:
        history = admitted(keeper.history, exit, life.now, keeper.plan)
        if history is not None:
            keeper.history = history
        elif supervisor is not None and keeper.plan.at_limit is AtLimit.PAUSE:
            low, high = keeper.plan.period, keeper.plan.period * PAUSE_SPREAD
        else:
            node.spent = (*(each for _, each in keeper.history), exit)
            return False
    if node.state is not State.BACKOFF:
        _rest(life, node, exit)
    if supervisor is not None and supervisor.plan.strategy is not Strategy.ONE_FOR_ONE:
        take_along(life, supervisor, node)
        turn(life, supervisor)
        if node.state is not State.BACKOFF:  # one of them was essential, and has ended for good: so has this one
            return True
    if high > 0:
        life.wait(node, Timer.BACKOFF, life.now + low, life.now + high)
    else:
        resume(life, node)
    return True


def _rest(life: Life, node: Node, exit: Exit) -> None:
    life.move(node, State.BACKOFF, exit)
    supervisor = node.supervisor
    if supervisor is not None and node.proven:  # one that was never up yet is still waited for by those after it
        supervisor.line.pop(node.id, None)


def admitted(history: History, exit: Exit, now: float, plan: Plan) -> History | None:
    """Count one more failure, unless the limit is reached.

    Args:
        history: earlier ones, monotonic seconds and exits, oldest first. exit, now: this one.
        plan: its ``intensity`` and ``period``.

    Returns:
        Those still inside the window, this one last; None when they are more than the intensity.

    Source:
        The restart intensity rule of OTP supervisors; there in whole seconds.
    """
    if plan.intensity is None:
        return ()
    # Added, not subtracted: what is due a period after a failure comes at this sum, and rounded it must still be within.
    kept = (*(entry for entry in history if entry[0] + plan.period >= now), (now, exit))
    return kept if len(kept) <= plan.intensity else None


def _delay(node: Node, exit: Exit) -> tuple[float, float]:
    backoff = node.plan.backoff
    if backoff is None:
        return 0.0, 0.0
    stable = node.ready and exit.duration >= backoff.stable_after
    if stable and not exit.failed:
        return 0.0, 0.0
    node.failures = 1 if stable else node.failures + 1
    return backoff.delay(node.failures)


def resume(life: Life, node: Node) -> None:
    """Its rest is over, or somebody does not want to wait for its end."""
    supervisor = node.supervisor
    if supervisor is None or starts_alone(supervisor, node):
        life.begin_again(node)
    else:
        enlist(life, supervisor, node)
        turn(life, supervisor)


def verdict(supervisor: Supervised, member: Node) -> Cause | None:
    """What the end for good of a member makes of its supervisor; None: that goes on."""
    exit = member.exit
    if exit is None or supervisor.cause is not None or supervisor.state is State.STOPPING:
        return None
    if member.spent and supervisor.plan.at_limit is AtLimit.ESCALATE:
        return Cause(Reason.CRASHED, error=limit_error(supervisor.path, supervisor.plan, member.spent))
    if (exit.failed or member.unsaid) and member.awaited and not member.proven:
        error = StartFailed(f"{supervisor.path} could not start: {exit.explain()}", exit)
        error.__cause__ = failure_of(exit)
        return Cause(Reason.CRASHED, error=error)
    if member.plan.essential and not member.out and _was_the_one(supervisor):
        return Cause(Reason.CRASHED if exit.failed else Reason.FINISHED)
    return None


def _was_the_one(supervisor: Supervised) -> bool:
    if supervisor.plan.auto_shutdown is AutoShutdown.ANY:
        return True
    return all(member.state is State.ENDED for member in supervisor.members if member.plan.essential)


def limit_error(path: str, plan: Plan, exits: tuple[Exit, ...]) -> RestartLimitReached:
    """What it is raised as that a node was given up after these failures."""
    times = f"{len(exits)} failures within {plan.period:g} s, and {plan.intensity} are allowed"
    error = RestartLimitReached(f"{path}: {times}; the last: {exits[-1].explain()}", exits[-1], exits)
    error.__cause__ = failure_of(exits[-1])
    return error
