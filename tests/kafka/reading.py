"""Reading a broker as an operator would: its topics, its records, its groups."""

from collections.abc import Iterable

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType


async def topic_settings(kafka: str, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Name of each topic to all its settings, defaults too."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names])
    finally:
        await admin.close()
    return {
        resource[3]: {entry[0]: entry[1] for entry in resource[4]}
        for answer in answers
        for resource in answer.resources
    }


async def topic_partitions(kafka: str, names: Iterable[str]) -> dict[str, list[tuple[int, int]]]:
    """Name of each topic to (leader's id, copies) of its partitions, in their order."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        topics = await admin.describe_topics(list(names))
    finally:
        await admin.close()
    return {
        topic["topic"]: [
            (each["leader"], len(each["replicas"]))
            for each in sorted(topic["partitions"], key=lambda each: int(each["partition"]))
        ]
        for topic in topics
    }


async def record_at(kafka: str, topic: str, partition: int, offset: int) -> "ConsumerRecord[bytes, bytes]":
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka)
    async with consumer:
        consumer.assign([TopicPartition(topic, partition)])
        consumer.seek(TopicPartition(topic, partition), offset)
        return await consumer.getone()
