import asyncio
from collections.abc import Iterator

import pytest

from tiermesh_chassis.admin import create_topics, registry
from tiermesh_cli.embedded import Embedded
from wiring.chassis.rig import Rig


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    parts = asyncio.run(Embedded.start(tmp_path_factory.mktemp("parts")))
    asyncio.run(create_topics(parts.kafka, registry(("acme", "other"))))
    yield parts
    asyncio.run(parts.stop())


@pytest.fixture(scope="session")
def kafka(embedded: Embedded) -> str:
    return embedded.kafka


@pytest.fixture(scope="session")
def redis_url(embedded: Embedded) -> str:
    return embedded.redis_url


@pytest.fixture
def rig(kafka: str, redis_url: str) -> Rig:
    return Rig(kafka, redis_url)
