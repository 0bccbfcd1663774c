"""From what was sent and what was read afterwards to the report: pure."""

from collections import Counter
from collections.abc import Sequence

from tiermesh_cli.percentiles import Percentiles, percentiles
from tiermesh_cli.showcase import laws
from tiermesh_cli.showcase.laws import ORG_LIFETIME, Bill, Sums
from tiermesh_cli.showcase.report import (
    LAWS,
    Ended,
    Evidence,
    Money,
    Quality,
    Report,
    Sent,
    Settings,
    Traffic,
)
from tiermesh_cli.showcase.workload import Kind
from tiermesh_contracts.results import ResultReason, Status, Tier


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
        limit_at_first_usd_nanos=settings.limit_usd_nanos,
        limit_usd_nanos=state.limits.get(("org", "lifetime"), settings.limit_usd_nanos),
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
    hint = "more requests or another --seed may show it"
    missing = {
        f"no request was deferred and then answered ({hint})": traffic.deferred_then_answered == 0,
        f"no request got its best local answer for want of money ({hint})": traffic.degraded == 0,
        f"no request was refused for want of money ({hint})": traffic.refused == 0,
        "the raised limit did not come into force": not raised,
        f"{traffic.late} results came after their producer had stopped waiting": traffic.late > 0,
    }
    return [line for line, is_missing in missing.items() if is_missing]


def _broken(sent: Sequence[Sent], evidence: Evidence, state: laws.Fold, *, terminal: int) -> dict[str, list[str]]:
    return {
        "I1": laws.store_breaches(state, evidence.store, evidence.store_read_ms),
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
