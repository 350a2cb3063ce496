"""From records to columns: for any mixture of shapes, every point once and bit for bit."""

from __future__ import annotations

from array import array
from zlib import adler32

from hypothesis import given, settings
from hypothesis import strategies as st

from ingest_client._columns import BatchLimits, Columns, count_points
from ingest_client._record import (
    FIRST_SHAPE,
    check_word,
    encode_event_record,
    metrics_struct,
    metrics_word0,
)

SHAPES = {
    FIRST_SHAPE: ("loss",),
    FIRST_SHAPE + 1: ("loss", "acc"),
    FIRST_SHAPE + 2: ("lr",),
    FIRST_SHAPE + 3: tuple(f"m{i}" for i in range(40)),
}

# A shape or an event (0), and how often it is repeated.
layouts = st.lists(
    st.tuples(st.sampled_from([0, *SHAPES]), st.sampled_from([1, 1, 1, 2, 7, 8, 9, 63, 64, 65, 100])),
    max_size=12,
)


def build(layout):
    """The words of a segment, its points and its events."""
    data, points, events, step = [], [], [], 0
    for shape, repeats in layout:
        for _ in range(repeats):
            step += 1
            if shape == 0:
                events.append(b"event %d" % step)
                data.append(encode_event_record(events[-1]))
                continue
            names = SHAPES[shape]
            values = [step + i / 64 for i in range(len(names))]
            body = metrics_struct(len(names)).pack(metrics_word0(shape, len(names)), -step, 7 * step, *values)
            data.append(body + check_word(adler32(body)))
            points += [(name, -step, 7 * step, value) for name, value in zip(names, values, strict=True)]
    return memoryview(b"".join([*data, bytes(80)])).cast("Q"), points, events


def points_of(columns):  # rows of (key, step, time_ms, value)
    names, counts, steps, times, values = columns.finish()
    counted, at = array("I", counts), 0
    out: list[tuple[str, int, int, float]] = []
    steps, times, values = array("q", steps), array("q", times), array("d", values)
    for name, n in zip(names, counted, strict=True):
        out += [
            (name, *row)
            for row in zip(steps[at : at + n], times[at : at + n], values[at : at + n], strict=True)
        ]
        at += n
    assert at == len(values) == columns.point_count
    return out


def batches(words, limits):
    position = 0
    out: list[Columns] = []
    while True:
        columns = Columns()
        end = columns.collect(words, position, len(words), SHAPES, limits=limits, breathe=lambda: None)
        if end == position:
            return out
        out.append(columns)
        position = end


@given(layouts)
@settings(deadline=None)
def test_every_point_and_event_once(layout):
    words, points, events = build(layout)
    columns = Columns()
    columns.collect(words, 0, len(words), SHAPES, limits=BatchLimits(), breathe=lambda: None)
    assert sorted(points_of(columns)) == sorted(points)
    assert columns.events == events
    assert count_points(words, 0, len(words), SHAPES) == len(points)


@given(layouts, st.integers(1, 50), st.integers(1, 20), st.integers(1, 5), st.integers(1, 50))
@settings(deadline=None)
def test_any_limits_only_cut_it_into_batches(layout, points_limit, records, events_limit, keys):
    """And no batch is over its limits, unless one record alone is."""
    words, points, events = build(layout)
    limits = BatchLimits(points=points_limit, records=records, events=events_limit, keys=keys)
    cut = batches(words, limits)
    assert sorted(p for columns in cut for p in points_of(columns)) == sorted(points)
    assert [e for columns in cut for e in columns.events] == events
    for columns in cut:
        assert columns.record_count <= records
        assert columns.point_count <= points_limit or columns.record_count - columns.event_count == 1
        assert columns.event_count <= events_limit


def test_within_a_shape_the_order_of_logging_is_kept():
    words, points, _ = build([(FIRST_SHAPE, 3000)])
    columns = Columns()
    columns.collect(words, 0, len(words), SHAPES, limits=BatchLimits(), breathe=lambda: None)
    assert points_of(columns) == points


def test_the_gil_is_given_away_between_steps():
    words, _, _ = build([(FIRST_SHAPE + 3, 100)] * 20)
    breaths = []
    columns = Columns()
    columns.collect(words, 0, len(words), SHAPES, limits=BatchLimits(), breathe=lambda: breaths.append(1))
    assert len(breaths) >= 2
