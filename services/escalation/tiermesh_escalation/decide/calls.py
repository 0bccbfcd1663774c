"""Whether the granted call may be made, and how long it may take."""

import hashlib
from typing import Final

from tiermesh_contracts.escalations import Grant
from tiermesh_contracts.frontier import chat_body
from tiermesh_escalation.model import Call, Endpoint, Unsent

CALL_MS_MIN: Final = 1_000
"""A call gets at least this long: what is cut off earlier is paid for and lost."""

LEASE_MARGIN_MS: Final = 5_000
"""From the end of the longest call to its outcome acknowledged by the brokers."""


def plan_call(grant: Grant, endpoint: Endpoint | None, now_ms: int) -> Call | Unsent:
    """The call that the reservation pays for, or why it is not made. Nothing has left before this says so."""
    escalation, reservation = grant.escalation, grant.reservation
    barred = _barred(grant, now_ms)
    if barred is not None:
        return barred
    if endpoint is None:
        return Unsent(f"provider {reservation.provider} is not configured")
    if endpoint.unusable is not None:
        return Unsent(endpoint.unusable)
    body = chat_body(escalation, reservation.model, endpoint.limit_field)
    if hashlib.sha256(body).hexdigest() != reservation.body_sha256:
        return Unsent("the body is not the one that was priced")
    return Call(
        att=reservation.att,
        provider=reservation.provider,
        model=reservation.model,
        url=endpoint.url,
        body=body,
        timeout_ms=max(CALL_MS_MIN, min(endpoint.timeout_ms, escalation.expires_at_ms - now_ms)),
        api_key=endpoint.api_key,
    )


def _barred(grant: Grant, now_ms: int) -> Unsent | None:
    """Why the request, its time or its money allow no call, whoever would be asked."""
    escalation, reservation = grant.escalation, grant.reservation
    if not escalation.accepted.may_leave:
        return Unsent("the request may not leave", helpless=True)
    if now_ms >= escalation.expires_at_ms:
        return Unsent("past the deadline", helpless=True)
    if now_ms >= reservation.not_after_ms:
        return Unsent("past the reservation's time")
    if reservation.att != escalation.att:
        return Unsent("the reservation is another attempt's")
    return None


def lease_ms(call: Call) -> int:
    """How long the fence of this call holds others off."""
    return call.timeout_ms + LEASE_MARGIN_MS
