"""What the framework does by itself on a real broker, observed once and pinned by test_stack_traps.

`python traps.py BOOTSTRAP` prints it as JSON: a process of its own, since what the framework leaves open when it
stops would be reported as a warning of whichever test runs next.
The services never subscribe like this; each subscriber here is what its author would have written first.
"""

import asyncio
import json
import sys
from dataclasses import asdict, dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaPublishMessage
from faststream.kafka import TopicPartition as FrameworkTopicPartition

from tiermesh_chassis.admin import create_topics
from tiermesh_contracts.topics import Topic

WAIT_S = 30
HOT = 100
KEYED_PUBLISHES = 20

TOPICS = {
    name: Topic(f"trap.{name}", "id", ("tests",), ("tests",), partitions=partitions)
    for name, partitions in {
        "ack": 1,
        "nack": 1,
        "manual": 1,
        "json": 1,
        "header": 1,
        "workers": 1,
        "batched": 6,
        "single": 6,
    }.items()
}


@dataclass
class Observed:
    ack_committed: int = -1
    nack_deliveries: int = 0
    manual_calls: int = 0
    manual_committed: int = 0
    json_bodies: list[Any] = field(default_factory=list)
    header_bodies: list[Any] = field(default_factory=list)
    workers_finished: int = 0
    workers_committed: int = 0
    batched_partitions: list[int] = field(default_factory=list)
    single_partitions: list[int] = field(default_factory=list)
    correlation_ids: list[str] = field(default_factory=list)
    framework_partition_error: str = ""


async def observe(kafka: str) -> Observed:
    """Run every trap once, side by side: joining a group takes seconds."""
    await create_topics(kafka, TOPICS.values())
    seen = Observed()
    await _produce(kafka)
    await asyncio.gather(
        *(trap(kafka, seen) for trap in (_ack, _nack, _manual, _json, _header, _workers, _publish))
    )
    seen.ack_committed = await committed(kafka, "ack")
    seen.manual_committed = await committed(kafka, "manual")
    seen.workers_committed = await committed(kafka, "workers")
    return seen


async def committed(kafka: str, name: str) -> int:
    partition = TopicPartition(f"trap.{name}", 0)
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, group_id=f"trap.{name}", enable_auto_commit=False)
    async with consumer:
        consumer.assign([partition])
        offset = await consumer.committed(partition)
    return -1 if offset is None else int(offset)


async def _produce(kafka: str) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka, enable_idempotence=False) as producer:
        for name in ("ack", "nack", "manual", "workers"):
            await producer.send_and_wait(f"trap.{name}", b"1")
        for value in (b'{"n": 1}', b"{not json", b'{"n": 3}'):
            await producer.send_and_wait("trap.json", value, headers=[("content-type", b"application/json")])
        await producer.send_and_wait("trap.header", b"lost", headers=[("null", None)])
        await producer.send_and_wait("trap.header", b"lost too", headers=[("binary", b"\xff")])
        await producer.send_and_wait("trap.header", b"kept")


def _broker(kafka: str) -> KafkaBroker:
    return KafkaBroker(kafka, logger=None, apply_types=False)


def _subscriber(broker: KafkaBroker, name: str, policy: AckPolicy, **settings: Any) -> Any:
    """In a group of its own, from the beginning."""
    topic = f"trap.{name}"
    return broker.subscriber(
        topic,
        group_id=topic,
        auto_offset_reset="earliest",
        ack_policy=policy,
        fetch_max_wait_ms=10,
        session_timeout_ms=2_000,
        heartbeat_interval_ms=400,
        **settings,
    )


async def _run_until(broker: KafkaBroker, happened: asyncio.Event) -> None:
    await broker.start()
    async with asyncio.timeout(WAIT_S):
        await happened.wait()


async def _ack(kafka: str, seen: Observed) -> None:
    happened = asyncio.Event()
    async with _broker(kafka) as broker:

        @_subscriber(broker, "ack", AckPolicy.ACK)  # type: ignore[untyped-decorator]
        async def handle(_: Any) -> None:
            happened.set()
            raise ZeroDivisionError

        await _run_until(broker, happened)


async def _nack(kafka: str, seen: Observed) -> None:
    happened = asyncio.Event()
    async with _broker(kafka) as broker:

        @_subscriber(broker, "nack", AckPolicy.NACK_ON_ERROR)  # type: ignore[untyped-decorator]
        async def handle(_: Any) -> None:
            seen.nack_deliveries += 1
            if seen.nack_deliveries >= HOT:
                happened.set()
                await asyncio.sleep(0.1)
            raise ZeroDivisionError

        await _run_until(broker, happened)


async def _manual(kafka: str, seen: Observed) -> None:
    happened = asyncio.Event()
    async with _broker(kafka) as broker:
        subscriber = _subscriber(broker, "manual", AckPolicy.MANUAL, batch=True, batch_timeout_ms=10)

        @subscriber  # type: ignore[untyped-decorator]
        async def handle(_: Any) -> None:
            seen.manual_calls += 1
            happened.set()
            raise ZeroDivisionError

        await _run_until(broker, happened)
        await asyncio.sleep(1)
        try:
            await subscriber.consumer.commit({FrameworkTopicPartition("trap.manual", 0): 1})
        except TypeError as error:
            seen.framework_partition_error = str(error)


async def _json(kafka: str, seen: Observed) -> None:
    happened = asyncio.Event()
    async with _broker(kafka) as broker:

        @_subscriber(broker, "json", AckPolicy.MANUAL, batch=True)  # type: ignore[untyped-decorator]
        async def handle(body: list[Any]) -> None:
            seen.json_bodies.append(body)
            if {"n": 4} in body:
                happened.set()

        await broker.start()
        await asyncio.sleep(1)
        await broker.publish({"n": 4}, "trap.json")
        async with asyncio.timeout(WAIT_S):
            await happened.wait()


async def _header(kafka: str, seen: Observed) -> None:
    happened = asyncio.Event()
    async with _broker(kafka) as broker:

        @_subscriber(broker, "header", AckPolicy.ACK)  # type: ignore[untyped-decorator]
        async def handle(body: Any) -> None:
            seen.header_bodies.append(body.decode())
            happened.set()

        await _run_until(broker, happened)


async def _workers(kafka: str, seen: Observed) -> None:
    happened = asyncio.Event()
    async with _broker(kafka) as broker:

        @_subscriber(broker, "workers", AckPolicy.ACK, max_workers=2)  # type: ignore[untyped-decorator]
        async def slow(_: Any) -> None:
            happened.set()
            await asyncio.sleep(0.5)
            seen.workers_finished += 1

        await _run_until(broker, happened)


async def _publish(kafka: str, seen: Observed) -> None:
    async with _broker(kafka) as broker:
        for _ in range(KEYED_PUBLISHES):
            batch = await broker.publish_batch(KafkaPublishMessage(b"1", key=b"one key"), topic="trap.batched")
            single = await broker.publish(b"1", "trap.single", key=b"one key")
            assert batch is not None
            assert single is not None
            seen.batched_partitions.append(batch.partition)
            seen.single_partitions.append(single.partition)
        await broker.publish(b"1", "trap.single", key=b"other", partition=0, correlation_id="mine")
        await broker.publish(b"1", "trap.single", key=b"other", partition=0)
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, fetch_max_wait_ms=10, auto_offset_reset="earliest")
    async with consumer, asyncio.timeout(WAIT_S):
        consumer.assign([TopicPartition("trap.single", 0)])
        while len(seen.correlation_ids) < 2:
            for records in (await consumer.getmany(timeout_ms=100)).values():
                seen.correlation_ids += [
                    dict(r.headers)["correlation_id"].decode() for r in records if r.key == b"other"
                ]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(asyncio.run(observe(sys.argv[1])))))
