"""Whole trees of real children against a simple model: which nodes may run, in which incarnation.

The model knows no turns and no timers. It knows of each node how often it must have been started when everything has come to
rest, and whether it then runs: restart kinds, strategies, needs, stops and starts by hand are a few lines each. Operations are
drawn at random, one after the other, each until the tree is at rest again; the last come all at once, and then only what must
hold in any order is checked. At the end the manager closes, and the leak check finds nobody.

A failing run prints its seed: ``ASYNCPROC_SEED=n pytest tests/supervision/test_model.py`` repeats it.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from asyncproc import (
    Backoff,
    Command,
    Concurrent,
    Coroutine,
    Group,
    Handle,
    Manager,
    Process,
    Sequential,
    State,
    StateError,
    Supervisor,
    Thread,
    UnknownNode,
    current,
)
from asyncproc.errors import ChannelError, ChildError

AT_ONCE = Backoff(0.0)
REST = frozenset({State.CREATED, State.RUNNING, State.ENDED})
PATIENCE = 10.0
KINDS = ("process", "command", "thread", "coroutine")
End = Literal["well", "badly", "killed"]


async def by_word() -> str:
    """Live until a word says how to end."""
    word = await current().receive()
    if word != "well":
        raise ValueError(word)
    return "well"


# --- the model -------------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Node:
    """One node as the model has it.

    Attributes:
        kind: of a leaf what it is; of a group its class's name. starts: how often it has been started.
        runs: whether it runs when all is at rest. out: whether it was stopped by hand and stays so.
        by_needs: of a supervisor, whether its plan names needs; that stays so.
    """

    name: str
    kind: str
    restart: str = "temporary"
    strategy: str = "one_for_one"
    needs: tuple[str, ...] = ()
    members: list[Node] = field(default_factory=list)
    above: Node | None = None
    planned: bool = True
    starts: int = 0
    runs: bool = False
    out: bool = False
    by_needs: bool = False

    @property
    def path(self) -> str:
        return self.name if self.above is None else f"{self.above.path}/{self.name}"

    @property
    def is_leaf(self) -> bool:
        return self.kind in KINDS

    def leaves(self) -> list[Node]:
        return [self] if self.is_leaf else [leaf for member in self.members for leaf in member.leaves()]

    def everything(self) -> list[Node]:
        return [self, *(node for member in self.members for node in member.everything())]

    # What happens to it.

    def start(self) -> None:
        """It begins, with all that is in it and was not stopped by hand."""
        self.starts += 1
        self.runs = True
        for member in self.members if self.kind != "sequential" else self.members[:1]:
            if not member.out:
                member.start()

    def end(self) -> None:
        """It has ended, with all that is in it."""
        self.runs = False
        for member in self.members:
            member.end()

    def ends_itself(self, well: bool) -> None:
        """Its incarnation has ended, well or not: what follows."""
        self.end()
        group = self.above
        again = self.restart == "permanent" or (self.restart == "transient" and not well)
        if group is None:
            return
        if group.kind == "supervisor":
            if again and not self.out:
                group.come_back(self)
            elif not any(member.runs for member in group.members):
                group.ends_itself(well=True)
        elif again and not self.out:
            self.start()
        elif not well:
            group.ends_itself(well=False)
        elif group.kind == "sequential" and (following := self._next()) is not None:
            following.start()
        elif not any(member.runs for member in group.members):
            group.ends_itself(well=True)

    def _next(self) -> Node | None:
        assert self.above is not None
        later = self.above.members[self.above.members.index(self) + 1 :]
        return next((member for member in later if not member.out), None)

    def come_back(self, culprit: Node) -> None:
        """A member comes back, and by the strategy others with it."""
        affected = [culprit, *self._beside(culprit)]
        for member in affected:
            member.end()
        for member in affected:
            if member is culprit or (member.restart != "temporary" and not member.out):
                member.start()

    def _beside(self, culprit: Node) -> list[Node]:
        if self.strategy == "one_for_one":
            return []
        if self.strategy == "one_for_all":
            return [member for member in self.members if member is not culprit]
        if self.by_needs:
            found, asked = [], [culprit.name]
            while asked:
                name = asked.pop()
                for member in self.members:
                    if name in member.needs and member not in found and member is not culprit:
                        found.append(member)
                        asked.append(member.name)
            return found
        if not culprit.planned:
            return []
        return self.members[self.members.index(culprit) + 1 :]

    def stop(self) -> None:
        """Somebody stops it for good."""
        was = self.runs
        for node in self.everything():
            node.out = True
        self.end()
        group = self.above
        if group is None or not was or not group.runs:
            return
        if group.kind == "sequential" and (following := self._next()) is not None:
            following.start()
        elif not any(member.runs for member in group.members):
            group.ends_itself(well=True)

    def restart_by_hand(self) -> None:
        """It runs, and begins anew; or it has ended, and takes part again."""
        if not self.runs:
            for node in self.everything():
                node.out = False
        self.end()
        self.start()


def make_tree(chance: random.Random, depth: int, name: str, above: Node | None = None) -> Node:
    """A random tree; a supervisor on top."""
    kind = (
        "supervisor"
        if above is None
        else chance.choice(["supervisor", "supervisor", "concurrent", "sequential", *KINDS, *KINDS])
    )
    if depth == 0:
        kind = chance.choice(KINDS)
    node = Node(name, kind, above=above)
    if above is not None and above.kind == "supervisor":
        node.restart = chance.choice(["permanent", "permanent", "transient", "temporary"])
    if node.is_leaf:
        return node
    node.strategy = chance.choice(["one_for_one", "one_for_all", "rest_for_one"])
    node.members = [make_tree(chance, depth - 1, f"{name}{number}", node) for number in range(chance.randint(2, 3))]
    if kind == "supervisor" and chance.random() < 0.4:
        for number, member in enumerate(node.members[1:], 1):
            member.needs = tuple(each.name for each in node.members[:number] if chance.random() < 0.6)
        node.by_needs = any(member.needs for member in node.members)
    return node


def spec_of(node: Node) -> Any:
    options: dict[str, Any] = {"name": node.name, "grace": 2.0}
    if node.above is not None and node.above.kind == "supervisor":
        options["restart"] = node.restart
        if node.needs:
            options["needs"] = node.needs
    members = [spec_of(member) for member in node.members]
    match node.kind:
        case "supervisor":
            return Supervisor(*members, strategy=node.strategy, intensity=None, backoff=AT_ONCE, **options)
        case "concurrent":
            return Concurrent(*members, **options)
        case "sequential":
            return Sequential(*members, **options)
        case "process":
            return Process(by_word, **options)
        case "thread":
            return Thread(by_word, **options)
        case "coroutine":
            return Coroutine(by_word, **options)
        case _:
            return Command("sleep", "1000", **options)


# --- the play --------------------------------------------------------------------------------------------------------------


class Play:
    """One tree, in the model and in truth."""

    def __init__(self, seed: int, depth: int) -> None:
        self.chance = random.Random(seed)
        self.top = make_tree(self.chance, depth, "t")
        self.manager: Manager[Any] = Manager(spec_of(self.top), name="t")
        self.said: list[str] = []
        self.count = 0

    async def play(self, steps: int) -> None:
        self.top.start()
        async with self.manager:
            await self.rests()
            for _ in range(steps):
                if not self.top.runs:
                    break
                await self.step()
                await self.rests()
            await self.storm()
            report = await self.manager.stop()
            assert report.left == (), self.told()
            assert all(handle.state in (State.ENDED, State.CREATED) for handle in self.manager.nodes()), self.told()

    def told(self) -> str:
        return "\n".join(["", *self.said, self.manager.tree().text()])

    async def step(self) -> None:
        """One thing happens, here and there."""
        running = [leaf for leaf in self.top.leaves() if leaf.runs]
        supervisors = [node for node in self.top.everything() if node.kind == "supervisor" and node.runs]
        word = self.chance.choice(_HAPPENS)
        if word in _ENDS:
            if running:
                leaf = self.chance.choice(running)
                await self.ends(leaf, _how(leaf.kind, word))
        elif word == "start":
            await self.joins(self.chance.choice(supervisors))
        elif word == "rolling":
            await self.rolls(self.chance.choice(supervisors))
        else:
            members = [member for node in supervisors for member in node.members]
            if members:
                await getattr(self, f"{word}s")(self.chance.choice(members))

    def handle(self, node: Node) -> Handle[Any]:
        return self.manager.find(node.path)

    def group(self, node: Node) -> Group:
        handle = self.handle(node)
        assert isinstance(handle, Group)
        return handle

    async def ends(self, leaf: Node, how: str) -> None:
        self.said.append(f"{leaf.path} ends: {how}")
        await self.tells(self.handle(leaf), how)
        leaf.ends_itself(how == "well")

    async def tells(self, handle: Handle[Any], how: str) -> None:
        if how == "killed":
            assert handle.pid is not None
            os.kill(handle.pid, signal.SIGKILL)
        else:
            await handle.send(how)

    async def stops(self, node: Node) -> None:
        self.said.append(f"{node.path} is stopped")
        await self.handle(node).stop()
        node.stop()

    async def restarts(self, node: Node) -> None:
        self.said.append(f"{node.path} is restarted")
        await self.handle(node).restart()
        node.restart_by_hand()

    async def joins(self, node: Node) -> None:
        self.count += 1
        kind = self.chance.choice(KINDS)
        new = Node(f"j{self.count}", kind, self.chance.choice(["permanent", "transient"]), above=node, planned=False)
        self.said.append(f"{new.path} joins, a {new.restart} {kind}")
        await self.group(node).start(spec_of(new))
        node.members.append(new)
        new.start()

    async def removes(self, node: Node) -> None:
        assert node.above is not None
        if len(node.above.members) == 1 or any(node.name in member.needs for member in node.above.members):
            return
        self.said.append(f"{node.path} is removed")
        await self.group(node.above).remove(node.name)
        node.stop()
        node.above.members.remove(node)

    async def rolls(self, node: Node) -> None:
        self.said.append(f"{node.path} is restarted member by member")
        await self.group(node).rolling_restart(limit=self.chance.choice([1, 3]))
        for member in node.members:
            if member.runs:
                member.restart_by_hand()

    async def storm(self) -> None:
        """Many things at once: no outcome is the only one, but each call has one, and all come to rest."""
        handles = [handle for handle in self.manager.nodes() if handle.state is State.RUNNING]
        calls = []
        for handle in self.chance.sample(handles, min(len(handles), 6)):
            leaf = not isinstance(handle, Group)
            word = self.chance.choice(
                ["stop", "restart", "fall", "restart", "fall"] if leaf else ["restart", "restart", "roll"]
            )
            self.said.append(f"at once: {handle.path} {word}")
            if word == "fall":
                calls.append(self.tells(handle, "killed" if handle.pid is not None else "badly"))
            else:
                calls.append(
                    {"stop": handle.stop, "restart": handle.restart}[word]() if word != "roll" else handle.rolling_restart()
                )  # type: ignore[attr-defined]
        outcomes = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), PATIENCE)
        for outcome in outcomes:
            assert not isinstance(outcome, BaseException) or _is_an_answer(outcome), (outcome, self.told())
        await self.rests(exactly=False)

    async def rests(self, exactly: bool = True) -> None:
        """Wait until all is as the model has it, and nothing is under way."""
        events = self.manager.events()
        try:
            async with asyncio.timeout(PATIENCE):
                while not (self.is_at_rest() and (not exactly or not self.differs())):
                    await anext(events)
        except TimeoutError:
            raise AssertionError(f"does not come to rest: {self.differs()}{self.told()}") from None
        finally:
            await events.aclose()  # type: ignore[attr-defined]  # of the subscription

    def is_at_rest(self) -> bool:
        return all(handle.state in REST or self.waits(handle) for handle in self.manager.nodes())

    def waits(self, handle: Handle[Any]) -> bool:
        """Its turn in a sequence has not come."""
        return handle.state is State.WAITING

    def differs(self) -> list[str]:
        found = []
        for node in self.top.everything():
            handle = self.handle(node)
            runs = handle.state is State.RUNNING
            if runs != node.runs or (handle.incarnation != node.starts and node.is_leaf):
                found.append(
                    f"{node.path}: {handle.state.value} {handle.incarnation}, and should run: {node.runs} {node.starts}"
                )
        return found


_ENDS = ("killed", "killed", "badly", "badly", "well")
_HAPPENS = (*_ENDS, "stop", "restart", "restart", "start", "start", "remove", "rolling")


def _how(kind: str, word: str) -> str:
    """Only what has a process can be killed; a command knows nothing else here."""
    if kind == "command":
        return "killed"
    return "badly" if word == "killed" and kind != "process" else word


def _is_an_answer(error: BaseException) -> bool:
    """What a call may say when something else was faster."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_an_answer, error.exceptions))
    return isinstance(error, StateError | UnknownNode | ChildError | ChannelError | ProcessLookupError)


async def plays(seed: int, steps: int, depth: int = 2) -> None:
    print("seed", seed)
    await Play(seed, depth).play(steps)


def _seeds(count: int) -> list[int]:
    given = os.environ.get("ASYNCPROC_SEED")
    return [int(given)] if given else [random.randrange(2**32) for _ in range(count)]


@pytest.mark.slow
async def test_random_trees_against_the_model() -> None:
    """Whatever happens to a tree of real children, those run that should, in the incarnation that they should be in."""
    end = time.monotonic() + 8.0
    for seed in _seeds(1000):
        await plays(seed, 12)
        if time.monotonic() > end:
            break


@pytest.mark.full
@pytest.mark.timeout(900)
async def test_random_trees_against_the_model_for_long() -> None:
    """The same for minutes, with larger trees and more to happen."""
    end = time.monotonic() + 480.0
    for seed in _seeds(100_000):
        await plays(seed, 40, 3)
        if time.monotonic() > end:
            break
    assert threading.active_count() < 50
