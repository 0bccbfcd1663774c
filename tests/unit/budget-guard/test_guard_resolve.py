"""Every transition of money, each twice."""

import pytest
from redis.exceptions import ResponseError

from fakes.books import Desk
from tiermesh_contracts.budget import LedgerKind

A = "a" * 64
HOLD = 100

# path of (to, cost) after the hold; then held, posted, suspended, and the entries written
PATHS = {
    "settled": ([("settled", 40)], (0, 40, 0), ["settled"]),
    "settled at zero": ([("settled", 0)], (0, 0, 0), ["settled"]),
    "settled at the hold": ([("settled", HOLD)], (0, HOLD, 0), ["settled"]),
    "released": ([("released", 0)], (0, 0, 0), ["released"]),
    "suspended": ([("suspended", 0)], (0, 0, HOLD), ["suspended"]),
    "suspended, settled": ([("suspended", 0), ("settled", 40)], (0, 40, 0), ["suspended", "settled"]),
    "suspended, released": ([("suspended", 0), ("released", 0)], (0, 0, 0), ["suspended", "released"]),
    "overrun": ([("settled", 130)], (0, 130, 0), ["settled", "overrun"]),
    "suspended, overrun": ([("suspended", 0), ("settled", 130)], (0, 130, 0), ["suspended", "settled", "overrun"]),
    "released, cost": ([("released", 0), ("settled", 40)], (0, 40, 0), ["released", "overrun"]),
    "released, free": ([("released", 0), ("settled", 0)], (0, 0, 0), ["released"]),
    "settled, released": ([("settled", 40), ("released", 0)], (0, 40, 0), ["settled"]),
    "settled, suspended": ([("settled", 40), ("suspended", 0)], (0, 40, 0), ["settled"]),
    "settled, more": ([("settled", 40), ("settled", 90)], (0, 40, 0), ["settled"]),
    "released, suspended": ([("released", 0), ("suspended", 0)], (0, 0, 0), ["released"]),
    "released, cost, more": (
        [("released", 0), ("settled", 40), ("settled", 90)],
        (0, 40, 0),
        ["released", "overrun"],
    ),
}


@pytest.mark.parametrize("name", PATHS)
def test_each_evidence_moves_money_once_however_often_it_comes(desk: Desk, name):
    """Outcomes are redelivered: the second would free or post the money again."""
    path, sums, kinds = PATHS[name]
    desk.limits(("org", "lifetime", 10_000), ("tenant", "day", 10_000))
    desk.reserve(A, HOLD)
    for to, cost in path:
        first = desk.resolve(A, to, cost)
        after, written = desk.all_sums(), desk.raw_entries()
        again = desk.resolve(A, to, cost)
        assert again[0] == "already", (first, again)
        assert int(again[-1]) == desk.entries(A)[-1].seq
        assert (desk.all_sums(), desk.raw_entries()) == (after, written)
    assert set(desk.all_sums().values()) == {sums}
    assert len(desk.all_sums()) == 2
    assert [e.kind.value for e in desk.entries(A)[1:]] == kinds


@pytest.mark.parametrize("path", [["settled"], ["released"], ["suspended", "settled"]])
def test_a_hold_of_nothing_is_resolved_like_any_other(desk: Desk, path):
    """Outcomes of a model whose price is zero would be tried again for ever, and all behind them wait."""
    desk.limits(("org", "lifetime", 100))
    desk.reserve(A, 0)
    for to in path:
        assert desk.resolve(A, to)[0] == "done"
    assert desk.state(A) == path[-1]
    assert desk.sums("org") == (0, 0, 0)


def test_money_that_was_never_held_is_never_invented(desk: Desk):
    """Anybody's outcome would move this org's money."""
    desk.limits(("org", "lifetime", 100))
    for to in ("settled", "released", "suspended"):
        assert desk.resolve(A, to, 5) == ["unknown"]
    assert desk.all_sums() == {}
    assert len(desk.entries()) == 1


def test_an_overrun_is_posted_in_full_by_an_entry_of_its_own(desk: Desk):
    """The bill would pass the books by what the call cost beyond its hold, unseen."""
    desk.limits(("org", "lifetime", 100))
    desk.reserve(A, 100)
    reply = desk.resolve(A, "settled", 130)
    held, settled, overrun = desk.entries(A)
    assert reply == ["done", str(overrun.seq)]
    assert (settled.kind, settled.amount_usd_nanos, settled.freed_usd_nanos) == (LedgerKind.SETTLED, 100, 100)
    assert (overrun.kind, overrun.amount_usd_nanos, overrun.freed_usd_nanos) == (LedgerKind.OVERRUN, 30, 0)
    assert [s.scope for s in overrun.scopes] == [s.scope for s in held.scopes]
    assert desk.reserve("b" * 64, 0, frozen_ref="model:other")[0] == "no_money"


def test_a_cost_that_comes_after_the_release_is_posted_and_freezes(desk: Desk):
    """Who said that the call never left was wrong: the cost would be dropped, and again and again."""
    desk.limits(("org", "lifetime", 100))
    desk.reserve(A, 100)
    desk.resolve(A, "released")
    assert desk.resolve(A, "settled", 100)[0] == "done"
    overrun = desk.entries(A)[-1]
    assert (overrun.kind, overrun.amount_usd_nanos, overrun.freed_usd_nanos) == (LedgerKind.OVERRUN, 100, 0)
    assert desk.state(A) == "released"
    assert desk.reserve("b" * 64, 0) == ["frozen"]


def test_entries_say_what_was_freed_and_from_where(desk: Desk):
    """A rebuild could not tell held money from suspended."""
    desk.limits(("org", "lifetime", 1_000))
    desk.reserve(A, 100)
    desk.resolve(A, "suspended")
    desk.resolve(A, "settled", 40)
    _, suspended, settled = desk.entries(A)
    assert (suspended.amount_usd_nanos, suspended.freed_usd_nanos, suspended.from_suspended) == (100, 100, False)
    assert (settled.amount_usd_nanos, settled.freed_usd_nanos, settled.from_suspended) == (40, 100, True)


def test_a_cost_beyond_exact_numbers_is_refused_before_anything_moves(desk: Desk):
    """The script would stop half way, the hold freed and its state unchanged, and do so at every repeat."""
    desk.limits(("org", "lifetime", 1_000))
    desk.reserve(A, 100)
    before = desk.all_sums(), desk.raw_entries()
    for cost in (2**53, 2**63, 10**30):
        with pytest.raises(ResponseError):
            desk.resolve(A, "settled", cost)
    assert (desk.all_sums(), desk.raw_entries(), desk.state(A)) == (*before, "held")
    assert desk.resolve(A, "settled", 2**53 - 1)[0] == "done"
    assert desk.sums("org") == (0, 2**53 - 1, 0)


def test_a_resolved_reservation_is_kept_until_its_time_and_an_open_one_for_ever(desk: Desk):
    """Late evidence would find no reservation, or suspended money be forgotten; or the store fill up."""
    desk.limits(("org", "lifetime", 1_000))
    until_ms = int(desk.store.time()[0]) * 1000 + 7 * 86_400_000
    for letter, to in (("a", "settled"), ("b", "released"), ("c", "suspended")):
        desk.reserve(letter * 64, 100, keep_until_ms=until_ms)
        assert desk.store.ttl(f"{desk.prefix}r:{letter * 64}") == -1
        desk.resolve(letter * 64, to)
    expiry = [desk.store.pexpiretime(f"{desk.prefix}r:{letter * 64}") for letter in "abc"]
    assert expiry == [until_ms, until_ms, -1]
    desk.resolve("c" * 64, "settled", 5)
    assert desk.store.pexpiretime(f"{desk.prefix}r:{'c' * 64}") == until_ms
