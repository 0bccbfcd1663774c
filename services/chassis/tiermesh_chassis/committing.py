"""Committing exactly what is finished, and giving partitions up in good order."""

import asyncio

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from tiermesh_chassis.offsets import Offsets, Ticket

log = structlog.get_logger(__name__)

COMMIT_INTERVAL_S = 0.1
"""Commits of this long are gathered into one; what a crash redelivers meanwhile is harmless."""

COMMIT_RETRY_S = 1.0

DRAIN_ON_REVOKE_S = 3.0
"""How long a revoked partition's work may finish. Every member of the group waits for the slowest, and one that
takes longer than the session timeout is thrown out."""


class Committer:
    """Commits the contiguous finished prefix of each partition, explicitly, through aiokafka's own type."""

    def __init__(self) -> None:
        self.offsets = Offsets()
        self._consumer: AIOKafkaConsumer | None = None
        self._soon: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    def bind(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer

    def finish(self, ticket: Ticket) -> None:
        self.offsets.finish(ticket)
        if self.offsets.moved and (self._soon is None or self._soon.done()):
            self._soon = asyncio.create_task(self._commit_soon())

    async def _commit_soon(self) -> None:
        pause_s = COMMIT_INTERVAL_S
        while self.offsets.moved:
            await asyncio.sleep(pause_s)
            pause_s = COMMIT_INTERVAL_S if await self.commit() else COMMIT_RETRY_S

    async def commit(self) -> bool:
        """Never raises: what could not be committed is redelivered to whoever has the partition.

        False where it is worth trying again.
        """
        async with self._lock:
            if self._consumer is None:
                return True
            # One partition that is no longer ours would refuse the commit of all the others.
            ours = {(tp.topic, tp.partition) for tp in self._consumer.assignment()}
            moved = {place: offset for place, offset in self.offsets.committable().items() if place in ours}
            if not moved:
                return True
            try:
                await self._consumer.commit(
                    {TopicPartition(topic, partition): offset for (topic, partition), offset in moved.items()}
                )
            except (CommitFailedError, IllegalStateError) as error:
                # What is still ours after the rebalance is offered again; the rest is forgotten with its partition.
                log.warning("commit refused, the partitions move", partitions=len(moved), error=repr(error))
                self.offsets.put_back(moved)
                return False
            except KafkaError as error:
                log.warning("commit failed, it is tried again", error=repr(error))
                self.offsets.put_back(moved)
                return False
            return True


class RebalanceListener(ConsumerRebalanceListener):  # type: ignore[misc]
    """On revoke: let the work finish within its bound, commit, and void what did not."""

    def __init__(self, committer: Committer, *, drain: bool = True) -> None:
        self._committer = committer
        self._drain = drain

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        partitions = {(tp.topic, tp.partition) for tp in revoked}
        deadline = asyncio.get_running_loop().time() + (DRAIN_ON_REVOKE_S if self._drain else 0)
        while self._committer.offsets.in_flight(partitions) and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.02)
        await self._committer.commit()
        self._committer.offsets.forget(partitions)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self._committer.offsets.forget({(tp.topic, tp.partition) for tp in assigned})
