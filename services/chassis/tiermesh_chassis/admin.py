"""Creating topics from the registry."""

from collections.abc import Iterable

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from tiermesh_chassis.errors import StartError
from tiermesh_contracts.topics import (
    RESULTS,
    TOPICS,
    Topic,
    dead_letter_topics,
    min_insync,
    replication_of,
    tenant_results,
)


def registry(tenants: Iterable[str] = ()) -> tuple[Topic, ...]:
    """Every topic of the mesh, and a result topic for each of `tenants`."""
    own = tuple(
        Topic(
            tenant_results(tenant),
            RESULTS.key,
            RESULTS.writers,
            RESULTS.readers,
            partitions_fixed=True,
            retention_ms=RESULTS.retention_ms,
        )
        for tenant in tenants
    )
    return (*TOPICS, *dead_letter_topics(), *own)


async def create_topics(bootstrap: str, topics: Iterable[Topic], *, replication: int | None = None) -> list[str]:
    """Create what is not there yet; the names created.

    `replication` is the copies of each record; absent, what the registry says for that many brokers. Raises
    `StartError` where the broker refuses a topic.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        copies = replication or replication_of(len((await admin.describe_cluster())["brokers"]))
        answer = await admin.create_topics(
            [NewTopic(t.name, t.partitions, copies, topic_configs=_config(t, copies)) for t in topics]
        )
    finally:
        await admin.close()
    created = []
    for name, code, *message in answer.topic_errors:
        if code == 0:
            created.append(name)
        elif for_code(code) is not TopicAlreadyExistsError:
            raise StartError(f"topic {name} was refused: {for_code(code).__name__} {message[0] if message else ''}")
    return created


def _config(topic: Topic, copies: int) -> dict[str, str]:
    insync = min_insync(copies)
    return topic.config if insync == 1 else {**topic.config, "min.insync.replicas": str(insync)}
