"""A service on the chassis in this process, and what stands around it: topics, records, committed offsets."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4

import aiohttp
import uvicorn
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from tiermesh_chassis.admin import create_topics
from tiermesh_chassis.config import MeshConfig
from tiermesh_chassis.service import Boot, Service
from tiermesh_chassis.settings import Environment
from tiermesh_contracts.brokers import EMBEDDED
from tiermesh_contracts.topics import Topic, dead_letters

WAIT_S = 40

Headers = list[tuple[str, bytes | None]]


@dataclass
class Running:
    """A started service."""

    server: uvicorn.Server
    task: asyncio.Task[None]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.servers[0].sockets[0].getsockname()[1]}"

    async def get(self, path: str) -> tuple[int, str]:
        async with aiohttp.ClientSession() as http, http.get(self.url + path) as response:
            return response.status, await response.text()

    async def ready(self) -> None:
        async with asyncio.timeout(WAIT_S):
            while (await self.get("/ready"))[0] != 200:
                await asyncio.sleep(0.1)

    async def stop(self) -> None:
        self.server.should_exit = True
        await self.task


@dataclass
class Rig:
    kafka: str
    redis_url: str
    name: str = field(default_factory=lambda: f"svc{uuid4().hex[:8]}")

    async def topic(self, suffix: str = "in", partitions: int = 2) -> Topic:
        topic = Topic(f"test.{self.name}.{suffix}", "id", ("tests",), ("tests",), partitions=partitions)
        letters = Topic(dead_letters(topic.name), "as source", ("chassis",), ("tests",), partitions=1)
        await create_topics(self.kafka, [topic, letters])
        return topic

    def service(self, name: str | None = None, *, instance: str | None = None) -> Service:
        env = Environment(kafka=self.kafka, redis_url=self.redis_url, grace_s=10, instance=instance)
        return Service(name or self.name, Boot(env, MeshConfig(), EMBEDDED))

    @asynccontextmanager
    async def running(self, *services: Service, wait: bool = True) -> AsyncIterator[list[Running]]:
        """Run services side by side, ready ones where `wait`, and stop them in good order at the end."""
        runs = []
        for service in services:
            config = uvicorn.Config(service.app(), host="127.0.0.1", port=0, log_config=None, lifespan="on")
            server = uvicorn.Server(config)
            runs.append(Running(server, asyncio.create_task(server.serve())))
        try:
            for run in runs:
                while not run.server.started:
                    assert not run.task.done(), run.task
                    await asyncio.sleep(0.01)
            if wait:
                await asyncio.gather(*(run.ready() for run in runs))
            yield runs
        finally:
            await asyncio.gather(*(run.stop() for run in runs))

    async def send(self, topic: Topic, values: Iterable[bytes | None], headers: Headers | None = None) -> None:
        """Write records to partition 0, in order; the limit of a record does not bind this producer."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self.kafka, enable_idempotence=False, max_request_size=8_000_000
        )
        async with producer:
            for value in values:
                await producer.send_and_wait(topic.name, value, key=b"key", partition=0, headers=headers or [])

    async def read(self, topic: str, count: int) -> list["ConsumerRecord[bytes, bytes]"]:
        """The first `count` records of a topic, in order per partition."""
        consumer = AIOKafkaConsumer(
            topic, bootstrap_servers=self.kafka, auto_offset_reset="earliest", fetch_max_wait_ms=10
        )
        records: list[ConsumerRecord[bytes, bytes]] = []
        async with consumer, asyncio.timeout(WAIT_S):
            while len(records) < count:
                for batch in (await consumer.getmany(timeout_ms=100)).values():
                    records += batch
        return records

    async def read_all(self, topic: str) -> list["ConsumerRecord[bytes, bytes]"]:
        """Every record that is there now; other tests' too, where the topic is shared."""
        consumer = AIOKafkaConsumer(topic, bootstrap_servers=self.kafka, fetch_max_wait_ms=10)
        async with consumer:
            partitions = list(consumer.assignment())
            ends = await consumer.end_offsets(partitions)
            starts = await consumer.beginning_offsets(partitions)
        return await self.read(topic, sum(ends.values()) - sum(starts.values()))

    async def committed(self, service: str, topic: Topic, partition: int = 0) -> int:
        """What the service's group has committed; -1 for nothing."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.kafka)
        await admin.start()
        try:
            offsets = await admin.list_consumer_group_offsets(
                f"tiermesh.{service}.{topic.name}", partitions=[TopicPartition(topic.name, partition)]
            )
        finally:
            await admin.close()
        found = offsets.get(TopicPartition(topic.name, partition))
        return -1 if found is None else found.offset

    async def until_committed(self, service: str, topic: Topic, offset: int) -> None:
        async with asyncio.timeout(WAIT_S):
            while await self.committed(service, topic) != offset:
                await asyncio.sleep(0.1)
