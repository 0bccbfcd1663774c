"""The body of a frontier call: the guard prices these bytes and escalation sends them."""

import json
from typing import Literal

from tiermesh_contracts.escalations import Escalation
from tiermesh_contracts.requests import AUTO

LimitField = Literal["max_tokens", "max_completion_tokens"]


def chat_body(escalation: Escalation, model: str, limit_field: LimitField = "max_tokens") -> bytes:
    """Canonical bytes of an OpenAI-style chat completion.

    The output limit is always there: it is what makes a reservation an upper bound. Nothing that identifies
    the tenant is sent.
    """
    request = escalation.accepted.request
    messages: list[dict[str, str]] = []
    if escalation.labels:
        messages.append({"role": "system", "content": _instruction(escalation)})
    if isinstance(request.input, str):
        messages.append({"role": "user", "content": request.input})
    else:
        messages.extend({"role": m.role, "content": m.content} for m in request.input)
    body = {"model": model, "messages": messages, limit_field: request.output_tokens_max, "stream": False}
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def _instruction(escalation: Escalation) -> str:
    """Asks for a label; where the producer named no task, the text may turn out to be no such thing at all."""
    choices = ", ".join(escalation.labels)
    otherwise = (
        " If none of them fits, answer the message itself." if escalation.accepted.request.task == AUTO else ""
    )
    return f"Classify the user's message as one of: {choices}. Answer with the label alone.{otherwise}"
