"""Sums that the store no longer has to keep are no breach of I1; those it has to keep are."""

import re
from importlib import resources

import pytest

from tiermesh_cli.showcase import laws
from tiermesh_cli.showcase.laws import DAY_MS, Fold, Place, Sums, fold
from tiermesh_contracts.budget import CountedScope, LedgerEntry, LedgerKind, Window

HELD_MS = 1_000
MINUTE: Place = ("org", "minute", "0")
DAY: Place = ("org", "day", "1970-01-01")
MONTH: Place = ("org", "month", "1970-01")
REQUEST: Place = ("request:1f", "lifetime", "all")
FOR_EVER: list[Place] = [("org", "lifetime", "all"), ("tenant:acme", "lifetime", "all")]
KEPT_DAYS = [(MINUTE, 9), (DAY, 45), (MONTH, 400), (REQUEST, 45)]


def entry(seq: int, kind: LedgerKind, place: Place, at_ms: int, before: int = 0) -> LedgerEntry:
    scope, window, window_id = place
    counted = CountedScope(scope=scope, window=Window(window), window_id=window_id, counted_before_usd_nanos=before)
    return LedgerEntry(
        org="demo",
        epoch=1,
        seq=seq,
        kind=kind,
        at_ms=at_ms,
        att=f"a{seq}",
        amount_usd_nanos=60,
        scopes=(counted,),
    )


def held_at(place: Place, *times_ms: int) -> Fold:
    opened = LedgerEntry(org="demo", epoch=1, seq=0, kind=LedgerKind.EPOCH_OPENED, at_ms=0, run_id="r")
    holds = [entry(n + 1, LedgerKind.HELD, place, at_ms, 60 * n) for n, at_ms in enumerate(times_ms)]
    return fold([opened, *holds])


@pytest.mark.parametrize(("place", "days"), KEPT_DAYS)
def test_a_missing_window_is_a_breach_for_as_long_as_it_has_to_be_kept(place: Place, days: int):
    """A store that forgot money would pass, or every store of some age would fail."""
    state = held_at(place, HELD_MS)
    over_ms = HELD_MS + days * DAY_MS
    assert "the store has nothing" in laws.store_breaches(state, {}, over_ms - 1)[0]
    assert laws.store_breaches(state, {}, over_ms) == []


@pytest.mark.parametrize("place", FOR_EVER)
def test_a_lifetime_never_ends(place: Place):
    """A limit over all time would begin anew, and nobody would be told."""
    assert len(laws.store_breaches(held_at(place, HELD_MS), {}, 10_000 * DAY_MS)) == 1


@pytest.mark.parametrize(("place", "days"), KEPT_DAYS)
def test_a_later_hold_keeps_the_window(place: Place, days: int):
    """The store counts from the last hold; from the first one, sums that are needed would pass as gone."""
    state = held_at(place, HELD_MS, HELD_MS + DAY_MS)
    assert len(laws.store_breaches(state, {}, HELD_MS + days * DAY_MS)) == 1
    assert laws.store_breaches(state, {}, HELD_MS + (days + 1) * DAY_MS) == []


def test_an_old_window_that_is_still_there_is_compared():
    """Wrong sums would pass because they were also old."""
    state, late_ms = held_at(MONTH, HELD_MS), 1_000 * DAY_MS
    assert laws.store_breaches(state, {MONTH: Sums(held=60)}, late_ms) == []
    assert len(laws.store_breaches(state, {MONTH: Sums(held=61)}, late_ms)) == 1


def test_a_hold_after_the_end_begins_anew():
    """A request sent again after weeks would be said to have been counted wrongly, though nothing is wrong."""
    opened = LedgerEntry(org="demo", epoch=1, seq=0, kind=LedgerKind.EPOCH_OPENED, at_ms=0, run_id="r")
    late_ms = HELD_MS + 45 * DAY_MS
    again = [entry(1, LedgerKind.HELD, REQUEST, HELD_MS), entry(2, LedgerKind.HELD, REQUEST, late_ms)]
    state = fold([opened, *again])
    assert laws.limit_breaches(state) == []
    assert laws.store_breaches(state, {REQUEST: Sums(held=60)}, late_ms) == []


def test_the_store_keeps_as_long_as_the_check_believes():
    """A figure changed in one place would make a loss look like an end, or an end like a loss."""
    text = (resources.files("tiermesh_budget") / "lua" / "common.lua").read_text(encoding="utf-8")
    windows = re.search(r"KEPT_MS = \{(.*?)\}", text)
    request = re.search(r"REQUEST_KEPT_MS = (\d+) \* DAY_MS", text)
    assert windows is not None
    assert request is not None
    in_store = {name: int(days) * DAY_MS for name, days in re.findall(r"(\w+) = (\d+) \* DAY_MS", windows[1])}
    assert in_store == laws.KEPT_MS
    assert int(request[1]) * DAY_MS == laws.REQUEST_KEPT_MS
