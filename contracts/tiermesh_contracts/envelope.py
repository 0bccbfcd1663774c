"""Record headers: CloudEvents in Kafka's binary binding, the trace, the correlation id.

Source: CloudEvents 1.0, Kafka protocol binding, section 3.2 (attributes become `ce_` headers, the data is the
value); W3C Trace Context for `traceparent`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from tiermesh_contracts.message import Message

CONTENT_TYPE = "application/json"


def event_headers(
    message: Message,
    *,
    source: str,
    event_id: str,
    correlation_id: str,
    time: datetime,
    traceparent: str | None = None,
) -> dict[str, str]:
    """Headers of one record.

    `source` is the service or producer; `event_id` is unique within it and derived from the message, so that
    a redelivery repeats it; `correlation_id` is the request id.
    """
    headers = {
        "ce_specversion": "1.0",
        "ce_id": event_id,
        "ce_source": f"tiermesh/{source}",
        "ce_type": message.ce_type,
        "ce_time": time.isoformat(),
        "content-type": CONTENT_TYPE,
        "correlation_id": correlation_id,
    }
    if traceparent is not None:
        headers["traceparent"] = traceparent
    return headers


@dataclass(frozen=True, slots=True)
class RecordHeaders:
    """The headers of a received record, read tolerantly: whoever wrote them, reading them never raises."""

    values: dict[str, str]
    broken: tuple[str, ...] = ()
    """Names whose value was null or not UTF-8; they are treated as absent."""

    @classmethod
    def read(cls, raw: Iterable[tuple[str, bytes | None]]) -> "RecordHeaders":
        values: dict[str, str] = {}
        broken: list[str] = []
        for name, value in raw:
            try:
                values[name] = (value or b"").decode()
            except UnicodeDecodeError:
                broken.append(name)
            else:
                if value is None:
                    broken.append(name)
                    del values[name]
        return cls(values, tuple(broken))

    @property
    def traceparent(self) -> str | None:
        return self.values.get("traceparent")
