"""The world of :mod:`tests.core.world`, played by a plain random source: no search, but many times as many events a second.

What Hypothesis draws is seldom a tree that has come to work, with something happening to it then; here that is most of it. A
history that breaks a rule is made shorter before it is shown.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

from asyncproc._core.backoff import Backoff
from asyncproc._core.exit import Reason
from asyncproc._core.supervision.event import OWN
from asyncproc._core.supervision.plan import AtLimit, AutoShutdown, Kind, Ladder, Overlap, Plan, Restart, Strategy
from tests.core.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

History = list[tuple[str, dict[str, Any]]]
RULES = {rule.function.__name__: rule for rule in World.setup_state().rules}
OFTEN = {"exits": 12, "all_become_ready": 8, "next_timer_fires": 6, "is_ready": 5, "is_spawned": 5, "joins": 5}
SELDOM = {"is_asked_to_stop": 0.7, "is_killed": 0.3, "all_ends_well": 0.3, "time_passes": 0.7}

OPTIONS: dict[str, list[Any]] = {
    "grace": [5.0, 5.0, 0.0, 0.4, None],
    "timeout": [None, None, None, 3.0],
    "continues": [False, True],
    "restart": [*Restart, Restart.PERMANENT, Restart.PERMANENT, Restart.TRANSIENT],
    "backoff": [None, None, Backoff(1.0, 4.0, stable_after=3.0)],
    "essential": [*[False] * 7, True],
    "intensity": [0, 1, 3, 10],
    "overlap": [*[None] * 20, *Overlap],
    "at_once": [False, True],
    "resources": [*[()] * 5, (("slot", 1),), (("slot", 0.5),), (("slot", 2), ("gallon", 1.0))],
}
LEAF: dict[str, list[Any]] = {
    "ladder": list(Ladder),
    "start_timeout": [2.0, None],
    "join_in": [None, None, None, 1.5],
    "held": [False, False, False, True],
    "says_ready": [False, False, False, True],
}
SUPERVISION: dict[str, list[Any]] = {
    "strategy": list(Strategy),
    "at_limit": list(AtLimit),
    "auto_shutdown": list(AutoShutdown),
    "limit": [None, 1, 2],
    "period": [5.0, 1000.0],
    "continues": [True],
}
ENDS = [
    (Reason.FINISHED, None, None),
    (Reason.CRASHED, ValueError("boom"), None),
    (Reason.CRASHED, ValueError("boom"), None),
    (Reason.CRASHED, KeyboardInterrupt(), None),
    (Reason.CRASHED, OSError(11, "nothing left"), None),
    (Reason.LOST, None, None),
]


def options(chance: random.Random, *tables: dict[str, list[Any]]) -> dict[str, Any]:
    return {name: chance.choice(choices) for table in tables for name, choices in table.items()}


def group(chance: random.Random, depth: int) -> Plan:
    kind = chance.choice([Kind.SEQUENTIAL, Kind.CONCURRENT, *[Kind.SUPERVISOR] * 3])
    own = {Kind.SUPERVISOR: SUPERVISION, Kind.CONCURRENT: {"limit": [None, 1, 2]}}.get(kind, {})
    members = tuple(tree(chance, depth - 1) for _ in range(chance.choice([0, 1, 2, 2, 3])))
    return Plan("", kind, members, **options(chance, OPTIONS, own))


def tree(chance: random.Random, depth: int) -> Plan:
    if depth > 0 and chance.random() < 0.45:
        return group(chance, depth)
    return Plan("", **options(chance, OPTIONS, LEAF))


ARGUMENTS: dict[str, Callable[[random.Random], Any]] = {
    "pick": lambda chance: chance.randrange(2**16),
    "plan": lambda chance: tree(chance, 1),
    "limit": lambda chance: chance.choice([None, 1, 2]),
    "again": lambda chance: chance.random() < 0.6,
    "running": lambda chance: chance.random() < 0.8,
    "rounds": lambda chance: chance.choice([1, 1, 1, 2, 3, None, 0]),
    "binding": lambda chance: chance.random() < 0.8,
    "end": lambda chance: chance.choice(ENDS),
    "reason": lambda chance: chance.choice([Reason.UNHEALTHY, Reason.OUT_OF_MEMORY]),
    "grace": lambda chance: chance.choice([OWN, OWN, 0.0, 1.0, 5.0, None]),
    "seconds": lambda chance: chance.choice([0.1, 0.5, 1.0, 10.0]),
}


def history(chance: random.Random, steps: int) -> History:
    """A tree that has come to work, and what happens to it."""
    names = list(RULES)
    weights = [OFTEN.get(name, SELDOM.get(name, 1.5)) for name in names]
    picked = chance.choices(names, weights, k=chance.randrange(5, steps))
    first: History = [("begins", {"plan": group(chance, 3)})]
    if chance.random() < 0.8:
        first += [("root_is_asked_to_run", {"rounds": 1, "binding": True}), ("all_become_ready", {})]
    return first + [(name, {each: ARGUMENTS[each](chance) for each in RULES[name].arguments}) for name in picked]


def play(story: History) -> BaseException | None:
    """What it breaks."""
    world = World()
    try:
        for name, arguments in story:
            if name == "begins":
                world.begins(**arguments)
            elif all(holds(world) for holds in RULES[name].preconditions):
                RULES[name].function(world, **arguments)
        world.teardown()
    except Exception as error:
        return error
    return None


def shortened(story: History, error: BaseException) -> History:
    """As few of its events as break the same."""
    step = len(story) // 2
    while step:
        at = 1
        while at < len(story):
            fewer = story[:at] + story[at + step :]
            if repr(play(fewer)) == repr(error):
                story = fewer
            else:
                at += step
        step //= 2
    return story


def play_until(done: Callable[[], bool], most: int) -> None:
    """The same histories each time, until all is there that is looked for."""
    for seed in range(most):
        if done():
            break
        error = play(history(random.Random(seed), 60))
        assert error is None, f"seed {seed}: {error!r}"


def play_for(seconds: float, steps: int) -> None:
    begun = time.monotonic()
    seed = random.randrange(2**32)
    while time.monotonic() - begun < seconds:
        seed += 1
        story = history(random.Random(seed), steps)
        error = play(story)
        if error is not None:
            lines = [f"{name} {arguments}" for name, arguments in shortened(story, error)]
            raise AssertionError("\n".join([f"seed {seed}: {error!r}", *lines])) from error
