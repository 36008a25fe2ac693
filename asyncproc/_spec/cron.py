"""Cron text as times of the wall clock, in the zone of this machine; needs the extra ``schedule``.

Five fields as in crontab(5), six with seconds in front, or ``@hourly``, ``@daily``, ``@weekly``, ``@monthly``, ``@yearly``.
Where the clocks change, it is as in Debian's cron: what is meant for a time that does not come runs right after the gap, what
is meant for one that comes twice runs once, and what has a star for its minute or hour goes by the clock as it shows.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING

from asyncproc._core.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator

NEEDS = "needs the extra: pip install asyncproc[schedule]"

_NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_EPOCH = datetime(1970, 1, 1)


class Cron(Value):
    """The times that a cron text means, as seconds since the epoch."""

    text: str

    def after(self, wall: float) -> float:
        """The first one later than *wall*."""
        # In an hour that comes twice, those that have come in the first one come out again.
        return next(time for time in self._times(wall, reverse=False) if time > wall)

    def latest(self, wall: float) -> float:
        """The last one up to *wall*."""
        return next(time for time in self._times(float(int(wall) + 1), reverse=True) if time <= wall)

    def _times(self, wall: float, *, reverse: bool) -> Iterator[float]:
        from cronsim import CronSim

        text = _NICKNAMES.get(self.text.strip().lower(), self.text)
        for moment in CronSim(text, datetime.fromtimestamp(wall, LOCAL), reverse=reverse):
            yield moment.timestamp()


def cron_rule(text: str) -> str | None:
    """The rule that a text breaks; None for one that is well."""
    try:
        import cronsim  # noqa: F401  # whether it is there
    except ImportError:
        return NEEDS
    try:
        Cron(text).after(0.0)
    except StopIteration:
        return "is a time that never comes"
    except Exception as error:  # it reads any text, and stumbles over some
        return f"is no cron text ({error}): minute hour day month weekday, or @daily and the like"
    return None


class _Local(tzinfo):
    """The zone of this machine, with its changes: the one from ``astimezone()`` has only today's offset."""

    def utcoffset(self, moment: datetime | None) -> timedelta:
        assert moment is not None
        naive = moment.replace(tzinfo=None)
        return timedelta(seconds=round((naive - _EPOCH).total_seconds() - naive.timestamp()))

    def fromutc(self, moment: datetime) -> datetime:
        return datetime.fromtimestamp(moment.replace(tzinfo=UTC).timestamp()).replace(tzinfo=self)

    def dst(self, moment: datetime | None) -> None:
        """Nobody asks which part of the offset it is."""

    def tzname(self, moment: datetime | None) -> str:
        return "local"


LOCAL = _Local()
