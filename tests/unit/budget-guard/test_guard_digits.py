"""Amounts leave the store as the digits they came in by: Lua writes 123456789012345 as 1.2345678901234e+14."""

import json
import re

import pytest

from fakes.books import Desk

A, B = "a" * 64, "b" * 64
EXACT_MAX = 2**53 - 1
"""Above the largest limit that a configuration may state; the scripts must still not lose a digit of it."""
LARGE = [10**14 + 1, 123_456_789_012_345, 9_000_000 * 10**9, EXACT_MAX]


def entries(desk, att=None):
    """As the scripts wrote them."""
    return [e for e in map(json.loads, desk.raw_entries()) if att in {None, e.get("att")}]


def numbers(desk):
    """Every number that stands in an entry, as it is written."""
    return re.findall(r":(-?[0-9][^,}\]]*)", "".join(desk.raw_entries()))


@pytest.mark.parametrize("amount", LARGE)
def test_digits_are_exact_in_every_place(desk: Desk, amount):
    """One nano-dollar off in one place, and books and ledger never agree again."""
    desk.limits(("org", "lifetime", amount), ("tenant", "lifetime", amount))
    reply = desk.reserve(A, amount - 1)
    assert json.loads(reply[1])["amount_usd_nanos"] == amount - 1
    assert desk.reserve(B, 1)[0] == "held"
    assert desk.reserve("c" * 64, 1)[0] == "no_money"
    assert desk.sums("org") == (amount, 0, 0)
    (first,), (second,) = entries(desk, A), entries(desk, B)
    assert first["amount_usd_nanos"] == amount - 1
    assert {s["counted_before_usd_nanos"] for s in first["scopes"]} == {0}
    assert {s["counted_before_usd_nanos"] for s in second["scopes"]} == {amount - 1}
    assert {s["limit_usd_nanos"] for s in second["scopes"]} == {amount}
    assert {e["scopes"][0]["limit_usd_nanos"] for e in entries(desk)[:2]} == {amount}
    assert all(re.fullmatch(r"[0-9]+", number) for number in numbers(desk)), numbers(desk)


@pytest.mark.parametrize("amount", LARGE)
@pytest.mark.parametrize("path", [("settled",), ("suspended",), ("suspended", "settled"), ("released",)])
def test_digits_are_exact_through_every_transition(desk: Desk, amount, path):
    """As above, for what is posted, freed and suspended."""
    desk.limits(("org", "lifetime", EXACT_MAX))
    desk.reserve(A, amount)
    for to in path:
        desk.resolve(A, to, amount if to == "settled" else 0)
    last = entries(desk, A)[-1]
    assert (last["amount_usd_nanos"], last["freed_usd_nanos"]) == (amount, amount)
    assert sum(desk.sums("org")) == (0 if path == ("released",) else amount)
    assert all(re.fullmatch(r"[0-9]+", number) for number in numbers(desk)), numbers(desk)


@pytest.mark.parametrize("cost", LARGE)
def test_digits_of_an_overrun_are_exact(desk: Desk, cost):
    """As above, for the one amount that the script works out itself."""
    desk.limits(("org", "lifetime", 1_000))
    desk.reserve(A, 7)
    desk.resolve(A, "settled", cost)
    settled, overrun = desk.entries(A)[1:]
    assert (settled.amount_usd_nanos, overrun.amount_usd_nanos) == (7, cost - 7)
    assert desk.sums("org") == (0, cost, 0)
    assert all(re.fullmatch(r"[0-9]+", number) for number in numbers(desk)), numbers(desk)


def test_many_large_sums_stay_exact(desk: Desk):
    """A sum that passes through a double would lose what does not fit in it."""
    desk.limits(("org", "lifetime", 9 * 10**15))
    for n in range(50):
        att = f"{n:064x}"
        desk.reserve(att, 123_456_789_012_345 + n)
        desk.resolve(att, "settled", 123_456_789_012_341 + n)
    assert desk.sums("org") == (0, sum(123_456_789_012_341 + n for n in range(50)), 0)
    assert desk.entries()[-2].scopes[0].counted_before_usd_nanos == sum(123_456_789_012_341 + n for n in range(49))
