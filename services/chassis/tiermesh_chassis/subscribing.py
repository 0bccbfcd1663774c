"""Joining a topic to a delivery: the one subscriber shape of the project."""

from collections.abc import Sequence
from typing import Any

from aiokafka import ConsumerRebalanceListener, ConsumerRecord
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka.message import FAKE_CONSUMER, KafkaMessage

from tiermesh_chassis.committing import Committer
from tiermesh_chassis.delivery import Delivery
from tiermesh_contracts.brokers import BrokerTraits
from tiermesh_contracts.topics import Topic

BATCH_TIMEOUT_MS = 10
"""An idle batch subscriber waits for it twice; the framework's own 200 ms would be the median latency."""

MAX_POLL_INTERVAL_MS = 1_800_000
"""A member that fetches nothing for so long is thrown out of its group. While a store is away every permit may be
held by a record that is tried again, and nothing is fetched; the default of five minutes would move the partitions
to another replica that cannot do better."""

Records = Sequence["ConsumerRecord[bytes, bytes]"]


async def _tolerant(records: Any) -> KafkaMessage:
    """The framework's parser decodes every header and drops a batch with a null or binary one."""
    return KafkaMessage(body=records, headers={}, raw_message=records, consumer=FAKE_CONSUMER)


async def _undecoded(message: KafkaMessage) -> Any:
    return message.body


class Subscription:
    """One consumer of one group."""

    def __init__(
        self,
        broker: KafkaBroker,
        traits: BrokerTraits,
        topic: Topic,
        group: str,
        *,
        listener: ConsumerRebalanceListener,
        records_max: int,
        instance: str | None,
    ) -> None:
        self.topic = topic
        self._subscriber = broker.subscriber(
            topic.name,
            group_id=group,
            group_instance_id=f"{group}.{instance}" if instance and traits.static_membership else None,
            batch=True,
            max_records=records_max,
            batch_timeout_ms=BATCH_TIMEOUT_MS,
            fetch_max_wait_ms=traits.fetch_max_wait_ms,
            session_timeout_ms=traits.session_timeout_ms,
            max_poll_interval_ms=MAX_POLL_INTERVAL_MS,
            heartbeat_interval_ms=traits.session_timeout_ms // 5,
            auto_offset_reset="earliest",
            ack_policy=AckPolicy.MANUAL,
            parser=_tolerant,
            decoder=_undecoded,
            listener=listener,
        )

    def deliver_to(self, delivery: Delivery[Any], committer: Committer) -> None:
        async def on_records(records: Records) -> None:
            committer.bind(self._subscriber.consumer)
            await delivery.take(records)

        self._subscriber(on_records)

    @property
    def consumer(self) -> Any:
        return self._subscriber.consumer

    @property
    def is_assigned(self) -> bool:
        """True once the group gave this member its partitions (none is an answer only for a spare replica)."""
        consumer = self._subscriber.consumer
        return consumer is not None and bool(consumer.assignment())
