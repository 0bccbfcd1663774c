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

import pytest
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

    async def send(self, about: Grant, times: int = 1) -> None:
        for _ in range(times):
            await self.producer.send_and_wait(GRANTS.name, about.to_bytes(), key=about.reservation.att.encode())

    async def await_records(self, topic: str, count: int) -> list[Any]:
        async with asyncio.timeout(60):
            while len(self.read[topic]) < count:
                for records in (await self.consumer.getmany(timeout_ms=200)).values():
                    for record in records:
                        self.read[record.topic].append(READ[record.topic].from_bytes(record.value, "forbid"))
        return self.read[topic]

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
    about = granted()
    async with around(embedded, tmp_path) as mesh:
        child = await mesh.start()
        await mesh.send(about, times=3)
        (result,) = await mesh.await_records(RESULTS.name, 1)
        (line,) = await mesh.bill()
        (written,) = await mesh.await_records(OUTCOMES.name, 1)
        status = child.terminate()
    assert (result.status, result.tier, result.model) == (Status.ANSWERED, Tier.FRONTIER, "sim/sim-large")
    assert result.reservation_id == line["client_request_id"] == about.reservation.att
    assert result.cost_usd_nanos == written.cost_usd_nanos == line["cost_usd_nanos"]
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


@pytest.mark.parametrize(
    ("about", "evidence"),
    [
        (granted(body_sha256="0" * 64), Evidence.NOT_SENT),
        (granted(epoch=2), Evidence.UNKNOWN),
        (granted(deadline_ms=0), Evidence.NOT_SENT),
    ],
)
async def test_what_may_not_be_called_never_reaches_the_frontier(
    embedded: Embedded, tmp_path: Path, about: Grant, evidence: Evidence
) -> None:
    """A call would be made that the books do not cover."""
    async with around(embedded, tmp_path) as mesh:
        await mesh.start()
        await mesh.send(about)
        (written,) = await mesh.await_records(OUTCOMES.name, 1)
        assert await mesh.bill() == []
        if written.verdict == "final":
            (result,) = await mesh.await_records(RESULTS.name, 1)
            assert result.status is Status.EXPIRED
    assert written.evidence is evidence
