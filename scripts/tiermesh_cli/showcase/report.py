"""What a demo run came to: the numbers, and each law with its breaches."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from tiermesh_cli.showcase import laws
from tiermesh_cli.showcase.laws import ORG_LIFETIME, Bill, Place, Sums
from tiermesh_cli.showcase.workload import Kind, Planned
from tiermesh_contracts.budget import LedgerEntry
from tiermesh_contracts.results import InferenceResult, ResultReason, Status, Tier

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
    raised_usd_nanos: int
    all_frontier_usd_nanos: int
    """Estimated, as if every request had gone there."""


@dataclass(frozen=True, slots=True)
class Percentiles:
    p50: float | None
    p95: float | None
    p99: float | None


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
    limit_usd_nanos: int
    raised_usd_nanos: int
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


def percentiles(values: Sequence[float]) -> Percentiles:
    """By nearest rank; None without values."""
    ranked = sorted(values)

    def at(share: float) -> float | None:
        return round(ranked[math.ceil(share * len(ranked)) - 1], 1) if ranked else None

    return Percentiles(at(0.50), at(0.95), at(0.99))


def make_report(sent: Sequence[Sent], evidence: Evidence, settings: Settings, elapsed_s: float) -> Report:
    ended = [(each, evidence.results[each.request_id]) for each in sent if each.request_id in evidence.results]
    state = laws.fold(evidence.ledger)
    traffic = _traffic(sent, ended, evidence)
    broken = _broken(sent, evidence, state, terminal=len(ended))
    return Report(
        simulated=True,
        seed=settings.seed,
        traffic=traffic,
        quality=_quality(sent, ended, evidence),
        money=_money(state, evidence.bill, settings),
        private_requests_sent_out=laws.sent_out(_private(sent), evidence.arrived),
        laws={law: not broken[law] for law in LAWS},
        breaches=(
            *(f"{law}: {line}" for law, lines in broken.items() for line in lines),
            *_not_shown(traffic, state, settings),
        ),
        elapsed_s=round(elapsed_s, 1),
    )


def _traffic(sent: Sequence[Sent], ended: Sequence[Ended], evidence: Evidence) -> Traffic:
    reasons = Counter(result.reason.value for _, result in ended)
    deferred = [(each, result) for each, result in ended if each.request_id in evidence.deferred]
    return Traffic(
        requests=len(sent),
        terminal=len(ended),
        lost=len(sent) - len(ended),
        conflicting=evidence.conflicting,
        duplicated=evidence.duplicated,
        by_kind=_counts(Kind, Counter(each.planned.kind.value for each in sent)),
        by_tier=_counts(Tier, Counter(result.tier.value for _, result in ended)),
        by_status=_counts(Status, Counter(result.status.value for _, result in ended)),
        by_reason=dict(sorted(reasons.items())),
        deferred=len(evidence.deferred),
        deferred_then_answered=sum(result.tier is Tier.FRONTIER for _, result in deferred),
        degraded=sum(r.degraded and r.reason is ResultReason.BUDGET_BEST_LOCAL for _, r in ended),
        refused=reasons[ResultReason.BUDGET_REFUSED.value],
        late=sum(each.latency_ms is None for each, _ in ended),
    )


def _quality(sent: Sequence[Sent], ended: Sequence[Ended], evidence: Evidence) -> Quality:
    local = [pair for pair in ended if pair[1].tier is Tier.LOCAL and pair[0].planned.label is not None]
    confident = [pair for pair in local if not pair[1].degraded]
    return Quality(
        accuracy_local=_right(local),
        accuracy_local_confident=_right(confident),
        labelled_local=len(local),
        labelled_local_confident=len(confident),
        escalated_share_covered=_escalated(sent, Kind.COVERED, evidence),
        escalated_share_uncovered=_escalated(sent, Kind.UNCOVERED, evidence),
        latency_ms={tier.value: _latencies(ended, tier) for tier in Tier},
    )


def _money(state: laws.Fold, bill: Bill, settings: Settings) -> Money:
    sums = state.sums.get(ORG_LIFETIME, Sums())
    return Money(
        limit_usd_nanos=settings.limit_usd_nanos,
        raised_usd_nanos=settings.raised_usd_nanos,
        posted_usd_nanos=sums.posted,
        held_usd_nanos=sums.held,
        suspended_usd_nanos=sums.suspended,
        bill_usd_nanos=bill.total_usd_nanos,
        frontier_calls=len(bill.calls),
        all_frontier_usd_nanos=settings.all_frontier_usd_nanos,
        saved_usd_nanos=settings.all_frontier_usd_nanos - sums.posted,
    )


def _not_shown(traffic: Traffic, state: laws.Fold, settings: Settings) -> list[str]:
    """What a run is there to show, and this one did not."""
    raised = settings.raised_usd_nanos in state.limits_seen.get(("org", "lifetime"), [])
    missing = {
        "no request was deferred and then answered": traffic.deferred_then_answered == 0,
        "no request got its best local answer for want of money": traffic.degraded == 0,
        "no request was refused for want of money": traffic.refused == 0,
        "the raised limit did not come into force": not raised,
        f"{traffic.late} results came after their producer had stopped waiting": traffic.late > 0,
    }
    return [line for line, is_missing in missing.items() if is_missing]


def _broken(sent: Sequence[Sent], evidence: Evidence, state: laws.Fold, *, terminal: int) -> dict[str, list[str]]:
    return {
        "I1": laws.store_breaches(state, evidence.store),
        "I2": laws.limit_breaches(state),
        "I3": laws.resolution_breaches(state),
        "I4": laws.result_breaches(len(sent), terminal, evidence.conflicting),
        "I5": laws.bill_breaches(state, evidence.bill),
        "drained": laws.drain_breaches(state),
        "private": laws.privacy_breaches(_private(sent), evidence.arrived, evidence.arrived_unseen),
    }


def _private(sent: Sequence[Sent]) -> list[str]:
    return [each.planned.text for each in sent if each.planned.kind is Kind.PRIVATE]


def _counts(members: type[Kind] | type[Tier] | type[Status], counted: Counter[str]) -> dict[str, int]:
    """Every member has its number, zero too."""
    return {member.value: counted[member.value] for member in members}


def _right(answered: Sequence[Ended]) -> float | None:
    right = sum(result.label == each.planned.label for each, result in answered)
    return round(right / len(answered), 4) if answered else None


def _escalated(sent: Sequence[Sent], kind: Kind, evidence: Evidence) -> float | None:
    of_kind = [each.request_id for each in sent if each.planned.kind is kind]
    return round(len(evidence.escalated.intersection(of_kind)) / len(of_kind), 4) if of_kind else None


def _latencies(ended: Sequence[Ended], tier: Tier) -> Percentiles:
    return percentiles([e.latency_ms for e, r in ended if r.tier is tier and e.latency_ms is not None])
