"""The laws of money find what was planted, each its own breach, and nothing in honest books."""

from typing import Any

import pytest

from tiermesh_cli.showcase import laws
from tiermesh_cli.showcase.laws import ORG_LIFETIME, Bill, Sums, fold
from tiermesh_contracts.budget import CountedScope, LedgerEntry, LedgerKind, Window

LIMIT = 1_000


def entry(
    seq: int, kind: LedgerKind, amount: int = 0, *, before: int = 0, epoch: int = 1, **fields: Any
) -> LedgerEntry:
    limit = None if kind is LedgerKind.EPOCH_OPENED else fields.pop("limit", LIMIT)
    scope = CountedScope(
        scope="org",
        window=Window.LIFETIME,
        window_id="" if kind is LedgerKind.LIMIT_SET else "all",
        limit_usd_nanos=limit,
        counted_before_usd_nanos=before,
    )
    scopes = () if kind is LedgerKind.EPOCH_OPENED else (scope,)
    return LedgerEntry(
        org="demo", epoch=epoch, seq=seq, kind=kind, at_ms=0, amount_usd_nanos=amount, scopes=scopes, **fields
    )


def fence(epoch: int) -> LedgerEntry:
    return entry(0, LedgerKind.EPOCH_OPENED, epoch=epoch, run_id=f"run{epoch}")


def limit_set(seq: int, limit: int = LIMIT) -> LedgerEntry:
    return entry(seq, LedgerKind.LIMIT_SET, limit=limit)


def held(seq: int, att: str, amount: int, *, before: int, **fields: Any) -> LedgerEntry:
    return entry(seq, LedgerKind.HELD, amount, before=before, att=att, **fields)


def settled(seq: int, att: str, amount: int, freed: int, **fields: Any) -> LedgerEntry:
    return entry(seq, LedgerKind.SETTLED, amount, att=att, freed_usd_nanos=freed, **fields)


def suspended(seq: int, att: str, amount: int) -> LedgerEntry:
    return entry(seq, LedgerKind.SUSPENDED, amount, att=att, freed_usd_nanos=amount)


def released(seq: int, att: str, amount: int, **fields: Any) -> LedgerEntry:
    return entry(seq, LedgerKind.RELEASED, amount, att=att, freed_usd_nanos=amount, **fields)


HONEST = [
    fence(1),
    limit_set(1),
    held(2, "a", 600, before=0),
    settled(3, "a", 250, 600),
    held(4, "b", 300, before=250),
    held(5, "c", 400, before=550),
    suspended(6, "b", 300),
    released(7, "c", 400),
    settled(8, "b", 100, 300, from_suspended=True),
]
BILL = Bill(350, ("a", "b"))


def all_breaches(entries: list[LedgerEntry], store: Sums, bill: Bill) -> list[str]:
    state = fold(entries)
    return [
        *laws.store_breaches(state, {ORG_LIFETIME: store}, 0),
        *laws.limit_breaches(state),
        *laws.resolution_breaches(state),
        *laws.bill_breaches(state, bill),
        *laws.drain_breaches(state),
    ]


def test_honest_books_break_no_law():
    """A check that cries at good books is switched off, and then finds nothing."""
    assert all_breaches(HONEST, Sums(posted=350), BILL) == []


def test_entries_written_twice_or_behind_a_fence_do_not_count():
    """A repeat of the outbox, or a late append of an older guard, would look like a breach."""
    late = held(9, "z", 999, before=350)
    entries = [*HONEST, HONEST[4], fence(2), late]
    state = fold(entries)
    assert state.sums[ORG_LIFETIME] == Sums(posted=350)
    assert state.voided == 1


@pytest.mark.parametrize("store", [Sums(posted=351), Sums(held=1, posted=350), Sums()])
def test_i1_finds_a_store_that_differs(store: Sums):
    """A projection that is off by one nano-dollar is off."""
    assert len(laws.store_breaches(fold(HONEST), {ORG_LIFETIME: store}, 0)) == 1


def test_i1_finds_a_counter_that_the_ledger_does_not_know():
    """Money counted in a window of its own would escape the comparison."""
    store = {ORG_LIFETIME: Sums(posted=350), ("tenant:acme", "day", "2026-01-01"): Sums(posted=1)}
    assert "tenant:acme day" in laws.store_breaches(fold(HONEST), store, 0)[0]


def test_i2_finds_a_hold_over_the_limit():
    """This is the promise of the whole project."""
    over = [*HONEST, held(9, "d", 651, before=350)]
    assert "over the limit 1000" in laws.limit_breaches(fold(over))[0]
    assert laws.limit_breaches(fold([*HONEST, held(9, "d", 650, before=350)])) == []


def test_i2_does_not_take_the_entrys_word_for_what_counted_before():
    """A store that lost a write would state too little, and every hold would seem to fit."""
    forgetful = [*HONEST, held(9, "d", 700, before=0)]
    found = laws.limit_breaches(fold(forgetful))
    assert any("says 0 counted before it, the ledger 350" in line for line in found)
    assert any("over the limit" in line for line in found)


def test_i2_measures_against_the_limit_in_force():
    """After a limit was lowered, a hold against the old one overspends by the difference."""
    lowered = [*HONEST, limit_set(9, 500), held(10, "d", 400, before=350)]
    found = laws.limit_breaches(fold(lowered))
    assert any("in force was 500" in line for line in found)
    assert any("over the limit 500" in line for line in found)
    raised = [*HONEST, limit_set(9, 2_000), held(10, "d", 1_500, before=350, limit=2_000)]
    assert laws.limit_breaches(fold(raised)) == []


@pytest.mark.parametrize("second", [settled(9, "a", 250, 0), released(9, "a", 0)])
def test_i3_finds_a_second_resolution(second: LedgerEntry):
    """Money freed twice can be spent twice."""
    assert laws.resolution_breaches(fold([*HONEST, second])) == ["reservation a was resolved 2 times"]


def test_i3_finds_a_resolution_without_a_hold():
    """A settle for an unknown reservation is never invented."""
    invented = [*HONEST, settled(9, "ghost", 5, 0)]
    assert laws.resolution_breaches(fold(invented)) == ["reservation ghost was never held"]


def test_i3_finds_a_reservation_held_twice():
    """One attempt, one hold: a second one counts money that nobody asked for."""
    again = [*HONEST, held(9, "a", 10, before=350)]
    assert laws.resolution_breaches(fold(again)) == ["reservation a was held 2 times"]


@pytest.mark.parametrize(
    ("terminal", "conflicting", "words"), [(9, 0, "1 of 10"), (10, 2, "2 later results say something else")]
)
def test_i4_finds_lost_and_contradicted_requests(terminal: int, conflicting: int, words: str):
    """A lost request is a producer that waits for ever; a contradicted one, a producer that was told two things."""
    assert words in laws.result_breaches(10, terminal, conflicting)[0]
    assert laws.result_breaches(10, 10, 0) == []


def test_i5_finds_a_bill_above_the_books():
    """Spend that the books do not know is what a budget is there to prevent."""
    assert "counts only 350" in laws.bill_breaches(fold(HONEST), Bill(351, ("a", "b")))[0]


def test_i5_finds_books_above_the_bill_once_nothing_is_open():
    """Money posted that nobody charged is not there for the next request."""
    assert "nothing is open" in laws.bill_breaches(fold(HONEST), Bill(349, ("a", "b")))[0]


def test_i5_allows_a_smaller_bill_while_money_is_open():
    """A hold is an upper bound: while it stands, the bill may be anything below it."""
    assert laws.bill_breaches(fold([*HONEST, held(9, "d", 100, before=350)]), BILL) == []


@pytest.mark.parametrize(
    ("calls", "words"),
    [(("a", "x"), "name no reservation"), (("a", None), "name no"), (("a", "a"), "more than one")],
)
def test_i5_finds_calls_without_a_reservation_of_their_own(calls: tuple[str | None, ...], words: str):
    """Two errors can cancel out in a total, not in the calls behind it."""
    assert words in laws.bill_breaches(fold(HONEST), Bill(350, calls))[0]


def test_money_still_held_is_found():
    """A hold that nobody resolves takes its share of the limit for ever."""
    assert laws.drain_breaches(fold([*HONEST, held(9, "d", 100, before=350)])) == [
        "100 nano-dollars are still held"
    ]


def test_an_overrun_is_posted():
    """Evidence of cost after a release counts in full, or the books stay below the bill."""
    overrun = entry(9, LedgerKind.OVERRUN, 40, att="c")
    state = fold([*HONEST, overrun])
    assert state.sums[ORG_LIFETIME] == Sums(posted=390)
    assert state.overruns == 1


def test_private_texts_are_found_at_the_frontier():
    """The one thing that cannot be taken back."""
    private = ["my card is 4111", "my name is Odile"]
    assert laws.privacy_breaches(private, ["hello", "well"], 0) == []
    assert "1 private" in laws.privacy_breaches(private, ["hello", "context: my card is 4111, help"], 0)[0]
    assert "could not be looked at" in laws.privacy_breaches(private, ["hello"], 3)[0]
