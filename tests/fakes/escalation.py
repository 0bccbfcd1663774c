"""Messages for the tests of escalation, and what stands in for the mesh around its handlers."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tiermesh_chassis.delivery import Inbound
from tiermesh_chassis.errors import StoreUnavailable
from tiermesh_contracts.budget import Rates, Reservation
from tiermesh_contracts.escalations import (
    Escalation,
    EscalationReason,
    Evidence,
    Grant,
    LocalAnswer,
    ModelRef,
    Outcome,
)
from tiermesh_contracts.frontier import LimitField, chat_body
from tiermesh_contracts.ids import new_request_id
from tiermesh_contracts.message import Message
from tiermesh_contracts.requests import AcceptedRequest, InferenceRequest, Origin, Privacy
from tiermesh_contracts.results import InferenceResult, Usage
from tiermesh_contracts.routing import Route, RouteReason, RoutingDecision
from tiermesh_escalation.model import Call, Ending, Endpoint, Fence, FenceState, Finding, Seen

M = TypeVar("M", bound=Message)

NOW_MS = 1_790_000_000_000
EXPIRES_AT_MS = NOW_MS + 60_000
LARGE = ModelRef(provider="sim", model="sim-large")
SMALL = ModelRef(provider="sim", model="sim-small")
OTHER = ModelRef(provider="other", model="sim-large")
RATES = Rates(
    input_usd_nanos_per_mtok=3_000_000_000,
    cached_input_usd_nanos_per_mtok=300_000_000,
    output_usd_nanos_per_mtok=15_000_000_000,
    version="2026-01-01",
)
BEST_LOCAL = LocalAnswer(
    task="support", model="support", model_version="3", label="refund", confidence=0.4, threshold=0.8
)
USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 10,
    "total_tokens": 110,
    "prompt_tokens_details": {"cached_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0},
}


def escalation(*, privacy: Privacy = Privacy.ANY, **changes: Any) -> Escalation:
    request = InferenceRequest(request_id=new_request_id(), tenant="acme", input="where is my parcel?")
    fields: dict[str, Any] = {
        "accepted": AcceptedRequest(
            request=request, accepted_at_ms=NOW_MS, expires_at_ms=EXPIRES_AT_MS, privacy=privacy
        ),
        "routing": RoutingDecision(route=Route.ESCALATE, reason=RouteReason.NOVEL),
        "reason": EscalationReason.NOVEL,
        "candidates": (LARGE, SMALL),
    }
    return Escalation(**{**fields, **changes})


def grant(
    about: Escalation | None = None,
    *,
    ref: ModelRef = LARGE,
    limit_field: LimitField = "max_tokens",
    **changes: Any,
) -> Grant:
    about = about or escalation()
    body = chat_body(about, ref.model, limit_field)
    fields: dict[str, Any] = {
        "att": about.att,
        "org": "default",
        "epoch": 1,
        "seq": 1,
        "amount_usd_nanos": RATES.hold_usd_nanos(len(body), 256),
        "provider": ref.provider,
        "model": ref.model,
        "rates": RATES,
        "input_tokens_max": len(body),
        "output_tokens_max": 256,
        "body_sha256": hashlib.sha256(body).hexdigest(),
        "not_after_ms": about.expires_at_ms,
    }
    return Grant(escalation=about, reservation=Reservation(**{**fields, **changes}))


def outcome(about: Grant | None = None, **changes: Any) -> Outcome:
    fields: dict[str, Any] = {
        "grant": about or grant(),
        "evidence": Evidence.COMPLETED,
        "usage": Usage(input_tokens=100, output_tokens=10),
        "cost_usd_nanos": 450_000,
        "output": "it is late",
        "verdict": "final",
        "finished_at_ms": NOW_MS + 900,
    }
    return Outcome(**{**fields, **changes})


def endpoint(**changes: Any) -> Endpoint:
    fields: dict[str, Any] = {
        "provider": "sim",
        "url": "http://127.0.0.1:1/v1/chat/completions",
        "limit_field": "max_tokens",
        "timeout_ms": 30_000,
    }
    return Endpoint(**{**fields, **changes})


def answered(status: int = 200, body: object = None) -> Seen:
    return Seen(Ending.ANSWERED, status, body)


def completion(content: object = "it is late", usage: object = USAGE, **changes: Any) -> dict[str, Any]:
    """The body of a chat completion; `usage` None leaves it out."""
    body: dict[str, Any] = {
        "id": "chatcmpl-1",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}],
    }
    if usage is not None:
        body["usage"] = usage
    return {**body, **changes}


def inbound(message: M, *, offset: int = 7, partition: int = 2, received_ms: int = NOW_MS + 40) -> Inbound[M]:
    return Inbound(
        message=message,
        headers={},
        topic="any",
        partition=partition,
        offset=offset,
        timestamp_ms=NOW_MS + 20,
        received_ms=received_ms,
    )


@dataclass
class FixedEndpoints:
    known: Mapping[str, Endpoint] = field(default_factory=lambda: {"sim": endpoint()})

    def find(self, provider: str) -> Endpoint | None:
        return self.known.get(provider)


@dataclass
class ScriptedFrontier:
    """Answers with what it was given, and keeps the calls."""

    seen: Seen = field(default_factory=lambda: answered(200, completion()))
    calls: list[Call] = field(default_factory=list)

    async def complete(self, call: Call) -> Seen:
        self.calls.append(call)
        return self.seen


@dataclass
class MemoryFences:
    """Answers the verdicts it was given, in order, the last one for ever; keeps what was asked."""

    states: list[FenceState] = field(default_factory=lambda: [FenceState.FENCED])
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    """(`take` | `void` | `finish`, att, owner)"""
    leases_ms: list[int] = field(default_factory=list)
    away: frozenset[str] = frozenset()
    """Steps at which the store does not answer."""

    async def take(self, reservation: Reservation, owner: str, lease_ms: int) -> Fence:
        self.leases_ms.append(lease_ms)
        return self._answer("take", reservation.att, owner)

    async def void(self, reservation: Reservation, owner: str) -> Fence:
        return self._answer("void", reservation.att, owner)

    async def finish(self, reservation: Reservation) -> None:
        self._ask("finish", reservation.att, "")

    def _answer(self, what: str, att: str, owner: str) -> Fence:
        self._ask(what, att, owner)
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return Fence(state, 0, 0)

    def _ask(self, what: str, att: str, owner: str) -> None:
        self.asked.append((what, att, owner))
        if what in self.away:
            raise StoreUnavailable("away")


@dataclass
class MemoryFirsts:
    first: bool = True
    asked: list[tuple[str, str, int, int]] = field(default_factory=list)

    async def is_first(self, org: str, att: str, partition: int, offset: int) -> bool:
        self.asked.append((org, att, partition, offset))
        return self.first


@dataclass
class RecordedResults:
    given: list[tuple[Origin, InferenceResult]] = field(default_factory=list)

    async def answer(self, origin: Origin, result: InferenceResult) -> None:
        self.given.append((origin, result))


@dataclass
class RecordedWatch:
    found: list[tuple[Call, Finding, int]] = field(default_factory=list)

    @contextmanager
    def call(self, call: Call) -> Iterator[Callable[[Finding, int], None]]:
        def ended(finding: Finding, elapsed_ms: int) -> None:
            self.found.append((call, finding, elapsed_ms))

        yield ended
