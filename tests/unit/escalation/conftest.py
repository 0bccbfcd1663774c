"""A real store, started once."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis

from tiermesh_chassis.store import connect_store
from tiermesh_cli.embedded import free_port, start_store


@pytest.fixture(scope="session")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    child = asyncio.run(start_store(tmp_path_factory.mktemp("valkey"), port))
    yield f"redis://127.0.0.1:{port}/0"
    child.terminate()


@pytest.fixture
async def valkey(valkey_url: str) -> AsyncIterator[Redis]:
    """Empty, and in epoch 1 of the org `default` as the guard writes it."""
    store = connect_store(valkey_url)
    await store.flushall()
    server = await store.info("server")
    await store.hset("{default}:epoch", mapping={"epoch": "1", "run_id": server["run_id"]})
    yield store
    await store.aclose()
