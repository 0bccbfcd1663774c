"""What a model said of a request, and what becomes of it."""

from dataclasses import dataclass
from enum import StrEnum

from tiermesh_contracts.escalations import EscalationReason, LocalAnswer, ModelRef
from tiermesh_contracts.results import ResultReason, Status


@dataclass(frozen=True, slots=True)
class Classified:
    """One text, read by its task's model."""

    task: str
    model: str
    version: str
    label: str
    """The likeliest of `labels`."""
    confidence: float
    """Its probability."""
    threshold: float
    """The least confidence that counts as sure; above 1: never."""
    labels: tuple[str, ...]
    tokens_read: int
    tokens_count: int
    """Of the whole text; more than were read where the model cuts it."""

    @property
    def is_sure(self) -> bool:
        """A probability for a text without a single token says nothing."""
        return self.tokens_read > 0 and self.confidence >= self.threshold

    @property
    def model_name(self) -> str:
        return f"{self.model}@{self.version}"


class Unclassified(StrEnum):
    """Why no model said anything."""

    EXPIRED = "expired"
    OVERLOADED = "overloaded"
    NO_MODEL = "no_model"
    """The task's model was there when the request was routed, and is not here."""


Seen = Classified | Unclassified


@dataclass(frozen=True, slots=True)
class Facts:
    seen: Seen
    may_leave: bool
    is_novel: bool
    """The router sent it here only because it may not leave; confidence cannot be believed then."""
    frontier: tuple[ModelRef, ...]
    """Models to ask, in order; empty: none."""


@dataclass(frozen=True, slots=True)
class Answer:
    seen: Classified


@dataclass(frozen=True, slots=True)
class BestLocal:
    """Not sure enough, but nothing else may or can answer."""

    seen: Classified


@dataclass(frozen=True, slots=True)
class Escalate:
    reason: EscalationReason
    candidates: tuple[ModelRef, ...]
    labels: tuple[str, ...]
    best_local: LocalAnswer | None


@dataclass(frozen=True, slots=True)
class End:
    """A terminal result without an answer."""

    status: Status
    reason: ResultReason
    detail: str


Verdict = Answer | BestLocal | Escalate | End
