"""Static membership: who comes back under its old name has its old partitions, and nobody else notices."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from kafka import member
from tiermesh_chassis.admin import create_topics
from tiermesh_contracts.topics import Topic

pytestmark = pytest.mark.kafka

TOPIC = "static"


@contextmanager
def joined(kafka: str, instance: str) -> Iterator[subprocess.Popen[str]]:
    argv = [sys.executable, member.__file__, kafka, TOPIC, instance]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def told(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "the member ended"
    said: dict[str, Any] = json.loads(line)
    return said


async def test_a_member_killed_with_9_has_its_partitions_back_under_its_name(kafka: str) -> None:
    """Its work would wait until the broker gives it up, and the whole group would stop for a new generation."""
    await create_topics(kafka, [Topic(TOPIC, "id", ("tests",), ("tests",))])
    with joined(kafka, "a") as first:
        assert len(told(first)["partitions"]) == 6
        with joined(kafka, "b") as other:
            shared = (told(first), told(other))
            assert sorted(shared[0]["partitions"] + shared[1]["partitions"]) == list(range(6))
            first.kill()
            with joined(kafka, "a") as again:
                assert told(again) == shared[0]
            other.kill()
            with joined(kafka, "b") as again:
                assert told(again) == shared[1]
