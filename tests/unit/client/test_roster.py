"""Who is not done yet: each further one costs the same as the first, and those who are done go."""

from __future__ import annotations

from dataclasses import dataclass

from ingest_client._roster import Roster


@dataclass
class Member:
    is_done: bool = False
    looks_num: int = 0

    def look(self) -> bool:
        self.looks_num += 1
        return self.is_done


def test_those_who_are_not_done_are_looked_at_a_bounded_number_of_times_each():
    """Not once for each that is added after them, which grows with the square of their number."""
    members = [Member() for _ in range(10_000)]
    roster: Roster[Member] = Roster(Member.look)
    for member in members:
        roster.add(member)
    assert list(roster) == members
    assert sum(member.looks_num for member in members) <= 2 * len(members)


def test_those_who_are_done_are_struck_off():
    roster: Roster[Member] = Roster(Member.look)
    waiting = [Member() for _ in range(10)]
    for member in waiting:
        roster.add(member)
    for _ in range(10_000):
        roster.add(Member(is_done=True))
        assert len(roster) < 200
    assert [member for member in roster if not member.is_done] == waiting


def test_one_that_comes_again_is_there_once():
    member = Member()
    roster: Roster[Member] = Roster(Member.look)
    roster.add(member)
    roster.add(member)
    assert list(roster) == [member]
    roster.clear()
    assert len(roster) == 0


def test_it_may_change_while_somebody_goes_through_it():
    roster: Roster[Member] = Roster(Member.look)
    roster.add(Member())
    for _ in roster:
        roster.add(Member())
    assert len(roster) == 2
