"""The bytes of a frontier call, which are priced by one service and sent by another."""

import json
from typing import Any

import pytest

from tiermesh_contracts.budget import Rates
from tiermesh_contracts.escalations import Escalation, ModelRef, Tried
from tiermesh_contracts.frontier import LimitField, chat_body
from tiermesh_contracts.ids import new_request_id
from tiermesh_contracts.requests import INPUT_BYTES_MAX, AcceptedRequest, InferenceRequest
from tiermesh_contracts.results import Usage
from tiermesh_contracts.routing import RoutingDecision

RATES = Rates(
    input_usd_nanos_per_mtok=3_000_000_000,
    cached_input_usd_nanos_per_mtok=300_000_000,
    output_usd_nanos_per_mtok=15_000_000_000,
    version="v",
)


def escalation(labels: tuple[str, ...] = (), **fields: Any) -> Escalation:
    asked = {"request_id": new_request_id(), "tenant": "acme-secret", "input": "hello"} | fields
    return Escalation(
        accepted=AcceptedRequest(
            request=InferenceRequest(**asked), accepted_at_ms=0, expires_at_ms=9, privacy="any"
        ),
        routing=RoutingDecision(route="escalate", reason="novel"),
        reason="novel",
        labels=labels,
        candidates=(ModelRef(provider="p", model="m"), ModelRef(provider="p", model="n")),
    )


def test_the_body_is_the_same_bytes_after_every_hop() -> None:
    """Escalation compares the hash of what it sends with the reservation's: other bytes are never sent."""
    asked = escalation(labels=("a", "b"), input="grüße \u2028 \x01", metadata={"b": "1", "a": "2"})
    again = Escalation.from_bytes(asked.to_bytes(), "forbid")
    assert chat_body(again, "m") == chat_body(asked, "m")
    assert again.att == asked.att


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_the_body_always_carries_the_output_limit(field: LimitField) -> None:
    """Without it nothing bounds the answer, and the hold is no upper bound."""
    body = json.loads(chat_body(escalation(output_tokens_max=77), "m", field))
    assert body[field] == 77
    assert set(body) == {"model", "messages", "stream", field}
    assert body["stream"] is False


def test_the_body_names_no_tenant() -> None:
    """A provider would learn who asks, and a proxy log would join it with the text."""
    asked = escalation(metadata={"user": "jane"}, project="merger")
    body = chat_body(asked, "m").decode()
    for secret in ("acme-secret", "jane", "merger", str(asked.accepted.request.request_id)):
        assert secret not in body


def test_labels_come_first_as_an_instruction_and_chat_keeps_its_order() -> None:
    """The frontier would answer in prose where a label is expected, or in another conversation."""
    chat = [
        {"role": "user", "content": "1"},
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": "3"},
    ]
    body = json.loads(chat_body(escalation(labels=("x", "y"), input=chat), "m"))
    assert body["messages"][0]["role"] == "system"
    assert "x, y" in body["messages"][0]["content"]
    assert body["messages"][1:] == chat


@pytest.mark.parametrize("character", ["a", '"', "\\", "\n", "\x01", "ä", "🙂"])
def test_a_hold_on_the_bytes_of_the_body_covers_the_call(character: str) -> None:
    """A byte-level tokenizer makes at most one token of a byte: the body's bytes bound the input's tokens."""
    size = INPUT_BYTES_MAX // len(character.encode())
    asked = escalation(input=character * size, output_tokens_max=32_768)
    body = chat_body(asked, "m")
    assert len(body) >= asked.accepted.request.input_bytes
    assert len(body) <= 6 * INPUT_BYTES_MAX + 1_000
    worst = Usage(input_tokens=asked.accepted.request.input_bytes, output_tokens=32_768)
    assert RATES.cost_usd_nanos(worst) <= RATES.hold_usd_nanos(len(body), 32_768)


def test_what_was_tried_is_not_tried_again() -> None:
    """The same model would be paid for the same refusal."""
    asked = escalation()
    first, second = asked.candidates
    tried = asked.model_copy(update={"tried": (Tried(ref=first, evidence="rejected"),), "attempt": 2})
    assert tried.untried == (second,)
    assert tried.att != asked.att
