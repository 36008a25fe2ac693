"""What was started below a node rather than planned there: how it is named, replaced, and kept after its end."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from asyncproc._core.names import name_fault
from asyncproc._core.options import MEMBERS_ONLY
from asyncproc._core.supervision.event import OWN, RunAsked, StopAsked
from asyncproc._core.supervision.state import State
from asyncproc._spec.group import as_spec
from asyncproc._supervision.planning import tree_faults
from asyncproc.errors import Fault, NameTaken, SpecError

if TYPE_CHECKING:
    from asyncproc._spec.base import Spec
    from asyncproc._supervision.place import Place
    from asyncproc._supervision.supervisor import Supervisor

ENDED_KEPT = 1000
"""Ended nodes that are kept to be asked about; beyond that the oldest are forgotten, unless their failure is untold."""
OLDER_SEEN = 2
"""How many of the older ones are looked at for each that comes: more than come, so that what has ended does not pile up."""


class Below:
    """What was started below one node.

    Args:
        parent: the node.
        joins: whether what is started becomes a member of it, a supervisor.
        planned: a place below it that was not started, though it is no member: the tree of a manager whose tree is no group.
    """

    def __init__(self, supervisor: Supervisor, parent: Place, *, joins: bool = False, planned: Place | None = None) -> None:
        self.joins = joins
        self._supervisor = supervisor
        self._parent = parent
        self._planned = planned
        self._numbers: dict[str, int] = {}
        self._ended: deque[Place] = deque()  # the last that were started
        self._older: deque[Place] = deque()

    @property
    def places(self) -> list[Place]:
        """Those that are there, in order of start."""
        own = {member.id for member in self._parent.members if not member.joined}
        places = self._supervisor.places
        below = [places[id] for id in self._parent.view.children if id not in own]
        return [place for place in below if place is not self._planned]

    # --- names ----------------------------------------------------------------------------------------------------------

    def checked(self, spec: Any, name: str | None, faults_of: Any = tree_faults) -> tuple[Spec[Any], str | None]:
        """What is to become a node here, and its given name.

        Raises:
            SpecError: it cannot run as it stands, with all faults.
        """
        above = self._parent.path
        ran = as_spec(spec, above)
        made = ran._asyncproc.options.get("name") if name is None else name
        path = f"{above}/{made or ran.made_name}"
        faults = [*(self._member_faults(ran, path) if self.joins else lone_faults(ran, path)), *faults_of(ran, path)]
        if made is not None and (rule := name_fault(made)) is not None:
            faults.append(Fault(above, "name", made, rule))
        if faults:
            raise SpecError(faults)
        return ran, made

    def _member_faults(self, spec: Spec[Any], path: str) -> list[Fault]:
        siblings = [member.view.name for member in self._parent.members]
        needs = spec._asyncproc.options.get("needs", ())
        faults = [
            Fault(path, "needs", need, f"is no sibling; there are {', '.join(siblings)}")
            for need in needs
            if need not in siblings
        ]
        return [*_scale_faults(spec, path), *faults]

    def free_name(self, made: str) -> str:
        """A name for a node that nobody named: numbered when it is not alone."""
        by_path, above = self._supervisor.by_path, self._parent.path
        if f"{above}/{made}" not in by_path:
            self._numbers.pop(made, None)
            return made
        number = self._numbers.get(made, 1) + 1
        while f"{above}/{made}-{number}" in by_path:
            number += 1
        self._numbers[made] = number
        return f"{made}-{number}"

    def take_name(self, name: str) -> None:
        """Free a name for a new node; NameTaken, unless what has it was started and has ended."""
        old = self._supervisor.by_path.get(f"{self._parent.path}/{name}")
        if old is None:
            return
        if not old.view.finished or old not in self.places:
            raise NameTaken(f"node {old.path}: is {old.view.state.value}; give another name, or replace=True for a started one")
        if old.id in self._supervisor.places:
            self._supervisor.forget(old)

    async def make_room(self, name: str, replace: bool) -> None:
        """The same, but with *replace* one that lives is stopped first."""
        path = f"{self._parent.path}/{name}"
        # Again after each wait: somebody else may have taken the name meanwhile.
        while (old := self._supervisor.by_path.get(path)) is not None:
            if replace and not old.view.finished and old in self.places:
                old.awaited = True
                self._supervisor.post(StopAsked(old.id, OWN, "another of its name"))
                await self._supervisor.until(old, lambda old=old: old.view.finished)  # type: ignore[misc]  # bound now
            else:
                self.take_name(name)

    # --- starting and forgetting ------------------------------------------------------------------------------------------

    async def place(self, ran: Spec[Any], made: str | None, replace: bool) -> Place:
        """A node for what was checked."""
        if made is None:
            made = self.free_name(ran.made_name)
        else:
            await self.make_room(made, replace)
        return self._supervisor.add(ran, self._parent, made, joins=self.joins)

    def begin(self, place: Place) -> None:
        """Run what was placed."""
        self._supervisor.demand(RunAsked(place.id))
        self.retire(place)

    def retire(self, place: Place) -> None:
        """An ended node may be forgotten when others have come."""
        self._ended.append(place)
        if len(self._ended) <= ENDED_KEPT:
            return
        self._older.append(self._ended.popleft())
        for _ in range(min(OLDER_SEEN, len(self._older))):  # not all: thousands may live on
            old = self._older.popleft()
            if self._may_forget(old):
                self._supervisor.forget(old)
            elif old.id in self._supervisor.places:
                self._older.append(old)

    def _may_forget(self, place: Place) -> bool:
        exit = place.view.exit
        told = place.awaited or exit is None or not exit.failed
        return place.id in self._supervisor.places and place.view.finished and told

    def forget_ended(self) -> int:
        """Forget every one that has ended; how many those were."""
        ended = [place for place in self.places if place.view.finished]
        for place in ended:
            self._supervisor.forget(place)
        kept = self._supervisor.places
        self._ended = deque(place for place in self._ended if place.id in kept)
        self._older = deque(place for place in self._older if place.id in kept)
        return len(ended)

    def may_replace(self, name: str) -> bool:
        """Whether what has this name was started here, and does not run yet."""
        old = self._supervisor.by_path.get(f"{self._parent.path}/{name}")
        return old is not None and old.view.state is State.CREATED and old in self.places


def lone_faults(spec: Spec[Any], path: str) -> list[Fault]:
    """Options that only the group around a spec could honour; here there is none that was planned with it."""
    options = spec._asyncproc.options
    lonely = [Fault(path, name, options[name], "is for members of a Supervisor") for name in MEMBERS_ONLY if options.get(name)]
    return [*_scale_faults(spec, path), *lonely]


def _scale_faults(spec: Spec[Any], path: str) -> list[Fault]:
    scale = spec._asyncproc.options.get("scale", 1)
    return [] if scale == 1 else [Fault(path, "scale", scale, "is for members of a group, or for its scale()")]
