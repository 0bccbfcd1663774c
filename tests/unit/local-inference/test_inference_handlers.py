from typing import Any

import pytest

from fakes.inference import GivenClassifier
from fakes.publishing import RecordingPublisher
from fakes.router import RecordingResults
from tiermesh_chassis.delivery import Inbound
from tiermesh_chassis.errors import TransientError
from tiermesh_contracts.budget import attempt_id
from tiermesh_contracts.escalations import Escalation, ModelRef
from tiermesh_contracts.ids import new_request_id
from tiermesh_contracts.requests import AcceptedRequest, InferenceRequest, LocalWork, Privacy
from tiermesh_contracts.results import InferenceResult, ResultReason, Status, Tier
from tiermesh_contracts.routing import Route, RouteReason, RoutingDecision
from tiermesh_inference.handlers import LocalHandlers
from tiermesh_inference.model import Classified, Seen, Unclassified

SURE = Classified("support", "support", "0123456789ab", "lost", 0.9, 0.8, ("lost", "late"), 5, 5)
UNSURE = Classified("support", "support", "0123456789ab", "lost", 0.4, 0.8, ("lost", "late"), 5, 9)


class Mesh:
    """A handler with everything it touches."""

    def __init__(self, seen: Seen) -> None:
        self.classifier = GivenClassifier(seen)
        self.publisher = RecordingPublisher()
        self.results = RecordingResults()
        self.handlers = LocalHandlers(
            frontier=(ModelRef(provider="sim", model="large"),),
            classifier=self.classifier,
            publisher=self.publisher,
            results=self.results,
            clock=lambda: 1_000_700,
        )

    @property
    def result(self) -> InferenceResult:
        ((_, result),) = self.results.answered
        return result


def inbound(privacy: Privacy = Privacy.ANY, reason: RouteReason = RouteReason.IN_SCOPE) -> Inbound[LocalWork]:
    request = InferenceRequest(request_id=new_request_id(), tenant="acme", input="where is my parcel")
    accepted = AcceptedRequest(
        request=request,
        redrive=2,
        accepted_at_ms=1_000_000,
        expires_at_ms=1_060_000,
        privacy=privacy,
        timings_ms={"requests_queue": 5, "router": 2},
    )
    routing = RoutingDecision(route=Route.LOCAL, reason=reason, task="support", model="support")
    return Inbound(
        LocalWork(accepted=accepted, routing=routing), {}, "mesh.local.classify.v1", 0, 7, 1_000_400, 1_000_500
    )


async def test_a_sure_answer_is_a_whole_result() -> None:
    """Whoever reads the result could not tell which model answered, from how much text, at what cost or speed."""
    mesh, record = Mesh(SURE), inbound()
    await mesh.handlers.on_work(record)
    result = mesh.result
    assert (result.status, result.tier, result.reason) == (Status.ANSWERED, Tier.LOCAL, ResultReason.CONFIDENT)
    assert (result.model, result.label, result.output) == ("support@0123456789ab", "lost", "lost")
    assert (result.confidence, result.degraded, result.label_source) == (0.9, False, Tier.LOCAL)
    assert result.usage is not None
    assert (result.usage.input_tokens, result.usage.output_tokens, result.cost_usd_nanos) == (5, 0, 0)
    assert (result.redrive, result.routing, result.detail) == (2, record.message.routing, None)
    assert list(result.timings_ms.items()) == [
        ("requests_queue", 5),
        ("router", 2),
        ("local_queue", 100),
        ("inference", 200),
        ("total", 700),
    ]
    assert mesh.classifier.asked == [("where is my parcel", "support", 1_060_000)]


async def test_an_unsure_answer_asks_a_frontier_and_gives_no_result_yet() -> None:
    """Two results for one request, or an escalation that cannot be told from a repeat."""
    mesh, record = Mesh(UNSURE), inbound()
    await mesh.handlers.on_work(record)
    (sent,) = mesh.publisher.published
    request = record.message.accepted.request
    assert isinstance(sent.message, Escalation)
    assert (sent.topic, sent.key) == ("mesh.escalations.v1", "acme")
    assert sent.event_id == attempt_id("acme", request.request_id, 2, 1)
    assert sent.correlation_id == str(request.request_id)
    assert sent.message.best_local is not None
    assert sent.message.accepted.timings_ms["inference"] == 200
    assert mesh.results.answered == []


@pytest.mark.parametrize(
    ("seen", "record"),
    [(UNSURE, inbound(Privacy.LOCAL_ONLY)), (SURE, inbound(Privacy.LOCAL_ONLY, RouteReason.LOCAL_ONLY))],
)
async def test_what_stays_home_is_marked_degraded(seen: Classified, record: Inbound[LocalWork]) -> None:
    """A guess would be taken for an answer."""
    mesh = Mesh(seen)
    await mesh.handlers.on_work(record)
    assert (mesh.result.status, mesh.result.reason) == (Status.ANSWERED, ResultReason.BEST_LOCAL)
    assert mesh.result.degraded
    assert mesh.publisher.published == []


async def test_a_text_cut_by_the_model_says_so() -> None:
    """An answer about the first pages of a document would be taken for one about all of it."""
    mesh = Mesh(UNSURE)
    await mesh.handlers.on_work(inbound(Privacy.LOCAL_ONLY))
    assert mesh.result.detail == "the model read the first 5 of 9 tokens"


async def test_late_work_expires() -> None:
    """Work past its deadline would be run, or end without a result."""
    mesh = Mesh(Unclassified.EXPIRED)
    await mesh.handlers.on_work(inbound())
    assert (mesh.result.status, mesh.result.tier) == (Status.EXPIRED, Tier.NONE)
    assert (mesh.result.reason, mesh.result.model, mesh.result.usage) == (ResultReason.DEADLINE, None, None)


async def test_a_broker_that_does_not_take_it_is_the_chassis_matter() -> None:
    """Swallowed here, the offset would be committed and the request lost."""
    mesh = Mesh(UNSURE)
    failure: Any = TransientError("broker away")
    mesh.publisher.failures.append(failure)
    with pytest.raises(TransientError):
        await mesh.handlers.on_work(inbound())
