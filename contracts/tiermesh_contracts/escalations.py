"""The way to a frontier model: asked for, granted, tried."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field

from tiermesh_contracts.budget import Reservation, attempt_id
from tiermesh_contracts.message import Message, Part
from tiermesh_contracts.requests import AcceptedRequest, Origin
from tiermesh_contracts.results import Usage
from tiermesh_contracts.routing import RoutingDecision

ATTEMPTS_MAX = 8
LABELS_MAX = 512


class EscalationReason(StrEnum):
    NOVEL = "novel"
    LOW_CONFIDENCE = "low_confidence"
    POLICY = "policy"


class LocalAnswer(Part):
    """The best a small model of ours could say."""

    task: str
    model: str
    model_version: str
    label: str
    confidence: Annotated[float, Field(ge=0, le=1)]
    threshold: float


class ModelRef(Part):
    provider: str
    model: str

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}"


class Evidence(StrEnum):
    """What is known of an attempt's cost, by whoever made it."""

    COMPLETED = "completed"
    """Answered, with usage."""
    REJECTED = "rejected"
    """The provider said no before any work: billed nothing."""
    NOT_SENT = "not_sent"
    """The call provably never left."""
    UNKNOWN = "unknown"
    """It may have been billed: no usage, a time-out, a crash."""


class Tried(Part):
    ref: ModelRef
    evidence: Evidence
    detail: str = ""


class Escalation(Message):
    """`mesh.escalations`: a request for which a frontier model is asked."""

    ce_type: ClassVar[str] = "tiermesh.escalation.v1"

    accepted: AcceptedRequest
    routing: RoutingDecision
    reason: EscalationReason
    labels: Annotated[tuple[str, ...], Field(max_length=LABELS_MAX)] = ()
    """The answers to choose from, where the task is a classification."""
    best_local: LocalAnswer | None = None
    candidates: Annotated[tuple[ModelRef, ...], Field(max_length=ATTEMPTS_MAX)] = ()
    """Models in the policy's order."""
    attempt: Annotated[int, Field(ge=1, le=ATTEMPTS_MAX)] = 1
    tried: tuple[Tried, ...] = ()

    @property
    def att(self) -> str:
        request = self.accepted.request
        return attempt_id(request.tenant, request.request_id, self.accepted.redrive, self.attempt)

    @property
    def origin(self) -> Origin:
        return self.accepted.origin

    @property
    def expires_at_ms(self) -> int:
        return self.accepted.expires_at_ms

    def timed(self, hop: str, elapsed_ms: int) -> Self:
        return self.model_copy(update={"accepted": self.accepted.timed(hop, elapsed_ms)})

    @property
    def untried(self) -> tuple[ModelRef, ...]:
        tried = {t.ref for t in self.tried}
        return tuple(ref for ref in self.candidates if ref not in tried)


class Parked(Message):
    """`mesh.deferred`, keyed by `att`: an escalation that waits for money or its deadline."""

    ce_type: ClassVar[str] = "tiermesh.parked.v1"

    escalation: Escalation
    parked_at_ms: int
    why: str
    traceparent: str | None = None

    @property
    def origin(self) -> Origin:
        return self.escalation.origin


class Grant(Message):
    """`mesh.grants`: money is set aside; exactly this call may be made."""

    ce_type: ClassVar[str] = "tiermesh.grant.v1"

    escalation: Escalation
    reservation: Reservation

    @property
    def origin(self) -> Origin:
        return self.escalation.origin


class Outcome(Message):
    """`mesh.outcomes`: one finished attempt. Money and delivery both derive from these bytes."""

    ce_type: ClassVar[str] = "tiermesh.outcome.v1"

    grant: Grant
    evidence: Evidence
    usage: Usage | None = None
    cost_usd_nanos: Annotated[int, Field(ge=0)] | None = None
    """Absent where it is unknown; zero is zero."""
    response_id: str | None = None
    """The provider's id of its answer, for reconciliation."""
    output: str | None = None
    finish_reason: str | None = None
    verdict: Literal["final", "next"]
    """Written once, never recomputed: `next` asks for another attempt."""
    detail: str = ""
    train_use: Literal["allowed", "denied", "unknown"] = "unknown"
    finished_at_ms: int

    @property
    def att(self) -> str:
        return self.grant.reservation.att

    @property
    def origin(self) -> Origin:
        return self.grant.origin
