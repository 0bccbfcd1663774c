"""Messages for the tests of the budget-guard, and what stands in for the mesh around its handlers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tiermesh_budget.decide import Resolution
from tiermesh_budget.decide.parking import Space
from tiermesh_budget.model import Bid, Held, Offer, Reply, Resolved, UnknownReservation
from tiermesh_contracts.budget import LedgerEntry, LedgerKind, Rates, Reservation
from tiermesh_contracts.escalations import (
    Escalation,
    EscalationReason,
    Evidence,
    Grant,
    LocalAnswer,
    ModelRef,
    Outcome,
    Parked,
)
from tiermesh_contracts.ids import new_request_id
from tiermesh_contracts.requests import AcceptedRequest, InferenceRequest, Origin, Privacy
from tiermesh_contracts.results import InferenceResult
from tiermesh_contracts.routing import Route, RouteReason, RoutingDecision

NOW_MS = 1_790_000_000_000
FAR_MS = 9_000_000_000_000
LARGE = ModelRef(provider="sim", model="sim-large")
SMALL = ModelRef(provider="sim", model="sim-small")
UNPRICED = ModelRef(provider="sim", model="noprice")
RATES = Rates(
    input_usd_nanos_per_mtok=3_000_000_000,
    cached_input_usd_nanos_per_mtok=300_000_000,
    output_usd_nanos_per_mtok=15_000_000_000,
    version="2026-01-01",
)
BEST_LOCAL = LocalAnswer(
    task="support", model="support", model_version="3", label="refund", confidence=0.4, threshold=0.8
)


def offer(ref: ModelRef = LARGE, **changes: Any) -> Offer:
    whole = Offer(ref=ref, rates=RATES, context_tokens=128_000, limit_field="max_tokens")
    return replace(whole, **changes)


OFFERS: Mapping[ModelRef, Offer] = {
    LARGE: offer(),
    SMALL: offer(SMALL),
    UNPRICED: offer(UNPRICED, rates=None),
}


def escalation(
    *,
    now_ms: int = NOW_MS,
    deadline_ms: int = 60_000,
    privacy: Privacy = Privacy.ANY,
    about: Mapping[str, Any] | None = None,
    **request: Any,
) -> Escalation:
    """`request` changes the request, `about` the escalation itself."""
    fields: dict[str, Any] = {"request_id": new_request_id(), "tenant": "acme", "input": "where is my parcel?"}
    whole: dict[str, Any] = {
        "accepted": AcceptedRequest(
            request=InferenceRequest(**{**fields, **request}),
            accepted_at_ms=now_ms,
            expires_at_ms=now_ms + deadline_ms,
            privacy=privacy,
        ),
        "routing": RoutingDecision(route=Route.ESCALATE, reason=RouteReason.NOVEL),
        "reason": EscalationReason.NOVEL,
        "candidates": (LARGE, SMALL),
    }
    return Escalation(**{**whole, **(about or {})})


def held(state: str = "held", *, epoch: int = 1, seq: int = 1, **changes: Any) -> Held:
    reservation = Reservation(
        **{
            "att": "a" * 64,
            "org": "default",
            "epoch": epoch,
            "seq": seq,
            "amount_usd_nanos": 1_000,
            "provider": LARGE.provider,
            "model": LARGE.model,
            "rates": RATES,
            "input_tokens_max": 100,
            "output_tokens_max": 256,
            "body_sha256": "0" * 64,
            "not_after_ms": NOW_MS + 60_000,
            **changes,
        }
    )
    return Held(epoch, seq, state, reservation.model_dump_json(exclude={"epoch", "seq"}))


def outcome(grant: Grant, evidence: Evidence = Evidence.COMPLETED, **changes: Any) -> Outcome:
    fields: dict[str, Any] = {"grant": grant, "evidence": evidence, "verdict": "final", "finished_at_ms": NOW_MS}
    return Outcome(**{**fields, **changes})


def space(about: Escalation, *, partition: int = 0, size_bytes: int = 1_000) -> Space:
    return Space(Parked(escalation=about, parked_at_ms=NOW_MS, why="no money"), partition, size_bytes)


def entry(seq: int, *, epoch: int = 1, org: str = "default", **changes: Any) -> LedgerEntry:
    return LedgerEntry(**{"org": org, "epoch": epoch, "seq": seq, "kind": "held", "at_ms": NOW_MS, **changes})


def fence(epoch: int, run_id: str = "r1") -> LedgerEntry:
    return entry(0, epoch=epoch, kind=LedgerKind.EPOCH_OPENED, run_id=run_id)


@dataclass
class ScriptedBooks:
    """Answers each model's bid as told, and keeps what was asked."""

    replies: dict[ModelRef, Reply | Exception] = field(default_factory=dict)
    known: Held | Exception | None = None
    """What `find` answers."""
    bids: list[tuple[Escalation, Bid]] = field(default_factory=list)
    sought: list[str] = field(default_factory=list)
    resolved: list[tuple[str, Resolution]] = field(default_factory=list)
    booked: Resolved | UnknownReservation = field(default_factory=lambda: Resolved(1, 3, repeated=False))
    limits: list[Sequence[tuple[str, str, int]]] = field(default_factory=list)

    async def reserve(self, escalation: Escalation, bid: Bid) -> Reply:
        self.bids.append((escalation, bid))
        reply: Reply = _given(self.replies[bid.offer.ref])
        return reply

    async def find(self, att: str) -> Held | None:
        self.sought.append(att)
        known: Held | None = _given(self.known)
        return known

    async def resolve(self, att: str, resolution: Resolution) -> Resolved | UnknownReservation:
        self.resolved.append((att, resolution))
        return self.booked

    async def set_limits(self, limits: Sequence[tuple[str, str, int]]) -> int:
        self.limits.append(limits)
        return 0


def _given(what: Any) -> Any:
    if isinstance(what, Exception):
        raise what
    return what


@dataclass
class FixedPrices:
    known: Mapping[ModelRef, Offer] = field(default_factory=lambda: OFFERS)

    def offers(self) -> Mapping[ModelRef, Offer]:
        return self.known


@dataclass
class Steps:
    """What was done, in order: the ledger read back, grants, results, parked records, tombstones."""

    done: list[tuple[str, Any]] = field(default_factory=list)
    failures: dict[str, list[Exception]] = field(default_factory=dict)
    """By step, raised by its next calls in order."""
    owed: list[Origin] = field(default_factory=list)

    def names(self) -> list[str]:
        return [name for name, _ in self.done]

    def _step(self, name: str, what: Any) -> None:
        if self.failures.get(name):
            raise self.failures[name].pop(0)
        self.done.append((name, what))

    async def wait_effective(self, epoch: int, seq: int) -> None:
        self._step("read_back", (epoch, seq))

    async def publish(self, grant: Grant) -> None:
        self._step("grant", grant)

    async def answer(self, origin: Origin, result: InferenceResult) -> None:
        self._step("result", result)
        self.owed.append(origin)

    async def park(self, parked: Parked) -> None:
        self._step("park", parked)

    async def clear(self, att: str) -> None:
        self._step("clear", att)
