"""Drives the phases of a child: the same in a process, a thread and a coroutine, plain or on a loop.

:meth:`Life.play` is a generator that asks for each call to be made and is given what it returned or raised. So there is one
driver, and two small runners: one calls, the other calls and awaits. Which phase comes next is decided by
:class:`~asyncproc._core.lifecycle.machine.LifecycleMachine`; here it is done.

Somebody may want to interrupt what runs: a signal, a limit, a background thread that failed. It may do so only while a call
of the user's is under way (``inside``). In between, the driver itself runs, and a phase that was entered could be lost; then
the interruption waits for the next phase.
"""

from __future__ import annotations

from _collections_abc import Mapping

from asyncproc._core.lifecycle.action import (
    AFTER_LOOP,
    BEFORE_LOOP,
    END,
    FINISH,
    INTERRUPT,
    ON_FINISH,
    ON_START,
    PREPARE,
    RUN,
    SETTLE,
    START,
    TELL_READY,
    UNWIND_LOOP,
    UNWIND_START,
)
from asyncproc._core.lifecycle.arguments import Arguments
from asyncproc._core.lifecycle.event import BEGUN, CLOSE_ASKED, CUT, DISMISSED, FAILED, FORCED, RETURNED, STOP_ASKED, TIME_UP
from asyncproc._core.lifecycle.machine import LifecycleMachine
from asyncproc._ipc.by_reference import safe_str
from asyncproc._ipc.codec import encode
from asyncproc._ipc.frame import GATES
from asyncproc._runtime.entered import enterable
from asyncproc._spec.current import Finishing
from asyncproc.errors import EncodeError, PhaseError, PhaseTimeout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import TracebackType
    from typing import Any, TypeAlias

    from asyncproc._core.lifecycle.action import Action
    from asyncproc._core.lifecycle.event import Event
    from asyncproc._runtime.entered import Entered
    from asyncproc._spec.current import Current, Line

    Call: TypeAlias = tuple[Callable[..., Any], tuple[Any, ...], Mapping[str, Any]]
    Hooks: TypeAlias = dict[str, list[tuple[Callable[..., Any], bool]]]
    Calls: TypeAlias = Generator[Call, Any, Any]
    Terms: TypeAlias = tuple[
        int | None,  # loops
        int,  # retries
        bool,  # whether its parent holds it at each phase
        bool,  # whether it says itself that it is ready
        dict[str, float] | None,  # limits of phases, seconds
        bool,  # whether it is the class form
    ]

LOOK_EVERY = 0.0002
"""Seconds between two looks at the channel: a system call that a loop of microseconds would feel."""
_NOTHING: dict[str, Any] = {}
_UNHURT = (PREPARE, RUN, SETTLE, START)
"""Where an interruption that came between two calls still ends something; what cleans up is left alone."""


class Life:
    """One incarnation's way through its phases.

    Args:
        terms: what the spec says about loops. path: of the node. now: the time, monotonic seconds.

    Attributes (set by whoever hosts it, before it plays):
        child: gives what hooks are called with. line: gives the connection to the manager.
        on_ready: told when OnStart is through. interrupt: makes the code that runs now end by :attr:`reason`.
        arm: begins a limit of so many seconds (0: ends it), after which :meth:`time_up` is called.
        look: hears what the manager has sent; called between two loops, not too often. None: somebody else listens.
        remote: whether its manager is in another process.
        on_loop: whether its calls are awaited.
        cancelled: whether the task that plays it was cancelled, to interrupt it.

    Attributes:
        inside: whether a call of the user's is under way.
        error: what makes it end, None while nothing does. error_phase, error_loop: where that was.
        last_result: of the last completed loop.
    """

    __slots__ = (
        "_after", "_args", "_asked", "_attempts", "_before", "_class_form", "_finish", "_finish_result", "_held",
        "_late", "_limits", "_logs", "_look_at", "_loop_entered", "_raised_at", "_ready_by_call", "_seen", "_start",
        "_start_entered", "_takes", "_target", "_threads", "_told_ready", "arguments", "arm", "cancelled", "child",
        "error", "error_loop", "error_phase", "inside", "interrupt", "last_result", "line", "look", "machine",
        "now", "on_loop", "on_ready", "path", "reason", "remote",
    )  # fmt: skip

    child: Callable[[], Current]
    line: Callable[[], Line]
    on_ready: Callable[[], None]
    interrupt: Callable[[], None]
    arm: Callable[[float], None]

    def __init__(
        self,
        terms: Terms,
        path: str,
        now: Callable[[], float],
    ) -> None:
        loops, retries, self._held, self._ready_by_call, self._limits, self._class_form = terms
        self.machine = LifecycleMachine(loops, retries)
        self.arguments = Arguments(_NOTHING)
        self.path = path
        self.now = now
        self.on_loop = False
        self.inside = False
        self.reason: BaseException | None = None
        self.error: BaseException | None = None
        self.error_phase = ""
        self.error_loop = 0
        self.last_result: Any = None
        self._attempts: list[BaseException] = []
        self._late: BaseException | None = None
        self._loop_entered: list[Entered] = []
        self._start_entered: list[Entered] = []
        self._finish_result: Any = None
        self._look_at = 0.0
        self.look: Callable[[], object] | None = None
        self.cancelled = False
        self._logs = False
        self.remote = False
        self._seen = 0  # the loop whose arguments have begun
        self._takes: frozenset[str] | None = frozenset()  # names that the target takes, once they are asked for; None: any
        self._asked = False
        self._threads: list[Any] = []
        self._told_ready = False
        self._raised_at: TracebackType | None = None

    def load(self, target: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], setup: Hooks | None) -> None:
        """Take in what a loop calls, with what, and the hooks of a function."""
        self._target = target
        self._args = args
        self.arguments = Arguments(kwargs)
        self._start = self._hooks(ON_START, setup)
        self._before = self._hooks(BEFORE_LOOP, setup)
        self._after = self._hooks(AFTER_LOOP, setup)
        self._finish = self._hooks(ON_FINISH, setup)

    def _hooks(self, phase: str, setup: Hooks | None) -> list[tuple[Callable[..., Any], bool, bool]]:
        """Hook, whether it gets the child, whether its mapping is passed on; those of a setup come first."""
        hooks = [(hook, True, passes_on) for hook, passes_on in (setup or _NOTHING).get(phase, ())]
        own = getattr(getattr(self._target, "__self__", None), phase, None) if self._class_form else None
        if own is not None:
            hooks.append((own, False, phase != AFTER_LOOP))
        return hooks

    # --- what others may do ---------------------------------------------------------------------------------------------

    def asked(self, cut: bool) -> bool:
        """The manager wants it to end; *cut*: not only after the present loop. Whether what runs now is to be interrupted."""
        return INTERRUPT in self.machine.handle(STOP_ASKED if cut else CLOSE_ASKED, self.now())

    def rejoin(self) -> None:
        self.machine.handle(CLOSE_ASKED, self.now())

    def ready(self) -> None:
        if self._ready_by_call and not self._told_ready:
            self._told_ready = True
            self.on_ready()

    def time_up(self) -> None:
        """The limit that was armed has passed."""
        doing = self.machine.doing
        if doing is not None and self.machine.handle(TIME_UP, self.now()):
            limit = (self._limits or {}).get(doing.phase)
            where = self._where(doing.phase)
            text = f"node {self.path}: {where} took more than {limit} s"
            self.interrupt_by(PhaseTimeout(text, None, doing.phase, self._loop_of(doing.phase)))

    def interrupt_by(self, reason: BaseException) -> None:
        """Make what runs now end by *reason*; from any thread. Of several the first is told, and bears the others."""
        earlier = self.reason
        if earlier is None:
            self.reason = reason
        elif isinstance(earlier, PhaseTimeout):  # does not matter when the phase ends well all the same
            self.reason = also(reason, earlier, "before that")
        else:
            also(earlier, reason, "then")
        self.interrupt()

    def raise_here(self, error: BaseException) -> None:
        """End what runs in this thread by *error*: at once where it is the user's, else when that runs again."""
        if self.inside:
            raise error
        self._late = error

    def defer(self, error: BaseException) -> None:
        """Let it end by *error* when it next could: of code that cannot be interrupted."""
        self._late = error

    def background(self, target: Callable[..., Any], args: tuple[Any, ...], name: str | None, loops: int | None) -> Any:
        from asyncproc._runtime.background import start

        thread = start(self, target, args, name, loops)
        self._threads.append(thread)
        return thread

    @property
    def ending(self) -> bool:
        """Whether no further loop comes, and OnFinish runs or has run."""
        return self.machine.doing in (FINISH, UNWIND_START, None)

    # --- the phases -----------------------------------------------------------------------------------------------------

    def play(self) -> Calls:
        """Run from the first phase to the last; gives the result, or raises what ended it."""
        handle, now, limits = self.machine.handle, self.now, self._limits
        self._logs = _logs_loops()
        wishes = handle(BEGUN, now())
        while (wish := wishes[-1]) is not END:
            if wishes[0] is TELL_READY and not self._ready_by_call:
                self.on_ready()
            if wish is PREPARE:
                self._begin_loop()
            try:
                if self._held and not wish.unwinds and self.error is None and wish is not RUN:
                    yield from self._wait_at_gate(wish.phase)
                if self._late is not None:
                    self._raise_late(wish)
                if limits is not None and wish.phase in limits:
                    yield from self._limited(wish, limits[wish.phase])
                else:
                    yield from _DEEDS[wish](self)
            except GeneratorExit:
                raise
            except Dismissed:
                event = DISMISSED
                if self._attempts and wish is PREPARE:  # the loop that was to be repeated has failed for good
                    self.error = self._attempts.pop()
            except BaseException as error:
                event = self._take(error, wish)
            else:
                event = RETURNED if self.reason is None else self._take_reason(wish)
            wishes = handle(event, now())
        if self._threads:
            try:
                yield self.join_threads_on_loop if self.on_loop else self.join_threads, (), _NOTHING
            except GeneratorExit:
                raise
            except BaseException:  # cut while it waits for daemons: how the child has ended is settled
                pass
        if self.error is not None:
            for number, attempt in enumerate(self._attempts if self.error_phase != ON_FINISH else (), 1):
                self.error.add_note(f"attempt {number} of this loop had ended by {_told(attempt)}")
            raise self.error.with_traceback(self._raised_at)  # where it was raised, not what it has been thrown into since
        return self.last_result if self._finish_result is None else self._finish_result

    def _begin_loop(self) -> None:
        if self.error is not None:  # the same loop again
            self._attempts.append(self.error)
            self.error = None
        if self._seen != self.machine.number:
            self._seen = self.machine.number
            self._attempts.clear()
            self.arguments.begin_loop()

    def _limited(self, wish: Action, seconds: float) -> Calls:
        self.arm(seconds)
        try:
            yield from _DEEDS[wish](self)
        finally:
            self.arm(0)
            if isinstance(self._late, PhaseTimeout):  # it came when all was done
                self._late = None

    def _raise_late(self, wish: Action) -> None:
        """An interruption came between two calls: it ends what comes next, unless that cleans up."""
        late, self._late = self._late, None
        if wish in _UNHURT and late is not None:
            raise late

    def _do_start(self) -> Calls:
        for hook in self._start:
            yield from self._enter(hook, ON_START, self._start_entered)

    def _do_prepare(self) -> Calls:
        if self.on_loop and self.machine.loops != 1:
            yield _breathe, (), _NOTHING  # a loop that never waits would hear nothing, and let nobody else run
        for hook in self._before:
            yield from self._enter(hook, BEFORE_LOOP, self._loop_entered)

    def _do_run(self) -> Calls:
        self.last_result = yield self._target, self._args, self.arguments.now()

    def _do_settle(self) -> Calls:
        for hook, with_child, passes_on in self._after:
            if self._late is not None:
                self._raise_late(SETTLE)
            args = (self.child(), self.last_result) if with_child else (self.last_result,)
            value = yield hook, args, _NOTHING
            if passes_on:
                self._add(AFTER_LOOP, value)
        if self._loop_entered:
            yield from self._leave(self._loop_entered, None)
        if self._logs:
            self._log_loop()
        if self.look is not None and self.now() >= self._look_at:  # last, so that what it hears keeps the next from beginning
            self._look_at = self.now() + LOOK_EVERY
            self.look()

    def _log_loop(self) -> None:
        machine = self.machine
        left = "" if machine.loops is None else f", {machine.loops - machine.number} left"
        self.child().log.debug("%s: loop %d took %.6f s%s", self.path, machine.number, machine.times.last, left)

    def _do_unwind_loop(self) -> Calls:
        yield from self._leave(self._loop_entered, self.error)

    def _do_finish(self) -> Calls:
        first: BaseException | None = None
        for hook, with_child, _ in self._finish:
            try:
                value = yield hook, (self.child(),) if with_child else (), _NOTHING
            except GeneratorExit:
                raise
            except BaseException as error:  # what cleans up next must run all the same
                first = _worse(first, error)
            else:
                self._finish_result = self._finish_result if value is None else value
        try:
            yield from self._leave(self._start_entered, self.error or first)
        except GeneratorExit:
            raise
        except BaseException as error:
            first = _worse(first, error)
        if first is not None:
            raise first

    def _do_unwind_start(self) -> Calls:
        yield from self._leave(self._start_entered, self.error)

    # --- hooks ----------------------------------------------------------------------------------------------------------

    def _enter(self, hook: tuple[Callable[..., Any], bool, bool], phase: str, entered: list[Entered]) -> Calls:
        call, with_child, _ = hook
        if self._late is not None:
            self._raise_late(START)
        value = yield call, (self.child(),) if with_child else (), _NOTHING
        found = enterable(value, call)
        if found is not None:
            entered.append(found)  # before it is entered: whatever happens in there, it is left
            try:
                value = yield found.enter, (), _NOTHING
            except BaseException:
                if not found.leaves_itself:
                    entered.remove(found)
                raise
        self._add(phase, value)

    def _leave(self, entered: list[Entered], error: BaseException | None) -> Calls:
        """Leave what was entered, innermost first; an error in one does not keep the others from being left."""
        first: BaseException | None = None
        while entered:
            leaving = entered[-1]
            try:
                yield leaving.leave, (leaving, error or first), _NOTHING
            except GeneratorExit:
                raise
            except BaseException as raised:
                first = _worse(first, raised)
                if not leaving.left:  # interrupted on the way there
                    continue
            entered.pop()
        if first is not None:
            raise first

    def _add(self, phase: str, value: Any) -> None:
        if value is None:
            return
        if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
            shown = repr(value)[:100]
            raise self._fault(phase, f"gave {shown}, which is no mapping of names to values")
        self._check_names(phase, value)
        self.arguments.add(phase, value)

    def _check_names(self, phase: str, values: Mapping[str, Any]) -> None:
        if not self._asked:
            self._asked = True
            self._takes = names_taken(self._target, len(self._args))
        for name in values:
            if self._takes is None or name in self._takes:
                continue
            if name in names_given(self._target, len(self._args)):
                raise self._fault(phase, f"gave {name!r}, which collides with an argument of {_name(self._target)} in the spec")
            raise TypeError(f"node {self.path}: {self._where(phase)} gave {name!r}, which {_name(self._target)} does not take")

    def _fault(self, phase: str, text: str) -> PhaseError:
        return PhaseError(f"node {self.path}: {self._where(phase)} {text}", None, phase, self._loop_of(phase))

    def _where(self, phase: str) -> str:
        loop = self._loop_of(phase)
        return phase if loop is None else f"{phase} of loop {loop}"

    def _loop_of(self, phase: str) -> int | None:
        return None if phase in (ON_START, ON_FINISH) else self.machine.number

    # --- a parent's gates -----------------------------------------------------------------------------------------------

    def _wait_at_gate(self, phase: str) -> Calls:
        result = self.last_result if phase == AFTER_LOOP else None
        kwargs = dict(self.arguments.now())
        told = self._told(kwargs, result) if self.remote and (kwargs or result is not None) else (kwargs, result)
        question = phase, self.machine.number, told
        line = self.line()
        ask: Call = (
            (line.ask, (GATES, question), _NOTHING) if self.on_loop else (line.ask_blocking, (GATES, question, None), _NOTHING)
        )
        try:
            values = yield ask
        except (Exception, GeneratorExit):
            raise
        except BaseException:  # asked to end, while it stood there
            if not self.machine.closing:
                raise
            values = False
        if values is False:
            if phase in (ON_START, BEFORE_LOOP):
                raise Dismissed
        elif values:
            self._check_names(phase, values)
            self.arguments.add_from_gate(phase, values)

    def _told(self, kwargs: Mapping[str, Any], result: Any) -> bytes:
        """What the parent is told at a gate: of what cannot be sent, nothing."""
        try:
            return encode((kwargs, result))
        except EncodeError:
            sent = {name: value for name, value in kwargs.items() if _can_be_sent(value)}
            return encode((sent, result if _can_be_sent(result) else None))

    # --- errors ---------------------------------------------------------------------------------------------------------

    def _take(self, error: BaseException, wish: Action) -> Event:
        """Note what a phase ended by; which event that is."""
        if self.reason is not None and (error is self.reason or not isinstance(error, Exception)):
            met, error, self.reason = error, self.reason, None  # the interruption, as the code met it
            for note in getattr(met, "__notes__", ()) if met is not error else ():
                error.add_note(note)  # what came while it was met
        if isinstance(error, PhaseError) and not error.phase:
            error = self._fault(wish.phase, str(error))
        if isinstance(error, Finishing):
            return FORCED
        if self.error is None:
            self.error, self.error_phase, self.error_loop = error, wish.phase, self.machine.number
            self._raised_at = _below_driver(error)
        elif error is not self.error:
            also(self.error, error, f"then, in {self._where(wish.phase)}")
        return FAILED if isinstance(error, Exception) else CUT

    def _take_reason(self, wish: Action) -> Event:
        """The phase ended well although it was to be interrupted: a limit does not matter any more, a failure does."""
        reason, self.reason = self.reason, None
        assert reason is not None
        return RETURNED if isinstance(reason, PhaseTimeout) else self._take(reason, wish)

    @property
    def thread_idents(self) -> list[int | None]:
        """Its background threads that still run."""
        return [thread.ident for thread in self._threads if thread.is_alive()]

    def join_threads(self) -> None:
        """Let background threads that loop come to the end of their present pass."""
        if self._threads:
            from asyncproc._runtime.background import join

            join(self._threads)

    def join_threads_on_loop(self) -> Any:
        """The same, to be awaited."""
        from asyncproc._runtime.background import join_on_loop

        return join_on_loop(self._threads)


_DEEDS = {
    START: Life._do_start,
    PREPARE: Life._do_prepare,
    RUN: Life._do_run,
    SETTLE: Life._do_settle,
    UNWIND_LOOP: Life._do_unwind_loop,
    FINISH: Life._do_finish,
    UNWIND_START: Life._do_unwind_start,
}


def _can_be_sent(value: Any) -> bool:
    try:
        encode(value)
    except EncodeError:
        return False
    return True


class Dismissed(BaseException):  # no error: the way out of a gate to the end
    pass


def _logs_loops() -> bool:
    """Whether somebody wants to see a line for each loop; asked once, so that a loop pays nothing for it."""
    import sys

    logging = sys.modules.get("logging")
    return logging is not None and bool(logging.getLogger("asyncproc.child").isEnabledFor(logging.DEBUG))


def also(error: BaseException, later: BaseException, where: str) -> BaseException:
    """Add *later* to *error*, which came first and is what will be told."""
    error.add_note(f"{where}: {_told(later)}")
    if later.__context__ is error:
        later.__context__ = None  # Python has linked them the other way round
    if error.__context__ is None:
        error.__context__ = later
    return error


def _worse(first: BaseException | None, later: BaseException) -> BaseException:
    """Which of two errors of one phase is told, with the other; ``force_finish()`` is none."""
    if first is None or isinstance(first, Finishing):
        return later
    return first if isinstance(later, Finishing) else also(first, later, "then")


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {safe_str(error)}"  # whatever its own text raises must not replace what is told


def _below_driver(error: BaseException) -> TracebackType | None:
    """The traceback from the user's first frame on; all of it, where there is none."""
    found = error.__traceback__
    while found is not None and found.tb_frame.f_code.co_filename == __file__:
        found = found.tb_next
    return found or error.__traceback__


def names_taken(target: Any, given: int) -> frozenset[str] | None:
    """The keyword arguments that *target* takes when *given* positional ones are there; None: any, or unknown."""
    code, skipped = _code_of(target)
    if code is None or code.co_flags & 0x08:  # **kwargs
        return None
    first = max(skipped + given, code.co_posonlyargcount)
    return frozenset(code.co_varnames[first : code.co_argcount + code.co_kwonlyargcount])


def names_given(target: Any, given: int) -> tuple[str, ...]:
    """The names of the arguments that the positional ones are for."""
    code, skipped = _code_of(target)
    return () if code is None else code.co_varnames[skipped : min(skipped + given, code.co_argcount)]


def _code_of(target: Any) -> tuple[Any, int]:
    """The code of a function or a method, and how many arguments are bound."""
    function = getattr(target, "__func__", target)
    if hasattr(function, "__wrapped__"):
        return None, 0
    return getattr(function, "__code__", None), 0 if function is target else 1


def _name(target: Any) -> str:
    return f"{getattr(target, '__qualname__', type(target).__qualname__)}()"


# --- the two runners --------------------------------------------------------------------------------------------------------


def run_plain(life: Life, go_async: Callable[[Calls, Any], Any]) -> Any:
    """Play a life whose calls are plain.

    Args:
        go_async: goes on with the rest on a loop, beginning with what is to be awaited: a lambda around a coroutine function
            does not look like one.
    """
    play = life.play()
    try:
        call, args, kwargs = play.send(None)
        while True:
            try:
                life.inside = True
                value = call(*args, **kwargs)
                life.inside = False
                awaits = value is not None and hasattr(type(value), "__await__")
            except BaseException as error:
                life.inside = False
                raised = error
            else:
                if awaits:
                    break
                call, args, kwargs = play.send(value)
                continue
            call, args, kwargs = play.throw(raised)  # out here: what it raises must not seem to come from this
    except StopIteration as end:
        return end.value
    return go_async(play, value)


async def run_on_loop(life: Life, play: Calls | None = None, value: Any = None) -> Any:
    """Play a life on the running loop; *play* and *value*: one that had begun plain, and what it is to await."""
    life.on_loop = True
    begun = play is not None
    play = play or life.play()
    try:
        call, args, kwargs = (_give, (value,), _NOTHING) if begun else play.send(None)
        while True:
            try:
                life.inside = True
                value = call(*args, **kwargs)
                if value is not None and hasattr(type(value), "__await__"):
                    value = await value
                raised = None
            except GeneratorExit:  # given up: nothing can be awaited any more
                raise
            except BaseException as error:
                raised = error
            life.inside = False
            if life.cancelled:
                await _take_back(life, raised is None or not _is_cancellation(raised))
            call, args, kwargs = play.send(value) if raised is None else play.throw(raised)
    except StopIteration as end:
        return end.value


async def _take_back(life: Life, pending: bool) -> None:
    """The interruption is over: whatever comes next may wait, and be cancelled, as in any task."""
    import asyncio

    life.cancelled = False
    task = asyncio.current_task()
    assert task is not None
    if pending:  # the call ended before it met the cancellation
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            pass
    while task.cancelling():
        task.uncancel()


def _is_cancellation(error: BaseException) -> bool:
    import asyncio

    return isinstance(error, asyncio.CancelledError)


def _give(value: Any) -> Any:
    return value


def _breathe() -> Any:
    import asyncio

    return asyncio.sleep(0)


def hooks_of(spec: Any) -> Hooks | None:
    """The hooks of a spec's setup, for its child."""
    setup = spec._asyncproc.options.get("setup")
    return None if setup is None else setup.hooks


def terms_of(spec: Any, held: bool) -> Terms:
    """What a spec says about its loops, for its child."""
    described = spec._asyncproc
    options = described.options
    limits = {phase: limit for phase, limit in options.get("timeouts", {}).items() if limit is not None}
    ready_by_call = options.get("ready") == "call"
    return options.get("loops", 1), options.get("retries", 0), held, ready_by_call, limits or None, described.target is None
