"""The one record of a finished attempt, with its verdict."""

from typing import Final, Literal

from tiermesh_contracts.escalations import ATTEMPTS_MAX, Escalation, Grant, ModelRef, Outcome
from tiermesh_contracts.topics import MESSAGE_BYTES_MAX
from tiermesh_escalation.decide.calls import CALL_MS_MIN
from tiermesh_escalation.model import Finding

OUTCOME_BYTES_MAX: Final = MESSAGE_BYTES_MAX - 65_536
"""Leaves room for the headers of a record, and for the result that is made of it."""


def judge_attempt(escalation: Escalation, ref: ModelRef, finding: Finding, now_ms: int) -> Literal["final", "next"]:
    """`next` where there is no answer, another model is left to ask, and the time for it."""
    if finding.output is not None or finding.helpless:
        return "final"
    untried = [candidate for candidate in escalation.untried if candidate != ref]
    in_time = escalation.expires_at_ms - now_ms >= CALL_MS_MIN
    return "next" if untried and in_time and escalation.attempt < ATTEMPTS_MAX else "final"


def conclude(grant: Grant, finding: Finding, now_ms: int) -> Outcome:
    """Money and delivery both follow from this record. An answer that it cannot hold is left out, its cost not."""
    outcome = _outcome(grant, finding, now_ms)
    if finding.output is None or len(outcome.to_bytes()) <= OUTCOME_BYTES_MAX:
        return outcome
    without = Finding(
        evidence=finding.evidence,
        usage=finding.usage,
        cost_usd_nanos=finding.cost_usd_nanos,
        response_id=finding.response_id,
        detail="the answer is too large for a record",
    )
    return _outcome(grant, without, now_ms)


def _outcome(grant: Grant, finding: Finding, now_ms: int) -> Outcome:
    ref = ModelRef(provider=grant.reservation.provider, model=grant.reservation.model)
    return Outcome(
        grant=grant,
        evidence=finding.evidence,
        usage=finding.usage,
        cost_usd_nanos=finding.cost_usd_nanos,
        response_id=finding.response_id,
        output=finding.output,
        finish_reason=finding.finish_reason,
        verdict=judge_attempt(grant.escalation, ref, finding, now_ms),
        detail=finding.detail,
        finished_at_ms=now_ms,
    )
