"""Tickets: the sum never goes over the limit, and every byte comes back."""

from __future__ import annotations

import pytest

from ingest.write.admission import Admission, QueueFull


def test_over_the_limit_nobody_is_let_in_until_somebody_leaves():
    admission = Admission(100)
    with admission.admit(60):
        with pytest.raises(QueueFull), admission.admit(50):
            pass
        with admission.admit(40):
            assert admission.used_bytes == 100
    with admission.admit(50):
        assert admission.used_bytes == 50


def test_a_request_alone_is_let_in_whatever_its_size():
    with Admission(10).admit(1_000) as ticket:
        ticket.resize(2_000)


def test_a_ticket_that_grows_needs_room_too():
    admission = Admission(100)
    with admission.admit(50), pytest.raises(QueueFull), admission.admit(30) as ticket:
        ticket.resize(51)
    assert (admission.used_bytes, admission.tickets_num) == (0, 0)


async def test_idle_when_all_have_left():
    admission = Admission(100)
    with admission.admit(1), admission.admit(2):
        assert not admission.idle.is_set()
    assert admission.idle.is_set()
