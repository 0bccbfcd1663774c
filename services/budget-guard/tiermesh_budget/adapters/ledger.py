"""The ledger's partition: entries out of the store's outbox, and every entry read back."""

import asyncio
from collections import defaultdict

import structlog
from aiokafka import AIOKafkaConsumer
from pydantic import ValidationError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from tiermesh_budget.decide import EffectiveLedger
from tiermesh_budget.errors import BooksClosed
from tiermesh_chassis.errors import StartError, TransientError
from tiermesh_chassis.publishing import Publisher
from tiermesh_contracts.brokers import BrokerTraits
from tiermesh_contracts.budget import LedgerEntry
from tiermesh_contracts.topics import LEDGER

log = structlog.get_logger(__name__)

READ_BACK_TIMEOUT_S = 5.0
DRAIN_MAX = 500
"""Entries published at once; more wait for the next round, in order."""
DRAIN_RETRY_S = 0.5


class LedgerReader:
    """Reads the whole ledger, in no group: every guard sees every entry."""

    def __init__(self, bootstrap: str, traits: BrokerTraits, org: str, ledger: EffectiveLedger) -> None:
        self._bootstrap = bootstrap
        self._traits = traits
        self._org = org
        self._ledger = ledger
        self._waiting: defaultdict[tuple[int, int], list[asyncio.Future[None]]] = defaultdict(list)
        self.caught_up = asyncio.Event()
        """Set once everything written before the start was read."""

    async def run(self) -> None:
        consumer = AIOKafkaConsumer(
            LEDGER.name,
            bootstrap_servers=self._bootstrap,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=self._traits.fetch_max_wait_ms,
        )
        await consumer.start()
        try:
            partitions = consumer.assignment()
            if not partitions:
                raise StartError(f"topic {LEDGER.name} does not exist: run 'tiermesh topics create'")
            ends: dict[object, int] = await consumer.end_offsets(partitions)
            while True:
                for records in (await consumer.getmany(timeout_ms=100)).values():
                    for record in records:
                        self._read(record.value)
                if not self.caught_up.is_set():
                    positions = [await consumer.position(tp) >= ends[tp] for tp in partitions]
                    if all(positions):
                        self.caught_up.set()
        finally:
            await consumer.stop()

    async def wait_effective(self, epoch: int, seq: int) -> None:
        """Return once (epoch, seq) was read back as effective."""
        if self._is_effective(epoch, seq):
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[epoch, seq].append(future)
        try:
            await asyncio.wait_for(future, READ_BACK_TIMEOUT_S)
        except TimeoutError as error:
            self._forget(epoch, seq, future)
            raise TransientError(f"ledger entry {epoch}/{seq} was not read back") from error

    def _forget(self, epoch: int, seq: int, future: asyncio.Future[None]) -> None:
        """Who waits again brings a future of its own; without this an entry that never comes gathers them."""
        waiting = self._waiting.get((epoch, seq), [])
        if future in waiting:
            waiting.remove(future)
        if not waiting:
            self._waiting.pop((epoch, seq), None)

    def _is_effective(self, epoch: int, seq: int) -> bool:
        if epoch < self._ledger.epoch:
            raise BooksClosed(f"epoch {epoch} is over")
        return epoch == self._ledger.epoch and seq <= self._ledger.seq

    def _read(self, raw: bytes | None) -> None:
        try:
            entry = LedgerEntry.from_bytes(raw or b"")
        except ValidationError as error:
            log.critical("the ledger holds what is no entry; it is void", errors=error.error_count())
            return
        if entry.org != self._org:
            return
        epoch_before = self._ledger.epoch
        for effective in self._ledger.read(entry):
            for future in self._waiting.pop((effective.epoch, effective.seq), ()):
                if not future.done():
                    future.set_result(None)
        if self._ledger.epoch != epoch_before:
            self._void(epoch_before)

    def _void(self, epoch: int) -> None:
        for key in [k for k in self._waiting if k[0] <= epoch]:
            for future in self._waiting.pop(key):
                if not future.done():
                    future.set_exception(BooksClosed(f"epoch {epoch} is over"))


class Outbox:
    """Moves entries from the store to the ledger, in order; removes each after its acknowledgement.

    Several guards may do so at once: an entry written twice is one by its (org, epoch, seq).
    """

    def __init__(self, store: Redis, publisher: Publisher, org: str, ledger: EffectiveLedger) -> None:
        self._store = store
        self._publisher = publisher
        self._org = org
        self._ledger = ledger
        self._wake = asyncio.Event()

    def kick(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        while True:
            try:
                moved = await self.drain()
            except (RedisError, OSError, TransientError) as error:
                log.warning("the outbox waits", error=repr(error))
                moved = 0
            if not moved:
                self._wake.clear()
                await _first_of(self._wake, DRAIN_RETRY_S)

    async def drain(self) -> int:
        """One round; how many entries were published and removed."""
        key = f"{{{self._org}}}:e{self._ledger.epoch}:outbox"
        entries = [str(entry) for entry in await self._store.zrange(key, 0, DRAIN_MAX - 1)]
        if not entries:
            return 0
        await asyncio.gather(*(self._publish(LedgerEntry.from_bytes(e.encode())) for e in entries))
        await self._store.zrem(key, *entries)
        return len(entries)

    async def _publish(self, entry: LedgerEntry) -> None:
        org, epoch, seq = entry.ent
        event_id = f"{org}/{epoch}/{seq}"
        await self._publisher.publish(
            LEDGER.name,
            entry,
            key=org,
            event_id=event_id,
            correlation_id=str(entry.request_id) if entry.request_id else event_id,
        )


async def _first_of(event: asyncio.Event, timeout_s: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), timeout_s)
    except TimeoutError:
        return
