"""The service as a process of its own, between a real broker, a real store and the simulated frontier."""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import ClientSession
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from fakes.escalation import LARGE, SMALL, escalation, grant
from tiermesh_chassis.store import connect_store
from tiermesh_cli.embedded import Embedded, free_port
from tiermesh_cli.frontier_sim import SimSettings
from tiermesh_cli.frontier_sim.server import serving
from tiermesh_cli.processes import Child, wait_ready
from tiermesh_contracts.escalations import Escalation, Evidence, Grant, Outcome
from tiermesh_contracts.requests import AcceptedRequest
from tiermesh_contracts.results import InferenceResult, Status, Tier
from tiermesh_contracts.topics import ESCALATIONS, GRANTS, OUTCOMES, RESULTS

CONFIG = """
[[providers]]
name = "sim"
base_url = "{url}/v1"
timeout_s = {timeout_s}
models = [{{ name = "sim-large", input_usd_per_mtok = 3, output_usd_per_mtok = 15 }}, {{ name = "sim-small" }}]
"""
READ: dict[str, Any] = {OUTCOMES.name: Outcome, RESULTS.name: InferenceResult, ESCALATIONS.name: Escalation}


def granted(deadline_ms: int = 60_000, **changes: Any) -> Grant:
    now_ms = time.time_ns() // 1_000_000
    accepted = escalation().accepted.model_copy(
        update={"accepted_at_ms": now_ms, "expires_at_ms": now_ms + deadline_ms}
    )
    assert isinstance(accepted, AcceptedRequest)
    return grant(escalation(accepted=accepted), **changes)


@dataclass
class Around:
    """What the service reads, writes and calls."""

    url: str
    start: Any
    producer: AIOKafkaProducer
    consumer: AIOKafkaConsumer
    read: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in READ})

    async def send(self, *grants: Grant) -> None:
        """To one partition, so that they are taken in this order."""
        for about in grants:
            await self.producer.send_and_wait(GRANTS.name, about.to_bytes(), partition=0)

    async def await_records(self, topic: str, count: int) -> list[Any]:
        async with asyncio.timeout(60):
            while len(self.read[topic]) < count:
                await self._read()
        return self.read[topic]

    async def await_end(self, topic: str) -> list[Any]:
        """All records that the topic holds now."""
        partitions = [place for place in self.consumer.assignment() if place.topic == topic]
        ends = await self.consumer.end_offsets(partitions)
        async with asyncio.timeout(60):
            while [place for place in partitions if await self.consumer.position(place) < ends[place]]:
                await self._read()
        return self.read[topic]

    async def _read(self) -> None:
        for records in (await self.consumer.getmany(timeout_ms=200)).values():
            for record in records:
                self.read[record.topic].append(READ[record.topic].from_bytes(record.value, "forbid"))

    async def bill(self) -> list[dict[str, Any]]:
        async with ClientSession() as session, session.get(f"{self.url}/bill") as response:
            lines: list[dict[str, Any]] = (await response.json())["lines"]
            return lines

    async def fault(self, *names: str) -> None:
        async with (
            ClientSession() as session,
            session.post(f"{self.url}/faults", json={"next_calls": names}) as done,
        ):
            assert done.status == 200


@contextlib.asynccontextmanager
async def around(embedded: Embedded, folder: Path, timeout_s: float = 30.0) -> AsyncIterator[Around]:
    children: list[Child] = []
    store = connect_store(embedded.redis_url)
    await store.hset("{default}:epoch", mapping={"epoch": "1", "run_id": (await store.info("server"))["run_id"]})
    await store.aclose()
    producer = AIOKafkaProducer(bootstrap_servers=embedded.kafka, acks="all", enable_idempotence=False)
    consumer = AIOKafkaConsumer(
        *READ, bootstrap_servers=embedded.kafka, auto_offset_reset="earliest", fetch_max_wait_ms=10
    )
    await producer.start()
    await consumer.start()
    async with serving(SimSettings(median_ms=0.0, p95_ms=0.0, hang_ms=600_000.0)) as url:
        config = folder / "mesh.toml"
        config.write_text(CONFIG.format(url=url, timeout_s=timeout_s))

        async def start() -> Child:
            port = free_port()
            mesh = {
                "TIERMESH_KAFKA": embedded.kafka,
                "TIERMESH_REDIS_URL": embedded.redis_url,
                "TIERMESH_CONFIG": str(config),
                "TIERMESH_HEALTH_PORT": str(port),
            }
            argv = [sys.executable, "-m", "tiermesh_escalation"]
            child = Child(
                "escalation", argv, folder / "escalation.log", env={**os.environ, **mesh}, ready_port=port
            )
            children.append(child)
            await wait_ready(child, 30)
            return child

        try:
            yield Around(url, start, producer, consumer)
        finally:
            for child in children:
                child.terminate()
            await producer.stop()
            await consumer.stop()


async def test_a_grant_sent_three_times_is_one_call_and_one_answer(embedded: Embedded, tmp_path: Path) -> None:
    """A record that comes again would be paid again, or answered differently."""
    about, after = granted(), granted()
    async with around(embedded, tmp_path) as mesh:
        child = await mesh.start()
        await mesh.send(about, about, about, after)
        results = await mesh.await_records(RESULTS.name, 2)
        status = child.terminate(30)
        outcomes = await mesh.await_end(OUTCOMES.name)
        bill = {line["client_request_id"]: line for line in await mesh.bill()}
        assert len(await mesh.bill()) == 2
    (result,) = [r for r in results if r.reservation_id == about.reservation.att]
    (written,) = [o for o in outcomes if o.att == about.reservation.att]
    assert (result.status, result.tier, result.model) == (Status.ANSWERED, Tier.FRONTIER, "sim/sim-large")
    assert result.cost_usd_nanos == written.cost_usd_nanos == bill[about.reservation.att]["cost_usd_nanos"]
    assert {"grants_queue", "frontier", "total"} <= set(result.timings_ms)
    assert status in {0, -15}


async def test_a_call_whose_process_was_killed_ends_unknown_and_is_not_made_again(
    embedded: Embedded, tmp_path: Path
) -> None:
    """The second call would be paid by nobody's reservation, or the first one's money be freed."""
    about = granted()
    async with around(embedded, tmp_path, timeout_s=4.0) as mesh:
        await mesh.fault("hang")
        child = await mesh.start()
        await mesh.send(about)
        async with asyncio.timeout(30):
            while not await mesh.bill():
                await asyncio.sleep(0.05)
        child.kill()
        await mesh.start()
        (written,) = await mesh.await_records(OUTCOMES.name, 1)
        (asked,) = await mesh.await_records(ESCALATIONS.name, 1)
        assert len(await mesh.bill()) == 1
    assert (written.evidence, written.verdict, written.cost_usd_nanos) == (Evidence.UNKNOWN, "next", None)
    assert (asked.attempt, asked.untried) == (2, (SMALL,))
    assert asked.tried[0].ref == LARGE


async def test_what_may_not_be_called_never_reaches_the_frontier(embedded: Embedded, tmp_path: Path) -> None:
    """A call would be made that the books do not cover."""
    changed, foreign, late = granted(body_sha256="0" * 64), granted(epoch=2), granted(deadline_ms=0)
    async with around(embedded, tmp_path) as mesh:
        await mesh.start()
        await mesh.send(changed, foreign, late)
        outcomes = await mesh.await_records(OUTCOMES.name, 3)
        (result,) = await mesh.await_records(RESULTS.name, 1)
        asked = await mesh.await_records(ESCALATIONS.name, 2)
        assert await mesh.bill() == []
    assert {o.att: o.evidence for o in outcomes} == {
        changed.reservation.att: Evidence.NOT_SENT,
        foreign.reservation.att: Evidence.UNKNOWN,
        late.reservation.att: Evidence.NOT_SENT,
    }
    assert (result.status, result.reservation_id) == (Status.EXPIRED, late.reservation.att)
    assert {(e.attempt, e.untried) for e in asked} == {(2, (SMALL,))}
