"""Each service is killed in turn under load and started again: everything in flight still ends once."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import redis.asyncio as redis

from tiermesh_cli.frontier_sim import SimSettings
from tiermesh_cli.frontier_sim.server import serving
from tiermesh_cli.mesh import SERVICES, Mesh
from tiermesh_contracts import InferenceRequest, InferenceResult
from tiermesh_contracts.client import MeshClient
from tiermesh_contracts.ids import new_request_id
from tiermesh_modelkit.datasets import bundled_examples, bundled_texts
from tiermesh_modelkit.train import train

LABELS = {"reset_password", "track_order", "invoice_copy", "app_crash"}
SEED = 20261124
PER_SECOND = 25
DEADLINE_MS = 60_000
PAUSE_S = 2.0

CONFIG = """
org = "kills"
[[providers]]
name = "sim"
base_url = "{base_url}"
models = [
  {{ name = "sim-large", input_usd_per_mtok = 3, output_usd_per_mtok = 15 }},
  {{ name = "sim-small", input_usd_per_mtok = 0.25, output_usd_per_mtok = 1.25 }},
]
[[budgets]]
scope = "org"
window = "lifetime"
limit_usd = 100
[privacy]
default = "any"
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    few = [example for example in bundled_examples("support.train") if example.label in LABELS]
    train(few, task="support", name="support", error_max=0.10).write(root / "support")
    return root


@asynccontextmanager
async def running(folder: Path, models: Path, sim: str) -> AsyncIterator[Mesh]:
    (folder / "mesh.toml").write_text(CONFIG.format(base_url=f"{sim}/v1"))
    start = Mesh.start(embedded=True, config=folder / "mesh.toml", models=models, run_dir=folder)
    async with await start as mesh:
        await mesh.ready()
        yield mesh


def workload(rng: random.Random) -> list[InferenceRequest]:
    known = [e.text for e in bundled_examples("support.test") if e.label in LABELS]
    novel = bundled_texts("uncovered")
    texts = rng.choices(known, k=200) + rng.choices(novel, k=100)
    rng.shuffle(texts)
    return [
        InferenceRequest(request_id=new_request_id(), tenant="acme", input=text, deadline_ms=DEADLINE_MS)
        for text in texts
    ]


@dataclass
class Seen:
    results: dict[str, InferenceResult]
    duplicated: int
    conflicting: int


async def test_everything_in_flight_ends_once(tmp_path, models):
    """Would break if an offset were committed before its effect, a call were made twice on one reservation, or
    a service could not take up what its predecessor left."""
    rng = random.Random(SEED)
    requests = workload(rng)
    async with (
        serving(SimSettings(seed=SEED, median_ms=300, p95_ms=900)) as sim,
        running(tmp_path, models, sim) as mesh,
        MeshClient(mesh.kafka) as client,
    ):
        killing = asyncio.create_task(kill_in_turn(mesh))
        seen = await submit_and_collect(client, requests)
        await killing
        async with aiohttp.ClientSession() as session, session.get(f"{sim}/bill") as answer:
            bill = json.loads(await answer.text())
        books = await settled_books(mesh.redis_url)
    summary = f"seed {SEED}: {seen.duplicated} repeats, bill {bill['total_usd_nanos']}, books {books}"
    assert {str(r.request_id) for r in requests} == set(seen.results), summary
    assert seen.conflicting == 0, summary
    assert books["held"] == 0, summary
    assert bill["total_usd_nanos"] <= books["posted"] + books["suspended"], summary
    calls = [line["client_request_id"] for line in bill["lines"]]
    assert len(calls) == len(set(calls))


async def kill_in_turn(mesh: Mesh) -> None:
    for name in SERVICES:
        await asyncio.sleep(PAUSE_S)
        mesh.restart(name)


async def submit_and_collect(client: MeshClient, requests: list[InferenceRequest]) -> Seen:
    """Offer the load evenly, whatever comes back; stop when every request has its result or is overdue."""
    results: dict[str, InferenceResult] = {}

    async def collect() -> None:
        async for result in client.results():
            results[str(result.request_id)] = result
            if len(results) == len(requests):
                return

    collecting = asyncio.create_task(collect())
    for request in requests:
        await client.submit(request)
        await asyncio.sleep(1 / PER_SECOND)
    with suppress(TimeoutError):  # the caller sees who is missing
        await asyncio.wait_for(collecting, DEADLINE_MS / 1000 + 15)
    return Seen(results, client.repeats.duplicated, client.repeats.conflicting)


async def settled_books(redis_url: str) -> dict[str, int]:
    """The org's sums once nothing is held any more, or after a while."""
    async with redis.Redis.from_url(redis_url, decode_responses=True) as store:
        sums: dict[str, int] = {}
        for _ in range(150):
            raw = await store.hgetall("{kills}:e1:w:org:lifetime:all")
            sums = {name: int(raw.get(name, 0)) for name in ("held", "posted", "suspended")}
            if sums["held"] == 0:
                break
            await asyncio.sleep(0.2)
        return sums
