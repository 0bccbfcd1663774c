"""What a demo run came to: the numbers, and each law with its breaches."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from tiermesh_cli.percentiles import Percentiles
from tiermesh_cli.showcase.laws import Bill, Place, Sums
from tiermesh_cli.showcase.workload import Planned
from tiermesh_contracts.budget import LedgerEntry
from tiermesh_contracts.results import InferenceResult

LAWS: Mapping[str, str] = {
    "I1": "the store's sums are the ledger's, bit for bit",
    "I2": "no hold ever went over the limit then in force",
    "I3": "each reservation was resolved at most once",
    "I4": "exactly one result a request, none lost, none contradicted",
    "I5": "the frontier's own bill is covered by the books",
    "drained": "nothing is held once all is answered",
    "private": "no private text reached the frontier",
}


@dataclass(frozen=True, slots=True)
class Sent:
    """One request on its way, as its producer saw it. `latency_ms` None: no result came in time."""

    planned: Planned
    request_id: UUID
    latency_ms: float | None = None


Ended = tuple[Sent, InferenceResult]
"""A request and its one result."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was read after the run, the bill first."""

    bill: Bill
    arrived: Sequence[str]
    """Texts at the frontier."""
    arrived_unseen: int
    store: Mapping[Place, Sums]
    store_read_ms: int
    """By the store's clock, once its sums were read."""
    ledger: Sequence[LedgerEntry]
    results: Mapping[UUID, InferenceResult]
    """The first by offset of each request."""
    duplicated: int
    conflicting: int
    escalated: frozenset[UUID]
    deferred: frozenset[UUID]


@dataclass(frozen=True, slots=True)
class Settings:
    """What the run was told."""

    seed: int
    limit_usd_nanos: int
    """At first."""
    raised_usd_nanos: int
    all_frontier_usd_nanos: int
    """Estimated, as if every request had gone there."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What came in and what became of it, counted in requests."""

    requests: int
    terminal: int
    lost: int
    conflicting: int
    duplicated: int
    by_kind: Mapping[str, int]
    by_tier: Mapping[str, int]
    by_status: Mapping[str, int]
    by_reason: Mapping[str, int]
    deferred: int
    deferred_then_answered: int
    degraded: int
    """Answered by the best local answer, because the money was short."""
    refused: int
    """Because the money was short."""
    late: int
    """Results that came after their producer had stopped waiting."""


@dataclass(frozen=True, slots=True)
class Quality:
    """Shares are None where nothing was counted."""

    accuracy_local: float | None
    """Of all local answers to texts with a known label, degraded ones too."""
    accuracy_local_confident: float | None
    labelled_local: int
    labelled_local_confident: int
    escalated_share_covered: float | None
    escalated_share_uncovered: float | None
    latency_ms: Mapping[str, Percentiles]
    """By tier, from before the submit to the result at the producer."""


@dataclass(frozen=True, slots=True)
class Money:
    limit_at_first_usd_nanos: int
    limit_usd_nanos: int
    """In force at the end: the raised one, or the raise did not arrive."""
    raised_usd_nanos: int
    """What the limit was to be raised to."""
    posted_usd_nanos: int
    held_usd_nanos: int
    suspended_usd_nanos: int
    bill_usd_nanos: int
    frontier_calls: int
    all_frontier_usd_nanos: int
    """Estimated bill without small models."""
    saved_usd_nanos: int


@dataclass(frozen=True, slots=True)
class Report:
    simulated: bool
    """The frontier was simulated: its latency and its answers say nothing of a real one."""
    seed: int
    traffic: Traffic
    quality: Quality
    money: Money
    private_requests_sent_out: int
    laws: Mapping[str, bool]
    breaches: tuple[str, ...]
    """A line each: laws that broke, and what the run was to show and did not."""
    elapsed_s: float

    def as_json(self) -> dict[str, Any]:
        """One flat object."""
        fields = asdict(self)
        parts = [fields.pop(name) for name in ("traffic", "quality", "money")]
        return {name: value for part in (*parts, fields) for name, value in part.items()}
