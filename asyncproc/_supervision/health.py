"""What probes find of one incarnation: when it is ready, whether it still is, and whether it is well.

Who asks, and on whose time, stands in :mod:`asyncproc._supervision.asking`; what a check does in
:mod:`asyncproc._supervision.checks`. Here is what follows from the answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from asyncproc._core.exit import Reason
from asyncproc._core.supervision.event import Condemned, Unreadied
from asyncproc._core.supervision.state import State
from asyncproc._spec.probes import Exec, Http, LogLine, Pace, Port, asks, heard_streams
from asyncproc._supervision.asking import Asking, Check
from asyncproc._supervision.checks import ask_function, ask_http, ask_port, ask_program, called
from asyncproc._supervision.lines import Lines

if TYPE_CHECKING:
    from asyncproc._supervision.place import Incarnation
    from asyncproc._supervision.supervisor import Supervisor
    from asyncproc.abc import Order

FIRST_PAUSE = 0.02
"""Seconds between the first and the second check of a child that starts; doubled each time, up to the probe's interval."""
END_LIMIT = 1.0
"""Seconds that the end of a node waits for checks that are under way, which were cancelled."""


class Health:
    """The probes of one incarnation, from its start to its end.

    Attributes:
        trouble: what was found amiss last by the probe that says when it is ready.
    """

    def __init__(self, supervisor: Supervisor, incarnation: Incarnation, order: Order) -> None:
        self._supervisor = supervisor
        self._incarnation = incarnation
        self._order = order
        options = incarnation.place.spec._asyncproc.options
        self._ready = options.get("ready")
        self._alive = options.get("alive")
        self._lines: Lines | None = None
        self._asking: list[Asking] = []
        self._is_ready = False
        self._closed = False
        self.trouble: str | None = None

    @property
    def says_ready(self) -> bool:
        """Whether a probe says when the node is ready, and not the child."""
        return asks(self._ready)

    def begin(self) -> None:
        """The child exists: look whether it is ready, at once, or when the engine has returned it."""
        if self.says_ready:
            if self._incarnation.place.child is not None:
                self._begin()  # not later: what it writes, and its end, may have come along with this
            else:
                self._supervisor.loop.call_soon(self._begin)

    def _begin(self) -> None:
        if self._closed:
            return
        if isinstance(self._ready, LogLine):
            self._lines = Lines(self._ready, self.readied)
            for name in self._heard(self._ready):
                self._lines.listen(getattr(self._incarnation.place.child, "streams", None), name)
        else:
            Readiness(self, self._ready).begin()

    def _heard(self, line: LogLine) -> list[str]:
        described = self._incarnation.place.spec._asyncproc
        return heard_streams(described.kind, line, described.options)

    @property
    def unsaid(self) -> str:
        """Why the probe has not found it ready."""
        if isinstance(self._ready, LogLine):
            return f"no line of its {' or '.join(self._heard(self._ready))} matched {self._ready.pattern.pattern!r}"
        return self.trouble or "no check of it has answered"

    @property
    def paused(self) -> bool:
        """Whether the child was told to stand still: it cannot answer, and need not."""
        return self._incarnation.place.view.state is State.PAUSED

    def ready(self) -> None:
        """The node is ready: from now on look whether it is well."""
        if self._alive is not None and not self._is_ready and not self._closed:
            Liveness(self, self._alive).begin()
        self._is_ready = True

    def close(self, then: Callable[[], object] | None = None) -> None:
        """The child ends or has ended: ask no more. *then* is called when nothing of a check is left, in a second at most."""
        if not self._closed:
            self._closed = True
            for asking in self._asking:
                asking.close()
            if self._lines is not None:
                self._lines.close()
        if then is not None:
            left = [asking.task for asking in self._asking if asking.task is not None]
            _Last(self._supervisor, left, then) if left else then()

    # --- what the two kinds of asking use ---------------------------------------------------------------------------------

    def asking(self, probe: Any, told: Callable[[str | None, bool], float | None]) -> Asking:
        """Who asks *probe* and tells what it finds."""
        limit = probe.timeout if isinstance(probe, Pace) else Pace.timeout
        made = Asking(self._supervisor, f"check of {self._order.path}", self._check(probe), limit, told)
        self._asking.append(made)
        return made

    def _check(self, probe: Any) -> Check:
        supervisor, place = self._supervisor, self._incarnation.place
        match probe:
            case Port():
                return lambda: ask_port(probe)
            case Http():
                return lambda: ask_http(probe)
            case Exec():
                return lambda: ask_program(supervisor.engine, self._order, probe, place.spec._asyncproc.options)
            case _:
                from asyncproc._supervision.group import handle_of

                return lambda: ask_function(probe, handle_of(supervisor, place))

    def readied(self) -> None:
        self._incarnation.readied()

    def unreadied(self) -> None:
        self._supervisor.post(Unreadied(self._incarnation.place.id, self._order.incarnation))

    def condemn(self, why: str) -> None:
        self._supervisor.post(Condemned(self._incarnation.place.id, self._order.incarnation, Reason.UNHEALTHY, why))


class Readiness:
    """Asks until a child is ready, and, if that is wanted, from then on whether it still is."""

    def __init__(self, health: Health, probe: Any) -> None:
        self._health = health
        self._probe = probe
        self._pace = probe if isinstance(probe, Pace) else Pace()
        self._pause = FIRST_PAUSE
        self._failed = 0
        self._asking = health.asking(probe, self._told)
        self._was_ready = self._is_ready = False

    def begin(self) -> None:
        self._asking.ask_in(0.0)

    def _told(self, trouble: str | None, counts: bool) -> float | None:
        """Take in what was found; in how many seconds to ask again, None: not any more."""
        if trouble is None:
            self._failed = 0
            if not self._is_ready:
                self._was_ready = self._is_ready = True
                self._health.readied()
        elif counts:
            self._failed += 1
            self._health.trouble = f"{called(self._probe)} {_times(self._failed)}: {trouble}"
            if self._is_ready and self._failed >= self._pace.failures:
                self._is_ready = False
                self._health.unreadied()
        return self._pace.again if self._was_ready else self._next_pause()

    def _next_pause(self) -> float:
        pause = min(self._pause, self._pace.interval)
        self._pause *= 2
        return pause


class Liveness:
    """Asks whether a child is well, and condemns the one that is not."""

    def __init__(self, health: Health, probe: Any) -> None:
        self._health = health
        self._probe = probe
        self._pace = probe if isinstance(probe, Pace) else Pace()
        self._failed = 0
        self._asking = health.asking(probe, self._told)

    def begin(self) -> None:
        self._asking.ask_in(self._pace.interval)

    def _told(self, trouble: str | None, counts: bool) -> float | None:
        if trouble is None or self._health.paused:
            self._failed = 0
        elif counts:
            self._failed += 1
        if self._failed >= self._pace.failures:
            self._health.condemn(f"{called(self._probe)} {_times(self._failed)}: {trouble}")
            return None
        return self._pace.interval


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


class _Last:
    """Waits for the last checks of a node that ends."""

    def __init__(self, supervisor: Supervisor, tasks: list[asyncio.Task[Any]], then: Callable[[], object]) -> None:
        self._left = len(tasks)
        self._then = then
        self._alarm = supervisor.clock.call_at(supervisor.clock.now() + END_LIMIT, self._over)
        for task in tasks:
            task.add_done_callback(self._one_less)

    def _one_less(self, task: asyncio.Task[Any]) -> None:
        self._left -= 1
        if self._left == 0:
            self._alarm.cancel()
            self._over()

    def _over(self) -> None:
        then, self._then = self._then, lambda: None
        then()
