"""Charts of a real database say what the points say, before compaction and after."""

import math
import random

import numpy as np
import pytest

from ingest.store.charts import ChartQuestion

EXTREMES = [-(2**63), -(2**63) + 1, -1, 0, 1, 2**63 - 2, 2**63 - 1]


async def chart(charts, run_id, **question):
    async with charts.snapshot() as reader:
        asked = ChartQuestion(run_id=run_id, key="loss", **question)
        (facts,) = await reader.facts([(run_id, "loss")])
        (answer,) = [one async for one in reader.charts([(asked, facts)])]
        return answer


def assert_tells_of(answer, points, *, axis="step"):
    """Buckets are apart from each other on the axis, and each says exactly what the points within it say."""
    parts = answer.parts
    x = 0 if axis == "step" else 1
    lows, highs = (parts.lo_step, parts.hi_step) if axis == "step" else (parts.lo_time_ms, parts.hi_time_ms)
    assert (lows[1:] > highs[:-1]).all()
    assert answer.point_count == len(points)
    ordered = sorted(enumerate(points), key=lambda item: (item[1][0], item[1][1], item[0]))
    for i, (low, high) in enumerate(zip(lows.tolist(), highs.tolist(), strict=True)):
        inside = [point for _, point in ordered if low <= point[x] <= high]
        values = [value for _, _, value in inside]
        finite = [value for value in values if math.isfinite(value)]
        assert parts.n[i] == len(inside)
        assert parts.non_finite[i] == len(values) - len(finite)
        np.testing.assert_equal([parts.first_value[i], parts.last_value[i]], [values[0], values[-1]])
        if finite:
            assert (parts.min_value[i], parts.max_value[i]) == (min(finite), max(finite))
            assert parts.min_step[i] == next(step for step, _, value in inside if value == min(finite))
            assert math.isclose(parts.sum_value[i], math.fsum(finite), rel_tol=1e-9, abs_tol=1e-6)


def rising(count, *, first=0):
    wave = random.Random(count)
    return [(first + i, 1_000 + 7 * i + wave.randrange(5), wave.gauss(0, 1)) for i in range(count)]


def shuffled(count):
    dice = random.Random(count)
    values = [math.nan, math.inf, -math.inf, 0.0, 1.5, -2.5]
    return [
        (
            dice.choice([dice.randrange(-50, 50), dice.randrange(count)]),
            dice.randrange(count),
            dice.choice(values),
        )
        for _ in range(count)
    ]


SHAPES = {
    "rising": rising(5_000),
    "shuffled": shuffled(3_000),
    "one step": [(0, i, float(i)) for i in range(3_000)],
    "one step and time": [(0, 0, float(i)) for i in range(2_500)],
    "extreme steps": [(step, i, float(i)) for i, step in enumerate(EXTREMES * 200)],
    "extreme times": [(i, time_ms, float(i)) for i, time_ms in enumerate(EXTREMES * 200)],
    "a step of 10": [(10 * i, i, math.nan if i == 1_234 else 1.0) for i in range(3_000)],
    "only NaN": [(i, i, math.nan) for i in range(1_500)],
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("chunk_points", [7, 900])
async def test_a_chart_says_what_the_points_say(store, charts, run_id, shape, chunk_points):
    """As they came in, and packed; few buckets and many; by step and by time; whole and zoomed."""
    points = SHAPES[shape]
    for begin in range(0, len(points), chunk_points):
        await store.log(run_id, *points[begin : begin + chunk_points])
    await store.end(run_id)
    questions = [
        (axis, buckets, low, high)
        for axis in ("step", "time")
        for buckets in (3, 100)
        for low, high in ((None, None), (100, 2_345))
    ]
    merged = None
    for _ in range(2):
        for axis, buckets, low, high in questions:
            x = 0 if axis == "step" else 1
            inside = [p for p in points if (low is None or p[x] >= low) and (high is None or p[x] <= high)]
            answer = await chart(charts, run_id, axis=axis, low=low, high=high, buckets=buckets)
            if answer.is_raw:
                assert answer.point_count == len(inside) <= buckets
            else:
                assert len(answer.parts) <= buckets
                assert_tells_of(answer, inside, axis=axis)
        merged = await store.compact()
    assert merged == []  # the second time there was nothing left


async def test_a_spike_and_a_nan_are_seen_at_every_zoom(store, charts, run_id):
    points = rising(20_000)
    points[12_345] = (12_345, points[12_345][1], 1e6)
    points[4_321] = (4_321, points[4_321][1], math.nan)
    for begin in range(0, len(points), 1_000):
        await store.log(run_id, *points[begin : begin + 1_000])
    await store.end(run_id)
    await store.compact()
    for buckets in (1, 2, 10, 100, 1_000, 10_000):
        answer = await chart(charts, run_id, buckets=buckets)
        assert answer.parts.max_value.max() == 1e6
        assert answer.parts.max_step[answer.parts.max_value.argmax()] == 12_345
        assert answer.parts.non_finite.sum() == 1


async def test_few_points_come_as_they_are(store, charts, run_id):
    points = rising(50)
    await store.log(run_id, *points)
    answer = await chart(charts, run_id, buckets=50)
    assert answer.is_raw
    parts = answer.parts
    assert (
        list(zip(parts.lo_step.tolist(), parts.lo_time_ms.tolist(), parts.first_value.tolist(), strict=True))
        == points
    )


async def test_ranks_are_drawn_together_or_apart(store, charts, run_id):
    for rank in range(3):
        await store.log(
            run_id, *[(i, i + rank, float(rank)) for i in range(1_000)], writer=rank + 1, rank=rank
        )
    together = await chart(charts, run_id, buckets=10)
    apart = await chart(charts, run_id, buckets=10, ranks=(2,))
    assert together.point_count == 3_000
    assert (together.parts.min_value == 0.0).all()
    assert (together.parts.max_value == 2.0).all()
    assert (together.parts.first_value == 0.0).all()  # of equal steps the earliest time
    assert apart.point_count == 1_000
    assert (apart.parts.min_value == 2.0).all()


@pytest.mark.parametrize("compacted", [False, True])
async def test_after_a_resume_superseded_points_are_not_drawn(store, charts, run_id, compacted):
    await store.log(run_id, *[(i, i, 1.0) for i in range(2_000)])
    await store.log(run_id, *[(i, i, 2.0) for i in range(1_001, 3_000)], writer=2, resume=1_000)
    await store.end(run_id, writer=2)
    if compacted:
        await store.compact()
    answer = await chart(charts, run_id, buckets=10)
    first = await chart(charts, run_id, buckets=10, attempt=1)

    assert answer.point_count == 3_000
    assert answer.parts.sum_value.sum() == 1_001 * 1.0 + 1_999 * 2.0
    assert first.point_count == 2_000
    assert len(await store.rows(run_id)) == 3_999


async def test_many_series_in_one_answer_come_in_order(store, charts, run_id):
    keys = [f"m{i:02}" for i in range(40)]
    for i, key in enumerate(keys):
        await store.log(run_id, *[(step, step, float(i)) for step in range(30)], key=key)
    async with charts.snapshot() as reader:
        facts = await reader.facts([(run_id, key) for key in keys] + [(run_id, "absent")])
        assert facts.pop() is None
        asked = [
            (ChartQuestion(run_id=run_id, key=key, buckets=5), fact)
            for key, fact in zip(keys, facts, strict=True)
        ]
        answers = [answer async for answer in reader.charts(asked)]
    assert [answer.question.key for answer in answers] == keys
    assert [answer.parts.max_value[0] for answer in answers] == list(range(40))
