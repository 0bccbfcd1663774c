"""What the router knows of a request, and what it decides."""

from dataclasses import dataclass
from enum import StrEnum

from tiermesh_contracts.escalations import ModelRef
from tiermesh_contracts.requests import Privacy
from tiermesh_contracts.results import ResultReason, Status
from tiermesh_contracts.routing import RoutingDecision


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator decided, the same for every request."""

    privacy_default: Privacy
    frontier: tuple[ModelRef, ...]
    """Models to ask, in order; empty: none."""


@dataclass(frozen=True, slots=True)
class TaskScore:
    """How near a text is to what an installed task's model was trained on."""

    task: str
    model: str
    version: str
    score: float
    """Higher is nearer."""
    threshold: float
    """The least score that counts as known; scores of two models compare only by their distance to it."""
    labels: tuple[str, ...]

    @property
    def margin(self) -> float:
        return self.score - self.threshold


class Unscored(StrEnum):
    """Why there are no scores."""

    EXPIRED = "expired"
    OVERLOADED = "overloaded"


Scores = tuple[TaskScore, ...] | Unscored
"""Of every installed task, or of the one named; empty where that one is not installed."""


@dataclass(frozen=True, slots=True)
class Facts:
    task: str
    """As requested: a name, or `auto`."""
    may_leave: bool
    scores: Scores
    frontier: tuple[ModelRef, ...]


@dataclass(frozen=True, slots=True)
class SendLocal:
    routing: RoutingDecision


@dataclass(frozen=True, slots=True)
class Escalate:
    routing: RoutingDecision
    candidates: tuple[ModelRef, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class End:
    """A terminal result without any model having run."""

    status: Status
    reason: ResultReason
    routing: RoutingDecision | None
    detail: str


Step = SendLocal | Escalate | End
