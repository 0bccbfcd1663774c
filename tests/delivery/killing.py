"""A whole mesh under load while parts of it are killed: what was offered, what came back, what it cost."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import redis.asyncio as redis
from aiokafka.errors import KafkaError

from tiermesh_cli.frontier_sim import SimSettings
from tiermesh_cli.frontier_sim.server import serving
from tiermesh_cli.mesh import SERVICES, Mesh
from tiermesh_contracts import InferenceRequest, InferenceResult
from tiermesh_contracts.client import MeshClient
from tiermesh_contracts.ids import new_request_id
from tiermesh_modelkit.datasets import bundled_examples, bundled_texts
from tiermesh_modelkit.train import train

LABELS = {"reset_password", "track_order", "invoice_copy", "app_crash"}
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


@dataclass(frozen=True)
class Parts:
    """Somebody's broker and store; None of them: the mesh starts embedded ones."""

    kafka: str
    redis_url: str


@dataclass(frozen=True)
class Bill:
    """The simulated provider's own ledger."""

    total_usd_nanos: int
    calls: list[str]
    """The id that each billed call was made with."""


@dataclass(frozen=True)
class Seen:
    acknowledged: set[str]
    """Requests that the brokers said they have."""
    results: dict[str, InferenceResult]
    duplicated: int
    conflicting: int
    bill: Bill
    books: dict[str, int]

    def __str__(self) -> str:
        ends = Counter(f"{each.status}/{each.reason}" for each in self.results.values())
        slowest_ms = max((each.timings_ms.get("total", 0) for each in self.results.values()), default=0)
        return (
            f"{len(self.acknowledged)} acknowledged, {len(self.results)} results, {self.duplicated} repeats, "
            f"{self.conflicting} conflicts, {dict(ends)}, the slowest after {slowest_ms} ms, "
            f"bill {self.bill.total_usd_nanos}, books {self.books}"
        )


def write_models(root: Path) -> Path:
    """One task with a few of the bundled intents: trained in about a second."""
    few = [example for example in bundled_examples("support.train") if example.label in LABELS]
    train(few, task="support", name="support", error_max=0.10).write(root / "support")
    return root


def workload(rng: random.Random, count: int) -> list[InferenceRequest]:
    """Two thirds that the small model knows, one third for the frontier."""
    known = [e.text for e in bundled_examples("support.test") if e.label in LABELS]
    novel = bundled_texts("uncovered")
    texts = rng.choices(known, k=count - count // 3) + rng.choices(novel, k=count // 3)
    rng.shuffle(texts)
    return [
        InferenceRequest(request_id=new_request_id(), tenant="acme", input=text, deadline_ms=DEADLINE_MS)
        for text in texts
    ]


@asynccontextmanager
async def running(folder: Path, models: Path, sim: str, parts: Parts | None = None) -> AsyncIterator[Mesh]:
    (folder / "mesh.toml").write_text(CONFIG.format(base_url=f"{sim}/v1"))
    start = Mesh.start(
        embedded=parts is None,
        kafka=parts.kafka if parts else None,
        redis_url=parts.redis_url if parts else None,
        config=folder / "mesh.toml",
        models=models,
        run_dir=folder,
    )
    async with await start as mesh:
        await mesh.ready()
        yield mesh


async def run_under_load(
    folder: Path,
    models: Path,
    requests: list[InferenceRequest],
    harm: Callable[[Mesh], Awaitable[None]],
    *,
    seed: int,
    parts: Parts | None = None,
) -> Seen:
    """Offer `requests` while `harm` runs, and look at everything once all have ended or are overdue."""
    async with (
        serving(SimSettings(seed=seed, median_ms=300, p95_ms=900)) as sim,
        running(folder, models, sim, parts) as mesh,
        MeshClient(mesh.kafka) as client,
    ):
        harming = asyncio.ensure_future(harm(mesh))
        acknowledged, results = await submit_and_collect(client, requests)
        await harming
        return Seen(
            acknowledged,
            results,
            client.repeats.duplicated,
            client.repeats.conflicting,
            await billed(sim),
            await settled_books(mesh.redis_url),
        )


async def kill_in_turn(mesh: Mesh) -> None:
    for name in SERVICES:
        await asyncio.sleep(PAUSE_S)
        mesh.restart(name)


async def submit_and_collect(
    client: MeshClient, requests: list[InferenceRequest]
) -> tuple[set[str], dict[str, InferenceResult]]:
    """Offer the load evenly, whatever comes back; stop when every request has its result or is overdue."""
    acknowledged: set[str] = set()
    results: dict[str, InferenceResult] = {}

    async def submit(request: InferenceRequest) -> None:
        with suppress(KafkaError):  # not acknowledged: nothing was promised
            await client.submit(request)
            acknowledged.add(str(request.request_id))

    async def collect() -> None:
        async for result in client.results():
            results[str(result.request_id)] = result
            if len(results) == len(requests):
                return

    collecting = asyncio.create_task(collect())
    async with asyncio.TaskGroup() as submits:
        for request in requests:
            submits.create_task(submit(request))
            await asyncio.sleep(1 / PER_SECOND)
    with suppress(TimeoutError):  # the caller sees who is missing
        await asyncio.wait_for(collecting, DEADLINE_MS / 1000 + 15)
    return acknowledged, results


async def billed(sim: str) -> Bill:
    async with aiohttp.ClientSession() as session, session.get(f"{sim}/bill") as answer:
        bill = json.loads(await answer.text())
    return Bill(bill["total_usd_nanos"], [line["client_request_id"] for line in bill["lines"]])


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
