"""The shared memory: a writer that never waits and readers that never see half of a change."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncproc._core.fields import Fields
from asyncproc._shared.board import Board, Memory
from asyncproc._shared.reading import MappedBoard, find_board


@pytest.fixture
def board() -> Iterator[Board]:
    """A board whose memory is made."""
    made = Board(Fields.first({"a": b"1"}))
    assert made.where() is not None
    yield made
    made.close()


def reader_of(board: Board) -> MappedBoard:
    found = find_board(board.where())
    assert found is not None
    return found


def close(reader: MappedBoard) -> None:
    """What the end of a child does."""
    reader._words.release()
    os.close(reader._fd)


def test_reader_sees_what_was_published(board: Board) -> None:
    """The same object while nothing has changed; the same bytes where a field has not."""
    reader = reader_of(board)
    first = reader.read(None)
    assert first == board.fields and reader.read(first) is first
    board.publish(board.fields.changed({"b": b"x" * 10_000}))
    second = reader.read(first)
    assert first is not None and second is not None
    assert second == board.fields and second.table["a"] is first.table["a"]
    close(reader)


def test_closed_memory_gives_nothing(board: Board) -> None:
    """Its readers ask from then on; who comes later finds none, or somebody else's."""
    reader, where = reader_of(board), board.where()
    assert where is not None
    board.close()
    assert reader.read(None) is None
    assert find_board(where) is None and find_board((where[0], where[1] + 1)) is None and find_board(None) is None
    close(reader)


def test_memory_that_is_full_ends(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """The change goes on; readers ask instead."""
    reader = reader_of(board)

    def full(fd: int, size: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "ftruncate", full)
    board.publish(board.fields.changed({"a": b"x" * 10_000}))
    assert reader.read(None) is None and board.fields.version == 2
    assert board.where() is None
    close(reader)


def test_reader_in_the_middle_of_writing_reads_the_version_before(board: Board) -> None:
    """A writer that died or was stopped between any two steps is noticed by nobody."""
    reader, before = reader_of(board), board.fields
    memory = board._memory
    assert memory is not None

    class Killed(Exception):
        pass

    after = before.changed({"a": b"2" * 5000, "b": b"new"})
    wrote = memory._put

    def dies(area: tuple[int, int], data: bytes) -> tuple[int, int]:
        wrote(area, data)
        raise Killed

    memory._put = dies  # type: ignore[method-assign]  # the fault of this test
    with pytest.raises(Killed):
        memory.write(after)
    assert reader.read(None) == before
    close(reader)


VALUES = st.dictionaries(st.sampled_from("abcde"), st.binary(max_size=300) | st.just(b"x" * 5000), max_size=4)


@given(st.lists(st.tuples(VALUES, st.sets(st.sampled_from("abcde"), max_size=2)), max_size=20))
@settings(max_examples=60, deadline=None)
def test_any_sequence_of_changes_is_read_back(changes: list[tuple[dict[str, bytes], set[str]]]) -> None:
    """Areas are used again and again; a reader that keeps an old picture finds what is new."""
    fields = Fields.first({"a": b"1"})
    memory = Memory(fields)
    reader = MappedBoard(memory.where)
    lazy = reader.read(None)
    for number, (values, removed) in enumerate(changes):
        newer = fields.changed(values, removed - set(values))
        if newer is not fields:
            memory.write(fields := newer)
        assert reader.read(None) == fields
        if number % 3 == 0:
            lazy = reader.read(lazy)
            assert lazy == fields
    memory.close()
    close(reader)


@pytest.mark.slow
def test_readers_never_see_half_of_a_change() -> None:
    """All fields of a version belong together, while a writer writes as fast as it can."""
    fields = Fields.first(dict.fromkeys("abcd", b"0" * 100))
    memory = Memory(fields)
    over = threading.Event()
    bad: list[Fields] = []
    counts: list[int] = []

    def read() -> None:
        reader, known, count = MappedBoard(memory.where), None, 0
        while not over.is_set():
            found = reader.read(known)
            assert found is not None
            if len({data for _, data in found.table.values()}) != 1:
                bad.append(found)
            count += found is not known
            known = found
        counts.append(count)
        close(reader)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(3000):
        memory.write(fields := fields.changed(dict.fromkeys("abcd", b"%d" % number * (number % 97 + 1))))
    over.set()
    for thread in threads:
        thread.join()
    memory.close()
    assert not bad and all(counts)
