"""What an outcome means for whoever waits."""

from typing import Any

from tiermesh_contracts.escalations import ATTEMPTS_MAX, Escalation, Evidence, ModelRef, Outcome, Tried
from tiermesh_contracts.results import InferenceResult, ResultReason, Status, Tier
from tiermesh_escalation.model import AskNext, Deliver


def plan_delivery(outcome: Outcome, now_ms: int) -> AskNext | Deliver:
    """Follows the verdict as it was written; everything but the timings comes from the record alone."""
    escalation = outcome.grant.escalation
    if outcome.verdict == "next" and escalation.attempt < ATTEMPTS_MAX:
        return AskNext(_next_attempt(outcome))
    accepted = escalation.accepted
    return Deliver(
        InferenceResult(
            request_id=accepted.request.request_id,
            tenant=accepted.request.tenant,
            redrive=accepted.redrive,
            cost_usd_nanos=outcome.cost_usd_nanos if outcome.cost_usd_nanos is not None else 0,
            usage=outcome.usage,
            reservation_id=outcome.att,
            attempts=escalation.attempt,
            timings_ms={**accepted.timings_ms, "total": max(0, now_ms - accepted.accepted_at_ms)},
            routing=escalation.routing,
            detail=outcome.detail or None,
            **_answer(outcome),
        )
    )


def match_label(output: str, labels: tuple[str, ...]) -> str | None:
    """The label that the answer names; case, white space and a final period do not matter."""
    exact = output.strip()
    if exact in labels:
        return exact
    return next((label for label in labels if _plain(label) == _plain(output)), None)


def _plain(text: str) -> str:
    return " ".join(text.split()).removesuffix(".").rstrip().casefold()


def _next_attempt(outcome: Outcome) -> Escalation:
    escalation, reservation = outcome.grant.escalation, outcome.grant.reservation
    ref = ModelRef(provider=reservation.provider, model=reservation.model)
    tried = Tried(ref=ref, evidence=outcome.evidence, detail=outcome.detail)
    return escalation.model_copy(update={"attempt": escalation.attempt + 1, "tried": (*escalation.tried, tried)})


def _answer(outcome: Outcome) -> dict[str, Any]:
    """The fields that say how the request ended."""
    escalation, reservation = outcome.grant.escalation, outcome.grant.reservation
    best = escalation.best_local
    if outcome.output is not None:
        return {
            "status": Status.ANSWERED,
            "tier": Tier.FRONTIER,
            "reason": ResultReason.FRONTIER,
            "model": f"{reservation.provider}/{reservation.model}",
            "output": outcome.output,
            "label": match_label(outcome.output, escalation.labels),
            "label_source": Tier.FRONTIER,
        }
    if best is not None:
        return {
            "status": Status.ANSWERED,
            "tier": Tier.LOCAL,
            "reason": ResultReason.BEST_LOCAL,
            "model": f"{best.model}@{best.model_version}",
            "output": best.label,
            "label": best.label,
            "label_source": Tier.LOCAL,
            "confidence": best.confidence,
            "degraded": True,
        }
    return {"status": _status(outcome), "tier": Tier.NONE, "reason": _reason(outcome)}


def _is_late(outcome: Outcome) -> bool:
    """True where the deadline is why nothing was sent."""
    late = outcome.finished_at_ms >= outcome.grant.escalation.expires_at_ms
    return late and outcome.evidence is Evidence.NOT_SENT


def _status(outcome: Outcome) -> Status:
    return Status.EXPIRED if _is_late(outcome) else Status.FAILED


def _reason(outcome: Outcome) -> ResultReason:
    if _is_late(outcome):
        return ResultReason.DEADLINE
    return ResultReason.UNKNOWN_OUTCOME if outcome.evidence is Evidence.UNKNOWN else ResultReason.FRONTIER_FAILED
