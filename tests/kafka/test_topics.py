"""What Apache Kafka makes of the registry."""

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from kafka.reading import record_at, topic_partitions, topic_settings
from tiermesh_chassis.admin import registry
from tiermesh_contracts.brokers import missing_topics
from tiermesh_contracts.topics import DEFERRED, REQUESTS, RESULTS

pytestmark = pytest.mark.kafka

LONG_AGO_MS = 1_000


async def test_each_topic_has_the_settings_of_the_registry(kafka: str) -> None:
    """The ledger would be deleted after a week, a producer would move its deadline, or parked work would pile up
    for ever, while every test on the embedded broker passes."""
    topics = {topic.name: topic for topic in registry()}
    settings = await topic_settings(kafka, topics)
    assert {name: settings[name] | topic.config for name, topic in topics.items()} == settings
    partitions = await topic_partitions(kafka, topics)
    assert {name: len(each) for name, each in partitions.items()} == {n: t.partitions for n, t in topics.items()}


async def test_a_producers_clock_does_not_move_its_deadline(kafka: str) -> None:
    """A request dated in the past would be expired on arrival, one dated in the future would never be."""
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        stamped = await producer.send_and_wait(REQUESTS.name, b"{}", key=b"clock", timestamp_ms=LONG_AGO_MS)
        kept = await producer.send_and_wait(RESULTS.name, b"{}", key=b"clock", timestamp_ms=LONG_AGO_MS)
    request = await record_at(kafka, stamped.topic, stamped.partition, stamped.offset)
    result = await record_at(kafka, kept.topic, kept.partition, kept.offset)
    assert (request.timestamp_type, result.timestamp_type) == (1, 0)
    assert request.timestamp > LONG_AGO_MS == result.timestamp


async def test_a_compacted_topic_takes_no_record_without_a_key(kafka: str) -> None:
    """The embedded broker takes it: a parked request published without its key is lost on this broker alone."""
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        with pytest.raises(KafkaError):
            await producer.send_and_wait(DEFERRED.name, b"{}")
        await producer.send_and_wait(DEFERRED.name, b"{}", key=b"att")


async def test_a_topic_is_never_made_on_the_way(kafka: str) -> None:
    """A name mistyped once would be a topic of one partition, with no retention of ours, and nobody reads it."""
    async with AIOKafkaProducer(bootstrap_servers=kafka, request_timeout_ms=2_000) as producer:
        with pytest.raises(KafkaError):
            await producer.partitions_for("mesh.request.v1")
    assert await missing_topics(kafka, ["mesh.request.v1"]) == ["mesh.request.v1"]
