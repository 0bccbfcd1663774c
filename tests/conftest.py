"""What every suite may use: one broker and one store for the whole run, with the mesh's topics.

Nothing is flushed between tests. A test that counts takes a tenant, an org or a consumer position of its own, so
that it does not see what others wrote; a test that needs them empty starts its own `Embedded`.
"""

import asyncio
from collections.abc import Iterator

import pytest

from tiermesh_cli.embedded import Embedded
from tiermesh_cli.mesh import ensure_topics


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    parts = asyncio.run(Embedded.start(tmp_path_factory.mktemp("embedded")))
    try:
        asyncio.run(ensure_topics(parts.kafka, ("acme", "other")))
        yield parts
    finally:
        asyncio.run(parts.stop())


@pytest.fixture(scope="session")
def kafka(embedded: Embedded) -> str:
    return embedded.kafka


@pytest.fixture(scope="session")
def redis_url(embedded: Embedded) -> str:
    return embedded.redis_url
