"""The whole mesh on Apache Kafka and Redis, with a simulated frontier."""

import asyncio
import logging
import random
from pathlib import Path

import pytest

from delivery.killing import Parts, Seen, billed, kill_in_turn, run_under_load, running, settled_books, workload
from kafka.reading import topic_partitions, topic_settings
from tiermesh_chassis.admin import registry
from tiermesh_cli.apache.local import Local
from tiermesh_cli.frontier_sim import SimSettings
from tiermesh_cli.frontier_sim.server import serving
from tiermesh_cli.mesh import Mesh
from tiermesh_contracts import InferenceRequest
from tiermesh_contracts.client import MeshClient
from tiermesh_contracts.ids import new_request_id
from tiermesh_contracts.results import InferenceResult
from tiermesh_contracts.topics import REQUESTS

pytestmark = pytest.mark.kafka

log = logging.getLogger(__name__)

SEED = 20261124
TEXTS = ("I forgot my password and cannot log in", "Compose a sonnet about tidal locking")


def check(seen: Seen) -> None:
    """Every acknowledged request ended once, and the money adds up."""
    summary = f"seed {SEED}: {seen}"
    log.info(summary)
    assert seen.acknowledged - set(seen.results) == set(), summary
    assert seen.conflicting == 0, summary
    assert seen.books["held"] == 0, summary
    assert seen.bill.total_usd_nanos <= seen.books["posted"] + seen.books["suspended"], summary
    assert len(seen.bill.calls) == len(set(seen.bill.calls)), summary


async def test_both_paths_answer_and_the_bill_is_what_was_posted(
    local: Local, models: Path, tmp_path: Path
) -> None:
    """Something that only the embedded broker or store allows would have crept into a service."""

    async def ask(client: MeshClient, text: str) -> InferenceResult:
        return await client.ask(InferenceRequest(request_id=new_request_id(), tenant="acme", input=text))

    async with (
        serving(SimSettings(seed=SEED, median_ms=20, p95_ms=40)) as sim,
        running(tmp_path, models, sim, Parts(local.kafka, local.redis_url)) as mesh,
        MeshClient(mesh.kafka) as client,
    ):
        known, novel = await asyncio.gather(*(ask(client, text) for text in TEXTS))
        bill, books = await billed(sim), await settled_books(mesh.redis_url)
    assert (known.status, known.tier, known.label) == ("answered", "local", "reset_password")
    assert (novel.status, novel.tier) == ("answered", "frontier")
    assert books == {"held": 0, "posted": bill.total_usd_nanos, "suspended": 0}
    assert novel.cost_usd_nanos == bill.total_usd_nanos > 0


@pytest.mark.timeout(240)
async def test_everything_in_flight_ends_once_when_services_are_killed(models: Path, tmp_path: Path) -> None:
    """Would break if an offset were committed before its effect, or if a name that comes back were refused."""
    requests = workload(random.Random(SEED), 300)
    async with await Local.start(tmp_path / "parts" / "logs") as parts:
        own = Parts(parts.kafka, parts.redis_url)
        seen = await run_under_load(tmp_path, models, requests, kill_in_turn, seed=SEED, parts=own)
    assert len(seen.acknowledged) == len(requests), str(seen)
    check(seen)


@pytest.mark.timeout(300)
async def test_no_acknowledged_request_is_lost_with_the_leader(models: Path, tmp_path: Path) -> None:
    """An answer to a producer would stand on one disk alone, and die with it."""
    requests = workload(random.Random(SEED), 500)
    async with await Local.start(tmp_path / "parts" / "logs", brokers=3) as parts:
        killed: list[int] = []

        async def kill_leader(mesh: Mesh) -> None:
            await asyncio.sleep(8)
            leader, _ = (await topic_partitions(mesh.kafka, [REQUESTS.name]))[REQUESTS.name][0]
            parts.cluster.kill(leader - 1)
            killed.append(leader)

        own = Parts(parts.kafka, parts.redis_url)
        seen = await run_under_load(tmp_path, models, requests, kill_leader, seed=SEED, parts=own)
        alive = await parts.cluster.alive()
        names = [topic.name for topic in registry()]
        settings = await topic_settings(parts.kafka, names)
        copies = {copies for each in (await topic_partitions(parts.kafka, names)).values() for _, copies in each}
    assert alive == {1, 2, 3} - set(killed)
    assert {settings[name]["min.insync.replicas"] for name in names} == {"2"}
    assert copies == {3}
    assert len(seen.acknowledged) > len(requests) // 2, str(seen)
    check(seen)
