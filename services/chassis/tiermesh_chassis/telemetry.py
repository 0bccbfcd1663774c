"""One trace per request across every hop, and the meters behind `/metrics`.

A record's trace context travels in its `traceparent` header. FastStream's own middleware is not used: it gives
a batch one context, and writes over the header that was set.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_PROPAGATOR = TraceContextTextMapPropagator()
_tracer = trace.get_tracer("tiermesh")


def configure_telemetry(service: str) -> None:
    """Call once, at the start of a process.

    Spans leave only where an OTLP endpoint is named in the environment; metrics are served at `/metrics`.
    """
    resource = Resource.create({SERVICE_NAME: f"tiermesh-{service}"})
    provider = TracerProvider(resource=resource)
    if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    metrics.set_meter_provider(MeterProvider(resource=resource, metric_readers=[PrometheusMetricReader()]))


@contextmanager
def hop(name: str, headers: Mapping[str, str], attributes: Mapping[str, str | int]) -> Iterator[trace.Span]:
    """The span of one record in one service, child of the record's own context."""
    parent = _PROPAGATOR.extract(headers)
    kind = trace.SpanKind.CONSUMER
    with _tracer.start_as_current_span(name, context=parent, kind=kind, attributes=dict(attributes)) as span:
        yield span


@contextmanager
def step(name: str, attributes: Mapping[str, str | int]) -> Iterator[trace.Span]:
    """A span inside the current one."""
    with _tracer.start_as_current_span(name, kind=trace.SpanKind.CLIENT, attributes=dict(attributes)) as span:
        yield span


def current_traceparent() -> str | None:
    """The current span as a `traceparent` header."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get("traceparent")
