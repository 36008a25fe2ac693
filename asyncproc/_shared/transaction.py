"""Transactions: a copy of the state under the lock, and all of what was changed in it, or nothing.

The lock is the manager's. It is free again when the block is left, in whatever way, and when the child dies. A wait that ends
before its turn comes, by a timeout or a cancellation, gives the turn up by name: when the two cross, it is passed on at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar, cast

from asyncproc._shared.access import PATIENCE, check_timeout, refuse_on_a_loop
from asyncproc._shared.tokens import next_token
from asyncproc.errors import StateError

if TYPE_CHECKING:
    from asyncproc._shared.mirror import Copy
    from asyncproc._shared.namespace import Namespace

S = TypeVar("S")


class _Held(Generic[S]):
    """What both kinds have in common."""

    def __init__(self, namespace: Namespace[S], timeout: float | None) -> None:
        self._namespace = namespace
        self._access = namespace._access
        self._timeout = check_timeout(timeout)
        self._token = 0
        self._here: object = None
        self._copy: Copy | None = None

    def _begin(self) -> int:
        if self._here is not None:
            raise StateError("this transaction is entered already: ask for another by namespace.transaction()")
        self._here = self._access.enter()
        self._token = next_token()
        return self._token

    def _state(self, copy: Copy) -> S:
        self._copy = copy
        return cast(S, copy.state)

    def _changes(self, failed: bool) -> tuple[dict[str, bytes], tuple[str, ...]] | None:
        """What is to be committed; None for nothing, and then the turn is over."""
        copy, self._copy = self._copy, None
        self._leave()
        assert copy is not None
        try:
            changes = None if failed else copy.changes()
        except BaseException:
            self._access.tell("end", self._token)
            raise
        if changes is None or changes == ({}, ()):
            self._access.tell("end", self._token)
            return None
        return changes

    def _leave(self) -> None:
        here, self._here = self._here, None
        self._access.leave(here)


class Transaction(_Held[S]):
    """``async with namespace.transaction() as state``."""

    async def __aenter__(self) -> S:
        mirror = await self._namespace._mirror_async()
        token = self._begin()
        try:
            await self._wait_for_turn(token)
            try:
                return self._state(mirror.copy())
            except BaseException:
                self._access.tell("end", token)
                raise
        except BaseException:
            self._leave()
            raise

    async def _wait_for_turn(self, token: int) -> None:
        from asyncio import timeout

        try:
            async with timeout(self._timeout or None):
                await self._access.ask("begin", token, self._timeout != 0)
        except TimeoutError:
            raise self._access.timed_out(self._timeout) from None

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        changes = self._changes(error is not None)
        if changes is not None:
            # Cancelled while it waits for the answer, the change has been made; a turn that it has left open is given up.
            await self._access.ask("commit", self._token, *changes)


class BlockingTransaction(_Held[S]):
    """``with namespace.sync.transaction() as state``."""

    def __enter__(self) -> S:
        refuse_on_a_loop()
        mirror = self._namespace._mirror()
        token = self._begin()
        try:
            try:
                self._access.ask_blocking("begin", token, self._timeout != 0, timeout=self._timeout or None)
            except TimeoutError:
                raise self._access.timed_out(self._timeout) from None
            try:
                return self._state(mirror.copy())
            except BaseException:
                self._access.tell("end", token)
                raise
        except BaseException:
            self._leave()
            raise

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        changes = self._changes(error is not None)
        if changes is not None:
            self._access.ask_blocking("commit", self._token, *changes, timeout=PATIENCE)
