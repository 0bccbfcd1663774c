"""Watching a run from outside: what waits for money, what is spent, who is alive; and the one raise."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from aiokafka import AIOKafkaConsumer
from redis.exceptions import RedisError

from tiermesh_chassis.store import connect_store
from tiermesh_cli.mesh import Mesh
from tiermesh_cli.output import CommandFailed
from tiermesh_cli.showcase.evidence import org_sums
from tiermesh_cli.showcase.progress import Progress, should_raise
from tiermesh_contracts.brokers import broker_traits
from tiermesh_contracts.escalations import Parked
from tiermesh_contracts.topics import DEFERRED

LOOK_INTERVAL_S: Final = 0.2


def check_processes(mesh: Mesh) -> None:
    """Raises `ProcessFailed` where one ended by itself."""
    for child in mesh.ended():
        child.check_running()


async def watch_processes(mesh: Mesh) -> None:
    """The same until cancelled: while services start, a dead broker would only let them wait."""
    while True:
        check_processes(mesh)
        await asyncio.sleep(LOOK_INTERVAL_S)


async def watch_deferred(kafka: str, progress: Progress) -> None:
    """Follow `mesh.deferred` from its start until cancelled."""
    consumer = AIOKafkaConsumer(
        DEFERRED.name,
        bootstrap_servers=kafka,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=(await broker_traits(kafka)).fetch_max_wait_ms,
    )
    await consumer.start()
    try:
        while True:
            for records in (await consumer.getmany(timeout_ms=100)).values():
                for record in records:
                    _note(progress, record.key.decode(), record.value)
    finally:
        await consumer.stop()


def _note(progress: Progress, att: str, raw: bytes | None) -> None:
    if raw is None:
        progress.waiting_since_s.pop(att, None)
        return
    parked = Parked.from_bytes(raw)
    progress.waiting_since_s.setdefault(att, time.monotonic())
    if progress.short_since_s is None:
        progress.short_since_s = time.monotonic()
    progress.deferred.add(parked.escalation.accepted.request.request_id)


async def watch_mesh(
    mesh: Mesh, org: str, progress: Progress, raise_limit: Callable[[], int], show: Callable[[Progress], None]
) -> None:
    """Look at spend and processes until cancelled, and raise the limit once, when it is time.

    Raises `ProcessFailed` where a process ended by itself, `CommandFailed` where the store does not answer.
    """
    store = connect_store(mesh.redis_url)
    try:
        while True:
            check_processes(mesh)
            progress.sums = await org_sums(store, org)
            if should_raise(progress, time.monotonic()):
                progress.limit_usd_nanos = raise_limit()
                progress.is_raised = True
            show(progress)
            await asyncio.sleep(LOOK_INTERVAL_S)
    except RedisError as error:
        check_processes(mesh)
        raise CommandFailed(f"the store does not answer: {error}") from error
    finally:
        await store.aclose()
