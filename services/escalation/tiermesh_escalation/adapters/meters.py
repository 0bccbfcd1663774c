"""Counts of calls, behind `/metrics`."""

from opentelemetry import metrics

from tiermesh_contracts.escalations import Evidence


class OtelMeters:
    def __init__(self) -> None:
        meter = metrics.get_meter("tiermesh.escalation")
        self._calls = meter.create_counter(
            "tiermesh.escalation.calls", description="Calls to frontier models, by what is known of their cost"
        )
        self._call_ms = meter.create_histogram(
            "tiermesh.escalation.call_ms", unit="ms", description="From the fence to the end of the response"
        )

    def called(self, provider: str, evidence: Evidence, elapsed_ms: int) -> None:
        self._calls.add(1, {"provider": provider, "evidence": evidence.value})
        self._call_ms.record(elapsed_ms, {"provider": provider})
