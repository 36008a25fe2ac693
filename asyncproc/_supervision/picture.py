"""The tree as it stands now, as data."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from asyncproc._core.snapshot import NodeSnapshot, Snapshot
from asyncproc._core.supervision.record import LIVE

if TYPE_CHECKING:
    from asyncproc._supervision.place import Place
    from asyncproc._supervision.supervisor import Supervisor


def snapshot_of(supervisor: Supervisor) -> Snapshot:
    """A picture of every node, taken between two events."""
    now = supervisor.clock.now()
    return Snapshot(_node(supervisor, supervisor.root, now), time.time())


def _node(supervisor: Supervisor, place: Place, now: float) -> NodeSnapshot:
    view = place.view
    children = tuple(_node(supervisor, supervisor.places[id], now) for id in view.children)
    return NodeSnapshot(
        place.path,
        view.name,
        place.spec._asyncproc.kind,
        view.state,
        pid=view.pid,
        incarnation=view.incarnation,
        round=view.round,
        since=now - view.begun if view.state in LIVE else 0.0,
        exit=view.exit,
        children=children,
        missed=supervisor.machine.missed_by(place.id),
        restart_in=None if place.restart_at is None else max(0.0, place.restart_at - now),
    )
