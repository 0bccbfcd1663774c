"""One trace id from the producer to the result, over every hop."""

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan

from tiermesh_contracts import InferenceRequest, Status, Tier
from tiermesh_contracts.ids import new_request_id

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"


def hops_of(spans: tuple[ReadableSpan, ...]) -> set[str]:
    ours = [span for span in spans if span.context and trace.format_trace_id(span.context.trace_id) == TRACE_ID]
    return {span.name for span in ours}


async def test_one_trace_over_every_hop(mesh):
    """Would break if a hop dropped a record's context, a batch gave its records a common one, or the guard,
    the ledger's read-back or the two readers of an outcome lost it."""
    async with mesh() as running:
        await local_path(running)
        running.spans.clear()
        await frontier_path(running)
        running.spans.clear()
        await batch(running)


async def local_path(running):
    request = InferenceRequest(request_id=new_request_id(), tenant="acme", input="how do i reset my password")
    result = await running.client.ask(request, traceparent=TRACEPARENT)
    assert (result.status, result.tier, result.label) == (Status.ANSWERED, Tier.LOCAL, "reset_password")
    assert hops_of(running.spans.get_finished_spans()) >= {
        "process mesh.requests.v1",
        "process mesh.local.classify.v1",
    }


async def frontier_path(running):
    text = "Prove that the square root of two is irrational, then write it as a limerick."
    request = InferenceRequest(request_id=new_request_id(), tenant="acme", input=text)
    result = await running.client.ask(request, traceparent=TRACEPARENT)
    assert (result.status, result.tier) == (Status.ANSWERED, Tier.FRONTIER)
    assert result.output is not None
    assert result.output.startswith("[simulated]")
    assert hops_of(running.spans.get_finished_spans()) >= {
        "process mesh.requests.v1",
        "process mesh.escalations.v1",
        "process mesh.grants.v1",
        "chat sim-large",
        "process mesh.outcomes.v1",
    }


async def batch(running):
    """Twenty records of other traces around ours."""
    for n in range(20):
        request = InferenceRequest(request_id=new_request_id(), tenant="acme", input=f"where is parcel {n}")
        await running.client.submit(request, traceparent=f"00-{n + 1:032x}-00f067aa0ba902b7-01")
    own = InferenceRequest(request_id=new_request_id(), tenant="acme", input="where is my parcel")
    await running.client.ask(own, traceparent=TRACEPARENT)
    spans = running.spans.get_finished_spans()
    routed = [s for s in spans if s.name == "process mesh.requests.v1" and s.context]
    traces = [trace.format_trace_id(s.context.trace_id) for s in routed if s.context]
    assert len(traces) == 21
    assert traces.count(TRACE_ID) == 1
    assert len(set(traces)) == 21
