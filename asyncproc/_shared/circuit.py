"""``asyncproc.Circuit``: a circuit breaker, the same one in every process that it was handed to.

Whoever made it holds the truth (:mod:`asyncproc._shared.circuit_home`). Pickled, it becomes a reference: a child asks by its
channel (:mod:`asyncproc._shared.circuit_relay`), and what it hands on to children of its own goes the same way, hop by hop. The
rules are in :mod:`asyncproc._core.circuit`. Here is what both kinds show, and what an exception says of a call.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from asyncproc._core.backoff import Backoff
from asyncproc._ipc.everywhere import everywhere
from asyncproc._ipc.frame import CIRCUITS
from asyncproc._shared.here import here, runs_a_loop
from asyncproc._shared.tokens import next_token
from asyncproc.errors import CircuitOpen, SpecError, StateError

if TYPE_CHECKING:
    from typing import Protocol

    from asyncproc._core.circuit import CircuitState

    class Access(Protocol):
        """How this process gets at the truth. Times are seconds from now, ``inf`` when nobody knows."""

        id: str

        async def admit(self, token: int) -> Answer: ...
        def admit_blocking(self, token: int) -> Answer: ...
        def tell(self, word: str, token: int = 0, era: int = 0) -> None: ...
        def look(self) -> Reading: ...
        async def wait(self) -> None: ...
        def wait_blocking(self, timeout: float | None) -> None: ...


Answer = tuple[int, bool] | float
"""Of whom is let in the era, and whether it is a trial; of whom is not, when the next one is."""
Reading = tuple[str, int, int, float]
"""State, failures that count now, trips, and when the next call is let in."""

EXCEPTIONS = type[Exception] | tuple[type[Exception], ...]
_STANDARD = Backoff(first=1.0, cap=30.0, factor=2.0, jitter=None, stable_after=60.0)


class Circuit:
    """Spares what fails the calls, and its callers the waiting: ``async with circuit: await fetch()``.

    Closed, it counts failures. So many within a period open it: every call is refused at once, by :exc:`CircuitOpen`, until a
    time has passed that grows with each trip. Then trials are let in: the first success closes it, a failure opens it again.
    It never sleeps. Handed to a child, or to a child of a child, it is the same circuit there; what a child holds that dies
    in a trial counts as its failure. Any task and any thread may use it.

    Args:
        name: what errors call it.
        threshold: failures that trip it. period: within so many seconds, sliding; ``inf``: they all add up.
        backoff: how long it stays open. Once it has been closed for ``stable_after`` seconds, that begins with ``first`` again.
            None: until :meth:`reset`.
        trials: calls that are let in at once when it is half-open.
        counts: what of the exceptions counts as a failure, also in a group. Any other says that there was an answer, which is a
            success. A cancellation says nothing, nor does a stop.

    Raises:
        SpecError: a value is wrong; all faults at once.
    """

    __slots__ = ("_access", "_counts", "_entered", "_name")

    def __init__(
        self,
        name: str,
        *,
        threshold: int = 5,
        period: float = 60.0,
        backoff: Backoff | None = _STANDARD,
        trials: int = 1,
        counts: EXCEPTIONS = Exception,
    ) -> None:
        from asyncproc._core.circuit import Rules
        from asyncproc._shared.circuit_home import Home, circuit_faults

        if faults := circuit_faults(name, threshold, period, backoff, trials, counts):
            raise SpecError(faults)
        self._begin(name, counts, Home(Rules(threshold, period, backoff, trials)))

    def _begin(self, name: str, counts: EXCEPTIONS, access: Access) -> None:
        self._name = name
        self._counts = counts
        self._access = access
        self._entered: dict[object, list[tuple[int, int, bool]]] = {}  # by task or thread, innermost last

    def __repr__(self) -> str:
        return f"<Circuit {self._name}>"

    @property
    def name(self) -> str:
        """What errors call it."""
        return self._name

    # --- calling ----------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> None:
        """Be let in, or not.

        Raises:
            CircuitOpen: at once. StateError: this process is no child of the one that made it.
        """
        token = next_token()
        self._enter(token, await self._access.admit(token))

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._leave(error)

    @property
    def sync(self) -> BlockingCircuit:
        """The blocking face, for plain code: ``with circuit.sync: ...``."""
        return BlockingCircuit(self)

    async def wait_permitted(self) -> None:
        """Wait until a call would be let in. Somebody else may be first: enter it, and wait again when it is refused."""
        await self._access.wait()

    def _enter(self, token: int, answer: Answer) -> None:
        if isinstance(answer, float):
            raise CircuitOpen.of(self._name, answer)
        self._entered.setdefault(here(), []).append((token, *answer))

    def _leave(self, error: BaseException | None) -> None:
        where = here()
        inside = self._entered.get(where)
        if not inside:
            raise StateError(f"circuit {self._name!r}: is left by a task or thread that did not enter it")
        token, era, trial = inside.pop()
        if not inside:
            del self._entered[where]
        word = self._outcome(error)
        if trial or word == "failed":  # nothing follows from the others
            self._access.tell(word, token, era)

    def _outcome(self, error: BaseException | None) -> str:
        if error is None:
            return "succeeded"
        leaves = list(_leaves(error))
        if any(isinstance(leaf, self._counts) and not self._says_nothing(leaf) for leaf in leaves):
            return "failed"
        return "gave_up" if any(map(self._says_nothing, leaves)) else "succeeded"

    def _says_nothing(self, error: BaseException) -> bool:
        """Whether the call was cut off, or never made."""
        futures: Any = sys.modules.get("concurrent.futures")
        return (
            not isinstance(error, Exception)
            or (isinstance(error, CircuitOpen) and error.name == self._name)
            or (futures is not None and isinstance(error, futures.CancelledError))
        )

    # --- by hand ----------------------------------------------------------------------------------------------------------

    def fail(self) -> None:
        """Count a failure that was seen outside of any call."""
        self._access.tell("fail")

    def trip(self) -> None:
        """Open it, unless it is open."""
        self._access.tell("trip")

    def reset(self) -> None:
        """Close it, and begin with the first delay; what was let in before counts no more."""
        self._access.tell("reset")

    # --- looking ----------------------------------------------------------------------------------------------------------

    @property
    def state(self) -> CircuitState:
        """Closed, open, or half-open as soon as a call would be let in again."""
        from asyncproc._core.circuit import CircuitState

        return CircuitState(self._access.look()[0])

    @property
    def failures(self) -> int:
        """How many count now; while it is not closed, how many have tripped it."""
        return self._access.look()[1]

    @property
    def trips(self) -> int:
        """How often it has tripped, ever."""
        return self._access.look()[2]

    @property
    def retry_in(self) -> float | None:
        """Seconds until a call would be let in: 0.0 for now; None: not before it is reset."""
        return finite(self._access.look()[3])

    # --- handing over -----------------------------------------------------------------------------------------------------

    def __reduce__(self) -> tuple[object, ...]:
        """A reference. From now on this process can be asked, for as long as it lives."""
        _known.setdefault(self._access.id, self)
        _serve()
        return circuit_here, (self._access.id, self._name, self._counts)


class BlockingCircuit:
    """``circuit.sync``: the same, for code without a loop. On a thread that runs one its calls raise StateError."""

    __slots__ = ("_circuit",)

    def __init__(self, circuit: Circuit) -> None:
        self._circuit = circuit

    def __enter__(self) -> None:
        """As by ``async with`` the circuit itself."""
        _refuse_on_a_loop()
        token = next_token()
        self._circuit._enter(token, self._circuit._access.admit_blocking(token))

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._circuit._leave(error)

    def wait_permitted(self, *, timeout: float | None = None) -> None:
        """As :meth:`Circuit.wait_permitted`; TimeoutError after *timeout* seconds."""
        _refuse_on_a_loop()
        self._circuit._access.wait_blocking(timeout)


def finite(seconds: float) -> float | None:
    """Seconds, or None for what has no end."""
    return seconds if seconds < float("inf") else None


def _leaves(error: BaseException) -> list[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [leaf for each in error.exceptions for leaf in _leaves(each)]


def _refuse_on_a_loop() -> None:
    if runs_a_loop():
        raise StateError("circuit.sync may block, and this thread runs an event loop: use the circuit itself")


# --- circuits that other processes know, or that come from one --------------------------------------------------------------

_known: dict[str, Circuit] = {}


def circuit_here(id: str, name: str, counts: EXCEPTIONS) -> Circuit:
    """What a pickled circuit becomes: the circuit itself in the process that made it, a way to it in any other."""
    found = _known.get(id)
    if found is None:
        from asyncproc._shared.circuit_relay import Relay

        found = Circuit.__new__(Circuit)
        found._begin(name, counts, Relay(id, name))
        found = _known.setdefault(id, found)
    return found


def access_to(id: str) -> Access:
    """How this process gets at a circuit that a child speaks of."""
    from asyncproc._shared.circuit_relay import Relay

    known = _known.get(id)
    return Relay(id, id) if known is None else known._access


def _serve() -> None:
    if CIRCUITS not in everywhere:
        from asyncproc._shared.circuit_server import CircuitServer

        everywhere.setdefault(CIRCUITS, CircuitServer(access_to))
