"""What a running service shows: its traces, its health, its metrics."""

import json

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tiermesh_chassis import telemetry
from tiermesh_chassis.delivery import Inbound, Lane
from tiermesh_contracts.ids import new_request_id
from tiermesh_contracts.requests import InferenceRequest
from tiermesh_contracts.topics import Topic
from wiring.chassis.rig import Rig


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """Spans of the chassis alone: a process can set its tracer provider only once, and others may want to."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(telemetry, "_tracer", provider.get_tracer("tests"))
    return exporter


def ids(span: ReadableSpan) -> tuple[str, str, str | None]:
    context = span.get_span_context()
    assert context is not None
    parent = format(span.parent.span_id, "016x") if span.parent else None
    return format(context.trace_id, "032x"), format(context.span_id, "016x"), parent


async def test_one_request_is_one_trace_through_two_services_also_in_a_batch(
    rig: Rig, spans: InMemorySpanExporter
) -> None:
    """A batch would be one trace, or each hop its own: nobody could follow one request."""
    first, second = rig.service(), rig.service(f"{rig.name}-two")
    source, middle = await rig.topic("in", 1), await rig.topic("middle", 1)
    heard: dict[str, str | None] = {}

    async def pass_on(inbound: Inbound[InferenceRequest]) -> None:
        asked = inbound.message
        await first.publisher.publish(
            middle.name, asked, key="k", event_id=str(asked.request_id), correlation_id=str(asked.request_id)
        )

    async def hear(inbound: Inbound[InferenceRequest]) -> None:
        heard[inbound.message.text] = inbound.headers.get("traceparent")
        assert inbound.headers["correlation_id"] == str(inbound.message.request_id)
        assert inbound.headers["ce_source"] == f"tiermesh/{rig.name}"

    first.subscribe(source, Lane(InferenceRequest, pass_on, in_flight_max=64))
    second.subscribe(middle, Lane(InferenceRequest, hear, in_flight_max=64))
    count = 10
    for n in range(count):
        asked = InferenceRequest(request_id=new_request_id(), tenant="acme", input=f"{n}")
        traceparent = f"00-{n + 1:032x}-{n + 1:016x}-01"
        await rig.send(source, [asked.to_bytes()], [("traceparent", traceparent.encode())])
    async with rig.running(first, second):
        await rig.until_committed(f"{rig.name}-two", middle, count)

    into = {ids(s)[0]: ids(s) for s in spans.get_finished_spans() if s.name == f"process {source.name}"}
    out = {ids(s)[0]: ids(s) for s in spans.get_finished_spans() if s.name == f"process {middle.name}"}
    assert set(into) == set(out) == {f"{n + 1:032x}" for n in range(count)}
    for n in range(count):
        trace_id = f"{n + 1:032x}"
        assert into[trace_id][2] == f"{n + 1:016x}"
        assert out[trace_id][2] == into[trace_id][1]
        assert heard[f"{n}"] == f"00-{trace_id}-{into[trace_id][1]}-01"


async def test_health_readiness_and_metrics_over_http(rig: Rig) -> None:
    """Work would be sent to a service without partitions, or a stuck one would be taken for a dead one."""
    topic, service = await rig.topic(), rig.service()
    missing: list[str | None] = ["the model is not there yet"]

    async def nothing(inbound: Inbound[InferenceRequest]) -> None:
        return

    async def model() -> str | None:
        return missing[-1]

    async def beside() -> str | None:
        return "work goes on without it"

    service.subscribe(topic, Lane(InferenceRequest, nothing, in_flight_max=8))
    store = service.store()
    service.check("late", model)
    service.check("beside", beside, advisory=True)
    closed: list[str] = []

    async def close() -> None:
        closed.append("closed")

    service.on_close(close)
    missing.append(None)
    async with rig.running(service) as (run,):
        assert await run.get("/health") == (200, '{"status": "alive"}')
        status, ready = await run.get("/ready")
        advisory = {"beside": "work goes on without it"}
        assert (status, json.loads(ready)) == (200, {"ready": True, "missing": {}, "advisory": advisory})
        missing.append("the model went away")
        status, ready = await run.get("/ready")
        assert (status, json.loads(ready)["missing"]) == (503, {"late": "the model went away"})
        assert (await run.get("/health"))[0] == 200
        status, metrics = await run.get("/metrics")
        assert status == 200
        assert "# TYPE python_info gauge" in metrics
        assert (await run.get("/nothing"))[0] == 404
        assert await store.ping()
    assert closed == ["closed"]


async def test_a_service_without_its_topic_is_alive_and_not_ready(rig: Rig) -> None:
    """The framework's own ping says yes as soon as its producer runs, seconds before any partition came."""
    service = rig.service()
    absent = Topic(f"test.{rig.name}.absent", "id", ("tests",), ("tests",))

    async def nothing(inbound: Inbound[InferenceRequest]) -> None:
        return

    service.subscribe(absent, Lane(InferenceRequest, nothing, in_flight_max=8))
    async with rig.running(service, wait=False) as (run,):
        assert (await run.get("/health"))[0] == 200
        status, ready = await run.get("/ready")
        assert (status, json.loads(ready)["missing"]) == (503, {absent.name: "no partitions assigned yet"})
