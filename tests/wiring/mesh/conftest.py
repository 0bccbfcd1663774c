"""The whole mesh in one process: the real services on the real embedded broker and store."""

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import tiermesh_budget.app
import tiermesh_escalation.app
import tiermesh_inference.app
import tiermesh_router.app
from tiermesh_chassis.admin import create_topics, registry
from tiermesh_chassis.config import parse_config
from tiermesh_chassis.service import Boot
from tiermesh_chassis.settings import Environment
from tiermesh_cli.embedded import Embedded
from tiermesh_cli.frontier_sim import SimSettings
from tiermesh_cli.frontier_sim.server import serving
from tiermesh_contracts.brokers import broker_traits
from tiermesh_contracts.client import MeshClient
from tiermesh_modelkit.datasets import bundled_examples
from tiermesh_modelkit.train import train

APPS = (tiermesh_router.app, tiermesh_inference.app, tiermesh_budget.app, tiermesh_escalation.app)
LABELS = {"reset_password", "track_order", "invoice_copy", "app_crash"}

CONFIG = """
org = "{org}"

[[providers]]
name = "sim"
base_url = "{base_url}"
models = [{{ name = "sim-large", input_usd_per_mtok = 3, output_usd_per_mtok = 15 }}]

[[budgets]]
scope = "org"
window = "month"
limit_usd = {limit_usd}

[privacy]
default = "any"
"""


@dataclass(frozen=True)
class RunningMesh:
    kafka: str
    redis_url: str
    client: MeshClient
    spans: InMemorySpanExporter
    set_limit: Callable[[float], object]
    """Writes the org's limit in USD into `mesh.toml`; the guard takes it up within seconds."""


class Mesh(Protocol):
    def __call__(self, limit_usd: float = 100) -> contextlib.AbstractAsyncContextManager[RunningMesh]: ...


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One task with a few of the bundled intents: trained in about a second."""
    root = tmp_path_factory.mktemp("models")
    few = [example for example in bundled_examples("support.train") if example.label in LABELS]
    train(few, task="support", name="support", error_max=0.10).write(root / "support")
    return root


@pytest.fixture(scope="session")
def spans() -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@contextlib.asynccontextmanager
async def run_mesh(
    folder: Path, models: Path, spans: InMemorySpanExporter, limit_usd: float
) -> AsyncIterator[RunningMesh]:
    """A broker, a store, a simulated frontier and all four services, empty at the start."""
    spans.clear()
    async with contextlib.AsyncExitStack() as stack:
        parts = await stack.enter_async_context(await Embedded.start(folder))
        await create_topics(parts.kafka, registry(["acme"]))
        sim = await stack.enter_async_context(serving(SimSettings(median_ms=20, p95_ms=40)))
        config = write_config(folder, sim, limit_usd)
        env = Environment(
            kafka=parts.kafka,
            redis_url=parts.redis_url,
            config=folder / "mesh.toml",
            models=models,
            unknown_fields="forbid",
            grace_s=5,
        )
        boot = Boot(env, parse_config(config, "mesh.toml"), await broker_traits(parts.kafka))
        for app in APPS:
            await stack.enter_async_context(app.create_app(boot).start_lifespan_context())
        client = await stack.enter_async_context(MeshClient(parts.kafka))
        set_limit = partial(write_config, folder, sim)
        yield RunningMesh(parts.kafka, parts.redis_url, client, spans, set_limit)


def write_config(folder: Path, sim: str, limit_usd: float) -> str:
    """Whole or not at all, for the guard reads it while it runs; returns the text."""
    config = CONFIG.format(org="wiring", base_url=f"{sim}/v1", limit_usd=limit_usd)
    beside = folder / "mesh.new"
    beside.write_text(config)
    beside.replace(folder / "mesh.toml")
    return config


@pytest.fixture
def mesh(tmp_path: Path, tiny_models: Path, spans: InMemorySpanExporter) -> Mesh:
    """To be entered in the test itself: a fixture's teardown runs in another task than its setup, and the
    services' task groups must be left by the task that entered them."""

    def running(limit_usd: float = 100) -> contextlib.AbstractAsyncContextManager[RunningMesh]:
        return run_mesh(tmp_path, tiny_models, spans, limit_usd)

    return running
