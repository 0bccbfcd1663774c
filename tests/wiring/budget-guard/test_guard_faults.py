"""What the guard does while its store is away, after it was killed, and when the store is another.

The tests break one guard and store, in the order in which they stand here.
"""

import asyncio
from uuid import uuid4

from fakes.budget import LARGE, escalation, outcome
from fakes.mesh_around_guard import Place, around, asked, now_ms
from tiermesh_budget.adapters.books import RedisBooks
from tiermesh_budget.adapters.prices import Prices
from tiermesh_budget.decide import EffectiveLedger
from tiermesh_budget.decide.admit import bid_for
from tiermesh_chassis.config import load_config
from tiermesh_chassis.store import connect_store
from tiermesh_cli.processes import wait_ready
from tiermesh_contracts.escalations import Parked
from tiermesh_contracts.results import ResultReason, Status
from tiermesh_contracts.topics import DEFERRED

ONLY_LARGE = {"candidates": (LARGE,)}


async def test_while_the_store_is_away_requests_wait_and_deadlines_are_kept(frail_place: Place):
    """A pause of the store would refuse what could wait, answer nothing, or hold money that no grant names: it
    does what it was told before the pause, though nobody waits for the reply any more."""
    place = frail_place
    async with around(place) as mesh:
        before = [asked("away") for _ in range(8)]  # they leave several connections open
        await asyncio.gather(*(mesh.send(e) for e in before))
        await mesh.until(lambda: all(mesh.grants(e) for e in before))
        waits, in_vain = asked("waits"), [asked(f"vain-{n}", deadline_ms=6_000) for n in range(4)]
        place.parts.store.pause()
        try:
            await asyncio.gather(*(mesh.send(e) for e in (*in_vain, waits)))
            await place.until_ready_says(lambda said: "store" in said["missing"])
            ends = [await mesh.ended(e) for e in in_vain]
            assert {(r.status, r.reason) for r in ends} == {(Status.EXPIRED, ResultReason.BUDGET_DEADLINE)}
            await mesh.until(lambda: mesh.parked(waits) == ["parked"])
            assert "does not answer" in next(p.why for key, p in mesh.read[DEFERRED.name] if key == waits.att)
            assert mesh.grants(waits) == []
        finally:
            place.parts.store.resume()
        await mesh.granted(waits)
        await mesh.until(lambda: all("cleared" in mesh.parked(e) for e in (waits, *in_vain)))
        await place.until_ready_says(lambda said: said["ready"])
        await mesh.to_end()
        assert mesh.entries(waits) == ["held"]
        held = [e for e in in_vain if mesh.entries(e)]
        assert [e.att for e in held if not mesh.grants(e)] == []


async def hold_and_die(place: Place, about):
    """Steps 1 to 3 of a guard that did not live to the fourth: the hold stands, its entry is in the outbox."""
    store = connect_store(place.parts.redis_url)
    ledger = EffectiveLedger()
    ledger.epoch = 1
    books = RedisBooks(store, place.org, ledger, lambda: None, lambda: None, lambda _: None)
    bid = bid_for(about, Prices(load_config(place.config)).offers()[LARGE])
    held = await books.reserve(about, bid)
    await store.aclose()
    return held


async def test_a_killed_guards_work_is_taken_up_and_nothing_is_held_twice(frail_place: Place):
    """What was held would be held again or leak, who waited be forgotten, or what was over be ended once more."""
    place, tenant = frail_place, f"killed-{uuid4().hex[:8]}"
    await place.in_force(**{tenant: "0.000001"})
    over = escalation(now_ms=now_ms() - 3_600_000, tenant=tenant)
    waits, granted, died = asked(tenant, about=ONLY_LARGE), asked("lives"), asked("lives")
    async with around(place) as mesh:
        await mesh.send(granted, waits)
        grant = await mesh.granted(granted)
        await mesh.until(lambda: mesh.parked(waits) == ["parked"])
        place.child.kill()
        for value in (Parked(escalation=over, parked_at_ms=0, why="").to_bytes(), None):
            await mesh.producer.send_and_wait(DEFERRED.name, value, key=over.att.encode(), partition=0)
        held = await hold_and_die(place, died)
        assert len(place.desk.raw_entries()) == 1
        await mesh.send(died, outcome(grant, cost_usd_nanos=3))
        place.child = place.child.successor()
        await wait_ready(place.child, 60)
        again = await mesh.granted(died)
        assert (again.reservation.seq, again.reservation.epoch) == (held.seq, 1)
        await mesh.until(lambda: mesh.entries(granted) == ["held", "settled"])
        await place.in_force(**{tenant: "1"})
        await mesh.granted(waits)
        await mesh.until(lambda: mesh.parked(waits)[-1] == "cleared")
        await mesh.to_end()
        assert [mesh.entries(e) for e in (waits, died)] == [["held"]] * 2
        assert (mesh.grants(over), mesh.results(over), mesh.parked(over)) == ([], [], ["parked", "cleared"])
        assert place.desk.raw_entries() == []


async def test_after_a_restart_of_the_store_the_books_are_closed_and_everything_waits(frail_place: Place):
    """The whole budget would be spent once more against an empty store."""
    place = frail_place
    await place.in_force()
    first = asked("closed")
    async with around(place) as mesh:
        await mesh.send(first)
        await mesh.granted(first)
        await place.parts.restart_store()
        waits, in_vain = asked("closed"), asked("closed", deadline_ms=5_000)
        await mesh.send(waits, in_vain)
        said = await place.until_ready_says(lambda said: "rebuild" in said["missing"].get("books", ""))
        assert set(said["missing"]) == {"books"}
        await mesh.until(lambda: mesh.parked(waits) == ["parked"])
        result = await mesh.ended(in_vain)
        assert (result.status, result.reason) == (Status.EXPIRED, ResultReason.BUDGET_DEADLINE)
        assert (mesh.grants(waits), mesh.grants(in_vain)) == ([], [])
        assert await asyncio.to_thread(place.desk.store.keys, f"{{{place.org}}}:*") == []
        await place.parts.restart_store()
        again = await place.until_ready_says(lambda said: "books" in said["missing"])
        assert "rebuild" in again["missing"]["books"]
        await mesh.to_end()
        assert mesh.entries(waits) == mesh.entries(in_vain) == []
