"""Parked records: written to the compacted topic, indexed from it."""

import zlib

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import IllegalStateError
from pydantic import ValidationError

from tiermesh_budget.decide import ParkingLot
from tiermesh_budget.decide.parking import Space
from tiermesh_chassis.publishing import KafkaPublisher
from tiermesh_contracts.brokers import BrokerTraits
from tiermesh_contracts.escalations import Parked
from tiermesh_contracts.topics import DEFERRED

log = structlog.get_logger(__name__)


class KafkaParking:
    """Writes parked records, all of an org into one partition, so that one guard sees all who wait."""

    def __init__(self, publisher: KafkaPublisher, org: str) -> None:
        self._publisher = publisher
        self._partition = zlib.crc32(org.encode()) % DEFERRED.partitions

    async def park(self, parked: Parked) -> None:
        escalation = parked.escalation
        await self._publisher.publish(
            DEFERRED.name,
            parked,
            key=escalation.att,
            event_id=escalation.att,
            correlation_id=str(escalation.accepted.request.request_id),
            partition=self._partition,
        )

    async def clear(self, att: str) -> None:
        await self._publisher.publish_raw(
            DEFERRED.name, None, key=att.encode(), headers={}, partition=self._partition
        )


class ParkedIndex(ConsumerRebalanceListener):  # type: ignore[misc]
    """Keeps the parking lot in step with the partitions this guard is assigned; nothing is ever committed:
    an assignment is read from its beginning."""

    def __init__(self, bootstrap: str, traits: BrokerTraits, lot: ParkingLot, instance: str | None) -> None:
        group = f"tiermesh.budget-guard.{DEFERRED.name}"
        self._lot = lot
        self._arguments = {
            "bootstrap_servers": bootstrap,
            "group_id": group,
            "group_instance_id": f"{group}.{instance}" if instance and traits.static_membership else None,
            "enable_auto_commit": False,
            "auto_offset_reset": "earliest",
            "fetch_max_wait_ms": traits.fetch_max_wait_ms,
            "session_timeout_ms": traits.session_timeout_ms,
            "heartbeat_interval_ms": traits.session_timeout_ms // 5,
        }
        self._consumer: AIOKafkaConsumer | None = None
        self._unread: dict[TopicPartition, int] = {}
        """Where each partition ended when it was assigned, until it is read that far."""
        self.overfull: dict[str, Space] = {}

    @property
    def is_assigned(self) -> bool:
        return self._consumer is not None and bool(self._consumer.assignment())

    @property
    def is_caught_up(self) -> bool:
        return self.is_assigned and not self._unread

    async def run(self) -> None:
        self._consumer = AIOKafkaConsumer(**self._arguments)
        self._consumer.subscribe([DEFERRED.name], listener=self)
        await self._consumer.start()
        try:
            while True:
                for records in (await self._consumer.getmany(timeout_ms=100)).values():
                    for record in records:
                        self._index(record)
                await self._look_how_far(self._consumer)
        finally:
            await self._consumer.stop()

    async def _look_how_far(self, consumer: AIOKafkaConsumer) -> None:
        for tp, end in list(self._unread.items()):
            try:
                if await consumer.position(tp) >= end:
                    self._unread.pop(tp, None)
            except IllegalStateError:  # revoked meanwhile
                self._unread.pop(tp, None)

    def _index(self, record: "ConsumerRecord[bytes, bytes]") -> None:
        if record.value is None:
            att = (record.key or b"").decode(errors="replace")
            self._lot.take(att)
            self.overfull.pop(att, None)
            return
        try:
            parked = Parked.from_bytes(record.value)
        except ValidationError as error:
            log.critical("a parked record cannot be read; it is left", errors=error.error_count())
            return
        space = Space(parked, record.partition, len(record.value))
        if not self._lot.put(space):
            self.overfull[space.att] = space

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        if self._consumer is not None and assigned:
            self._unread.update(await self._consumer.end_offsets(assigned))
            await self._consumer.seek_to_beginning(*assigned)

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        partitions = {tp.partition for tp in revoked}
        self._lot.forget(partitions)
        for tp in revoked:
            self._unread.pop(tp, None)
        for att in [s.att for s in self.overfull.values() if s.partition in partitions]:
            del self.overfull[att]
