"""Setting money aside: over all scopes or none, once an attempt."""

import pytest

from fakes.books import REF, Desk
from tiermesh_contracts.budget import LedgerKind, Window

A, B, C = (letter * 64 for letter in "abc")
THREE = (("org", "org"), ("tenant:acme", "tenant"), ("project:0", "project"))


def test_all_scopes_are_held_in_or_none(desk: Desk):
    """A refusal by the tenant's limit would leave the org's money held by nobody."""
    desk.limits(("org", "lifetime", 100), ("tenant", "lifetime", 50), ("project", "lifetime", 10))
    assert desk.reserve(A, 60, scopes=THREE) == ["no_money", "tenant:acme", "lifetime"]
    assert desk.reserve(B, 11, scopes=THREE) == ["no_money", "project:0", "lifetime"]
    assert desk.reserve(C, 101, scopes=THREE) == ["no_money", "org", "lifetime"]
    assert desk.all_sums() == {}
    assert [e.kind for e in desk.entries()] == [LedgerKind.LIMIT_SET] * 3
    assert desk.reserve(C, 10, scopes=THREE)[0] == "held"
    assert {key: sums for key, sums in desk.all_sums().items() if sums != (10, 0, 0)} == {}
    assert len(desk.all_sums()) == 3


def test_a_limit_is_reached_exactly_and_never_passed(desk: Desk):
    """Off by one nano-dollar, the law is broken."""
    desk.limits(("org", "lifetime", 100))
    assert desk.reserve(A, 99)[0] == "held"
    assert desk.reserve(B, 2) == ["no_money", "org", "lifetime"]
    assert desk.reserve(B, 1)[0] == "held"
    assert desk.reserve(C, 1) == ["no_money", "org", "lifetime"]
    assert desk.reserve(C, 0)[0] == "held"


def test_a_repeat_answers_what_is_stored_and_holds_nothing_more(desk: Desk):
    """Every redelivery would hold again; a repeat priced anew would not be covered by what is held."""
    desk.limits(("org", "lifetime", 100))
    first = desk.reserve(A, 60)
    assert desk.reserve(A, 90, scopes=THREE, frozen_ref="model:other") == first
    assert desk.sums("org") == (60, 0, 0)
    assert len(desk.entries(A)) == 1
    assert desk.find(A) == first
    desk.resolve(A, "settled", 10)
    assert desk.reserve(A, 60) == [*first[:3], "settled"]
    assert desk.find(B) == ["none"]


def test_an_attempt_with_another_body_is_another_request_in_disguise(desk: Desk):
    """One request's money would pay for another text."""
    desk.limits(("org", "lifetime", 100))
    desk.reserve(A, 10, body="one")
    assert desk.reserve(A, 10, body="two") == ["id_reused"]
    assert desk.sums("org") == (10, 0, 0)


def test_what_found_no_money_is_not_remembered(desk: Desk):
    """A request would stay refused when its money is there."""
    desk.limits(("org", "lifetime", 5))
    assert desk.reserve(A, 10)[0] == "no_money"
    desk.limits(("org", "lifetime", 10))
    assert desk.reserve(A, 10)[0] == "held"


@pytest.mark.parametrize("limits", [(), (("tenant", "lifetime", 100),), (("model", "day", 100),)])
def test_an_org_without_a_limit_of_its_own_spends_nothing(desk: Desk, limits):
    """A budget that was forgotten would be an unlimited one."""
    desk.limits(*limits)
    assert desk.reserve(A, 1) == ["no_budget"]


@pytest.mark.parametrize("window", list(Window))
def test_a_limit_of_any_window_is_kept_and_the_whole_of_the_org_is_always_counted(desk: Desk, window):
    """A window would not be looked at, or books and bill could not be compared over all time."""
    desk.limits(("org", window.value, 100))
    assert desk.reserve(A, 60)[0] == "held"
    refused = desk.reserve(B, 60)
    # a window that turned in between is a new one
    assert refused in (["no_money", "org", window.value], ["held", *refused[1:]])
    assert desk.sums("org")[0] in {60, 120}
    (entry,) = desk.entries(A)
    lifetime = [s for s in entry.scopes if s.window is Window.LIFETIME]
    assert [s.limit_usd_nanos for s in lifetime] == [100 if window is Window.LIFETIME else None]


def test_a_limit_that_names_its_key_stands_instead_of_the_one_of_its_kind(desk: Desk):
    """A tenant that was given more, or less, would be held to everybody's limit."""
    desk.limits(("org", "lifetime", 1_000), ("tenant", "lifetime", 50), ("tenant:acme", "lifetime", 100))
    other = (("org", "org"), ("tenant:other", "tenant"))
    assert desk.reserve(A, 80)[0] == "held"
    assert desk.reserve(B, 80, scopes=other) == ["no_money", "tenant:other", "lifetime"]
    desk.limits(("org", "lifetime", 1_000), ("tenant", "lifetime", 500), ("tenant:acme", "lifetime", 80))
    assert desk.reserve(C, 1) == ["no_money", "tenant:acme", "lifetime"]


def test_a_requests_own_limit_counts_all_its_attempts(desk: Desk):
    """Eight attempts would cost eight times what the producer allowed."""
    desk.limits(("org", "lifetime", 1_000))
    scopes = (("org", "org"), ("request:0", "request"))
    assert desk.reserve(A, 60, limit=100, scopes=scopes)[0] == "held"
    assert desk.reserve(B, 60, limit=100, scopes=scopes) == ["no_money", "request", "lifetime"]
    desk.resolve(A, "settled", 30)
    assert desk.reserve(B, 60, limit=100, scopes=scopes)[0] == "held"
    desk.resolve(B, "suspended")
    assert desk.reserve(C, 11, limit=100, scopes=scopes) == ["no_money", "request", "lifetime"]
    assert desk.sums("request:0") == (0, 30, 60)
    assert desk.reserve(C, 11, scopes=scopes)[0] == "held"
    assert desk.sums("request:0") == (0, 30, 60)


def test_a_limit_of_zero_is_a_limit(desk: Desk):
    """Zero would be taken for none."""
    desk.limits(("org", "lifetime", 0))
    assert desk.reserve(A, 1) == ["no_money", "org", "lifetime"]
    desk.limits(("org", "lifetime", 10))
    scopes = (("org", "org"), ("request:0", "request"))
    assert desk.reserve(A, 1, limit=0, scopes=scopes) == ["no_money", "request", "lifetime"]


def test_a_frozen_model_gets_no_money_and_another_does(desk: Desk):
    """A model that costs more than its price would go on being called, or one overrun stop a tenant."""
    desk.limits(("org", "lifetime", 100))
    desk.reserve(A, 10)
    desk.resolve(A, "settled", 11)
    assert desk.reserve(B, 10) == ["frozen"]
    assert desk.reserve(B, 10, frozen_ref="model:other")[0] == "held"
    assert desk.store.get(f"{desk.prefix}frozen:{REF}") == A


def test_limits_become_exactly_those_given_and_each_change_is_in_the_ledger(desk: Desk):
    """A limit that was removed or lowered would stay in force, or nobody know what was in force when."""
    assert desk.limits(("org", "lifetime", 100), ("tenant:acme", "day", 5)) == ["done", "2"]
    assert desk.limits(("org", "lifetime", 100), ("tenant:acme", "day", 5)) == ["done", "0"]
    desk.limits(("org", "lifetime", 100), ("tenant:acme", "day", 7))
    desk.limits(("org", "lifetime", 100))
    written = [(e.scopes[0].scope, e.scopes[0].window, e.scopes[0].limit_usd_nanos) for e in desk.entries()]
    assert written == [
        ("org", "lifetime", 100),
        ("tenant:acme", "day", 5),
        ("tenant:acme", "day", 7),
        ("tenant:acme", "day", None),
    ]
    assert desk.store.hgetall(desk.prefix + "limits") == {"org|lifetime": "100"}


def test_entries_are_numbered_without_a_gap_in_the_order_they_happened(desk: Desk):
    """A gap would hold back all that follows it, for ever."""
    desk.limits(("org", "lifetime", 100))
    for att in (A, B, A, C):
        desk.reserve(att, 50)
    desk.resolve(A, "settled", 60)
    entries = desk.entries()
    assert [e.seq for e in entries] == list(range(1, len(entries) + 1))
    assert [e.kind.value for e in entries] == ["limit_set", "held", "held", "settled", "overrun"]
    assert {e.org for e in entries} == {desk.org}
