"""The index of parked work."""

from hypothesis import given
from hypothesis import strategies as st

from fakes.budget import NOW_MS, escalation, space
from tiermesh_budget.decide import ParkingLot


def lot_of(*spaces, bytes_max=10_000):
    lot = ParkingLot(bytes_max)
    assert all(lot.put(s) for s in spaces)
    return lot


def test_a_tenants_space_is_bounded_and_anothers_is_not_touched():
    """One tenant's backlog would take the memory of all."""
    lot = lot_of(space(escalation(), size_bytes=600), bytes_max=1_000)
    assert not lot.put(space(escalation(), size_bytes=401))
    assert lot.put(space(escalation(), size_bytes=400))
    assert lot.put(space(escalation(tenant="other"), size_bytes=1_000))
    assert (len(lot), lot.parked_bytes) == (3, 2_000)


def test_a_record_written_again_takes_its_space_once():
    """Every redelivery would shrink the tenant's space until nothing fits."""
    about = escalation()
    lot = lot_of(*(space(about, size_bytes=900) for _ in range(5)), bytes_max=1_000)
    assert (len(lot), lot.parked_bytes) == (1, 900)
    lot.take(about.att)
    lot.take(about.att)
    assert (len(lot), lot.parked_bytes) == (0, 0)


def test_partitions_that_moved_are_forgotten_and_the_others_kept():
    """Two guards would release the same record, or a tenant's space stay taken for ever."""
    kept = escalation()
    lot = lot_of(space(escalation(), partition=1), space(kept, partition=2), space(escalation(), partition=3))
    lot.forget({1, 3})
    assert [s.att for s in lot.waiting(NOW_MS, 9)] == [kept.att]
    assert lot.parked_bytes == 1_000


def test_the_highest_priority_comes_first_then_the_nearest_deadline():
    """Returning money would go to whoever was parked first."""
    late, soon = escalation(deadline_ms=60_000), escalation(deadline_ms=5_000)
    urgent, idle = escalation(priority=9), escalation(priority=0, deadline_ms=1_000)
    lot = lot_of(*(space(e) for e in (idle, late, soon, urgent)))
    assert [s.att for s in lot.waiting(NOW_MS, 9)] == [e.att for e in (urgent, soon, late, idle)]
    assert [s.att for s in lot.waiting(NOW_MS, 1)] == [urgent.att]


def test_a_record_is_either_waiting_or_expired():
    """It would be granted and ended at once, or neither."""
    lot = lot_of(space(escalation(deadline_ms=1_000)))
    for now_ms, expired in ((NOW_MS + 999, False), (NOW_MS + 1_000, True), (NOW_MS + 5_000, True)):
        assert bool(lot.expired(now_ms)) == expired
        assert bool(lot.waiting(now_ms, 9)) != expired


def test_everybody_who_waits_is_looked_at_however_many_urgent_ones_find_no_money():
    """A tenant without money would keep the money of all others from those who wait behind it."""
    broke = [space(escalation(priority=9, tenant="broke")) for _ in range(40)]
    quiet = [space(escalation(priority=1, tenant="quiet")) for _ in range(5)]
    lot = lot_of(*broke, *quiet, bytes_max=100_000)
    seen = {s.att for round_ in range(12) for s in lot.waiting(NOW_MS, 8, round_)}
    assert {s.att for s in quiet} <= seen


@given(st.integers(0, 30), st.integers(1, 9), st.integers(0, 99))
def test_a_round_is_bounded_holds_nobody_twice_and_begins_with_the_most_urgent(count, count_max, round_):
    """A record would be admitted twice at once, or returning money be a stampede on the provider."""
    lot = lot_of(*(space(escalation(priority=n % 10)) for n in range(count)), bytes_max=100_000)
    chosen = lot.waiting(NOW_MS, count_max, round_)
    assert len(chosen) == len({s.att for s in chosen}) == min(count, count_max)
    if chosen:
        assert chosen[0].parked.escalation.accepted.request.priority == min(9, count - 1)


def test_hundreds_of_tenants_come_and_go_without_a_trace():
    """A guard that lives for months would remember every tenant that ever waited."""
    lot = ParkingLot(1_000)
    for number in range(300):
        about = escalation(tenant=f"t{number}")
        lot.put(space(about))
        lot.take(about.att)
    assert (len(lot), lot.parked_bytes, lot.tenants) == (0, 0, 0)
