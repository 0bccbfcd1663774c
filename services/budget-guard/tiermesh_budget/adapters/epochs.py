"""Opening the books: one epoch per life of the store, fenced in the ledger before anything is held."""

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from tiermesh_budget.adapters.carrying import CarryOver
from tiermesh_budget.adapters.ledger import LedgerReader
from tiermesh_budget.adapters.scripts import load_script
from tiermesh_budget.decide import EffectiveLedger
from tiermesh_chassis.clock import Clock, now_ms
from tiermesh_chassis.publishing import Publisher
from tiermesh_contracts.budget import LedgerEntry, LedgerKind
from tiermesh_contracts.topics import LEDGER

log = structlog.get_logger(__name__)


class Epochs:
    """Decides whether this guard may speak for the store, and says why not."""

    def __init__(
        self,
        store: Redis,
        publisher: Publisher,
        org: str,
        ledger: EffectiveLedger,
        reader: LedgerReader,
        *,
        ledger_is_volatile: bool,
        clock: Clock = now_ms,
    ) -> None:
        """`ledger_is_volatile`: the broker keeps nothing, so that an empty ledger under a kept store is a new
        start and no loss."""
        self._store = store
        self._publisher = publisher
        self._org = org
        self._ledger = ledger
        self._reader = reader
        self._clock = clock
        self._ledger_is_volatile = ledger_is_volatile
        self._activate = load_script(store, "open_epoch")
        self._carry_over = CarryOver(store, publisher, org)
        self._why: str | None = "the ledger is being read"

    def closed_why(self) -> str | None:
        """None while the books are open."""
        return self._why

    def close(self, why: str) -> None:
        """The store itself said that it is another, or in another epoch."""
        self._why = why

    async def open(self) -> None:
        """Open the books where store and ledger belong together; else leave them closed, with the reason.

        Raises `TransientError` where the brokers do not take the fence.
        """
        await self._reader.caught_up.wait()
        try:
            self._why = await self._try_to_open()
        except (RedisError, OSError) as error:
            self._why = f"the store does not answer: {error!r}"
        if self._why is None:
            log.info("the books are open", org=self._org, epoch=self._ledger.epoch, seq=self._ledger.seq)
        else:
            log.critical("the books are closed, escalations are parked", org=self._org, why=self._why)

    async def _try_to_open(self) -> str | None:
        run_id = str((await self._store.info("server"))["run_id"])
        stored = await self._store.hgetall(f"{{{self._org}}}:epoch")
        stored_epoch = int(stored.get("epoch", 0))
        if stored_epoch > 0 and self._ledger_is_volatile and self._begins_after(stored_epoch):
            if self._ledger.epoch == 0:
                await self._fence(stored_epoch + 1, run_id)
            return await self._carry_over.run(stored_epoch, stored_epoch + 1, run_id, self._clock())
        if stored_epoch > self._ledger.epoch:
            return f"the store is in epoch {stored_epoch}, the ledger only in {self._ledger.epoch}: ledger lost"
        if stored_epoch == 0 and self._ledger.epoch == 0:
            await self._fence(1, run_id)
        is_new = self._ledger.seq == 0 and self._ledger.run_id == run_id
        if stored_epoch == 0 and is_new:
            reply = await self._activate(keys=[f"{{{self._org}}}:epoch"], args=[self._ledger.epoch, run_id])
            return None if reply[0] == "done" else str(reply[1])
        if stored_epoch == self._ledger.epoch and stored.get("run_id") == run_id:
            return await self._behind(stored_epoch, self._ledger.seq)
        return "the store is not the one that the ledger was written against: rebuild it from the ledger"

    def _begins_after(self, stored_epoch: int) -> bool:
        """True where the ledger is empty, or holds no more than the fence of the epoch after the store's."""
        return self._ledger.epoch == 0 or (self._ledger.epoch == stored_epoch + 1 and self._ledger.seq == 0)

    async def _behind(self, epoch: int, seq_min: int) -> str | None:
        seq = int(await self._store.get(f"{{{self._org}}}:e{epoch}:seq") or 0)
        return None if seq >= seq_min else "the store is behind the ledger: rebuild it from the ledger"

    async def _fence(self, epoch: int, run_id: str) -> None:
        entry = LedgerEntry(
            org=self._org,
            epoch=epoch,
            seq=0,
            kind=LedgerKind.EPOCH_OPENED,
            at_ms=self._clock(),
            run_id=run_id,
        )
        event_id = f"{self._org}/{epoch}/0/{run_id}"
        await self._publisher.publish(LEDGER.name, entry, key=self._org, event_id=event_id, correlation_id=event_id)
        await self._reader.wait_effective(epoch, 0)
