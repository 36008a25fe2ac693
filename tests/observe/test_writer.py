"""The writer's thread: what waits is bounded, and nobody but the thread ever waits for a reader."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from asyncproc._observe import writer as writing
from asyncproc._observe.facts import Dropped, Fact, Output
from asyncproc._observe.writer import Writer


class Reader:
    """Takes what is written; stands still while ``stuck``."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        self.closed = False
        self.moving = threading.Event()
        self.moving.set()
        self.entered = threading.Event()

    def __call__(self, facts: Sequence[Fact], closing: bool) -> None:
        self.entered.set()
        self.moving.wait()
        self.facts += facts
        self.closed = closing

    @property
    def data(self) -> list[bytes]:
        return [fact.data for fact in self.facts if isinstance(fact, Output)]


def test_everything_is_written_in_order_and_the_thread_ends() -> None:
    """Closing hands over what waits, says that it is the last time, and leaves no thread."""
    reader = Reader()
    writer = Writer(reader)
    for number in range(100):
        writer.output("app/x", "stdout", str(number).encode())
    writer.close(None)
    assert reader.data == [str(number).encode() for number in range(100)]
    assert reader.closed


def test_unused_writer_has_no_thread() -> None:
    """A manager whose children are silent pays nothing."""
    before = threading.active_count()
    writer = Writer(Reader())
    assert threading.active_count() == before
    writer.close(None)


def test_output_beyond_the_bound_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stuck reader costs output, not memory; facts pass, and the gap is told."""
    monkeypatch.setattr(writing, "OUTPUT_BOUND", 10)
    reader = Reader()
    reader.moving.clear()
    writer = Writer(reader)
    writer.output("app/x", "stdout", b"first")
    assert reader.entered.wait(5)
    for _ in range(5):
        writer.output("app/y", "stdout", b"12345")
    reader.moving.set()
    writer.close(None)
    assert reader.data == [b"first", b"12345", b"12345"]
    assert [fact for fact in reader.facts if isinstance(fact, Dropped)] == [Dropped("app/y", 15)]


def test_facts_beyond_their_bound_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also events cannot pile up for ever."""
    monkeypatch.setattr(writing, "FACTS_BOUND", 3)
    reader = Reader()
    reader.moving.clear()
    writer = Writer(reader)
    writer.output("app/x", "stdout", b"first")
    assert reader.entered.wait(5)
    for number in range(10):
        writer.fact(Dropped("fact", number))
    reader.moving.set()
    writer.close(None)
    assert reader.facts[-1] == Dropped("", 6)


async def test_stuck_reader_does_not_hold_up_the_end() -> None:
    """A terminal that stands still is given up after the limit; the thread is a daemon and ends when it can."""
    reader = Reader()
    reader.moving.clear()
    writer = Writer(reader)
    writer.output("app/x", "stdout", b"first")
    assert reader.entered.wait(5)
    await writer.aclose(0.05)
    assert not reader.closed
    reader.moving.set()
    await writer.aclose(5)


async def test_close_with_a_loop_waits_for_the_last_line() -> None:
    """The loop goes on while the thread writes."""
    reader = Reader()
    writer = Writer(reader)
    writer.output("app/x", "stdout", b"first")
    await writer.aclose(5)
    assert reader.data == [b"first"]


def test_reader_that_is_gone_ends_the_writing_only() -> None:
    """What comes afterwards is taken and thrown away."""

    def broken(facts: Sequence[Fact], closing: bool) -> None:
        raise BrokenPipeError

    writer = Writer(broken)
    writer.output("app/x", "stdout", b"first")
    writer.close(None)
    writer.output("app/x", "stdout", b"more")
    writer.close(None)


def test_tick_without_news() -> None:
    """A picture with a clock in it is drawn though nothing has happened."""
    calls = threading.Semaphore(0)
    writer = Writer(lambda facts, closing: calls.release(), tick=0.01)
    writer.output("app/x", "stdout", b"first")
    for _ in range(3):
        assert calls.acquire(timeout=5)
    writer.close(None)
