from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from ingest.bench.template import START_MS, VALUE_SCALE, BatchTemplate, Sums, sums_of_answer
from ingest_schema.ids import new_id
from ingest_schema.wire import Batch, decode_batch


def template(metrics: int, chunk_points: int, seed: int = 1) -> BatchTemplate:
    return BatchTemplate(
        new_id(), new_id(), metrics=metrics, chunk_points=chunk_points, experiment="e", seed=seed
    )


def batches(source: BatchTemplate, count: int) -> list[Batch]:
    return [decode_batch(bytes(source.next(sent_ms=START_MS + i))) for i in range(count)]


def sums(decoded: Iterable[Batch]) -> Sums:
    """The same sums the slow way, as the database computes them."""
    points = [point for batch in decoded for point in batch.points()]
    check = sum(step * round(value * VALUE_SCALE) + time_ms for _, step, time_ms, value in points)
    return Sums(len(points), check % 2**64)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 5), st.integers(0, 99))
def test_the_sums_foretold_are_those_of_the_points_sent(
    metrics: int, chunk_points: int, count: int, seed: int
) -> None:
    source = template(metrics, chunk_points, seed)

    assert source.sums(count) == sums(batches(source, count))


def test_each_batch_goes_on_where_the_last_one_ended() -> None:
    sent = batches(template(2, 3), 3)

    assert [batch.seq for batch in sent] == [1, 2, 3]
    assert [step for batch in sent for key, step, _, _ in batch.points() if key == sent[0].keys[1]] == list(
        range(9)
    )
    assert [bool(batch.events) for batch in sent] == [True, False, False]


def test_a_lost_doubled_or_displaced_point_changes_the_sums() -> None:
    source = template(3, 4)
    points = [point for batch in batches(source, 2) for point in batch.points()]
    whole = source.sums(2)

    def check(points: list[tuple[str, int, int, float]]) -> Sums:
        return sums([Batch.of_points(source.run_id, source.writer_id, 1, points)])

    assert check(points) == whole
    assert check(points[1:]) != whole
    assert check([*points, points[5]]) != whole
    (key, step, time_ms, value), second = points[0], points[1]
    swapped = [(key, step, time_ms, second[3]), (*second[:3], value), *points[2:]]
    assert check(swapped) != whole


def test_the_databases_answer_is_read_as_whole_numbers_of_any_size() -> None:
    assert sums_of_answer([7, str(2**70 + 3)]) == Sums(7, 3)
