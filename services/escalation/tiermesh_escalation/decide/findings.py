"""What the end of a call says of its cost and its answer.

| seen                                            | evidence  | answer |
|-------------------------------------------------|-----------|--------|
| 200, usage                                      | completed | kept, empty where there is no content |
| 200, usage, an error in the body                | completed | none   |
| 200, no usage that can be read                  | unknown   | kept: delivered, its money suspended |
| 200, no usage, an error in the body, or no JSON | unknown   | none   |
| 400 401 403 404 413 422 429                     | rejected  | none   |
| any other status                                | unknown   | none   |
| timed out, cut, too large                       | unknown   | none   |
| never connected                                 | not_sent  | none   |
"""

import re
from collections.abc import Mapping
from typing import Final

from tiermesh_contracts.budget import LIMIT_USD_NANOS_MAX, Rates
from tiermesh_contracts.escalations import Evidence
from tiermesh_contracts.results import Usage
from tiermesh_escalation.model import Ending, FenceState, Finding, Seen, Unsent

OK: Final = 200
REJECTIONS: Final = frozenset({400, 401, 403, 404, 413, 422, 429})
"""Answered before any work. 5xx and 408 are not here: they may have been billed."""

TOKENS_MAX: Final = 10**12
"""More than any call can use; beyond it a count is a defect of the provider."""

WORD: Final = re.compile(r"[A-Za-z0-9_./+=:-]{1,128}")


def read_seen(seen: Seen, rates: Rates) -> Finding:
    match seen.ending:
        case Ending.NOT_CONNECTED:
            return Finding(Evidence.NOT_SENT, detail=f"not connected: {seen.detail}")
        case Ending.ANSWERED if seen.status == OK:
            return _read_answer(_mapping(seen.body), rates)
        case Ending.ANSWERED:
            rejected = seen.status in REJECTIONS
            evidence = Evidence.REJECTED if rejected else Evidence.UNKNOWN
            return Finding(evidence, detail=f"status {seen.status}{_error_code(_mapping(seen.body))}")
        case _:
            return Finding(Evidence.UNKNOWN, detail=f"{seen.ending}: {seen.detail}")


def read_fence(state: FenceState, unsent: Unsent | None) -> Finding | None:
    """What a fence says of an attempt that is not called now; None where its outcome is written already."""
    helpless = unsent is not None and unsent.helpless
    match state:
        case FenceState.VOID:
            why = unsent.why if unsent is not None else "called off before"
            return Finding(Evidence.NOT_SENT, detail=why, helpless=helpless)
        case FenceState.FOREIGN_EPOCH:
            return Finding(Evidence.UNKNOWN, detail="the money was set aside in another epoch", helpless=helpless)
        case FenceState.LEASE_OVER:
            return Finding(Evidence.UNKNOWN, detail="whoever fenced it left no outcome", helpless=helpless)
        case _:
            return None


def _read_answer(body: Mapping[str, object], rates: Rates) -> Finding:
    usage = _usage(body.get("usage"))
    cost_usd_nanos = rates.cost_usd_nanos(usage) if usage is not None else None
    if cost_usd_nanos is not None and cost_usd_nanos > LIMIT_USD_NANOS_MAX:
        usage = cost_usd_nanos = None
    text, finish_reason = _text(body)
    failed = body.get("error") is not None
    if failed:
        output, detail = None, f"status 200 with an error{_error_code(body)}"
    elif usage is None:
        output, detail = text, "status 200 without a usage that can be read"
    else:
        output, detail = text or "", ""
    return Finding(
        evidence=Evidence.UNKNOWN if usage is None else Evidence.COMPLETED,
        usage=usage,
        cost_usd_nanos=cost_usd_nanos,
        output=output,
        finish_reason=finish_reason,
        response_id=_word(body.get("id")),
        detail=detail,
    )


def _text(body: Mapping[str, object]) -> tuple[str | None, str | None]:
    """Answer and finish reason of the first choice; no text where there is no choice."""
    choices = body.get("choices")
    choice = _mapping(choices[0]) if isinstance(choices, list) and choices else {}
    message = choice.get("message")
    if not isinstance(message, Mapping):
        return None, None
    content = message.get("content")
    # JSON may hold half a surrogate pair, which no record can carry
    text = content.encode(errors="replace").decode() if isinstance(content, str) else ""
    return text, _word(choice.get("finish_reason"))


def _usage(value: object) -> Usage | None:
    """Usage as counted by the provider; None where it is absent or does not add up, never a guess."""
    fields = _mapping(value)
    read = _count(fields.get("prompt_tokens"))
    written = _count(fields.get("completion_tokens"))
    cached = _part(fields.get("prompt_tokens_details"), "cached_tokens")
    reasoning = _part(fields.get("completion_tokens_details"), "reasoning_tokens")
    if read is None or written is None or cached is None or reasoning is None:
        return None
    total = fields.get("total_tokens")
    beyond = isinstance(total, int) and total > read + written
    if cached > read or reasoning > written or beyond:
        # some count reasoning beside the output instead of in it: more was billed than can be priced here
        return None
    return Usage(input_tokens=read, output_tokens=written, cached_input_tokens=cached, reasoning_tokens=reasoning)


def _part(details: object, name: str) -> int | None:
    """A count inside the details: zero where the provider says nothing of it, None where it is no count."""
    value = _mapping(details).get(name)
    return 0 if value is None else _count(value)


def _count(value: object) -> int | None:
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value <= TOKENS_MAX else None


def _error_code(body: Mapping[str, object]) -> str:
    """The error's code as `, code`. Never its message, which may quote the request or part of a key."""
    error = _mapping(body.get("error"))
    code = _word(error.get("code")) or _word(error.get("type"))
    return f", {code}" if code else ""


def _word(value: object) -> str | None:
    return value if isinstance(value, str) and WORD.fullmatch(value) else None


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}
