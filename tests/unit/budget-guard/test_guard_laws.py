"""Laws I1 to I3 over random histories, against a plain model of the books."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.books import Desk, PlainBooks, folded
from tiermesh_budget.decide import EffectiveLedger
from tiermesh_contracts.budget import LedgerEntry, LedgerKind

ATTS = [f"{n:064x}" for n in range(6)]
TENANTS = ("acme", "other")
atts = st.sampled_from(ATTS)
amounts = st.integers(0, 60) | st.sampled_from([10**14 + 1, 123_456_789_012_345])
limits = st.integers(0, 150) | st.just(2 * 10**14)
operations = st.one_of(
    st.tuples(st.just("reserve"), atts, amounts, st.sampled_from(TENANTS)),
    st.tuples(st.just("resolve"), atts, st.sampled_from(["settled", "released", "suspended"]), amounts),
    st.tuples(st.just("thaw")),
    st.tuples(
        st.just("limits"),
        st.dictionaries(st.sampled_from(["org", "tenant", "tenant:acme", "project"]), limits, max_size=4),
    ),
)


def scopes_for(tenant):
    return (("org", "org"), (f"tenant:{tenant}", "tenant"), ("project:0", "project"))


def both(desk: Desk, plain: PlainBooks, operation):
    """Do it in the store and in the model; the replies must agree."""
    match operation:
        case "reserve", att, amount, tenant:
            reply = desk.reserve(att, amount, scopes=scopes_for(tenant))
            kind, which = plain.reserve(att, amount, scopes_for(tenant))
            named = {"held": reply[-1], "no_money": reply[1] if len(reply) > 1 else ""}.get(reply[0], "")
            assert (reply[0], named) == (kind, which), operation
        case "resolve", att, to, cost:
            assert desk.resolve(att, to, cost)[0] == plain.resolve(att, to, cost), operation
        case ("thaw",):
            desk.store.delete(*desk.store.keys(f"{desk.prefix}frozen:*"), "none")
            plain.frozen = False
        case "limits", wanted:
            # windows that never refuse beside those that the model keeps: they are counted all the same
            wide = [(scope, window, 9 * 10**15) for scope in wanted for window in ("minute", "day", "month")]
            desk.limits(*((scope, "lifetime", limit) for scope, limit in wanted.items()), *wide)
            plain.limits = dict(wanted)


def check_laws(desk: Desk):
    entries = desk.entries()
    assert [e.seq for e in entries] == list(range(1, len(entries) + 1))
    # I1: the store's sums are those of the entries
    assert {k: v for k, v in folded(entries).items() if any(v)} == {
        k: v for k, v in desk.all_sums().items() if any(v)
    }
    in_force: dict[tuple[str, str], int | None] = {}
    for n, entry in enumerate(entries):
        if entry.kind is LedgerKind.LIMIT_SET:
            in_force[entry.scopes[0].scope, entry.scopes[0].window] = entry.scopes[0].limit_usd_nanos
        if entry.kind is not LedgerKind.HELD:
            continue
        before = folded(entries[:n])
        for s in entry.scopes:
            counted = sum(before.get(f"{s.scope}:{s.window}:{s.window_id}", (0, 0, 0)))
            limit = in_force.get((s.scope, s.window))
            limit = in_force.get((s.scope.split(":")[0], s.window)) if limit is None else limit
            assert s.counted_before_usd_nanos == counted
            assert s.limit_usd_nanos == limit
            assert limit is None or counted + entry.amount_usd_nanos <= limit  # I2
    # I3: at most one of settled and released, at most one overrun, each after its hold
    ends = Counter(e.att for e in entries if e.kind in {LedgerKind.SETTLED, LedgerKind.RELEASED})
    overruns = Counter(e.att for e in entries if e.kind is LedgerKind.OVERRUN)
    holds = Counter(e.att for e in entries if e.kind is LedgerKind.HELD)
    assert max([0, *ends.values()]) <= 1
    assert max([0, *overruns.values()]) <= 1
    assert max([0, *holds.values()]) <= 1
    assert set(ends) | set(overruns) <= set(holds)


@settings(max_examples=50, deadline=None)
@given(st.lists(operations, max_size=30))
def test_the_store_does_what_the_model_does_and_the_laws_hold(redis_url, history):
    """A history that nobody thought of would break the books."""
    desk, plain = Desk(redis_url).open(), PlainBooks()
    both(desk, plain, ("limits", {"org": 100, "tenant": 80}))
    for operation in history:
        both(desk, plain, operation)
    check_laws(desk)
    desk.store.close()


@pytest.mark.parametrize("seed", [20261124, 7])
def test_a_long_history_keeps_the_laws_and_its_ledger_reads_the_same_in_any_order(desk: Desk, seed):
    """What only shows after hundreds of transitions would break the books; and readers of the ledger, who see it
    shuffled and repeated, would count otherwise than the store."""
    draw = random.Random(seed)
    plain = PlainBooks()
    both(desk, plain, ("limits", {"org": 2_000, "tenant": 1_200, "tenant:acme": 900}))
    for n in range(400):
        att = f"{draw.randrange(n // 4 + 1):064x}"
        if draw.random() < 0.5:
            both(desk, plain, ("reserve", att, draw.randrange(60), draw.choice(TENANTS)))
        else:
            to = draw.choice(["settled", "settled", "released", "suspended"])
            both(desk, plain, ("resolve", att, to, draw.randrange(60)))
        if n % 40 == 39:
            both(desk, plain, ("thaw",))
    check_laws(desk)
    entries = desk.entries()
    written = [*entries, *draw.choices(entries, k=50)]
    draw.shuffle(written)
    fence = LedgerEntry(org=desk.org, epoch=1, seq=0, kind="epoch_opened", at_ms=0, run_id="r")
    ledger = EffectiveLedger()
    effective = [e for one in (fence, *written) for e in ledger.read(one)]
    assert effective == [fence, *entries], f"seed {seed}"
