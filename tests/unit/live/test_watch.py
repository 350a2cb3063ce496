"""A watcher is told what it does not know, once, however slow it is and however often it comes back."""

import math
from uuid import UUID

from ingest.live.watch import Watch
from ingest.store.news import RunState, SeriesState

ONE, TWO = UUID(int=1), UUID(int=2)


def run(run_id=ONE, version=1, status="RUNNING"):
    return RunState(run_id, status, None, version, 10 * version, 99)


def series(key="loss", n=1, value=0.5, run_id=ONE):
    return SeriesState(run_id, key, n, n, n, value)


def test_it_is_told_where_things_stand_and_then_only_what_changed():
    watch = Watch.since([ONE, TWO], ["loss", "acc"], None)
    watch.see(run(), [series("loss"), series("acc"), series("other")])
    watch.see(run(TWO), [])
    told = watch.tell()["runs"]
    assert [(r["run_id"], sorted(r["series"])) for r in told] == [(ONE.hex, ["acc", "loss"]), (TWO.hex, [])]

    watch.see(run(), [series("loss", n=7)])
    assert not watch.has_news
    watch.see(run(version=2), [series("loss", n=2), series("acc")])
    assert [list(r["series"]) for r in watch.tell()["runs"]] == [["loss"]]


def test_what_waits_for_a_slow_reader_is_the_newest_state_only():
    watch = Watch.since([ONE], ["loss"], None)
    for version in range(1, 1_000):
        watch.see(run(version=version), [series(n=version)])
    (told,) = watch.tell()["runs"]
    assert told["points"] == 9_990
    assert told["series"]["loss"]["n"] == 999


def test_a_cursor_says_what_is_known():
    watch = Watch.since([ONE, TWO], [], None)
    watch.see(run(), [])
    watch.see(run(TWO), [])
    watch.tell()
    again = Watch.since([ONE, TWO], [], watch.cursor)
    assert not again.is_news(run())
    assert again.is_news(run(version=2))
    assert again.is_news(run(status="FINISHED"))


def test_a_cursor_of_other_runs_or_a_broken_one_counts_as_none():
    for cursor in (Watch.since([ONE], [], None).cursor, "!!!", "é", "AAAA"):
        assert Watch.since([ONE, TWO], [], cursor).is_news(run())


def test_numbers_that_json_lacks_are_told_as_text():
    watch = Watch.since([ONE], ["loss"], None)
    watch.see(run(), [series(value=math.nan)])
    assert watch.tell()["runs"][0]["series"]["loss"]["value"] == "NaN"
