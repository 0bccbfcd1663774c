"""The traps of the pinned stack that need a broker, on Apache Kafka: they are not the embedded broker's doing."""

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from contracts.test_stack_traps import (
    observed,
    test_01_ack_commits_although_the_handler_raised,
    test_03_nack_on_error_is_a_hot_loop,
    test_06_a_record_with_such_a_header_is_skipped,
    test_06_one_malformed_record_fails_its_batch,
    test_10_an_explicit_publish_gets_a_fresh_correlation_id,
    test_10_publish_batch_ignores_the_key_when_it_picks_a_partition,
    test_13a_a_manual_batch_handler_that_raises_is_not_called_again,
    test_13a_commit_refuses_the_frameworks_own_topic_partition,
)
from tiermesh_chassis.admin import create_topics
from tiermesh_contracts.topics import FEEDBACK, MESSAGE_BYTES_MAX, Topic

__all__ = [
    "observed",
    "test_01_ack_commits_although_the_handler_raised",
    "test_03_nack_on_error_is_a_hot_loop",
    "test_06_a_record_with_such_a_header_is_skipped",
    "test_06_one_malformed_record_fails_its_batch",
    "test_10_an_explicit_publish_gets_a_fresh_correlation_id",
    "test_10_publish_batch_ignores_the_key_when_it_picks_a_partition",
    "test_13a_a_manual_batch_handler_that_raises_is_not_called_again",
    "test_13a_commit_refuses_the_frameworks_own_topic_partition",
]

pytestmark = pytest.mark.kafka


def member(kafka: str, topic: str, instance: str | None) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        topic,
        bootstrap_servers=kafka,
        group_id=f"group.{topic}",
        group_instance_id=instance,
        enable_auto_commit=False,
        session_timeout_ms=6_000,
        heartbeat_interval_ms=300,
    )


async def test_14_a_second_process_of_one_name_takes_everything_from_the_first(kafka: str) -> None:
    """Two replicas started with one TIERMESH_INSTANCE do not share the work: the first can commit no more."""
    topic = Topic("trap.fenced", "id", ("tests",), ("tests",), partitions=2)
    await create_topics(kafka, [topic])
    partition = TopicPartition(topic.name, 0)
    async with member(kafka, topic.name, "one") as first:
        assert len(first.assignment()) == 2
        await first.commit({partition: 1})
        async with member(kafka, topic.name, "one") as second:
            assert len(second.assignment()) == 2
            with pytest.raises(KafkaError):
                await first.commit({partition: 2})
            assert await second.committed(partition) == 1


async def test_16_a_member_that_the_group_left_behind_can_not_commit(kafka: str) -> None:
    """What it finished is redelivered to another member: a refused commit is no reason to stop."""
    topic = Topic("trap.left", "id", ("tests",), ("tests",), partitions=2)
    await create_topics(kafka, [topic])
    partition = TopicPartition(topic.name, 0)
    async with member(kafka, topic.name, None) as stuck:
        stuck._coordinator._heartbeat_task.cancel()
        async with member(kafka, topic.name, None) as other, asyncio.timeout(60):
            while len(other.assignment()) < 2:
                await asyncio.sleep(0.1)
            with pytest.raises(KafkaError):
                await stuck.commit({partition: 2})
            assert await other.committed(partition) is None


async def test_27_a_record_beyond_the_limit_is_refused_by_the_broker(kafka: str) -> None:
    """A producer with another limit than ours would fill a topic with records that no service can pass on."""
    async with AIOKafkaProducer(bootstrap_servers=kafka, max_request_size=2 * MESSAGE_BYTES_MAX) as producer:
        with pytest.raises(MessageSizeTooLargeError):
            await producer.send_and_wait(FEEDBACK.name, b"x" * (MESSAGE_BYTES_MAX + 1), key=b"k")
