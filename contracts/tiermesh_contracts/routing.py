"""Why a request went where it went. Kept from the first day: it cannot be reconstructed later."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from tiermesh_contracts.message import Part


class Route(StrEnum):
    LOCAL = "local"
    ESCALATE = "escalate"
    REFUSE = "refuse"


class RouteReason(StrEnum):
    IN_SCOPE = "in_scope"
    """Near enough to what the task's model was trained on."""
    NOVEL = "novel"
    """Nothing like what any installed model was trained on."""
    LOCAL_ONLY = "local_only"
    """Novel, but it may not leave: the named task's model answers as well as it can."""
    UNKNOWN_TASK = "unknown_task"
    EXPIRED = "expired"


class Candidate(Part):
    """One installed task, as scored for this request."""

    task: str
    score: float
    threshold: float


class RoutingDecision(Part):
    route: Route
    reason: RouteReason
    task: str | None = None
    model: str | None = None
    model_version: str | None = None
    score: float | None = None
    """The chosen task's scope score; higher is nearer to its training data."""
    threshold: float | None = None
    novelty: float | None = None
    """Threshold minus score of the best candidate: positive is novel."""
    candidates: tuple[Candidate, ...] = ()
    propensity: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Probability with which this policy took this route."""
    exploration: bool = False
    """True where the route was drawn by lot, against the policy's own choice."""
