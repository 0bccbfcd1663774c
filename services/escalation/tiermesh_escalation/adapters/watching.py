"""Spans and counts of calls. Names follow OpenTelemetry's GenAI conventions, which have none for cost."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import metrics

from tiermesh_chassis.telemetry import step
from tiermesh_contracts.escalations import Evidence
from tiermesh_escalation.model import Call, Finding


class OtelWatch:
    def __init__(self) -> None:
        meter = metrics.get_meter("tiermesh.escalation")
        self._calls = meter.create_counter(
            "tiermesh.escalation.calls", description="Calls to frontier models, by what is known of their cost"
        )
        self._call_ms = meter.create_histogram(
            "tiermesh.escalation.call_ms", unit="ms", description="From the fence to the end of the response"
        )

    @contextmanager
    def call(self, call: Call) -> Iterator[Callable[[Finding, int], None]]:
        asked = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": call.provider,
            "gen_ai.request.model": call.model,
            "tiermesh.att": call.att,
        }
        with step(f"chat {call.model}", asked) as span:

            def ended(finding: Finding, elapsed_ms: int) -> None:
                span.set_attributes(_found(finding))
                self._calls.add(1, {"provider": call.provider, "evidence": finding.evidence.value})
                self._call_ms.record(elapsed_ms, {"provider": call.provider})

            yield ended


def _found(finding: Finding) -> Mapping[str, str | int | list[str]]:
    """Attributes of what is known; what is unknown is left out, never written as zero."""
    found: dict[str, str | int | list[str]] = {"tiermesh.evidence": finding.evidence.value}
    if finding.usage is not None:
        found["gen_ai.usage.input_tokens"] = finding.usage.input_tokens
        found["gen_ai.usage.output_tokens"] = finding.usage.output_tokens
    if finding.cost_usd_nanos is not None:
        found["tiermesh.cost.usd_nanos"] = finding.cost_usd_nanos
    if finding.response_id is not None:
        found["gen_ai.response.id"] = finding.response_id
    if finding.finish_reason is not None:
        found["gen_ai.response.finish_reasons"] = [finding.finish_reason]
    if finding.evidence is not Evidence.COMPLETED:
        found["error.type"] = finding.detail
    return found
