"""Apache Kafka in KRaft mode: one broker, or three that are controllers too, on loopback."""

import asyncio
import base64
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from tiermesh_cli.apache.fetch import fetch, java_binary
from tiermesh_cli.apache.properties import Node, server_properties
from tiermesh_cli.embedded import PORT_ATTEMPTS_MAX, free_port
from tiermesh_cli.processes import POLL_INTERVAL_S, Child, ProcessFailed

START_TIMEOUT_S: Final = 90.0
GRACE_S: Final = 15.0
PROBE_TIMEOUT_MS: Final = 2_000
SIZES: Final = (1, 3)
HEAP_MB: Final = {1: 512, 3: 320}
"""For each node; three fit beside a mesh on a machine with 4 GB."""


@dataclass(frozen=True, slots=True)
class Java:
    """How Kafka's classes are run."""

    binary: Path
    libs: Path

    def argv(self, main_class: str, heap_mb: int) -> list[str]:
        return [
            str(self.binary),
            f"-Xmx{heap_mb}m",
            # A short start counts for more here than peak throughput.
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Xshare:auto",
            f"-Dlog4j2.configurationFile={Path(__file__).with_name('log4j2.properties')}",
            "-cp",
            f"{self.libs}/*",
            main_class,
        ]


class Cluster:
    """Brokers by index, 0 the first: `async with await Cluster.start(logs, data, brokers=3) as cluster: ...`.

    Use it from the main thread: each process ends with the thread that started it.
    """

    def __init__(self, nodes: Sequence[Node], brokers: list[Child]) -> None:
        self.nodes = tuple(nodes)
        self.brokers = brokers
        self.kafka = ",".join(f"127.0.0.1:{node.port}" for node in nodes)
        """Bootstrap servers, all of them."""

    @classmethod
    async def start(
        cls, log_dir: Path, data_dir: Path, *, brokers: int = 1, timeout_s: float = START_TIMEOUT_S
    ) -> Self:
        """Start `brokers` (1 or 3) and return once all are in the cluster; storage is formatted where it is new.

        Fetches Apache Kafka on the first call. Raises `KafkaMissing`, or `ProcessFailed` with the end of a log.
        """
        if brokers not in SIZES:
            raise ValueError(f"{brokers} brokers: a cluster has {' or '.join(map(str, SIZES))}")
        java = Java(await asyncio.to_thread(java_binary), await asyncio.to_thread(fetch))
        for _ in range(PORT_ATTEMPTS_MAX - 1):
            try:
                return await cls._try_start(java, log_dir, data_dir, brokers, timeout_s)
            except ProcessFailed as failed:
                if "already in use" not in str(failed):
                    raise
        return await cls._try_start(java, log_dir, data_dir, brokers, timeout_s)

    @classmethod
    async def _try_start(cls, java: Java, log_dir: Path, data_dir: Path, size: int, timeout_s: float) -> Self:
        nodes = _nodes(data_dir, size)
        for node in nodes:
            node.folder.mkdir(parents=True, exist_ok=True)
            node.settings.write_text(server_properties(node, nodes))
        await _format(java, nodes, log_dir, timeout_s)
        argv = java.argv("kafka.Kafka", HEAP_MB[size])
        cluster = cls(
            nodes,
            [Child(f"kafka-{n.id}", [*argv, str(n.settings)], log_dir / f"kafka-{n.id}.log") for n in nodes],
        )
        try:
            await cluster.ready(timeout_s)
        except BaseException:
            for child in cluster.brokers:
                child.kill()
            raise
        return cluster

    async def ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until every broker is in the cluster. Raises `ProcessFailed` for one that is not."""
        deadline_s = time.monotonic() + timeout_s
        while len(await self.alive()) < len(self.brokers):
            for child in self.brokers:
                child.check_running()
                child.check_time(deadline_s, timeout_s)
            await asyncio.sleep(POLL_INTERVAL_S)

    async def alive(self) -> set[int]:
        """Ids of the brokers that the cluster counts as its own now; empty where nobody answers."""
        # The client logs each refused connection, so it asks only once somebody listens.
        if not any(await asyncio.gather(*(_listens(node.port) for node in self.nodes))):
            return set()
        admin = AIOKafkaAdminClient(bootstrap_servers=self.kafka, request_timeout_ms=PROBE_TIMEOUT_MS)
        try:
            await admin.start()
            cluster = await admin.describe_cluster()
        except (KafkaError, OSError, ValueError):
            return set()
        finally:
            await admin.close()
        return {broker["node_id"] for broker in cluster["brokers"]}

    def kill(self, index: int) -> None:
        """SIGKILL: what it had not yet written to disk is in the page cache, and stays."""
        self.brokers[index].kill()

    def restart(self, index: int) -> Child:
        """Kill it if it still runs, and start it again on the same port and data; `ready()` waits for it."""
        self.brokers[index].kill()
        self.brokers[index] = self.brokers[index].successor()
        return self.brokers[index]

    def pause(self, index: int) -> None:
        """SIGSTOP: its sockets stay open and nobody is answered."""
        self.brokers[index].pause()

    def resume(self, index: int) -> None:
        self.brokers[index].resume()

    async def stop(self) -> None:
        """End all at once, each within `GRACE_S`."""
        # A controller that has lost its quorum waits for it in vain: where there are three, they are killed.
        grace_s = GRACE_S if len(self.brokers) == 1 else 0.0
        await asyncio.gather(*(asyncio.to_thread(child.terminate, grace_s) for child in self.brokers))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.stop()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def _nodes(data_dir: Path, size: int) -> list[Node]:
    ports: set[int] = set()
    while len(ports) < 2 * size:
        ports.add(free_port())
    free = sorted(ports)
    root = data_dir.absolute()
    return [Node(i + 1, free[2 * i], free[2 * i + 1], root / f"kafka-{i + 1}") for i in range(size)]


async def _format(java: Java, nodes: Sequence[Node], log_dir: Path, timeout_s: float) -> None:
    """Give new log dirs one cluster id; those that have one keep it."""
    new = [node for node in nodes if not (node.log_dir / "meta.properties").exists()]
    cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "_")
    argv = [*java.argv("kafka.tools.StorageTool", 128), "format", "-t", cluster_id, "-c"]
    tools = [Child("kafka-storage", [*argv, str(node.settings)], log_dir / f"kafka-{node.id}.log") for node in new]
    try:
        for tool in tools:
            status = await asyncio.to_thread(tool.wait, timeout_s)
            if status != 0:
                raise tool.failure("did not format its folder")
    finally:
        for tool in tools:
            tool.kill()
