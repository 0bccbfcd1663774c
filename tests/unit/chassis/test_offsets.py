"""What may be committed."""

from hypothesis import given
from hypothesis import strategies as st

from tiermesh_chassis.offsets import Offsets, Ticket

KEY = ("t", 0)


def started(offsets: Offsets, *numbers: int) -> list[Ticket]:
    tickets = [offsets.start("t", 0, number) for number in numbers]
    assert None not in tickets
    return [ticket for ticket in tickets if ticket is not None]


STEPS = st.lists(st.tuples(st.integers(0, 1), st.integers(1, 3), st.integers(0, 9), st.booleans()), max_size=40)


@given(STEPS)
def test_the_committable_offset_is_never_beyond_an_unfinished_record(
    steps: list[tuple[int, int, int, bool]],
) -> None:
    """A crash after such a commit loses the record: nobody reads it again.

    A step receives the next record of a partition (after a gap), finishes any one, and perhaps commits.
    """
    offsets = Offsets()
    last, committed = {0: 0, 1: 0}, {0: 0, 1: 0}
    in_flight: list[Ticket] = []

    def commit() -> None:
        for (_, partition), offset in offsets.committable().items():
            assert offset > committed[partition]
            assert all(offset <= t.offset for t in in_flight if t.partition == partition)
            committed[partition] = offset

    for partition, gap, pick, commits in steps:
        last[partition] += gap
        in_flight += filter(None, [offsets.start("t", partition, last[partition])])
        if pick < len(in_flight):
            offsets.finish(in_flight.pop(pick))
        if commits:
            commit()
    while in_flight:
        offsets.finish(in_flight.pop())
    commit()
    assert committed == {p: offset and offset + 1 for p, offset in last.items()}
    assert offsets.in_flight() == 0


def test_gaps_in_the_offsets_are_no_unfinished_records() -> None:
    """Compaction leaves gaps: waiting for an offset that does not exist would stop the commits for ever."""
    offsets = Offsets()
    for ticket in started(offsets, 3, 7, 20):
        offsets.finish(ticket)
    assert offsets.committable() == {KEY: 21}


def test_a_record_in_flight_or_finished_is_not_taken_twice() -> None:
    """A rewound consumer would start the same record beside itself."""
    offsets = Offsets()
    first, second = started(offsets, 5, 6)
    assert offsets.start("t", 0, 5) is None
    offsets.finish(first)
    assert offsets.start("t", 0, 5) is None
    assert offsets.start("t", 0, 6) is None
    assert offsets.start("t", 1, 5) is not None
    offsets.finish(second)
    assert offsets.committable() == {KEY: 7}


def test_forgetting_voids_the_tickets_handed_out() -> None:
    """Work that ends after a rebalance would commit what the new owner has not done."""
    offsets = Offsets()
    (before,) = started(offsets, 5)
    offsets.forget({KEY})
    offsets.finish(before)
    assert offsets.committable() == {}
    (again,) = started(offsets, 5)
    offsets.finish(before)
    assert offsets.in_flight() == 1
    assert not offsets.moved
    offsets.finish(again)
    assert offsets.committable() == {KEY: 6}


def test_only_what_moved_is_offered_and_a_failed_commit_is_offered_again() -> None:
    """Idle partitions would be committed over and over, or a refused commit forgotten."""
    offsets = Offsets()
    (ticket,) = started(offsets, 0)
    assert not offsets.moved
    offsets.finish(ticket)
    assert offsets.moved
    moved = offsets.committable()
    assert moved == {KEY: 1}
    assert not offsets.moved
    assert offsets.committable() == {}
    offsets.put_back(moved)
    assert offsets.committable() == {KEY: 1}
    offsets.forget({KEY})
    offsets.put_back(moved)
    assert offsets.committable() == {}


def test_in_flight_counts_the_unfinished_of_the_partitions_asked_for() -> None:
    """A revoke would wait for the work of partitions that stay."""
    offsets = Offsets()
    first, _ = started(offsets, 0, 1)
    offsets.start("t", 1, 0)
    assert offsets.in_flight() == 3
    assert offsets.in_flight({KEY}) == 2
    offsets.finish(first)
    assert offsets.in_flight({KEY}) == 1
    assert offsets.in_flight({("t", 9)}) == 0
