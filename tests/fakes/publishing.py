"""A publisher that keeps what it was given."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tiermesh_contracts.message import Message


@dataclass(frozen=True)
class Published:
    topic: str
    message: Message
    key: str
    event_id: str
    correlation_id: str
    traceparent: str | None = None
    partition: int | None = None


@dataclass
class RecordingPublisher:
    published: list[Published] = field(default_factory=list)
    raw: list[tuple[str, bytes | None, bytes | None, Mapping[str, str], int | None]] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    """Raised by the next calls, in order."""

    async def publish(
        self,
        topic: str,
        message: Message,
        *,
        key: str,
        event_id: str,
        correlation_id: str,
        traceparent: str | None = None,
        partition: int | None = None,
    ) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.published.append(Published(topic, message, key, event_id, correlation_id, traceparent, partition))

    async def publish_raw(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None,
        headers: Mapping[str, str],
        partition: int | None = None,
    ) -> None:
        self.raw.append((topic, value, key, headers, partition))
