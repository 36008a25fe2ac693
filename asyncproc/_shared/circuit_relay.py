"""A circuit that was made in another process: this one asks its manager, which holds the truth or asks on.

Everything goes over the line of the process as a whole: a thread that is a child of a manager in this process would ask that
very manager, and so ourselves.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from asyncproc._ipc.frame import CIRCUITS
from asyncproc._shared.tokens import next_token
from asyncproc._spec.current import current_of_process
from asyncproc.errors import ChannelBroken, StateError

if TYPE_CHECKING:
    from asyncproc._shared.circuit import Answer, Reading
    from asyncproc._spec.current import Line


class Relay:
    """The way to one circuit."""

    def __init__(self, id: str, name: str) -> None:
        self.id = id
        self._name = name

    def _line(self) -> Line:
        child = current_of_process()
        if child is None:
            raise StateError(
                f"circuit {self._name!r}: was made in another process, and this one is no child of a manager that leads there"
            )
        return child._line

    # --- calls ------------------------------------------------------------------------------------------------------------

    async def admit(self, token: int) -> Answer:
        line = self._line()
        try:
            return _answer(await line.ask(CIRCUITS, ("admit", self.id, token)))
        except BaseException:
            self._give_up(token)  # it may have been let in meanwhile
            raise

    def admit_blocking(self, token: int) -> Answer:
        line = self._line()
        try:
            return _answer(line.ask_at_once(CIRCUITS, ("admit", self.id, token)))  # in the clean-up of one that is stopped too
        except BaseException:
            self._give_up(token)
            raise

    def tell(self, word: str, token: int = 0, era: int = 0) -> None:
        line = self._line()
        with suppress(ChannelBroken):  # and with the manager all that it holds for us
            line.ask_nowait(CIRCUITS, (word, self.id, token, era))

    def _give_up(self, token: int) -> None:
        self.tell("gave_up", token)

    def look(self) -> Reading:
        return _reading(self._line().ask_at_once(CIRCUITS, ("look", self.id)))

    async def look_from_afar(self) -> Reading:
        """The same without standing still: who asks waits elsewhere."""
        return _reading(await self._line().ask(CIRCUITS, ("look", self.id)))

    # --- waiting ----------------------------------------------------------------------------------------------------------

    async def wait(self) -> None:
        line, token = self._line(), next_token()
        try:
            await line.ask(CIRCUITS, ("wait", self.id, token))
        except BaseException:
            self._give_up(token)
            raise

    def wait_blocking(self, timeout: float | None) -> None:
        line, token = self._line(), next_token()
        try:
            line.ask_blocking(CIRCUITS, ("wait", self.id, token), timeout)
        except TimeoutError:
            self._give_up(token)
            raise TimeoutError(f"circuit: nobody was let in for {timeout} s") from None
        except BaseException:
            self._give_up(token)
            raise


def _answer(found: Any) -> Answer:
    return found if isinstance(found, float) else (found[0], found[1])


def _reading(found: Any) -> Reading:
    state, failures, trips, left = found
    return state, failures, trips, left
