"""What a mesh stands on where there are no containers: Apache Kafka and Redis on this machine."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tiermesh_cli.apache.cluster import Cluster
from tiermesh_cli.apache.redis import RedisMissing, start_redis
from tiermesh_cli.embedded import GRACE_S, START_TIMEOUT_S, Embedded, on_free_port, start_store
from tiermesh_cli.output import say
from tiermesh_cli.processes import Child


@dataclass(slots=True)
class Local(Embedded):
    """Apache Kafka with its store: `async with await Local.start(log_dir, state_dir) as parts: ...`.

    Everything is on disk in `state_dir`, which may be given again. Where there is no redis-server the embedded
    store takes its place, and says so.
    """

    cluster: Cluster = field(kw_only=True)

    @classmethod
    async def start(
        cls,
        log_dir: Path,
        state_dir: Path | None = None,
        timeout_s: float = START_TIMEOUT_S,
        *,
        brokers: int = 1,
    ) -> Self:
        """Start all on free loopback ports; without `state_dir` the data lie in `log_dir`'s neighbour `data`.

        `timeout_s` is the store's. Call it in the main thread. Raises `KafkaMissing`, `EmbeddedMissing` and
        `ProcessFailed`, and leaves nothing running.
        """
        data_dir = state_dir or log_dir.parent / "data"
        cluster = await Cluster.start(log_dir, data_dir, brokers=brokers)
        try:
            port, store = await on_free_port(
                lambda port: _start_store(log_dir, port, data_dir / "store", timeout_s)
            )
        except BaseException:
            await cluster.stop()
            raise
        return cls(cluster.brokers[0], store, cluster.kafka, f"redis://127.0.0.1:{port}/0", cluster=cluster)

    async def stop(self) -> None:
        """End all, the store first."""
        await asyncio.to_thread(self.store.terminate, GRACE_S)
        await self.cluster.stop()

    async def restart_broker(self) -> None:
        """Start the first broker again on its port and data, and return once all are in the cluster."""
        self.broker = self.cluster.restart(0)
        await self.cluster.ready()


async def _start_store(log_dir: Path, port: int, data_dir: Path, timeout_s: float) -> Child:
    try:
        return await start_redis(log_dir, port, data_dir, timeout_s)
    except RedisMissing as missing:
        say(f"{missing}; the embedded store takes its place")
        return await start_store(log_dir, port, data_dir, timeout_s)
