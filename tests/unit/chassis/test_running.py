"""What a service waits for before it starts."""

from pathlib import Path

import pytest

from tiermesh_chassis.errors import DependencyMissing
from tiermesh_chassis.running import wait_for_dependencies
from tiermesh_chassis.settings import Environment
from tiermesh_cli.embedded import Embedded, free_port
from tiermesh_contracts.brokers import EMBEDDED, missing_topics


def env(kafka: str, redis_url: str) -> Environment:
    return Environment(kafka=kafka, redis_url=redis_url, start_timeout_s=0.1)


async def test_with_everything_there_it_starts(kafka: str, redis_url: str) -> None:
    """No service would start, or one would take the embedded broker for Kafka and fail at its first record."""
    assert await wait_for_dependencies(env(kafka, redis_url)) == EMBEDDED


async def test_what_is_not_there_is_named(kafka: str, redis_url: str) -> None:
    """A container would restart for ever with a traceback of a library."""
    nowhere = f"127.0.0.1:{free_port()}"
    with pytest.raises(DependencyMissing, match=f"no Kafka broker answers at {nowhere}.*TIERMESH_KAFKA"):
        await wait_for_dependencies(env(nowhere, redis_url))
    with pytest.raises(DependencyMissing, match=f"no Redis answers at redis://{nowhere}.*TIERMESH_REDIS_URL"):
        await wait_for_dependencies(env(kafka, f"redis://{nowhere}/0"))


async def test_local_work_starts_without_a_store(kafka: str) -> None:
    """A restart while the store is away would stop work that needs no money."""
    nowhere = f"redis://127.0.0.1:{free_port()}/0"
    assert await wait_for_dependencies(env(kafka, nowhere), needs_store=False) == EMBEDDED


async def test_missing_topics_are_named_and_not_created_by_the_question(tmp_path: Path) -> None:
    """A broker that creates what it is asked about would give the ledger a partition count of its own for ever."""
    async with await Embedded.start(tmp_path) as parts:
        for _ in range(2):
            with pytest.raises(DependencyMissing, match=r"mesh\.ledger\.v1.*run 'tiermesh topics create'"):
                await wait_for_dependencies(env(parts.kafka, parts.redis_url))
        assert await missing_topics(parts.kafka, ["b", "a"]) == ["a", "b"]
