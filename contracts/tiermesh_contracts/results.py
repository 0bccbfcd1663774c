"""The one terminal answer of a request."""

from enum import StrEnum
from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import Field

from tiermesh_contracts.message import Message, Part
from tiermesh_contracts.routing import RoutingDecision


class Status(StrEnum):
    ANSWERED = "answered"
    REFUSED = "refused"
    FAILED = "failed"
    EXPIRED = "expired"


class Tier(StrEnum):
    LOCAL = "local"
    FRONTIER = "frontier"
    NONE = "none"


class ResultReason(StrEnum):
    """Why a request ended as it did; closed, so that a producer can match on it."""

    CONFIDENT = "confident"
    FRONTIER = "frontier"
    BEST_LOCAL = "best_local"
    """The model was not sure, but the request may not leave or nothing else could answer."""
    BUDGET_BEST_LOCAL = "budget_best_local"
    BUDGET_REFUSED = "budget_refused"
    BUDGET_DEADLINE = "budget_deadline"
    """No money came back before the deadline."""
    DEADLINE = "deadline"
    UNKNOWN_TASK = "unknown_task"
    PRIVATE_AND_NOVEL = "private_and_novel"
    """No model of ours covers it and it may not leave."""
    NO_FRONTIER = "no_frontier"
    NO_PRICE = "no_price"
    COST_LIMIT = "cost_limit"
    """Its own `cost_usd_nanos_max` does not cover the worst case."""
    INPUT_TOO_LONG = "input_too_long"
    FRONTIER_FAILED = "frontier_failed"
    UNKNOWN_OUTCOME = "unknown_outcome"
    """A call may have been made and its answer was lost."""
    PARKING_FULL = "parking_full"
    DEAD_LETTERED = "dead_lettered"
    OVERLOADED = "overloaded"


class Usage(Part):
    """Tokens as counted by whoever ran the model. Zero is zero; unknown is an absent `Usage`."""

    input_tokens: Annotated[int, Field(ge=0)]
    output_tokens: Annotated[int, Field(ge=0)]
    cached_input_tokens: Annotated[int, Field(ge=0)] = 0
    """Part of `input_tokens`."""
    reasoning_tokens: Annotated[int, Field(ge=0)] = 0
    """Part of `output_tokens`."""


class InferenceResult(Message):
    """`mesh.results`: the first of these by offset, per tenant, request and redrive, is the terminal one."""

    ce_type: ClassVar[str] = "tiermesh.result.v1"

    request_id: UUID
    tenant: str
    redrive: int = 0
    status: Status
    tier: Tier
    reason: ResultReason
    model: str | None = None
    output: str | None = None
    label: str | None = None
    confidence: Annotated[float, Field(ge=0, le=1)] | None = None
    degraded: bool = False
    """True for an answer that the mesh itself is not sure of."""
    label_source: Tier | None = None
    usage: Usage | None = None
    cost_usd_nanos: Annotated[int, Field(ge=0)] = 0
    reservation_id: str | None = None
    attempts: int = 0
    """Frontier attempts, whatever became of them."""
    timings_ms: dict[str, int] = Field(default_factory=dict)
    routing: RoutingDecision | None = None
    detail: str | None = None
    """One line for people; nothing to match on."""

    @property
    def identity(self) -> tuple[str, UUID, int]:
        return (self.tenant, self.request_id, self.redrive)

    def agrees_with(self, other: "InferenceResult") -> bool:
        """True where a repeat says the same; timings and detail may differ."""
        return self._substance == other._substance

    @property
    def _substance(self) -> tuple[object, ...]:
        return (
            self.status,
            self.tier,
            self.model,
            self.label,
            self.output,
            self.reservation_id,
            self.cost_usd_nanos,
        )
