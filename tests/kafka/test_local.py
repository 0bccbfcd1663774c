"""Apache Kafka and Redis as processes: what they keep, and that they end."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from redis.asyncio import Redis

from kafka.reading import record_at
from tiermesh_chassis.admin import create_topics
from tiermesh_cli.apache.local import Local
from tiermesh_contracts.topics import FEEDBACK

pytestmark = pytest.mark.kafka


async def test_a_killed_broker_comes_back_with_its_data_and_so_does_a_state_dir(tmp_path: Path) -> None:
    """The ledger would be gone after a crash, or after the night, and with it the spend of the month."""
    async with await Local.start(tmp_path / "logs", tmp_path / "state") as parts:
        await create_topics(parts.kafka, [FEEDBACK])
        async with AIOKafkaProducer(bootstrap_servers=parts.kafka, acks="all") as producer:
            sent = await producer.send_and_wait(FEEDBACK.name, b"kept", key=b"k")
        async with Redis.from_url(parts.redis_url) as store:
            await store.set("k", "v")
        parts.cluster.kill(0)
        await parts.restart_broker()
        assert (await record_at(parts.kafka, sent.topic, sent.partition, sent.offset)).value == b"kept"
        pids = [parts.broker.pid, parts.store.pid]
    assert not any(is_running(pid) for pid in pids)
    async with await Local.start(tmp_path / "logs", tmp_path / "state") as parts:
        assert (await record_at(parts.kafka, sent.topic, sent.partition, sent.offset)).value == b"kept"
        async with Redis.from_url(parts.redis_url) as store:
            assert await store.get("k") == b"v"


def test_the_command_starts_everything_and_leaves_nothing(tmp_path: Path, models: Path) -> None:
    """People without containers could not have the real broker, or would find it running afterwards."""
    environment = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "PYTHONPATH"}}
    argv = ["up", "--kafka", "local", "--models", str(models), "--json"]
    with (
        (tmp_path / "up.err").open("w") as err,
        subprocess.Popen(
            [sys.executable, "-m", "tiermesh_cli", *argv],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=err,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line, (tmp_path / "up.err").read_text()
            ready = json.loads(line)
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        finally:
            process.kill()
    assert len(ready["services"]) == 4
    # Every broker and store was told a path of its own below this folder.
    assert [command for command in commands() if str(tmp_path).encode() in command] == []


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def commands() -> Iterator[bytes]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(FileNotFoundError, ProcessLookupError):
            yield path.read_bytes()
