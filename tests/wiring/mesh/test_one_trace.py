"""One trace id from the producer to the result, over every hop."""

import asyncio
from collections import Counter
from contextlib import suppress

from opentelemetry import trace

from tiermesh_contracts import InferenceRequest, Status, Tier
from tiermesh_contracts.ids import new_request_id
from tiermesh_contracts.requests import OnBudget

LOCAL, FRONTIER, PARKED = (f"4bf92f3577b34da6a3ce929d0e0e473{n}" for n in range(3))
REQUESTS_HOP, LOCAL_HOP = "process mesh.requests.v1", "process mesh.local.classify.v1"
TO_THE_FRONTIER = Counter(
    {
        REQUESTS_HOP: 1,
        "process mesh.escalations.v1": 1,
        "process mesh.grants.v1": 1,
        "chat sim-large": 1,
        "process mesh.outcomes.v1": 2,  # the guard settles by it, escalation delivers by it
    }
)
NOVEL = "Prove that the square root of two is irrational, then write it as a limerick."


def traceparent(trace_id):
    return f"00-{trace_id}-00f067aa0ba902b7-01"


def spans_of(running, name):
    """Trace ids of the ended spans of this name."""
    ended = [span for span in running.spans.get_finished_spans() if span.name == name and span.context]
    return [trace.format_trace_id(span.context.trace_id) for span in ended]


def hops_of(running, trace_id):
    names = {span.name for span in running.spans.get_finished_spans()}
    return Counter({name: spans_of(running, name).count(trace_id) for name in names})


async def soon(is_so):
    """A record's span may end after its result was published."""
    with suppress(TimeoutError):
        async with asyncio.timeout(20):
            while not is_so():
                await asyncio.sleep(0.02)


async def hops_seen(running, trace_id, expected):
    await soon(lambda: hops_of(running, trace_id) >= expected)
    found = hops_of(running, trace_id)
    return Counter({name: found[name] for name in expected})


async def test_one_trace_over_every_hop(mesh):
    """Would break if a hop dropped a record's context, a batch gave its records a common one, or the guard,
    the ledger's read-back or one of the two readers of an outcome lost it."""
    async with mesh() as running:
        await local_path(running)
        await frontier_path(running)
        running.spans.clear()
        await batch(running)


async def test_a_parked_request_stays_in_its_trace(mesh):
    """Would break if the trace ended where a request waits for money: the wait, which is what people ask about."""
    async with mesh(limit_usd=0.0001) as running:
        request = InferenceRequest(
            request_id=new_request_id(), tenant="acme", input=NOVEL, on_budget=OnBudget.DEFER
        )
        asking = asyncio.create_task(running.client.ask(request, traceparent=traceparent(PARKED)))
        await soon(lambda: PARKED in spans_of(running, "release mesh.deferred.v1"))
        assert not asking.done()
        assert not spans_of(running, "process mesh.grants.v1")
        running.spans.clear()
        running.set_limit(100)
        result = await asking
        expected = TO_THE_FRONTIER - Counter([REQUESTS_HOP, "process mesh.escalations.v1"])
        assert await hops_seen(running, PARKED, expected) == expected
        assert PARKED in spans_of(running, "release mesh.deferred.v1")
    assert (result.status, result.tier) == (Status.ANSWERED, Tier.FRONTIER)


async def local_path(running):
    request = InferenceRequest(request_id=new_request_id(), tenant="acme", input="how do i reset my password")
    result = await running.client.ask(request, traceparent=traceparent(LOCAL))
    assert (result.status, result.tier, result.label) == (Status.ANSWERED, Tier.LOCAL, "reset_password")
    expected = Counter([REQUESTS_HOP, LOCAL_HOP])
    assert await hops_seen(running, LOCAL, expected) == expected


async def frontier_path(running):
    request = InferenceRequest(request_id=new_request_id(), tenant="acme", input=NOVEL)
    result = await running.client.ask(request, traceparent=traceparent(FRONTIER))
    assert (result.status, result.tier) == (Status.ANSWERED, Tier.FRONTIER)
    assert result.output is not None
    assert result.output.startswith("[simulated]")
    assert await hops_seen(running, FRONTIER, TO_THE_FRONTIER) == TO_THE_FRONTIER


async def batch(running):
    """Twenty records of other traces around ours."""
    for n in range(20):
        request = InferenceRequest(request_id=new_request_id(), tenant="acme", input=f"where is parcel {n}")
        await running.client.submit(request, traceparent=traceparent(f"{n + 1:032x}"))
    own = InferenceRequest(request_id=new_request_id(), tenant="acme", input="where is my parcel")
    await running.client.ask(own, traceparent=traceparent(LOCAL))
    await soon(lambda: len(spans_of(running, REQUESTS_HOP)) >= 21)
    traces = spans_of(running, REQUESTS_HOP)
    assert len(traces) == 21
    assert traces.count(LOCAL) == 1
    assert len(set(traces)) == 21
