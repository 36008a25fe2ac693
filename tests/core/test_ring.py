"""What is kept of a child's output: bounded, in order of arrival, and what a reader saw and lost is what was written."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from asyncproc._core.ring import SMALL, Cursor, Output, Ring

ARRIVALS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["stdout", "stderr"]), st.binary(min_size=1, max_size=30)),
        st.just(("read", b"")),
        st.just(("begin", b"")),
    ),
    max_size=60,
)


@given(ARRIVALS, st.integers(1, 40), st.floats(0, 0.02))
def test_what_a_reader_saw_and_lost_is_what_was_written(arrivals: list[tuple[str, bytes]], size: int, apart: float) -> None:
    """For each of several readers, whenever they begin and however slow they are; what they saw stands where it was written."""
    output = Output(("stdout", "stderr"), size)
    written = {"stdout": b"", "stderr": b""}
    readers: list[tuple[Cursor, dict[str, int]]] = []
    for number, (what, data) in enumerate([*arrivals, ("begin", b"")]):
        if what == "begin":
            readers.append((Cursor(output), {"stdout": 0, "stderr": 0}))
        elif what == "read":
            for cursor, places in readers:
                read_one(cursor, places, written)
        else:
            output.add(what, data, number * apart)
            written[what] += data
    for stream, ring in output.rings.items():
        assert ring.held == written[stream][-size:] if written[stream] else ring.held == b""
        assert ring.dropped + len(ring.held) == ring.written == len(written[stream])
        output.end(stream)
    for cursor, places in readers:
        while read_one(cursor, places, written):
            assert output.ended
        assert cursor.over and cursor.unread == 0
        assert places == {stream: len(data) for stream, data in written.items()}


def read_one(cursor: Cursor, places: dict[str, int], written: dict[str, bytes]) -> bool:
    dropped = cursor.dropped
    taken = cursor.take()
    if taken is None:
        return False
    begin = places[taken.stream] + taken.lost
    assert cursor.dropped == dropped + taken.lost
    assert taken.data == written[taken.stream][begin : begin + len(taken.data)] != b""
    places[taken.stream] = begin + len(taken.data)
    return True


def test_streams_come_in_order_of_arrival() -> None:
    """Small writes that follow each other at once are one piece; what came in between keeps its place."""
    output = Output(("stdout", "stderr"), 1000)
    for stream, data, time in [
        ("stdout", b"a", 0.0), ("stdout", b"b", 0.001), ("stderr", b"c", 0.002), ("stdout", b"d", 0.003), ("stdout", b"e", 1.0),
    ]:  # fmt: skip
        output.add(stream, data, time)
    cursor = Cursor(output)
    taken = [(t.stream, t.data, t.time) for t in iter(cursor.take, None)]
    assert taken == [("stdout", b"ab", 0.0), ("stderr", b"c", 0.002), ("stdout", b"d", 0.003), ("stdout", b"e", 1.0)]


def test_small_writes_weigh_little() -> None:
    """A child that writes single bytes, however slowly, does not make the manager hold an object for each."""
    ring = Ring(1 << 16)
    for number in range(1 << 17):
        ring.add(b"x", number, float(number), False)
    pieces = sum(1 for _ in iter_pieces(ring))
    assert len(ring.held) == 1 << 16 and pieces <= 256 + (1 << 16) // SMALL


def iter_pieces(ring: Ring) -> list[object]:
    found = []
    number = ring.gone
    while (piece := ring.piece(number)) is not None:
        found.append(piece)
        number += 1
    return found


def test_who_waits_is_called_once() -> None:
    """For what comes and for each end; the end of the last stream is told besides."""
    output = Output(("stdout", "stderr"), 10)
    calls: list[str] = []
    output.on_end.append(lambda: calls.append("end"))
    for deed in (lambda: output.add("stdout", b"x", 0.0), lambda: output.end("stdout"), lambda: output.end("stderr")):
        output.waiting.append(lambda: calls.append("news"))
        deed()
        assert not output.waiting
    assert calls == ["news", "news", "news", "end"]
    assert Output((), 10).ended


def test_shortened_keeps_the_last_and_the_count() -> None:
    """A reader that begins there is told of what it cannot see; the tail is the tail."""
    output = Output(("stdout",), 100)
    for number in range(30):
        output.add("stdout", b"%02d--" % number, float(number))
    output.end("stdout")
    short = output.shortened(10)
    ring = short.rings["stdout"]
    assert (ring.held, ring.dropped, ring.written, short.ended) == (b"--28--29--", 110, 120, True)
    cursor = Cursor(short)
    seen = b"".join(taken.data for taken in iter(cursor.take, None))
    assert seen == ring.held and cursor.dropped == 110 and cursor.over
    assert [output.rings["stdout"].last(size) for size in (3, 8, 1000)] == [b"9--", b"28--29--", output.rings["stdout"].held]
    assert Ring(5).last(3) == b""
    assert output.shortened(1000) is output
