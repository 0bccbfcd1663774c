"""The Kafka edge of local inference."""

from tiermesh_chassis.clock import Clock
from tiermesh_chassis.delivery import Inbound
from tiermesh_chassis.publishing import Publisher
from tiermesh_contracts.escalations import Escalation, ModelRef
from tiermesh_contracts.requests import AcceptedRequest, LocalWork
from tiermesh_contracts.results import InferenceResult, ResultReason, Status, Tier, Usage
from tiermesh_contracts.routing import RouteReason, RoutingDecision
from tiermesh_contracts.topics import ESCALATIONS
from tiermesh_inference.decide import judge
from tiermesh_inference.model import Answer, BestLocal, Classified, End, Escalate, Facts
from tiermesh_inference.ports import Classifier, Results


class LocalHandlers:
    """A record that comes again is classified again; its result is claimed by the first."""

    def __init__(
        self,
        *,
        frontier: tuple[ModelRef, ...],
        classifier: Classifier,
        publisher: Publisher,
        results: Results,
        clock: Clock,
    ) -> None:
        self._frontier = frontier
        self._classifier = classifier
        self._publisher = publisher
        self._results = results
        self._clock = clock

    async def on_work(self, inbound: Inbound[LocalWork]) -> None:
        routing, accepted = inbound.message.routing, inbound.message.accepted
        seen = await self._classifier.classify(accepted.request.text, routing.task, accepted.expires_at_ms)
        accepted = accepted.timed("local_queue", inbound.queue_time_ms)
        accepted = accepted.timed("inference", self._clock() - inbound.received_ms)
        is_novel = routing.reason is RouteReason.LOCAL_ONLY
        verdict = judge(Facts(seen, accepted.may_leave, is_novel, self._frontier))
        match verdict:
            case Answer(sure):
                await self._results.answer(accepted.origin, self._answered(accepted, routing, sure))
            case BestLocal(unsure):
                await self._results.answer(accepted.origin, self._degraded(accepted, routing, unsure))
            case Escalate():
                await self._escalate(accepted, routing, verdict)
            case End():
                await self._results.answer(accepted.origin, self._ended(accepted, routing, verdict))

    def _answered(self, accepted: AcceptedRequest, routing: RoutingDecision, seen: Classified) -> InferenceResult:
        return InferenceResult(
            request_id=accepted.request.request_id,
            tenant=accepted.request.tenant,
            redrive=accepted.redrive,
            status=Status.ANSWERED,
            tier=Tier.LOCAL,
            reason=ResultReason.CONFIDENT,
            model=seen.model_name,
            output=seen.label,
            label=seen.label,
            confidence=seen.confidence,
            label_source=Tier.LOCAL,
            usage=Usage(input_tokens=seen.tokens_read, output_tokens=0),
            timings_ms=self._timings_ms(accepted),
            routing=routing,
            detail=_cut(seen),
        )

    def _degraded(self, accepted: AcceptedRequest, routing: RoutingDecision, seen: Classified) -> InferenceResult:
        answered = self._answered(accepted, routing, seen)
        return answered.model_copy(update={"reason": ResultReason.BEST_LOCAL, "degraded": True})

    async def _escalate(self, accepted: AcceptedRequest, routing: RoutingDecision, verdict: Escalate) -> None:
        request = accepted.request
        escalation = Escalation(
            accepted=accepted,
            routing=routing,
            reason=verdict.reason,
            labels=verdict.labels,
            best_local=verdict.best_local,
            candidates=verdict.candidates,
        )
        await self._publisher.publish(
            ESCALATIONS.name,
            escalation,
            key=request.tenant,
            event_id=escalation.att,
            correlation_id=str(request.request_id),
        )

    def _ended(self, accepted: AcceptedRequest, routing: RoutingDecision, verdict: End) -> InferenceResult:
        return InferenceResult(
            request_id=accepted.request.request_id,
            tenant=accepted.request.tenant,
            redrive=accepted.redrive,
            status=verdict.status,
            tier=Tier.NONE,
            reason=verdict.reason,
            timings_ms=self._timings_ms(accepted),
            routing=routing,
            detail=verdict.detail,
        )

    def _timings_ms(self, accepted: AcceptedRequest) -> dict[str, int]:
        return {**accepted.timings_ms, "total": max(0, self._clock() - accepted.accepted_at_ms)}


def _cut(seen: Classified) -> str | None:
    if seen.tokens_read == seen.tokens_count:
        return None
    return f"the model read the first {seen.tokens_read} of {seen.tokens_count} tokens"
