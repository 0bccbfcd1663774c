"""What is read after a run: the frontier's bill first, then the store, and the topics from their start."""

import asyncio
import time
from collections.abc import Iterable
from typing import Any, Final
from uuid import UUID

import aiohttp
from aiokafka import AIOKafkaConsumer
from redis.asyncio import Redis
from redis.exceptions import RedisError

from tiermesh_chassis.store import connect_store
from tiermesh_cli.output import CommandFailed
from tiermesh_cli.showcase.laws import Bill, Place, Sums
from tiermesh_cli.showcase.report import Evidence
from tiermesh_contracts.brokers import broker_traits
from tiermesh_contracts.budget import LedgerEntry
from tiermesh_contracts.escalations import Escalation
from tiermesh_contracts.firsts import FirstResults
from tiermesh_contracts.results import InferenceResult
from tiermesh_contracts.topics import ESCALATIONS, LEDGER, RESULTS

READ_TIMEOUT_S: Final = 20.0
DRAIN_TIMEOUT_S: Final = 10.0
POLL_INTERVAL_S: Final = 0.1
WINDOWS_MAX: Final = 100_000


async def gather_evidence(
    kafka: str, redis_url: str, frontier: str, org: str, ids: frozenset[UUID], deferred: Iterable[UUID]
) -> Evidence:
    """Wait until nothing is held, at most `DRAIN_TIMEOUT_S`, then read everything. `ids` are the run's requests.

    Raises `CommandFailed` where the store or the frontier does not answer, or a topic has no end in time.
    """
    store = connect_store(redis_url)
    try:
        await _drain(store, org)
        bill, arrived, unseen = await _read_frontier(frontier)
        sums = await store_sums(store, org)
        seconds, _ = await store.time()
    except (RedisError, aiohttp.ClientError) as error:
        raise CommandFailed(f"the run cannot be checked: {error}") from error
    finally:
        await store.aclose()
    ledger, results, escalations = await asyncio.gather(
        read_topic(kafka, LEDGER.name), read_topic(kafka, RESULTS.name), read_topic(kafka, ESCALATIONS.name)
    )
    firsts = FirstResults()
    terminal = [result for raw in results if firsts.offer(result := InferenceResult.from_bytes(raw))]
    asked = (Escalation.from_bytes(raw).accepted.request.request_id for raw in escalations)
    return Evidence(
        bill=bill,
        arrived=arrived,
        arrived_unseen=unseen,
        store=sums,
        store_read_ms=int(seconds) * 1000,
        ledger=[entry for raw in ledger if (entry := LedgerEntry.from_bytes(raw)).org == org],
        results={result.request_id: result for result in terminal if result.request_id in ids},
        duplicated=firsts.duplicated,
        conflicting=firsts.conflicting,
        escalated=frozenset(asked) & ids,
        deferred=frozenset(deferred) & ids,
    )


async def read_topic(kafka: str, topic: str) -> list[bytes]:
    """Every value from the topic's start to where it ends now; partitions one beside the other, each in order."""
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=kafka,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=(await broker_traits(kafka)).fetch_max_wait_ms,
    )
    values: list[bytes] = []
    try:
        async with asyncio.timeout(READ_TIMEOUT_S):
            await consumer.start()
            ends = await consumer.end_offsets(consumer.assignment())
            while any([await consumer.position(place) < end for place, end in ends.items()]):
                for records in (await consumer.getmany(timeout_ms=100)).values():
                    values += [record.value for record in records if record.value is not None]
    except TimeoutError as error:
        raise CommandFailed(f"topic {topic} could not be read to its end in {READ_TIMEOUT_S:g} s") from error
    finally:
        await consumer.stop()
    return values


async def store_sums(store: Redis, org: str) -> dict[Place, Sums]:
    """Held, posted and suspended of each scope and window in the store's epoch."""
    prefix = f"{await _prefix(store, org)}w:"
    sums: dict[Place, Sums] = {}
    async for key in store.scan_iter(match=f"{prefix}*", count=1_000):
        if len(sums) >= WINDOWS_MAX:
            raise CommandFailed(f"the store counts in more than {WINDOWS_MAX} windows")
        scope, window, window_id = str(key).removeprefix(prefix).rsplit(":", 2)
        sums[scope, window, window_id] = await _sums_at(store, str(key))
    return sums


async def org_sums(store: Redis, org: str) -> Sums:
    """Of the whole org over all time."""
    return await _sums_at(store, f"{await _prefix(store, org)}w:org:lifetime:all")


async def _sums_at(store: Redis, key: str) -> Sums:
    held, posted, suspended = await store.hmget(key, ["held", "posted", "suspended"])
    return Sums(int(held or 0), int(posted or 0), int(suspended or 0))


async def _prefix(store: Redis, org: str) -> str:
    epoch = await store.hget(f"{{{org}}}:epoch", "epoch")
    return f"{{{org}}}:e{int(epoch or 0)}:"


async def _drain(store: Redis, org: str) -> None:
    """Until nothing is held and every entry has left the outbox; what stays is for the laws to say."""
    deadline = time.monotonic() + DRAIN_TIMEOUT_S
    while time.monotonic() < deadline:
        waiting = await store.zcard(f"{await _prefix(store, org)}outbox")
        if waiting == 0 and (await org_sums(store, org)).held == 0:
            return
        await asyncio.sleep(POLL_INTERVAL_S)


async def _read_frontier(url: str) -> tuple[Bill, list[str], int]:
    """The bill, the texts that arrived, and how many of those were not kept."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=READ_TIMEOUT_S)) as session:
        async with session.get(f"{url}/bill") as answer:
            statement: dict[str, Any] = await answer.json()
        async with session.get(f"{url}/inbox") as answer:
            arrived: list[str] = await answer.json()
            unseen = int(answer.headers["x-dropped"])
    calls = tuple(line["client_request_id"] for line in statement["lines"])
    return Bill(statement["total_usd_nanos"], calls), arrived, unseen
