"""The parking lot is attended: deadlines end, money goes out, and nothing that is held is lost."""

from dataclasses import dataclass, field

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
    space,
)
from tiermesh_budget.decide import ParkingLot
from tiermesh_budget.errors import BooksClosed
from tiermesh_budget.handlers import Admission, Attendant
from tiermesh_budget.model import NoMoney
from tiermesh_chassis.errors import PermanentError, TransientError
from tiermesh_contracts.failures import DeadLetterReason
from tiermesh_contracts.results import ResultReason, Status

LATE_MS = NOW_MS + 60_000
CLOSED = BooksClosed("the store does not answer")
SHORT = {LARGE: NoMoney("org", "day"), SMALL: NoMoney("org", "day")}


@dataclass
class FixedIndex:
    overfull: dict = field(default_factory=dict)
    is_caught_up: bool = True


class Lot:
    def __init__(self, *parked, now_ms=NOW_MS, overfull=(), **books):
        self.now_ms = now_ms
        self.books, self.steps = ScriptedBooks(**books), Steps()
        self.lot = ParkingLot(1_000_000)
        self.index = FixedIndex({s.att: s for s in overfull})
        for one in parked:
            self.lot.put(one)
        admission = Admission(self.books, self.steps, FixedPrices(), self.steps, self.steps, lambda: self.now_ms)
        self.attendant = Attendant(self.lot, self.index, admission, self.steps, self.steps, lambda: self.now_ms)

    async def round(self):
        """What this round did."""
        before = len(self.steps.done)
        await self.attendant.round()
        return self.steps.done[before:]


async def test_money_that_returned_is_granted_and_the_record_cleared():
    """It would be granted again at every restart, or its tombstone be written before its grant."""
    one = space(escalation())
    lot = Lot(one, replies={LARGE: held()})
    done = await lot.round()
    assert [name for name, _ in done] == ["read_back", "grant", "clear"]
    assert done[-1][1] == one.att
    assert len(lot.lot) == 0
    assert await lot.round() == []


@pytest.mark.parametrize("replies", [SHORT, {LARGE: CLOSED}])
async def test_without_money_or_books_it_stays_parked(replies):
    """It would be lost, or refused although it asked to wait."""
    lot = Lot(space(escalation()), replies=replies)
    assert await lot.round() == []
    assert len(lot.lot) == 1


@pytest.mark.parametrize("local", [None, BEST_LOCAL])
async def test_at_its_deadline_it_ends_with_what_there_is(local):
    """A request would have no result, or its local answer be thrown away."""
    lot = Lot(space(escalation(about={"best_local": local})), now_ms=LATE_MS)
    (name, result), (cleared, _) = await lot.round()
    assert (name, cleared) == ("result", "clear")
    assert result.reason == (ResultReason.BUDGET_BEST_LOCAL if local else ResultReason.BUDGET_DEADLINE)
    assert len(lot.lot) == 0


async def test_at_its_deadline_money_that_is_held_for_it_is_granted_so_that_it_comes_back():
    """A reply of the store that was lost would be a hold that nobody ever gives back."""
    lot = Lot(space(escalation()), now_ms=LATE_MS, known=held(seq=4))
    assert [name for name, _ in await lot.round()] == ["read_back", "grant", "clear"]


async def test_a_deadline_is_kept_while_the_books_are_closed_and_the_hold_asked_for_later():
    """The answer would wait for the store, or what is held be forgotten with the record."""
    lot = Lot(space(escalation()), now_ms=LATE_MS, known=CLOSED)
    assert [name for name, _ in await lot.round()] == ["result"]
    assert await lot.round() == []
    assert len(lot.lot) == 1
    lot.books.known = held(seq=4)
    assert [name for name, _ in await lot.round()] == ["read_back", "grant", "clear"]
    assert len(lot.lot) == 0


async def test_a_store_that_is_away_is_asked_once_a_round_not_once_a_request():
    """Its time-outs would add up, and every deadline behind the first be missed."""
    over, full = [space(escalation()) for _ in range(5)], [space(escalation()) for _ in range(3)]
    lot = Lot(*over, overfull=full, now_ms=LATE_MS, known=CLOSED)
    assert [name for name, _ in await lot.round()] == ["result"] * 8
    assert await lot.round() == []
    assert len(lot.books.sought) == 2
    lot.books.known = None
    assert [name for name, _ in await lot.round()] == ["result", "clear"] * 5


async def test_beyond_its_tenants_space_a_request_is_refused_and_cleared():
    """It would have no result, or be refused again at every restart."""
    one = space(escalation())
    lot = Lot(overfull=[one])
    (_, result), (cleared, att) = await lot.round()
    assert (result.status, result.reason) == (Status.REFUSED, ResultReason.PARKING_FULL)
    assert (cleared, att) == ("clear", one.att)
    assert await lot.round() == []


async def test_a_refusal_that_the_brokers_did_not_take_is_said_again():
    """The request would have no result until the next restart."""
    lot = Lot(overfull=[space(escalation())])
    lot.steps.failures = {"result": [TransientError("away")], "clear": [TransientError("away")]}
    for _ in range(2):
        with pytest.raises(TransientError):
            await lot.round()
    assert [name for name, _ in await lot.round()] == ["result", "clear"]
    assert lot.index.overfull == {}


async def test_beyond_its_space_and_the_books_closed_it_is_refused_and_its_record_kept():
    """What is held for it would be forgotten, or the memory of those turned away grow while the store is down."""
    lot = Lot(overfull=[space(escalation())], known=CLOSED)
    assert [name for name, _ in await lot.round()] == ["result"]
    assert lot.index.overfull == {}


async def test_nothing_is_done_before_the_index_is_read_to_its_end():
    """What was granted or ended long ago would be admitted or ended again, its tombstone being further on."""
    lot = Lot(space(escalation()), overfull=[space(escalation())], now_ms=LATE_MS, replies={LARGE: held()})
    lot.index.is_caught_up = False
    assert await lot.round() == []
    lot.index.is_caught_up = True
    assert len(await lot.round()) == 4


async def test_what_can_never_be_admitted_ends_unless_another_owes_its_result():
    """A record that cannot be admitted would be tried for ever; a reused id would fail the request that had it
    first."""
    invalid = PermanentError(DeadLetterReason.INVALID, "no")
    lot = Lot(space(escalation()), replies={LARGE: invalid})
    (_, result), (cleared, _) = await lot.round()
    assert (result.status, result.reason, cleared) == (Status.FAILED, ResultReason.DEAD_LETTERED, "clear")
    reused = PermanentError(DeadLetterReason.ID_REUSED, "used")
    lot = Lot(space(escalation()), replies={LARGE: reused})
    assert [name for name, _ in await lot.round()] == ["clear"]
    assert len(lot.lot) == 0


async def test_a_round_that_broke_is_done_again():
    """A moment without a broker would strand who waits."""
    lot = Lot(space(escalation()), replies={LARGE: held()})
    lot.steps.failures = {"grant": [TransientError("away")], "clear": [TransientError("away")]}
    for _ in range(2):
        with pytest.raises(TransientError):
            await lot.round()
    assert [name for name, _ in await lot.round()] == ["read_back", "grant", "clear"]
