"""Apache Kafka and Redis for the tests of this folder, in the place of the embedded broker and store."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from delivery.killing import write_models
from tiermesh_cli.apache.local import Local
from tiermesh_cli.apache.redis import redis_binary
from tiermesh_cli.mesh import ensure_topics


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    redis_binary()  # without it the embedded store would be tested here, unseen
    parts = asyncio.run(Local.start(tmp_path_factory.mktemp("local") / "logs"))
    try:
        asyncio.run(ensure_topics(parts.kafka))
        yield parts
    finally:
        asyncio.run(parts.stop())


@pytest.fixture(scope="session")
def kafka(local: Local) -> str:
    return local.kafka


@pytest.fixture(scope="session")
def redis_url(local: Local) -> str:
    return local.redis_url


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("models"))
