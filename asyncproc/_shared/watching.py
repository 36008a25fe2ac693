"""Watching: a state each time that something of it has changed, the latest when several changes have come meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, cast

from asyncproc._shared.mirror import check_names
from asyncproc._shared.tokens import next_token

if TYPE_CHECKING:
    from asyncproc._core.fields import Fields
    from asyncproc._shared.namespace import Namespace

S = TypeVar("S")


class Watch(Generic[S]):
    """An async iterator over the changes since it was made. In the owner it ends with the manager that is open."""

    def __init__(self, namespace: Namespace[S], names: tuple[str, ...]) -> None:
        mirror = namespace._mirror()
        check_names(mirror.shape, names)
        self._namespace = namespace
        self._names = names
        self._note(mirror.fields())

    def _note(self, fields: Fields) -> None:
        """Whatever was changed up to here has been seen."""
        self._version = fields.version
        self._known: Any = fields.versions(self._names) if self._names else None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> S:
        if not await self._namespace._access.ask("watch", next_token(), self._version, self._known):
            raise StopAsyncIteration
        fields, view = self._namespace._mirror().look()
        self._note(fields)
        return cast(S, view)
