"""From an escalation to a grant, a parked record or a result, and in which order."""

import json

import pytest

from fakes.budget import (
    BEST_LOCAL,
    LARGE,
    NOW_MS,
    SMALL,
    FixedPrices,
    ScriptedBooks,
    Steps,
    escalation,
    held,
    offer,
    outcome,
)
from tiermesh_budget.errors import BooksClosed
from tiermesh_budget.handlers import Admission, GuardHandlers
from tiermesh_budget.model import Frozen, NoMoney, Resolved, UnknownReservation
from tiermesh_chassis.delivery import Inbound
from tiermesh_chassis.errors import PermanentError, TransientError
from tiermesh_contracts.escalations import Evidence, Grant
from tiermesh_contracts.failures import DeadLetterReason
from tiermesh_contracts.requests import OnBudget, Privacy
from tiermesh_contracts.results import ResultReason, Status
from tiermesh_contracts.topics import MESSAGE_BYTES_MAX

OWN, BUDGET = NoMoney("request", "lifetime"), NoMoney("org", "day")


class Guard:
    def __init__(self, now_ms=NOW_MS, prices=None, **books):
        self.books, self.steps = ScriptedBooks(**books), Steps()

        def clock():
            return now_ms

        self.admission = Admission(self.books, self.steps, prices or FixedPrices(), self.steps, self.steps, clock)
        self.handlers = GuardHandlers(self.admission, self.books, self.steps, self.steps, clock)

    async def take(self, message, handle="on_escalations"):
        inbound = Inbound(message, {}, "topic", 0, 7, NOW_MS - 30, NOW_MS)
        await getattr(self.handlers, handle)(inbound)
        return self.steps.done


async def test_a_grant_goes_out_only_after_its_hold_was_read_back():
    """A late append behind another guard's fence would be granted although no book counts it."""
    about = escalation()
    guard = Guard(replies={LARGE: held(epoch=4, seq=9)})
    done = await guard.take(about)
    assert [name for name, _ in done] == ["read_back", "grant"]
    assert done[0][1] == (4, 9)
    grant = done[1][1]
    assert (grant.reservation.epoch, grant.reservation.seq) == (4, 9)
    assert grant.escalation.accepted.timings_ms == {"escalations_queue": 30}


async def test_a_grant_is_built_from_the_stored_reservation():
    """A redelivery after a price change would grant what is not held."""
    guard = Guard(replies={LARGE: held("settled", model=SMALL.model, amount_usd_nanos=5)})
    (_, (_, grant)) = await guard.take(escalation())
    assert (grant.reservation.model, grant.reservation.amount_usd_nanos) == (SMALL.model, 5)
    assert len(guard.books.bids) == 1


@pytest.mark.parametrize("broken", [BooksClosed("epoch 1 is over"), TransientError("not read back")])
@pytest.mark.parametrize("step", ["read_back", "grant"])
async def test_a_hold_whose_grant_could_not_go_out_is_parked_not_buried(broken, step):
    """The dead letter would end the request and leave its money held for ever."""
    guard = Guard(replies={LARGE: held()})
    guard.steps.failures = {step: [broken]}
    done = await guard.take(escalation())
    assert done[-1][0] == "park"
    assert "grant" not in guard.steps.names()


async def test_closed_books_park_whatever_the_request_says():
    """A restart of the store would refuse, at once, what only had to wait a moment."""
    for on_budget in OnBudget:
        guard = Guard(replies={LARGE: BooksClosed("the store restarted")})
        ((name, parked),) = await guard.take(escalation(on_budget=on_budget))
        assert (name, parked.why, parked.parked_at_ms) == ("park", "the store restarted", NOW_MS)


async def test_the_first_candidate_that_finds_money_is_asked():
    """A cheaper model that the money covers would not be tried."""
    for first in (BUDGET, OWN, Frozen()):
        guard = Guard(replies={LARGE: first, SMALL: held(model=SMALL.model)})
        done = await guard.take(escalation())
        assert [name for name, _ in done] == ["read_back", "grant"]
        assert [bid.offer.ref for _, bid in guard.books.bids] == [LARGE, SMALL]


@pytest.mark.parametrize(
    ("first", "second"), [(OWN, BUDGET), (BUDGET, OWN), (BUDGET, Frozen()), (Frozen(), BUDGET)]
)
async def test_who_lacks_only_a_budget_for_one_of_its_models_waits_for_it(first, second):
    """A request would be refused for its own limit although another model fits that and waits for money."""
    guard = Guard(replies={LARGE: first, SMALL: second})
    ((name, parked),) = await guard.take(escalation())
    assert name == "park"
    assert "org" in parked.why


@pytest.mark.parametrize(("first", "second"), [(OWN, OWN), (OWN, Frozen())])
async def test_a_limit_of_its_own_ends_a_request_at_once(first, second):
    """It would wait until its deadline for money that cannot come."""
    guard = Guard(replies={LARGE: first, SMALL: second})
    ((_, result),) = await guard.take(escalation())
    assert (result.status, result.reason) == (Status.REFUSED, ResultReason.COST_LIMIT)


async def test_when_every_model_is_frozen_the_request_ends():
    """It would wait for an operator without knowing."""
    guard = Guard(replies={LARGE: Frozen(), SMALL: Frozen()})
    ((_, result),) = await guard.take(escalation())
    assert (result.status, result.reason) == (Status.REFUSED, ResultReason.NO_FRONTIER)
    ((_, result),) = await Guard(replies={LARGE: Frozen(), SMALL: Frozen()}).take(
        escalation(about={"best_local": BEST_LOCAL})
    )
    assert (result.status, result.degraded) == (Status.ANSWERED, True)


async def test_money_that_is_held_past_the_deadline_is_granted_so_that_it_comes_back():
    """A crash between hold and grant would leak the hold: only an outcome gives money back."""
    guard = Guard(now_ms=NOW_MS + 60_000, known=held(seq=5))
    done = await guard.take(about := escalation())
    assert [name for name, _ in done] == ["read_back", "grant"]
    assert guard.books.sought == [about.att]
    assert guard.books.bids == []


async def test_past_the_deadline_and_nothing_held_the_request_ends():
    """Money would be held for an answer that nobody waits for."""
    guard = Guard(now_ms=NOW_MS + 60_000)
    ((name, result),) = await guard.take(escalation())
    assert (name, result.reason) == ("result", ResultReason.DEADLINE)
    assert guard.books.bids == []


async def test_when_the_model_left_the_configuration_its_held_money_still_comes_back():
    """A restart with another configuration would leak what was held before it."""
    about = escalation(about={"candidates": (LARGE.model_copy(update={"model": "gone"}),)})
    assert [name for name, _ in await Guard(known=held()).take(about)] == ["read_back", "grant"]
    ((_, result),) = await Guard().take(about)
    assert result.reason == ResultReason.NO_FRONTIER


async def test_what_never_could_hold_money_ends_without_asking_the_store():
    """Requests that stay at home would wait for a store that is down."""
    for about in (escalation(privacy=Privacy.LOCAL_ONLY), escalation(about={"candidates": ()})):
        guard = Guard(known=BooksClosed("away"))
        assert [name for name, _ in await guard.take(about)] == ["result"]


def heavy(size_bytes):
    """An escalation of about this size: control characters are six bytes in JSON."""
    return escalation(input="\x01" * (size_bytes // 6), output_tokens_max=16)


async def test_no_money_is_held_for_a_call_whose_grant_fits_no_record():
    """The grant would be refused after the hold, and the money stay held for ever."""
    wide = FixedPrices({LARGE: offer(context_tokens=2_000_000)})
    guard = Guard(prices=wide, replies={LARGE: held()})
    ((_, result),) = await guard.take(heavy(MESSAGE_BYTES_MAX - 5_000))
    assert (result.status, result.reason) == (Status.REFUSED, ResultReason.INPUT_TOO_LONG)
    assert guard.books.bids == []
    guard = Guard(prices=wide, replies={LARGE: held()})
    await guard.take(heavy(900_000))
    assert guard.steps.names() == ["read_back", "grant"]


def about_grant():
    reservation = {**json.loads(held().reservation_json), "epoch": 1, "seq": 3}
    return {"escalation": escalation(), "reservation": reservation}


def outcome_of(**changes):
    return outcome(Grant.model_validate(about_grant()), Evidence.COMPLETED, cost_usd_nanos=450, **changes)


async def test_an_outcome_is_done_once_its_entry_was_read_back():
    """It would be committed while its money can still be lost with the store."""
    guard = Guard()
    done = await guard.take(one := outcome_of(), "on_outcomes")
    assert done == [("read_back", (1, 3))]
    assert [(att, r.cost_usd_nanos) for att, r in guard.books.resolved] == [(one.att, 450)]
    guard = Guard(booked=Resolved(1, 3, repeated=True))
    assert await guard.take(one, "on_outcomes") == done


async def test_an_outcome_without_a_reservation_is_a_dead_letter():
    """Money would be invented, or an error pass unseen."""
    guard = Guard(booked=UnknownReservation())
    with pytest.raises(PermanentError) as raised:
        await guard.take(outcome_of(), "on_outcomes")
    assert raised.value.reason is DeadLetterReason.UNKNOWN_RESERVATION
    assert guard.steps.done == []
