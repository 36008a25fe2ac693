"""When a node runs, if not once: the value for the option ``schedule``, checked when it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, ClassVar, Literal

from asyncproc._spec.cron import cron_rule
from asyncproc.errors import Fault, SpecError


@dataclass(frozen=True)
class Schedule:
    """Runs a node each time it is due; in between it waits, in state WAITING, and ``handle.restart_at`` says until when.

    ``schedule=5.0`` means ``Schedule(every=5.0)``, and ``schedule="30 4 * * *"`` means ``Schedule(cron="30 4 * * *")``.

    What waits for its time holds no slot of a ``limit`` and no ``resources``, and counts as ready; ``await handle`` goes on
    until it is stopped, and then gives the last run's result. A run that fails is logged and concerns nobody else: ``restart``,
    which is "temporary" unless it says "transient" or is a predicate, may have it repeated within the run, and when that is
    used up too, the next due time is its next chance. ``handle.restart()`` runs it at once; its due times stay what they are.

    Attributes:
        every: seconds from start to start, by a clock that nobody sets; the first start is at once. It stands still while the
            machine is suspended. A run that comes late does not move those after it.
        cron: text as in crontab(5), five fields, six with seconds in front, or ``@daily`` and the like; in the zone of this
            machine. The first start is at the first time that it means. Needs ``pip install asyncproc[schedule]``. Where the
            clocks change, a given time that does not come is made up for right after the gap, and one that comes twice counts
            once. When somebody sets the clock, that is noticed within a minute: set back by more, its times come again.
        overlap: what a due time does while the node runs: "skip" nothing, "queue" has it run once more as soon as it has ended,
            however many due times have come, "restart" ends it and starts it anew (not while it is paused).
        misfire: what becomes of due times that were missed by more than a minute, because the machine was suspended, the clock
            was set forward or the manager stood still: "skip" waits for the next one, "once" runs at once, and only once.
        jitter: each start comes so many seconds later at most, at random; also the first one of ``every``.
    """

    is_schedule: ClassVar[bool] = True

    every: float | None = None
    cron: str | None = None
    overlap: Literal["skip", "queue", "restart"] = field(default="skip", kw_only=True)
    misfire: Literal["skip", "once"] = field(default="skip", kw_only=True)
    jitter: float = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        faults = [Fault("Schedule", name, getattr(self, name), rule) for name, rule in self._broken_rules()]
        if faults:
            raise SpecError(faults)

    def _broken_rules(self) -> list[tuple[str, str]]:
        found = []
        if (self.every is None) == (self.cron is None):
            found.append(("every", "must be given, or cron, and not both"))
        elif self.every is not None and not (_is_seconds(self.every) and self.every > 0):
            found.append(("every", "must be > 0 seconds"))
        elif self.cron is not None and (rule := _text_rule(self.cron)) is not None:
            found.append(("cron", rule))
        for name, allowed in (("overlap", ("skip", "queue", "restart")), ("misfire", ("skip", "once"))):
            if getattr(self, name) not in allowed:
                found.append((name, f"must be one of {', '.join(map(repr, allowed))}"))
        if not (_is_seconds(self.jitter) and self.jitter >= 0):
            found.append(("jitter", "must be >= 0 seconds"))
        return found

    @property
    def at_once(self) -> bool:
        """Whether the first start waits for no due time."""
        return self.every is not None and not self.jitter


def schedule_of(options: Mapping[str, Any]) -> Schedule | None:
    """What the option means, checked before; None without one."""
    value = options.get("schedule")
    if value is None or isinstance(value, Schedule):
        return value
    return Schedule(cron=value) if isinstance(value, str) else Schedule(every=value)


def schedule_faults(path: str, options: Mapping[str, Any]) -> list[Fault]:
    """What is wrong with a schedule whose kind of value is right."""
    value = options["schedule"]
    if value is None:
        return []
    faults = []
    if isinstance(value, str) and (rule := cron_rule(value)) is not None:
        faults.append(Fault(path, "schedule", value, rule))
    if options.get("restart") == "permanent":
        rule = "is not for what has a schedule: it would never wait for its next time"
        faults.append(Fault(path, "restart", "permanent", rule))
    return faults


def _text_rule(text: object) -> str | None:
    return cron_rule(text) if isinstance(text, str) else "must be text"


def _is_seconds(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < inf
