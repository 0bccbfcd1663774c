"""Admission: which models could be asked, at what worst case, and what to do when the money is short."""

import hashlib
from collections.abc import Mapping

from tiermesh_budget.decide.scopes import scopes_of
from tiermesh_budget.model import Bid, End, NoMoney, Offer, Park, Tender
from tiermesh_contracts.escalations import Escalation, ModelRef
from tiermesh_contracts.frontier import chat_body
from tiermesh_contracts.requests import OnBudget
from tiermesh_contracts.results import InferenceResult, ResultReason, Status, Tier
from tiermesh_contracts.topics import MESSAGE_BYTES_MAX

BYTES_PER_TOKEN_TYPICAL = 4
"""Only to skip models that clearly cannot read a request; the hold itself counts a token a byte."""


GRANT_ROOM_BYTES = 65_536
OUTPUT_BYTES_PER_TOKEN = 8
"""What a grant and an outcome add to an escalation: money is not held for a call whose records do not fit."""


def plan_admission(escalation: Escalation, offers: Mapping[ModelRef, Offer], now_ms: int) -> Tender | End:
    """The bids worth trying, or the end of the request.

    A model without a price is never called. Past `expires_at` no new money is held.
    """
    if now_ms >= escalation.accepted.expires_at_ms:
        return End(at_deadline(escalation, now_ms))
    if not escalation.accepted.may_leave:
        return End(best_local_or(escalation, Status.REFUSED, ResultReason.PRIVATE_AND_NOVEL, now_ms))
    known = [offers[ref] for ref in escalation.untried if ref in offers]
    if not known:
        reason = ResultReason.FRONTIER_FAILED if escalation.tried else ResultReason.NO_FRONTIER
        return End(best_local_or(escalation, Status.FAILED, reason, now_ms))
    bids = [bid for offer in known if (bid := bid_for(escalation, offer)) is not None]
    if bids and not _fits_a_record(escalation):
        return End(best_local_or(escalation, Status.REFUSED, ResultReason.INPUT_TOO_LONG, now_ms))
    if bids:
        return Tender(tuple(bids))
    priced = any(offer.rates is not None for offer in known)
    reason = ResultReason.INPUT_TOO_LONG if priced else ResultReason.NO_PRICE
    return End(best_local_or(escalation, Status.REFUSED, reason, now_ms))


def bid_for(escalation: Escalation, offer: Offer) -> Bid | None:
    """One attempt at its worst: a token a byte of the body sent (no byte-level tokenizer makes more), the whole
    output limit with reasoning in it, the dearest applicable price. None without a price, or where the body
    clearly does not fit the model."""
    if offer.rates is None:
        return None
    output_tokens_max = escalation.accepted.request.output_tokens_max
    body = chat_body(escalation, offer.ref.model, offer.limit_field)
    if len(body) // BYTES_PER_TOKEN_TYPICAL + output_tokens_max > offer.context_tokens:
        return None
    return Bid(
        att=escalation.att,
        offer=offer,
        amount_usd_nanos=offer.rates.hold_usd_nanos(len(body), output_tokens_max),
        input_tokens_max=len(body),
        output_tokens_max=output_tokens_max,
        body_sha256=hashlib.sha256(body).hexdigest(),
        price=offer.rates,
        scopes=scopes_of(escalation, offer.ref),
    )


def _fits_a_record(escalation: Escalation) -> bool:
    answer_bytes = escalation.accepted.request.output_tokens_max * OUTPUT_BYTES_PER_TOKEN
    return len(escalation.to_bytes()) + GRANT_ROOM_BYTES + answer_bytes <= MESSAGE_BYTES_MAX


def may_hold(escalation: Escalation) -> bool:
    """True where an earlier delivery of this attempt can have set money aside."""
    return escalation.accepted.may_leave and bool(escalation.untried)


def decide_short(escalation: Escalation, short: NoMoney, now_ms: int) -> Park | End:
    """No bid found its money: the request says what it wants."""
    own = short.is_own_limit
    refusal = ResultReason.COST_LIMIT if own else ResultReason.BUDGET_REFUSED
    match escalation.accepted.request.on_budget:
        case OnBudget.REFUSE:
            return End(ended(escalation, Status.REFUSED, refusal, now_ms))
        case OnBudget.DEFER if not own:
            return Park(f"no money in {short.scope} by {short.window}")
        case _:
            return End(best_local_or(escalation, Status.REFUSED, refusal, now_ms, ResultReason.BUDGET_BEST_LOCAL))


def at_deadline(escalation: Escalation, now_ms: int, *, parked: bool = False) -> InferenceResult:
    """What becomes of a request whose time is up: its best local answer, if it asked to wait for money and has
    one, else `expired`."""
    reason = ResultReason.BUDGET_DEADLINE if parked else ResultReason.DEADLINE
    if parked and escalation.best_local is not None:
        return best_local_or(escalation, Status.EXPIRED, reason, now_ms, ResultReason.BUDGET_BEST_LOCAL)
    return ended(escalation, Status.EXPIRED, reason, now_ms)


def best_local_or(
    escalation: Escalation,
    status: Status,
    reason: ResultReason,
    now_ms: int,
    answered_as: ResultReason = ResultReason.BEST_LOCAL,
) -> InferenceResult:
    """The best local answer, marked degraded; without one, the given end."""
    best = escalation.best_local
    if best is None:
        return ended(escalation, status, reason, now_ms)
    return ended(escalation, Status.ANSWERED, answered_as, now_ms).model_copy(
        update={
            "tier": Tier.LOCAL,
            "model": f"{best.model}@{best.model_version}",
            "label": best.label,
            "output": best.label,
            "confidence": best.confidence,
            "label_source": Tier.LOCAL,
            "degraded": True,
            "detail": f"instead of {reason}",
        }
    )


def ended(escalation: Escalation, status: Status, reason: ResultReason, now_ms: int) -> InferenceResult:
    accepted = escalation.accepted
    return InferenceResult(
        request_id=accepted.request.request_id,
        tenant=accepted.request.tenant,
        redrive=accepted.redrive,
        status=status,
        tier=Tier.NONE,
        reason=reason,
        attempts=len(escalation.tried),
        timings_ms={**accepted.timings_ms, "total": max(0, now_ms - accepted.accepted_at_ms)},
        routing=escalation.routing,
    )
