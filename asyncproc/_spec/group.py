"""Groups: members that run one after the other, or together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from asyncproc._core import options as kinds
from asyncproc._core.names import distinct, name_fault
from asyncproc._core.results import Results
from asyncproc._spec.base import Described, Options, Spec
from asyncproc._spec.leaf import Process
from asyncproc.errors import Fault, SpecError

if TYPE_CHECKING:
    from typing import Unpack

Member: TypeAlias = Spec[Any] | Callable[[], Any]


def as_spec(member: object, path: str = "tree") -> Spec[Any]:
    """A spec as it is, a bare callable as ``Process(callable)``.

    Raises:
        SpecError: it is neither.
    """
    if isinstance(member, Spec):
        return member
    if isinstance(member, type) and issubclass(member, Spec):
        raise SpecError([Fault(path, "member", member, f"is a class: write {member.__name__}()")])
    if callable(member):
        return Process(member)
    raise SpecError([Fault(path, "member", member, "must be a spec or a callable")])


class Group(Spec[Results]):
    """What all groups share: members with distinct names."""

    KIND: str

    def _describe(self, members: tuple[Member, ...], options: dict[str, Any]) -> None:
        faults: list[Fault] = []
        specs: list[Spec[Any]] = []
        for index, member in enumerate(members):
            try:
                specs.append(as_spec(member, f"{self.made_name}[{index}]"))
            except SpecError as error:
                faults += error.faults
        object.__setattr__(self, "_asyncproc", Described(self.KIND, options, members=tuple(specs)))
        name = options.get("name", self.made_name)
        faults += self._faults(str(name))
        if faults:
            raise SpecError(faults)

    @property
    def made_name(self) -> str:
        return type(self).__name__.lower()

    def _faults(self, path: str) -> list[Fault]:
        faults = super()._faults(path)
        for name in distinct([(name, given) for name, given, _ in _expanded(self._asyncproc.members)])[1]:
            faults.append(Fault(path, "name", name, "is given to two members"))
        for member in self._asyncproc.members:
            name = member._asyncproc.options.get("name", member.made_name)
            faults += [Fault(f"{path}/{name}", *fault) for fault in self._member_faults(member._asyncproc.options)]
        return faults

    def _member_faults(self, options: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
        """What of a member's options this kind of group cannot honour: field, value, rule."""
        for option in kinds.MEMBERS_ONLY:
            if options.get(option):
                yield option, options[option], "is for members of a Supervisor"


class Sequential(Group):
    """Run members one after the other; the first failure skips the rest, unless ``on_failure="continue"``."""

    KIND = kinds.SEQUENTIAL

    def _member_faults(self, options: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
        yield from super()._member_faults(options)
        if options.get("scale", 1) != 1:
            yield "scale", options["scale"], "is for members of a Concurrent or a Supervisor"
        if options.get("restart") == "permanent":
            yield "restart", "permanent", "is not for members of a Sequential: those after it would never begin"
        if options.get("schedule") is not None:
            yield "schedule", options["schedule"], "is not for members of a Sequential: those after it would never begin"

    def __init__(self, *members: Member, on_failure: Literal["stop", "continue"] = "stop", **options: Unpack[Options]) -> None:
        self._describe(members, {"on_failure": on_failure, **options})


class Concurrent(Group):
    """Run members together, at most *limit* at once; the first failure stops the others, unless ``on_failure="continue"``."""

    KIND = kinds.CONCURRENT

    def __init__(
        self,
        *members: Member,
        limit: int | None = None,
        on_failure: Literal["stop", "continue"] = "stop",
        lag: int | None = 0,
        **options: Unpack[Options],
    ) -> None:
        self._describe(members, {"limit": limit, "on_failure": on_failure, "lag": lag, **options})


class Supervisor(Group):
    """Keep members running: start them in order, restart what ends, stop them in reverse.

    Each member starts when the one before it is ready. As soon as one member says what it ``needs``, those names are the order:
    each starts when all that it needs are ready, and ends before them.

    Args:
        members: specs, or callables without arguments; "permanent" unless they say otherwise.
        strategy: whom a failure concerns besides who failed: "one_for_one" nobody, "one_for_all" everybody, "rest_for_one"
            those that started later, or with ``needs`` those that need it, directly or not.
        intensity: failures that are followed by a restart within *period* seconds; None without limit.
        at_limit: what one more does: "escalate" stops all and fails with RestartLimitReached, "stay" leaves the member ended,
            "pause" lets it wait for one period.
        auto_shutdown: with "any", which is also meant by None, the first essential member that ends for good ends all; with
            "all" the last one does.
        limit: members that were started later and run at once.

    Raises:
        SpecError: all that is wrong, at once: unknown and circular needs too.
    """

    KIND = kinds.SUPERVISOR

    def __init__(
        self,
        *members: Member,
        strategy: Literal["one_for_one", "one_for_all", "rest_for_one"] = "one_for_one",
        intensity: int | None = 3,
        period: float = 30.0,
        at_limit: Literal["escalate", "stay", "pause"] = "escalate",
        auto_shutdown: Literal["any", "all"] | None = None,
        limit: int | None = None,
        **options: Unpack[Options],
    ) -> None:
        own = {"strategy": strategy, "intensity": intensity, "period": period, "at_limit": at_limit}
        self._describe(members, {**own, "auto_shutdown": auto_shutdown, "limit": limit, **options})

    def _member_faults(self, options: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
        return iter(())

    def _faults(self, path: str) -> list[Fault]:
        faults = super()._faults(path)
        wanted = [(name, _needed(member)) for name, member in members_of(self)]
        needs = dict(wanted)
        for name, each in wanted:  # two may have one name, which is a fault of its own
            faults += [
                Fault(f"{path}/{name}", "needs", need, f"is no sibling; there are {', '.join(needs)}")
                for need in each
                if need not in needs
            ]
        if circle := _circle(needs):
            faults.append(Fault(path, "needs", " -> ".join(circle), "is a circle: none of them could start"))
        return faults


def _needed(member: Spec[Any]) -> list[str]:
    needs = member._asyncproc.options.get("needs", ())
    return [] if isinstance(needs, str) else [need for need in needs if isinstance(need, str)]


def _circle(needs: Mapping[str, list[str]]) -> list[str] | None:
    """Names that need each other in a circle, the first once more at the end; None when there is none."""
    left = {name: {need for need in wanted if need in needs} for name, wanted in needs.items()}
    while free := [name for name, wanted in left.items() if not wanted & left.keys()]:
        for name in free:
            del left[name]
    if not left:
        return None
    trail = [next(iter(left))]
    while (following := next(need for need in needs[trail[-1]] if need in left)) not in trail:
        trail.append(following)
    return [*trail[trail.index(following) :], following]


def members_of(spec: Spec[Any]) -> list[tuple[str, Spec[Any]]]:
    """The members of a group with their final names; a scaled one as often as it says."""
    wanted = list(_expanded(spec._asyncproc.members))
    names, _ = distinct([(name, given) for name, given, _ in wanted])
    return [(name, member) for name, (_, _, member) in zip(names, wanted, strict=True)]


def _expanded(members: tuple[Spec[Any], ...]) -> Iterator[tuple[str, bool, Spec[Any]]]:
    seen: set[int] = set()
    for member in members:
        options = member._asyncproc.options
        name, scale = options.get("name", member.made_name), options.get("scale", 1)
        if name_fault(name) is not None or not isinstance(scale, int):  # told as a fault of its own
            continue
        # The same spec standing there twice is two nodes, numbered; two specs with one given name are a mistake.
        given = "name" in options and id(member) not in seen
        seen.add(id(member))
        if scale == 1:
            yield name, given, member
        else:
            for number in range(1, scale + 1):
                yield f"{name}-{number}", given, member
