"""From an escalation to its money, through a real broker and a real store."""

from uuid import uuid4

from fakes.budget import BEST_LOCAL, LARGE, SMALL, UNPRICED, outcome
from fakes.mesh_around_guard import DLQ, Place, around, asked
from tiermesh_contracts.escalations import Evidence
from tiermesh_contracts.requests import OnBudget
from tiermesh_contracts.results import ResultReason, Status, Tier
from tiermesh_contracts.topics import LEDGER

ONLY_LARGE = {"candidates": (LARGE,)}


def some_tenant(name):
    return f"{name}-{uuid4().hex[:8]}"


async def test_money_is_held_in_the_ledger_then_granted_then_settled_once(place: Place):
    """A call would be paid by no entry, or its cost be posted at every redelivery."""
    about = asked(some_tenant("settles"))
    async with around(place) as mesh:
        await mesh.send(about)
        grant = await mesh.granted(about)
        await mesh.to_end()
        assert mesh.entries(about) == ["held"]
        assert (grant.reservation.model, grant.reservation.org) == ("sim-large", place.org)
        assert grant.reservation.not_after_ms == about.accepted.expires_at_ms
        done = outcome(grant, cost_usd_nanos=12_345)
        await mesh.send(done, done)
        await mesh.until(lambda: "settled" in mesh.entries(about))
        fence = asked(some_tenant("fence"))
        await mesh.send(done, fence)
        await mesh.granted(fence)
        await mesh.to_end()
        assert mesh.entries(about) == ["held", "settled"]
        assert mesh.results(about) == []
    tenant = f"tenant:{about.accepted.request.tenant}"
    sums = {k: v for k, v in place.desk.all_sums().items() if k.startswith(tenant)}
    assert list(sums.values()) == [(0, 12_345, 0)]


async def test_a_redelivered_escalation_is_granted_from_the_same_hold(place: Place):
    """Every redelivery would set money aside once more."""
    about = asked(some_tenant("again"))
    async with around(place) as mesh:
        await mesh.send(about, about, about)
        await mesh.until(lambda: len(mesh.grants(about)) == 3)
        await mesh.to_end()
        assert len({g.reservation for g in mesh.grants(about)}) == 1
        assert mesh.entries(about) == ["held"]


async def test_each_evidence_has_its_entry(place: Place):
    """Unknown cost would be freed, or money of calls that never left stay held."""
    abouts = [asked(some_tenant("evidence")) for _ in range(3)]
    ends = {Evidence.UNKNOWN: "suspended", Evidence.NOT_SENT: "released", Evidence.REJECTED: "settled"}
    async with around(place) as mesh:
        await mesh.send(*abouts)
        for about, (evidence, kind) in zip(abouts, ends.items(), strict=True):
            grant = await mesh.granted(about)
            await mesh.send(outcome(grant, evidence))
            await mesh.until(lambda about=about, kind=kind: mesh.entries(about) == ["held", kind])
        late = outcome(mesh.grants(abouts[0])[0], cost_usd_nanos=99)
        await mesh.send(late)
        await mesh.until(lambda: mesh.entries(abouts[0]) == ["held", "suspended", "settled"])


async def test_an_outcome_without_a_reservation_is_a_dead_letter_and_moves_nothing(place: Place):
    """Money would be invented, or all outcomes behind it wait."""
    about = asked(some_tenant("known"))
    async with around(place) as mesh:
        await mesh.send(about)
        grant = await mesh.granted(about)
        stranger = grant.model_copy(
            update={"reservation": grant.reservation.model_copy(update={"att": uuid4().hex * 2})}
        )
        await mesh.send(outcome(stranger, cost_usd_nanos=77), outcome(grant, cost_usd_nanos=5))
        await mesh.until(lambda: mesh.entries(about) == ["held", "settled"])
        await mesh.until(lambda: [o for _, o in mesh.read[DLQ] if o.att == stranger.reservation.att])
        await mesh.to_end()
        assert "unknown_reservation" in {h["x-reason"] for h in mesh.headers}
        assert [e for _, e in mesh.read[LEDGER.name] if e.att == stranger.reservation.att] == []
        assert mesh.results(about) == []


async def test_a_cost_that_no_book_can_count_is_suspended_and_those_behind_it_go_on(place: Place):
    """One absurd report of usage would stop all outcomes, and free its hold again at every repeat."""
    absurd, next_ = asked(some_tenant("absurd")), asked(some_tenant("next"))
    async with around(place) as mesh:
        await mesh.send(absurd, next_)
        await mesh.send(outcome(await mesh.granted(absurd), cost_usd_nanos=10**30))
        await mesh.send(outcome(await mesh.granted(next_), cost_usd_nanos=1))
        await mesh.until(lambda: mesh.entries(next_) == ["held", "settled"])
        await mesh.until(lambda: mesh.entries(absurd) == ["held", "suspended"])


async def test_who_can_wait_is_parked_until_a_limit_is_raised(place: Place):
    """A tenant that was given money would have to send everything again, or the guard be restarted."""
    tenant = some_tenant("waits")
    await place.in_force(**{tenant: "0.000001"})
    about = asked(tenant, about=ONLY_LARGE)
    async with around(place) as mesh:
        await mesh.send(about)
        await mesh.until(lambda: mesh.parked(about) == ["parked"])
        assert mesh.grants(about) == []
        await place.in_force(**{tenant: "1"})
        await mesh.granted(about)
        await mesh.until(lambda: mesh.parked(about) == ["parked", "cleared"])
        assert mesh.entries(about) == ["held"]
        assert mesh.results(about) == []


async def test_short_of_money_each_request_ends_as_it_asked(place: Place):
    """Who wants an answer now would wait; who waited in vain would not be told."""
    tenant = some_tenant("short")
    await place.in_force(**{tenant: "0.000001"})
    local = {**ONLY_LARGE, "best_local": BEST_LOCAL}
    refused = asked(tenant, on_budget=OnBudget.REFUSE, about=local)
    at_once = asked(tenant, on_budget=OnBudget.BEST_LOCAL, about=local)
    in_vain = asked(tenant, deadline_ms=5_000, about=ONLY_LARGE)
    in_vain_local = asked(tenant, deadline_ms=5_000, about=local)
    async with around(place) as mesh:
        await mesh.send(refused, at_once, in_vain, in_vain_local)
        ends = [await mesh.ended(e) for e in (refused, at_once, in_vain, in_vain_local)]
        assert [(r.status, r.reason, r.degraded) for r in ends] == [
            (Status.REFUSED, ResultReason.BUDGET_REFUSED, False),
            (Status.ANSWERED, ResultReason.BUDGET_BEST_LOCAL, True),
            (Status.EXPIRED, ResultReason.BUDGET_DEADLINE, False),
            (Status.ANSWERED, ResultReason.BUDGET_BEST_LOCAL, True),
        ]
        assert (ends[1].tier, ends[1].label, ends[1].model) == (Tier.LOCAL, "refund", "support@3")
        await mesh.until(lambda: mesh.parked(in_vain) == mesh.parked(in_vain_local) == ["parked", "cleared"])
        assert [mesh.entries(e) for e in (refused, at_once, in_vain, in_vain_local)] == [[]] * 4
        assert mesh.parked(refused) == mesh.parked(at_once) == []


async def test_the_cheaper_candidate_is_granted_where_the_dear_one_is_not_covered(place: Place):
    """Money that is there would not be used."""
    tenant = some_tenant("cheap")
    await place.in_force(**{tenant: "0.001"})
    about = asked(tenant, about={"candidates": (UNPRICED, LARGE, SMALL)})
    async with around(place) as mesh:
        await mesh.send(about)
        assert (await mesh.granted(about)).reservation.model == "sim-small"


async def test_a_model_without_a_price_is_not_called(place: Place):
    """It would be called for zero dollars."""
    about = asked(some_tenant("noprice"), about={"candidates": (UNPRICED,)})
    async with around(place) as mesh:
        await mesh.send(about)
        result = await mesh.ended(about)
        assert (result.status, result.reason) == (Status.REFUSED, ResultReason.NO_PRICE)
        await mesh.to_end()
        assert (mesh.entries(about), mesh.grants(about)) == ([], [])


async def test_beyond_its_space_a_tenants_request_is_refused_and_anothers_waits(place: Place):
    """One tenant's backlog would take the guard's memory from all others."""
    tenant, other = some_tenant("full"), some_tenant("other")
    await place.in_force(**{tenant: "0.000001", other: "0.000001"})
    first, second = (asked(tenant, input="x" * 2_000, about=ONLY_LARGE) for _ in range(2))
    beside = asked(other, input="x" * 2_000, about=ONLY_LARGE)
    async with around(place) as mesh:
        await mesh.send(first, second, beside)
        ends = await mesh.until(lambda: [*mesh.results(first), *mesh.results(second)])
        assert [(r.status, r.reason) for r in ends] == [(Status.REFUSED, ResultReason.PARKING_FULL)]
        await mesh.until(lambda: mesh.parked(beside) == ["parked"])
        full = first if mesh.results(first) else second
        await mesh.until(lambda: mesh.parked(full) == ["parked", "cleared"])
        assert mesh.results(beside) == []


async def test_a_hold_that_outlived_its_deadline_is_granted_so_that_it_comes_back(place: Place):
    """A guard that died between hold and grant would leave the money held for ever."""
    about = asked(some_tenant("leak"))
    async with around(place) as mesh:
        await mesh.send(about)
        await mesh.granted(about)
        accepted = about.accepted.model_copy(update={"expires_at_ms": about.accepted.accepted_at_ms})
        await mesh.send(about.model_copy(update={"accepted": accepted}))
        await mesh.until(lambda: len(mesh.grants(about)) == 2)
        await mesh.to_end()
        assert mesh.entries(about) == ["held"]
        assert mesh.results(about) == []
