"""After a resume older attempts count up to the step it resumed from, and stay there for whoever asks for them."""

from uuid import UUID

from ingest.charts.attempts import Writer, of_key, voices


def writer(number, attempt=1, resumed=None, rank=0):
    return Writer(UUID(int=number), rank, attempt, resumed)


def heard(*writers, **choice):
    return [(voice.writer_id.int, voice.until) for voice in voices(writers, **choice)]


def test_without_a_resume_everybody_counts():
    assert heard(writer(2, rank=1), writer(1)) == [(1, None), (2, None)]


def test_a_resume_silences_earlier_attempts_after_its_step():
    assert heard(writer(1), writer(2, 2, 100)) == [(1, 100), (2, None)]


def test_the_lowest_step_of_all_later_attempts_counts():
    """The second resume went back further than the first: both earlier attempts end there."""
    assert heard(writer(1), writer(2, 2, 100), writer(3, 3, 40)) == [(1, 40), (2, 40), (3, None)]
    assert heard(writer(1), writer(2, 2, 100), writer(3, 3, 140)) == [(1, 100), (2, 140), (3, None)]


def test_ranks_of_one_attempt_do_not_silence_each_other():
    team = [writer(1), writer(2, 2, 100), writer(3, 2, 100, rank=1)]
    assert heard(*team) == [(1, 100), (2, None), (3, None)]


def test_a_superseded_attempt_can_be_asked_for():
    assert heard(writer(1), writer(2, 2, 100), attempt=1) == [(1, None)]


def test_one_rank_can_be_asked_for():
    assert heard(writer(1), writer(2, rank=3), ranks=[3]) == [(2, None)]


def test_what_the_machine_did_is_superseded_by_nothing():
    """Its steps are seconds, which a resume does not take back."""
    found = voices([writer(1), writer(2, 2, 100)])
    assert [voice.until for voice in of_key(found, "system/cpu_percent")] == [None, None]
    assert [voice.until for voice in of_key(found, "systematic/error")] == [100, None]
