"""Groups: members that run one after the other, or together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
    """What Sequential and Concurrent share: members with distinct names."""

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
        if self.KIND == kinds.SEQUENTIAL:
            for member in self._asyncproc.members:
                if member._asyncproc.options.get("scale", 1) != 1:
                    faults.append(
                        Fault(
                            f"{path}/{member._asyncproc.options.get('name', member.made_name)}",
                            "scale",
                            member._asyncproc.options["scale"],
                            "is for members of a Concurrent",
                        )
                    )
        return faults


class Sequential(Group):
    """Run members one after the other; the first failure skips the rest, unless ``on_failure="continue"``."""

    KIND = kinds.SEQUENTIAL

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
