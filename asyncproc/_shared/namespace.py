"""``manager.namespace`` and ``current().namespace``: one state for the owner and for all children.

Reading costs nothing while nothing has changed. Writing is a transaction, however short: ``set`` and ``add`` are transactions
of one step, made where the truth is. The rules (whose turn it is, what a change does) live in :mod:`asyncproc._core`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, cast

from asyncproc._shared.access import Access, refuse_on_a_loop
from asyncproc._shared.mirror import changes_of
from asyncproc._shared.tokens import next_token
from asyncproc._spec.current import current
from asyncproc.errors import StateError, UnknownField

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from typing_extensions import TypeVar as TypeVarWithDefault

    from asyncproc._shared.mirror import Mirror
    from asyncproc._shared.reading import Asks
    from asyncproc._shared.transaction import BlockingTransaction, Transaction

    S = TypeVarWithDefault("S", default=Any)
else:
    S = TypeVar("S")
R = TypeVar("R")


class Namespace(Generic[S]):
    """One state that a manager shares with its children; get it from ``manager.namespace`` or ``current().namespace``.

    ``S`` is the class of the state that the manager was given. Only transactions, :meth:`set` and :meth:`add` write.
    """

    __slots__ = ("_access", "_expected")

    def __init__(self, access: Access, expected: type | None = None) -> None:
        object.__setattr__(self, "_access", access)
        object.__setattr__(self, "_expected", expected)

    if TYPE_CHECKING:
        _access: Access
        _expected: type | None

    @classmethod
    def of(cls, kind: type[R]) -> Namespace[R]:
        """The namespace of this child, typed.

        Raises:
            StateError: this code runs in no child; at the first use also: the namespace holds another class.
        """
        return Namespace(current().namespace._access, kind)

    def __repr__(self) -> str:
        kind = "" if self._expected is None else f" of {self._expected.__name__}"
        return f"<Namespace{kind}>"

    # --- reading ----------------------------------------------------------------------------------------------------------

    @property
    def view(self) -> S:
        """The state as it is now: a copy, the same one while nothing has changed. Changing it changes nothing for anybody else.

        Raises:
            DecodeError: a field cannot be rebuilt here. StateError: the manager was given no namespace.
        """
        return cast(S, self._mirror().view())

    def watch(self, *fields: str) -> AsyncIterator[S]:
        """The state after each change of *fields* (none: of anything) from now on; a slow reader gets the latest.

        In the owner it ends when the manager is closed.

        Raises:
            UnknownField: the class has no such field.
        """
        from asyncproc._shared.watching import Watch

        return Watch(self, fields)

    # --- writing ----------------------------------------------------------------------------------------------------------

    def transaction(self, *, timeout: float | None = None) -> Transaction[S]:
        """``async with`` it: a copy of the state, which nobody else can change meanwhile.

        Leaving makes all changes at once, also those made in place. An exception, or the death of the child, leaves nothing of
        them. Names of fields are checked on leaving; their types only for a msgspec Struct.

        Args:
            timeout: seconds to wait for transactions of others; 0: do not wait.

        Raises:
            TimedOut: another transaction was open all the time.
            UnknownField, WrongType, EncodeError: on leaving, by field; nothing was changed.
        """
        from asyncproc._shared.transaction import Transaction

        return Transaction(self, timeout)

    async def set(self, **fields: Any) -> None:
        """Replace *fields*, all at once.

        Raises:
            UnknownField, WrongType, EncodeError: by field; nothing was changed.
        """
        mirror = await self._mirror_async()
        self._access.refuse_inside()
        changes = changes_of(mirror.shape, fields)
        await self._access.ask("change", next_token(), changes)

    async def add(self, field: str, amount: Any = 1) -> Any:
        """Add *amount* to a field and return the sum; nobody else's change gets lost.

        Any values that can be added will do; for ints and floats no code runs but in the manager.

        Raises:
            UnknownField: there is no such field. TypeError and the like: these cannot be added.
        """
        mirror = await self._mirror_async()
        self._access.refuse_inside()
        mirror.shape.check_name(field)
        if _is_number(amount) and (total := await self._access.ask("add", next_token(), field, amount)) is not None:
            return total
        async with self.transaction() as state:
            return _add_to(state, field, amount)

    @property
    def sync(self) -> BlockingNamespace[S]:
        """The blocking face, for plain code: in a plain function of a child, or in a thread without a loop."""
        return BlockingNamespace(self)

    # --- inside -----------------------------------------------------------------------------------------------------------

    def _mirror(self) -> Mirror:
        return self._checked(self._access.mirror())

    async def _mirror_async(self) -> Mirror:
        return self._checked(await self._access.mirror_async())

    def _checked(self, mirror: Mirror) -> Mirror:
        if self._expected is not None and mirror.shape.kind is not self._expected:
            raise StateError(
                f"namespace of {mirror.shape.node}: it holds a {mirror.shape.title}, not a {self._expected.__name__}"
            )
        return mirror

    def __reduce__(self) -> tuple[object, ...]:
        """Handed to a child, it is the child's own."""
        return namespace_here, (self._expected,)

    if not TYPE_CHECKING:  # hidden from checkers, which would take every name for known

        def __getattr__(self, name: str) -> NoReturn:
            hint = "" if name.startswith("_") else f": read it as .view.{name}"
            raise UnknownField(f"a Namespace has no attribute {name!r}{hint}")

        def __setattr__(self, name: str, value: object) -> NoReturn:
            ways = f"in a transaction(), by set({name}=...) or by add({name!r})"
            raise StateError(f"{name} of a namespace cannot be assigned to: write it {ways}")

        def __delattr__(self, name: str) -> NoReturn:
            raise StateError(f"{name} of a namespace cannot be deleted: do it in a transaction()")


class BlockingNamespace(Generic[S]):
    """``namespace.sync``: the same, for code without a loop. On a thread that runs one its calls raise StateError."""

    __slots__ = ("_namespace",)

    def __init__(self, namespace: Namespace[S]) -> None:
        self._namespace = namespace

    @property
    def view(self) -> S:
        """As :attr:`Namespace.view`."""
        return self._namespace.view

    def transaction(self, *, timeout: float | None = None) -> BlockingTransaction[S]:
        """As :meth:`Namespace.transaction`, by ``with``."""
        from asyncproc._shared.transaction import BlockingTransaction

        return BlockingTransaction(self._namespace, timeout)

    def set(self, **fields: Any) -> None:
        """As :meth:`Namespace.set`."""
        refuse_on_a_loop()
        access = self._namespace._access
        changes = changes_of(self._namespace._mirror().shape, fields)
        access.refuse_inside()
        access.ask_blocking("change", next_token(), changes)

    def add(self, field: str, amount: Any = 1) -> Any:
        """As :meth:`Namespace.add`."""
        refuse_on_a_loop()
        access = self._namespace._access
        self._namespace._mirror().shape.check_name(field)
        access.refuse_inside()
        if _is_number(amount) and (total := access.ask_blocking("add", next_token(), field, amount)) is not None:
            return total
        with self.transaction() as state:
            return _add_to(state, field, amount)


def namespace_of(line: Asks) -> Namespace[Any]:
    """The namespace at the other end of a line."""
    return Namespace(Access(line))


def namespace_here(expected: type | None) -> Namespace[Any]:
    """What a pickled namespace becomes: that of the child it arrives in."""
    found = current().namespace
    return found if expected is None else Namespace(found._access, expected)


def _is_number(value: object) -> bool:
    return type(value) in (int, float)


def _add_to(state: Any, field: str, amount: Any) -> Any:
    total = getattr(state, field) + amount
    setattr(state, field, total)
    return total
