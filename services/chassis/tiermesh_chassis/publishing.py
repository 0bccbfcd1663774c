"""Publishing: every record with its key, its CloudEvents headers and the current trace, acknowledged by all."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Protocol

from aiokafka.errors import KafkaError
from faststream.exceptions import IncorrectState
from faststream.kafka import KafkaBroker

from tiermesh_chassis.clock import Clock, now_ms
from tiermesh_chassis.errors import PermanentError, TransientError
from tiermesh_chassis.telemetry import current_traceparent
from tiermesh_contracts.envelope import event_headers
from tiermesh_contracts.failures import DeadLetterReason
from tiermesh_contracts.message import Message
from tiermesh_contracts.topics import MESSAGE_BYTES_MAX


class Publisher(Protocol):
    """The port through which services write."""

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
    ) -> None: ...

    async def publish_raw(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None,
        headers: Mapping[str, str],
        partition: int | None = None,
    ) -> None: ...


class KafkaPublisher:
    """Publishes through FastStream; returns once the record is acknowledged."""

    def __init__(self, broker: KafkaBroker, service: str, clock: Clock = now_ms) -> None:
        self._broker = broker
        self._service = service
        self._clock = clock

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
        """Publish one message; `traceparent` absent: the current span's.

        Raises `TransientError` where the brokers did not take it, `PermanentError` where it is too large.
        """
        headers = event_headers(
            message,
            source=self._service,
            event_id=event_id,
            correlation_id=correlation_id,
            time=datetime.fromtimestamp(self._clock() / 1000, UTC),
            traceparent=traceparent or current_traceparent(),
        )
        value = message.to_bytes()
        if len(value) > MESSAGE_BYTES_MAX - 4096:
            raise PermanentError(DeadLetterReason.OVERSIZED, f"{len(value)} bytes are too many for {topic}")
        await self._send(topic, value, key.encode(), headers, correlation_id, partition)

    async def publish_raw(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None,
        headers: Mapping[str, str],
        partition: int | None = None,
    ) -> None:
        """Publish bytes as they are; a `value` of None under a key is a tombstone."""
        await self._send(topic, value, key, dict(headers), headers.get("correlation_id"), partition)

    async def _send(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        headers: dict[str, str],
        correlation_id: str | None,
        partition: int | None,
    ) -> None:
        try:
            # correlation_id is passed on: without it an explicit publish gets a fresh one
            await self._broker.publish(
                value, topic, key=key, headers=headers, correlation_id=correlation_id, partition=partition
            )
        except (KafkaError, OSError, IncorrectState) as error:
            raise TransientError(f"{topic} did not take a record: {error!r}") from error
