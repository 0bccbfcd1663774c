"""The Kafka edge of the router."""

from tiermesh_chassis.claims import Claims
from tiermesh_chassis.clock import Clock
from tiermesh_chassis.delivery import Inbound
from tiermesh_chassis.errors import PermanentError
from tiermesh_chassis.publishing import Publisher
from tiermesh_contracts.escalations import Escalation, EscalationReason
from tiermesh_contracts.failures import DeadLetterReason
from tiermesh_contracts.requests import AcceptedRequest, InferenceRequest, LocalWork
from tiermesh_contracts.results import InferenceResult, Tier
from tiermesh_contracts.topics import ESCALATIONS, LOCAL
from tiermesh_router.decide import accept, choose_step
from tiermesh_router.model import End, Escalate, Facts, Policy, SendLocal
from tiermesh_router.ports import Decisions, Results, ScopeScores


class RouterHandlers:
    """A record that comes again is decided again; every effect is keyed by the request's id."""

    def __init__(
        self,
        *,
        policy: Policy,
        claims: Claims,
        scores: ScopeScores,
        publisher: Publisher,
        results: Results,
        decisions: Decisions,
        clock: Clock,
    ) -> None:
        self._policy = policy
        self._claims = claims
        self._scores = scores
        self._publisher = publisher
        self._results = results
        self._decisions = decisions
        self._clock = clock

    async def on_requests(self, inbound: Inbound[InferenceRequest]) -> None:
        request = inbound.message
        accepted = accept(request, inbound.timestamp_ms, self._policy.privacy_default)
        await self._require_own_id(accepted)
        scores = await self._scores.score(request.text, request.task, accepted.expires_at_ms)
        accepted = accepted.timed("requests_queue", inbound.queue_time_ms)
        accepted = accepted.timed("router", self._clock() - inbound.received_ms)
        step = choose_step(Facts(request.task, accepted.may_leave, scores, self._policy.frontier))
        match step:
            case SendLocal():
                await self._send_local(accepted, step)
            case Escalate():
                await self._escalate(accepted, step)
            case End():
                await self._end(accepted, step)
        self._decisions.count(step)

    async def _require_own_id(self, accepted: AcceptedRequest) -> None:
        request = accepted.request
        body_sha256 = request.body_sha256
        first = await self._claims.first_body(
            request.tenant, request.request_id, accepted.redrive, body_sha256, accepted.expires_at_ms
        )
        if first != body_sha256:
            raise PermanentError(DeadLetterReason.ID_REUSED, "its request_id was used before with another body")

    async def _send_local(self, accepted: AcceptedRequest, step: SendLocal) -> None:
        await self._publisher.publish(
            LOCAL["classify"].name,
            LocalWork(accepted=accepted, routing=step.routing),
            key=str(accepted.request.request_id),
            event_id=_event_id(accepted),
            correlation_id=str(accepted.request.request_id),
        )

    async def _escalate(self, accepted: AcceptedRequest, step: Escalate) -> None:
        escalation = Escalation(
            accepted=accepted,
            routing=step.routing,
            reason=EscalationReason.NOVEL,
            labels=step.labels,
            candidates=step.candidates,
        )
        await self._publisher.publish(
            ESCALATIONS.name,
            escalation,
            key=accepted.request.tenant,
            event_id=escalation.att,
            correlation_id=str(accepted.request.request_id),
        )

    async def _end(self, accepted: AcceptedRequest, step: End) -> None:
        request = accepted.request
        result = InferenceResult(
            request_id=request.request_id,
            tenant=request.tenant,
            redrive=accepted.redrive,
            status=step.status,
            tier=Tier.NONE,
            reason=step.reason,
            routing=step.routing,
            timings_ms={**accepted.timings_ms, "total": max(0, self._clock() - accepted.accepted_at_ms)},
            detail=step.detail,
        )
        await self._results.answer(accepted.origin, result)


def _event_id(accepted: AcceptedRequest) -> str:
    return f"{accepted.request.tenant}/{accepted.request.request_id}/{accepted.redrive}"
