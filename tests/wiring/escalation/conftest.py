import asyncio
from collections.abc import Iterator

import pytest

from tiermesh_chassis.admin import create_topics, registry
from tiermesh_cli.embedded import Embedded


@pytest.fixture
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    parts = asyncio.run(Embedded.start(tmp_path_factory.mktemp("parts")))
    asyncio.run(create_topics(parts.kafka, registry()))
    yield parts
    asyncio.run(parts.stop())
