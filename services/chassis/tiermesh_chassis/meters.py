"""What every service counts of its deliveries. Labels are topics and a closed set of outcomes."""

from typing import Literal

from opentelemetry import metrics

Ending = Literal["handled", "dead_letter"]


class DeliveryMeter:
    def __init__(self) -> None:
        meter = metrics.get_meter("tiermesh.delivery")
        self._records = meter.create_counter(
            "tiermesh.delivery.records", description="records finished, by topic and ending"
        )
        self._retries = meter.create_counter(
            "tiermesh.delivery.retries", description="further tries after a transient error, by topic"
        )
        self._queue_time_ms = meter.create_histogram(
            "tiermesh.delivery.queue_time_ms",
            description="from a record's timestamp to its start here, by topic",
            explicit_bucket_boundaries_advisory=[5, 10, 25, 50, 100, 250, 500, 1000, 5000, 30_000, 300_000],
        )

    def finished(self, topic: str, ending: Ending) -> None:
        self._records.add(1, {"topic": topic, "ending": ending})

    def retried(self, topic: str) -> None:
        self._retries.add(1, {"topic": topic})

    def started(self, topic: str, queue_time_ms: int) -> None:
        self._queue_time_ms.record(queue_time_ms, {"topic": topic})
