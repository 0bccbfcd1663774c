"""Prices, holds and attempt ids."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tiermesh_contracts.budget import LIMIT_USD_NANOS_MAX, LedgerEntry, Rates, attempt_id
from tiermesh_contracts.ids import new_request_id
from tiermesh_contracts.results import Usage

PRICE = st.integers(0, 10**12)
TOKENS = st.integers(0, 10**6)


def rates(fresh: int, cached: int, output: int) -> Rates:
    return Rates(
        input_usd_nanos_per_mtok=fresh,
        cached_input_usd_nanos_per_mtok=cached,
        output_usd_nanos_per_mtok=output,
        version="2026-01-01",
    )


def test_a_price_rounds_up_once_at_the_end() -> None:
    """Rounded at each part, a call would cost up to two nano-dollars more; rounded down, the books fall short."""
    third = rates(400_000, 400_000, 400_000)
    assert third.cost_usd_nanos(Usage(input_tokens=2, cached_input_tokens=1, output_tokens=1)) == 2
    assert third.cost_usd_nanos(Usage(input_tokens=1, output_tokens=0)) == 1
    assert third.cost_usd_nanos(Usage(input_tokens=0, output_tokens=0)) == 0
    assert third.hold_usd_nanos(1, 1) == 1


def test_cached_tokens_have_their_own_price_and_count_once() -> None:
    """Cached tokens are part of the input: billed beside it they would be paid twice."""
    usage = Usage(input_tokens=1_000_000, cached_input_tokens=600_000, output_tokens=0)
    assert rates(1_000, 100, 5).cost_usd_nanos(usage) == 400 + 60


def test_reasoning_tokens_are_part_of_the_output() -> None:
    """Added on top, every answer of a thinking model would be posted twice."""
    usage = Usage(input_tokens=0, output_tokens=1_000_000, reasoning_tokens=900_000)
    assert rates(0, 0, 7_000).cost_usd_nanos(usage) == 7_000


def test_amounts_stay_exact_near_the_limit() -> None:
    """A float on the way would lose nano-dollars above 2^53."""
    price = LIMIT_USD_NANOS_MAX
    assert rates(price, 0, 0).cost_usd_nanos(Usage(input_tokens=1_000_001, output_tokens=0)) == (
        price + price // 10**6
    )


@given(PRICE, PRICE, PRICE, TOKENS, TOKENS, st.data())
def test_no_call_within_its_limits_costs_more_than_its_hold(
    fresh: int, cached: int, output: int, input_max: int, output_max: int, data: st.DataObject
) -> None:
    """The hold is the upper bound behind every law of money, also where a cached token is the dearer one."""
    used = data.draw(st.integers(0, input_max))
    usage = Usage(
        input_tokens=used,
        cached_input_tokens=data.draw(st.integers(0, used)),
        output_tokens=data.draw(st.integers(0, output_max)),
    )
    priced = rates(fresh, cached, output)
    assert 0 <= priced.cost_usd_nanos(usage) <= priced.hold_usd_nanos(input_max, output_max)


@pytest.mark.parametrize("price", [-1, LIMIT_USD_NANOS_MAX + 1, 0.5, float("nan")])
def test_a_price_that_is_no_price_is_refused(price: float) -> None:
    """A negative price would let a hold grow smaller with the call."""
    with pytest.raises(ValidationError):
        Rates.model_validate(rates(0, 0, 0).model_dump() | {"output_usd_nanos_per_mtok": price})


WHO = st.tuples(st.text(max_size=8), st.uuids(), st.integers(0, 100), st.integers(1, 8))


@given(WHO, WHO)
def test_two_attempts_never_share_an_id(one: tuple[str, UUID, int, int], two: tuple[str, UUID, int, int]) -> None:
    """One attempt would be paid from another's reservation."""
    assert (attempt_id(*one) == attempt_id(*two)) == (one == two)


def test_the_parts_of_an_attempt_id_cannot_run_into_each_other() -> None:
    """Joined without borders, redrive 1 attempt 12 and redrive 11 attempt 2 would be one reservation."""
    request_id = new_request_id()
    ids = {
        attempt_id(tenant, request_id, redrive, attempt)
        for tenant in ("a", "b", 'a","', "a," + str(request_id))
        for redrive, attempt in ((1, 12), (11, 2), (0, 112))
    }
    assert len(ids) == 12


def test_an_attempt_id_is_the_same_in_every_release() -> None:
    """Another spelling after an upgrade would hold, call and pay again for what is in flight."""
    request_id = UUID("01900000-0000-7000-8000-000000000000")
    assert attempt_id("acme", request_id, 0, 1) == (
        "e47674fed5ac49653b0e59468abfdf958398b4a90bbad1197d17ac41337b9456"
    )


def test_a_ledger_entry_keeps_its_id_through_bytes() -> None:
    """(org, epoch, seq) is how a repeat in the ledger is known."""
    entry = LedgerEntry(org="o", epoch=2, seq=0, kind="epoch_opened", at_ms=5, run_id="r")
    assert LedgerEntry.from_bytes(entry.to_bytes(), "forbid") == entry
    assert entry.ent == ("o", 2, 0)
    with pytest.raises(ValidationError):
        LedgerEntry(org="o", epoch=0, seq=0, kind="held", at_ms=5)
